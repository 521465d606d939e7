"""Typical wrong answers to lesson 9's exercises, each with words of the message that it gets."""

import numpy as np

import minidiff as md
from minidiff import ops


def overflowing(images):
    with np.errstate(over="ignore"):
        return (2 * images - np.uint8(255)).astype(np.float32)[..., None] / 255


def norm(x, gain, mean=lambda s: ops.mean(s, axis=-1, keepdims=True), power=0.5, eps=1e-5):
    return gain * x / (mean(x * x) + eps) ** power


def hidden(x, gain):
    bare = x.data if isinstance(x, md.Tensor) else x
    return gain * x / np.sqrt(np.mean(bare * bare, axis=-1, keepdims=True) + 1e-5)


WRONG = {
    "scaled_images": [
        (lambda images: images.astype(np.float32)[..., None] / 255, "times 2, minus 1"),
        (lambda images: images.astype(np.float32) / 127.5 - 1, "The channels are missing"),
        (lambda images: images[..., None] / 127.5 - 1, "this is float64"),
        (lambda images: 1 - images.astype(np.float32)[..., None] / 127.5, "0 is black"),
        (overflowing, "has overflowed"),
    ],
    "rms_norm": [
        (lambda x, gain: norm(x, gain, lambda s: ops.mean(s, axis=-1)), "keepdims=True"),
        (
            lambda x, gain: norm(x, gain, lambda s: ops.sum(s, axis=-1, keepdims=True)),
            "take their mean",
        ),
        (
            lambda x, gain: norm(x, gain, lambda s: ops.mean(s, axis=0, keepdims=True)),
            "channels are last",
        ),
        (lambda x, gain: norm(x, gain, ops.mean), "One mean for all"),
        (lambda x, gain: norm(x, 1.0), "gain is missing"),
        (lambda x, gain: norm(x, gain, power=1), "The root is missing"),
        (hidden, "wrong first derivative"),
    ],
}
