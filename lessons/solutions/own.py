"""Solutions of lesson 9's exercises."""

import numpy as np

from minidiff import ops


def scaled_images(images):
    return images.astype(np.float32)[..., None] / np.float32(127.5) - 1


def rms_norm(x, gain):
    mean_square = ops.mean(x * x, axis=-1, keepdims=True)
    return gain * x / (mean_square + 1e-5) ** 0.5
