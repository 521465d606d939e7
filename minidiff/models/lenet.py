"""LeNet-5 (LeCun et al. 1998): judges drawn digits by their class, and by its features."""

import numpy as np

from .. import checks, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..nn import Conv2d, Dense, MaxPool, Module
from .inputs import as_digits


class LeNet5(Module):
    """Digits (batch, 28, 28, 1) to logits (batch, 10), which count the classes from 0.

    It is called as model(x). With relu and max pooling, as is usual now. `rng` is a seed or a
    Generator for the initial weights.
    """

    def __init__(self, rng: int | np.random.Generator = 0):
        self.config: dict = {}
        rng = checks.generator("rng", rng)
        self.conv1 = Conv2d(1, 6, 5, rng, padding=0)
        self.conv2 = Conv2d(6, 16, 5, rng, padding=0)
        self.pool = MaxPool(2)
        self.dense1 = Dense(4 * 4 * 16, 120, rng)
        self.dense2 = Dense(120, 84, rng)
        self.dense3 = Dense(84, 10, rng)

    def __call__(self, x: Tensor | Array) -> Tensor:
        return self.dense3(self.features(x))

    def features(self, x: Tensor | Array) -> Tensor:
        """What the last layer sees, (batch, 84): the Fréchet distance compares these."""
        x = as_digits(x, self.conv1.weight)
        h = self.pool(ops.relu(self.conv1(x)))  # 12 × 12 × 6
        h = self.pool(ops.relu(self.conv2(h)))  # 4 × 4 × 16
        h = ops.reshape(h, shape=(x.shape[0], 4 * 4 * 16))
        return ops.relu(self.dense2(ops.relu(self.dense1(h))))
