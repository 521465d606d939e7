"""Data: handwritten digits, 2D patterns, and how they are scaled, split and cut into batches.

Nothing here knows of the autograd engine or of models: arrays in, arrays out.
"""

from .batches import batch_count, minibatches, split_validation
from .digits import mnist
from .distortion import distorted
from .patterns import moons, s_curve, spiral
from .scaling import Scaling

__all__ = [
    "Scaling",
    "batch_count",
    "distorted",
    "minibatches",
    "mnist",
    "moons",
    "s_curve",
    "spiral",
    "split_validation",
]
