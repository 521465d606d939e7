"""The layers: each holds its parameters and calls an operation or two.

Images are (batch, height, width, channels), sequences (batch, positions, channels). Parameters
start as float32 draws from `rng`, a NumPy Generator or a seed for one, so that a seed gives the
same model everywhere. Give the layers of a model one Generator: the same seed would draw the same
numbers for each.
"""

import math
from typing import Any

import numpy as np
from numpy.random import Generator

from .. import checks, kernels, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..ops.convolution import pair
from .module import Module

Pair = int | tuple[int, int]
Seed = Generator | int | None  # None is what forgetting it gives: an error that says what to type


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

    def __init__(self, inputs: int, outputs: int, rng: Seed = None, bias: bool = True):
        rng = checks.generator("rng", rng)
        checks.sizes(inputs=inputs, outputs=outputs)
        self.weight = uniform(rng, (inputs, outputs), fan_in=inputs)
        has_bias = checks.flag("bias", bias)
        self.bias = uniform(rng, (outputs,), fan_in=inputs) if has_bias else None

    def __call__(self, x: Any) -> Tensor:
        return ops.dense(x, self.weight, self.bias)


class Embedding(Module):
    """A row of `weight` (rows, dim) for each integer id. Rows start as N(0, 1)."""

    def __init__(self, rows: int, dim: int, rng: Seed = None):
        rng = checks.generator("rng", rng)
        checks.sizes(rows=rows, dim=dim)
        self.weight = parameter(rng.standard_normal((rows, dim)))

    def __call__(self, ids: Any) -> Tensor:
        return ops.embedding(self.weight, ids)


LARGEST_TABLE = 1 << 20  # numbers


class SinusoidalEmbedding(Module):
    """A time as waves: entries 2i, 2i + 1 are sin, cos of t / 10000^(2i/(dim − 2)).

    Nothing in it is trained. With `timesteps`, all times are in 0 … timesteps, and whole ones are
    looked up in a table, unless it were a huge one. Raises ValueError for a `dim` that is odd or
    below 4. Source: Vaswani et al. 2017 (arXiv 1706.03762, section 3.5), with dim − 2 for dim, so
    that the slowest wave has exactly the period 2π·10000.
    """

    def __init__(self, dim: int, timesteps: int | None = None):
        checks.whole("dim", dim)
        if dim < 4 or dim % 2:
            raise ValueError(f"dim: given {dim}, wanted an even number, at least 4")
        checks.sizes(dim=dim)
        self.frequencies = 10000.0 ** (-2 * np.arange(dim // 2) / (dim - 2))
        self.table = None
        if timesteps is not None and checks.whole("timesteps", timesteps, 1) * dim <= LARGEST_TABLE:
            self.table = self._waves(np.arange(timesteps + 1))

    def __call__(self, t: np.ndarray, like: Array) -> Array:
        """Host times (batch,), which may be real, as (batch, dim).

        The result has the dtype of the array `like`, on its device.
        """
        return kernels.from_host(self.on_host(t, like), like)

    def on_host(self, t: np.ndarray | Tensor, like: Array) -> Any:
        """The same before it is moved, so that it may move together with other host values.

        Of a Tensor of times it is one, and has a derivative.
        """
        if isinstance(t, Tensor):
            return self._waves_of_tensor(t, like)
        kind = t.dtype.kind if isinstance(t, np.ndarray) and t.ndim == 1 else None
        if kind not in ("i", "u", "f"):
            raise TypeError(f"t: given {type(t).__name__}, wanted an array (batch,) of numbers")
        if not hasattr(like, "dtype"):
            raise TypeError(f"like: given {type(like).__name__}, wanted an array")
        if self.table is None or kind == "f":
            waves = self._waves(t)
        else:
            waves = self.table.take(t, axis=0)
        return waves.astype(like.dtype)

    def _waves_of_tensor(self, t: Tensor, like: Array) -> Tensor:
        frequencies = kernels.from_host(self.frequencies, t.data)
        phase = ops.expand_dims(t.astype(np.float64), -1) * frequencies
        waves = ops.stack([ops.sin(phase), ops.cos(phase)], axis=-1)
        return ops.reshape(waves, shape=(len(t), -1)).astype(like.dtype)

    def _waves(self, t: np.ndarray) -> np.ndarray:
        """In float64: in float32 the phases are off by 1e-4 where t is some thousands."""
        phase = t.astype(np.float64)[:, None] * self.frequencies
        return np.stack([np.sin(phase), np.cos(phase)], axis=-1).reshape(len(phase), -1)


class Dropout(Module):
    """In training each element is 0 with probability p, else divided by 1 − p; after `eval()`, x.

    The draws come from `rng`, which is the layer's own if it was given a seed. Raises ValueError
    unless 0 ≤ p < 1. Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural
    networks from overfitting".
    """

    def __init__(self, p: float = 0.5, rng: Seed = None):
        self.p = checks.among("p", p, checks.Between(0, 1, "[)"))
        self.rng = checks.generator("rng", rng)

    def __call__(self, x: Any) -> Any:
        return ops.dropout(x, self.p, self.rng) if self.training else x


class Flatten(Module):
    """Each sample as one row: (batch, …) to (batch, the product of the rest)."""

    def __call__(self, x: Any) -> Any:
        return ops.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


class _Pool(Module):
    """What pooling layers share: windows of `size`, their stride, and the padding."""

    def __init__(self, size: Pair, stride: Pair | None = None, padding: Pair = 0):
        pair("size", size, 1)
        pair("padding", padding, 0)
        if stride is not None:
            pair("stride", stride, 1)
        self.size = size
        self.stride = stride
        self.padding = padding


class MaxPool(_Pool):
    """The largest value of each window of `size`, side by side; see `ops.max_pool2d`."""

    def __call__(self, x: Any) -> Tensor:
        return ops.max_pool2d(x, self.size, self.stride, self.padding)


class AvgPool(_Pool):
    """The mean of each window of `size`, side by side; see `ops.avg_pool2d`."""

    def __call__(self, x: Any) -> Tensor:
        return ops.avg_pool2d(x, self.size, self.stride, self.padding)


class AdaptiveAvgPool(Module):
    """The image cut into `output_size` windows, and the mean of each; 1 gives one per channel."""

    def __init__(self, output_size: Pair):
        pair("output_size", output_size, 1)
        self.output_size = output_size

    def __call__(self, x: Any) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)
