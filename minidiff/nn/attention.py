"""Attention between the pixels of an image."""

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from .layers import Conv2d
from .module import Module


class Attention(Module):
    """Every pixel looks at every pixel, in `heads` independent ways (Vaswani et al. 2017); the result is added to x.

    Queries, keys and values come from one 3×3 convolution without bias, the output passes another with bias.
    x is (batch, height, width, channels). Raises ValueError if `heads` does not divide the channels.
    """

    def __init__(self, channels: int, rng: np.random.Generator, heads: int = 4):
        if channels % heads:
            raise ValueError(f"channels: given {channels}, wanted a multiple of the {heads} heads")
        self.heads = heads
        self.qkv = Conv2d(channels, 3 * channels, 3, rng, bias=False)
        self.out = Conv2d(channels, channels, 3, rng)

    def __call__(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        qkv = ops.reshape(self.qkv(x), shape=(b, h * w, 3 * c))
        return x + self.out(ops.reshape(ops.self_attention(qkv, self.heads), shape=x.shape))
