"""A small residual network (He et al. 2016): the second judge of drawn digits.

enter    28×28    4×4 stride 2, 1 → 32
         14×14    ResidualBlock 32
shrink   14×14    4×4 stride 2, 32 → 64
          7×7     ResidualBlock 64, twice
         the mean over the pixels: 64 features
leave    Dense, 64 → 10
"""

import numpy as np

from .. import checks, nn, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from .inputs import as_digits

GROUPS = 8  # of each group norm


class ResNet(nn.Module):
    """Digits (batch, 28, 28, 1) to logits (batch, 10), which count the classes from 0.

    It is called as model(x). Unlike `LeNet5` it has group norms, no large dense layers and no max
    pooling; what one of the two overlooks, the other need not. `rng` is a seed or a Generator for
    the initial weights. Source: He et al. 2016, arXiv 1603.05027, much reduced.
    """

    def __init__(self, rng: int | np.random.Generator = 0):
        self.config: dict = {}
        rng = checks.generator("rng", rng)
        self.enter = nn.Conv2d(1, 32, 4, rng, stride=2)
        self.wide = ResidualBlock(32, rng)
        self.shrink = nn.Conv2d(32, 64, 4, rng, stride=2)
        self.deep = nn.Sequential(ResidualBlock(64, rng), ResidualBlock(64, rng))
        self.leave = nn.Dense(64, 10, rng)

    def __call__(self, x: Tensor | Array) -> Tensor:
        return self.leave(self.features(x))

    def features(self, x: Tensor | Array) -> Tensor:
        """What the last layer sees, (batch, 64): the Fréchet distance compares these."""
        x = as_digits(x, self.enter.weight)
        h = self.wide(self.enter(x))
        h = self.deep(self.shrink(h))
        return ops.mean(h, axis=(1, 2))


class ResidualBlock(nn.Module):
    """x + silu(norm(conv(silu(norm(conv(x)))))), with 3×3 convolutions and group norms."""

    def __init__(self, channels: int, rng: np.random.Generator):
        self.conv1 = nn.Conv2d(channels, channels, 3, rng)
        self.norm1 = nn.GroupNormSilu(GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, rng)
        self.norm2 = nn.GroupNormSilu(GROUPS, channels)

    def __call__(self, x: Tensor) -> Tensor:
        h = self.norm1(self.conv1(x))
        return self.norm2(self.conv2(h), skip=x)
