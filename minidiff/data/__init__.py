"""Data: handwritten digits, 2D patterns, and how they are scaled, split and cut into batches.

Nothing here knows of the autograd engine or of models: arrays in, arrays out.
"""

from minidiff.data.batches import batch_count, minibatches, split_validation
from minidiff.data.checks import check_labels, check_samples
from minidiff.data.digits import mnist
from minidiff.data.patterns import moons, s_curve, spiral
from minidiff.data.scaling import Scaling

__all__ = [
    "Scaling",
    "batch_count",
    "check_labels",
    "check_samples",
    "minibatches",
    "mnist",
    "moons",
    "s_curve",
    "spiral",
    "split_validation",
]
