"""The layers: each holds its parameters and calls an operation or two.

Images are (batch, height, width, channels). Parameters start as float32 draws from a NumPy
Generator, so that a seed gives the same model everywhere.
"""

import math
from typing import Any

import numpy as np
from numpy.random import Generator

from .. import checks, kernels, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from .module import Module


def parameter(array: np.ndarray) -> Tensor:
    """A float32 leaf that wants a gradient."""
    return Tensor(np.ascontiguousarray(array, dtype=np.float32), requires_grad=True)


def uniform(rng: Generator, shape: tuple[int, ...], fan_in: int) -> Tensor:
    """U(−1/√fan_in, 1/√fan_in), for weights and biases; one output sums `fan_in` inputs.

    That is He et al. 2015 (arXiv 1502.01852, section 2.2) with the leaky slope √5, PyTorch's
    choice: a layer's output has a third of its input's variance, which the normalisation after it,
    or the next bias, makes up for.
    """
    bound = 1 / math.sqrt(fan_in)
    return parameter(rng.uniform(-bound, bound, shape))


class Dense(Module):
    """x (…, in) @ weight (in, out) + bias (out,). Weight and bias start as U(±1/√in)."""

    def __init__(self, inputs: int, outputs: int, rng: Generator, bias: bool = True):
        self.weight = uniform(rng, (inputs, outputs), fan_in=inputs)
        self.bias = uniform(rng, (outputs,), fan_in=inputs) if bias else None

    def __call__(self, x: Any) -> Tensor:
        return ops.dense(x, self.weight, self.bias)


class Conv2d(Module):
    """Cross-correlation of images x (batch, h, w, in) with its weight, plus its bias.

    `weight` is (kernel, kernel, in / groups, out), `bias` (out,). Gives (batch, h′, w′, out), where
    h′ = ⌊(h + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1.

    With a `dilation`, neighbouring taps meet pixels that lie so far apart. With `groups`, inputs
    and outputs are cut into so many groups, and an output sums only inputs of its own group.
    Without a `padding`, it is the one that keeps the size where the stride is 1 and the kernel odd.
    Weight and bias start as U(±1/√(kernel²·in / groups)).

    Raises ValueError if `dilation` or `groups` is less than 1, or if `groups` does not divide
    inputs and outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rng: Generator,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        dilation: int = 1,
        groups: int = 1,
    ):
        checks.whole("dilation", dilation, 1)
        checks.whole("groups", groups, 1)
        for name, channels in ("inputs", inputs), ("outputs", outputs):
            if channels % groups:
                raise ValueError(f"{name}: given {channels}, wanted a multiple of {groups} groups")
        depth = inputs // groups
        fan_in = kernel * kernel * depth
        self.weight = uniform(rng, (kernel, kernel, depth, outputs), fan_in=fan_in)
        self.bias = uniform(rng, (outputs,), fan_in=fan_in) if bias else None
        self.stride = stride
        self.padding = dilation * (kernel - 1) // 2 if padding is None else padding
        self.dilation = dilation
        self.groups = groups

    def __call__(self, x: Any) -> Tensor:
        return ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class GroupNorm(Module):
    """Groups of channels brought to mean 0 and variance 1 in each sample, then scaled and shifted.

    The scale starts as 1, the shift as 0. Raises ValueError if `groups` does not divide the
    channels. Source: Wu & He 2018, arXiv 1803.08494.
    """

    def __init__(self, groups: int, channels: int):
        if channels % groups:
            raise ValueError(
                f"channels: given {channels}, wanted a multiple of the {groups} groups"
            )
        self.groups = groups
        self.weight = parameter(np.ones(channels))
        self.bias = parameter(np.zeros(channels))

    def __call__(self, x: Any) -> Tensor:
        return ops.group_norm(x, self.groups, self.weight, self.bias)


class GroupNormSilu(GroupNorm):
    """silu(group_norm(x) + shift) + skip as one operation.

    `shift` (batch, channels) is the same for all pixels, `skip` is like x; both may be left out.
    """

    def __call__(self, x: Any, shift: Any = None, skip: Any = None) -> Tensor:
        return ops.group_norm_silu(x, self.groups, self.weight, self.bias, shift, skip)


class Embedding(Module):
    """A row of `weight` (rows, dim) for each integer id. Rows start as N(0, 1)."""

    def __init__(self, rows: int, dim: int, rng: Generator):
        self.weight = parameter(rng.standard_normal((rows, dim)))

    def __call__(self, ids: Any) -> Tensor:
        return ops.embedding(self.weight, ids)


class SinusoidalEmbedding(Module):
    """A time as waves: entries 2i, 2i + 1 are sin, cos of t / 10000^(2i/(dim − 2)).

    Nothing in it is trained. With `timesteps`, all times are in 0 … timesteps, and whole ones are
    looked up in a table. Raises ValueError for a `dim` that is odd or below 4. Source: Vaswani et
    al. 2017 (arXiv 1706.03762, section 3.5), with dim − 2 for dim, so that the slowest wave has
    exactly the period 2π·10000.
    """

    def __init__(self, dim: int, timesteps: int | None = None):
        if dim < 4 or dim % 2:
            raise ValueError(f"dim: given {dim}, wanted an even number, at least 4")
        self.frequencies = 10000.0 ** (-2 * np.arange(dim // 2) / (dim - 2))
        self.table = None if timesteps is None else self._waves(np.arange(timesteps + 1))

    def __call__(self, t: np.ndarray, like: Array) -> Array:
        """Host times (batch,), which may be real, as (batch, dim).

        The result has the dtype of the array `like`, on its device.
        """
        if self.table is None or t.dtype.kind == "f":
            waves = self._waves(t)
        else:
            waves = self.table.take(t, axis=0)
        return kernels.from_host(waves.astype(like.dtype), like)

    def _waves(self, t: np.ndarray) -> np.ndarray:
        """In float64: in float32 the phases are off by 1e-4 where t is some thousands."""
        phase = t.astype(np.float64)[:, None] * self.frequencies
        return np.stack([np.sin(phase), np.cos(phase)], axis=-1).reshape(len(phase), -1)


class Upsample(Module):
    """Each pixel becomes a block of 2 × 2, then a 3×3 convolution from `inputs` to `outputs`."""

    def __init__(self, inputs: int, outputs: int, rng: Generator):
        self.conv = Conv2d(inputs, outputs, 3, rng)

    def __call__(self, x: Any) -> Tensor:
        return self.conv(ops.upsample_nearest(x, 2))


class MaxPool(Module):
    """The largest value of each window of size × size, side by side."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, x: Any) -> Tensor:
        return ops.max_pool2d(x, self.size)


class Attention(Module):
    """Every pixel looks at every pixel, in `heads` independent ways; the result is added to x.

    Queries, keys and values come from one 3×3 convolution without bias, the output passes another
    with bias. x is (batch, height, width, channels). Raises ValueError if `heads` does not divide
    the channels. Source: Vaswani et al. 2017, arXiv 1706.03762.
    """

    def __init__(self, channels: int, rng: Generator, heads: int = 4):
        if channels % heads:
            raise ValueError(f"channels: given {channels}, wanted a multiple of the {heads} heads")
        self.heads = heads
        self.qkv = Conv2d(channels, 3 * channels, 3, rng, bias=False)
        self.out = Conv2d(channels, channels, 3, rng)

    def __call__(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        qkv = ops.reshape(self.qkv(x), shape=(b, h * w, 3 * c))
        return x + self.out(ops.reshape(ops.self_attention(qkv, self.heads), shape=x.shape))
