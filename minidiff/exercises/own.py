"""Lesson 9, your own: scaled_images, rms_norm."""

from collections.abc import Callable

import numpy as np

from .. import ops
from .declared import exercise
from .evidence import PromiseError, agree, array_of, unchanged
from .rules import keeps_all_promises


@exercise(
    hint="First to float32, or uint8 overflows; then / 127.5 − 1, and [..., None] at the end."
)
def scaled_images(scaled_images: Callable) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 4, 4)).astype(np.uint8)
    images[0, 0, :3] = (0, 255, 200)
    promise = "0 … 255 becomes −1 … 1."
    got = array_of(unchanged(scaled_images, images), promise)
    want = images.astype(np.float64)[..., None] / 127.5 - 1
    if got.shape == images.shape:
        raise PromiseError(
            f"{promise} The channels are missing: (n, height, width, 1), which is [..., None]."
        )
    with np.errstate(over="ignore"):
        overflow = (2 * images - np.uint8(255)).astype(np.float64)[..., None] / 255
    suspects = {
        "It is 0 … 1: times 2, minus 1.": (want + 1) / 2,
        "It is −0.5 … 0.5.": want / 2,
        "Black and white are exchanged: 0 is black, −1.": -want,
        "It is only shifted: divide by 127.5.": want * 127.5,
        "uint8 has overflowed: 200 · 2 is 144 there. Turn it to float32 first.": overflow,
    }
    agree(got, want, promise, suspects, 1e-6)
    if got.dtype != np.float32:
        raise PromiseError(f"Networks compute in float32, and this is {got.dtype}.")


@exercise(
    hint="ops.mean(x * x, axis=-1, keepdims=True), plus eps, to the power 0.5; x is divided by it "
    "and multiplied by gain."
)
def rms_norm(rms_norm: Callable) -> None:
    rng = np.random.default_rng(0)
    gain = rng.uniform(0.5, 2.0, 3)
    for shape in ((3, 3), (2, 4, 3)):
        x = rng.standard_normal(shape)
        square = x * x
        centred = x - x.mean(axis=-1, keepdims=True)
        root = np.sqrt(square.mean(axis=-1, keepdims=True) + 1e-5)
        suspects = {
            "gain is missing.": x / root,
            "That is the sum of the squares: take their mean.": (
                gain * x / np.sqrt(square.sum(axis=-1, keepdims=True) + 1e-5)
            ),
            "The mean is taken over the wrong axis: channels are last.": (
                gain * x / np.sqrt(square.mean(axis=0, keepdims=True) + 1e-5)
            ),
            "One mean for all: each pixel has its own, over its channels.": (
                gain * x / np.sqrt(square.mean() + 1e-5)
            ),
            "The root is missing.": gain * x / root**2,
            "The mean is subtracted: that is a layer norm.": (
                gain * centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
            ),
        }
        if shape == (3, 3):
            flat = np.sqrt(square.mean(axis=-1) + 1e-5)
            suspects["The axis of the mean is lost: keepdims=True."] = gain * x / flat
        promise = "x is divided by the root of the mean square of its channels, times gain."
        agree(unchanged(rms_norm, x, gain), gain * x / root, promise, suspects)
    zeros = np.zeros((1, 3))
    if not np.isfinite(array_of(rms_norm(zeros, gain), "Zeros give zeros.")).all():
        raise PromiseError("Zeros give zeros. There is NaN: eps = 1e-5 goes below the root.")
    keeps_all_promises(lambda x, gain: rms_norm(x, gain), x, gain)
    agree(rms_norm(x, gain), ops.rms_norm(x, gain), "It is minidiff's.")
