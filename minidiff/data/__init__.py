"""Data: digits, clothes, 2D patterns, images of one's own; how they are scaled, split and batched.

Nothing here knows of the autograd engine or of models: arrays in, arrays out.
"""

from .batches import batch_count, minibatches, split_validation
from .clothes import FASHION_NAMES, fashion_mnist
from .digits import mnist
from .distortion import distorted, flipped, shifted
from .own import idx, images, npz
from .patterns import moons, s_curve, spiral
from .scaling import Scaling

__all__ = [
    "FASHION_NAMES",
    "Scaling",
    "batch_count",
    "distorted",
    "fashion_mnist",
    "flipped",
    "idx",
    "images",
    "minibatches",
    "mnist",
    "moons",
    "npz",
    "s_curve",
    "shifted",
    "spiral",
    "split_validation",
]
