"""LeNet-5 (LeCun et al. 1998): judges drawn digits by their class, and by its features.

`LeNet` is its kind for images of other sizes, in colour, and for other classes.
"""

import numpy as np

from .. import checks, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..nn import Conv2d, Dense, MaxPool, Module
from .inputs import as_digits, as_sized


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


class LeNet(Module):
    """Images (batch, *shape) to logits (batch, classes), which count the classes from 0.

    It is called as model(x). `shape` is (height, width, channels), with sides of 4 pixels or more;
    `classes` is how many there are, 2 or more; `rng` is a seed or a Generator for the initial
    weights. Unlike `LeNet5` it pads at the borders, so that small images go in, too, and it has
    more filters, for colours.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (32, 32, 3),
        classes: int = 10,
        rng: int | np.random.Generator = 0,
    ):
        if not isinstance(shape, tuple | list) or len(shape) != 3:
            raise ValueError(f"shape: given {shape!r}, wanted (height, width, channels)")
        height, width, channels = shape
        for side in (height, width):
            checks.whole("shape", side, 4)
        checks.whole("shape", channels, 1)
        checks.whole("classes", classes, 2)
        self.config: dict = {"shape": list(shape), "classes": classes}
        self.shape = (height, width, channels)
        self.pooled = (height // 4) * (width // 4) * 32
        rng = checks.generator("rng", rng)
        self.conv1 = Conv2d(channels, 16, 5, rng)
        self.conv2 = Conv2d(16, 32, 5, rng)
        self.pool = MaxPool(2)
        self.dense1 = Dense(self.pooled, 120, rng)
        self.dense2 = Dense(120, 84, rng)
        self.dense3 = Dense(84, classes, rng)

    def __call__(self, x: Tensor | Array) -> Tensor:
        return self.dense3(self.features(x))

    def features(self, x: Tensor | Array) -> Tensor:
        """What the last layer sees, (batch, 84): the Fréchet distance compares these."""
        x = as_sized(x, self.shape, self.conv1.weight)
        h = self.pool(ops.relu(self.conv1(x)))
        h = self.pool(ops.relu(self.conv2(h)))
        h = ops.reshape(h, shape=(x.shape[0], self.pooled))
        return ops.relu(self.dense2(ops.relu(self.dense1(h))))
