"""What each sample of a batch has of its own: coefficients, noise, a condition.

Images are (batch, height, width, channels), points (batch, 2); any shape with the batch first will
do. Times are host values: one number for all samples, or (batch,). Coefficients are float64 on the
host and cast to the data's dtype.
"""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from .. import checks, ops
from ..autograd.tensor import Tensor
from ..kernels import Array, call, from_host, from_host_together, namespace

# numbers in a sample: up to here another pass over them costs less than finding the kernel
SMALL = 1 << 8


def check_samples(name: str, x: Any) -> None:
    """Raise TypeError or ValueError unless x is a finite array of floats, on any device."""
    checks.samples(name, x, _functions_for(name, x))


def check_clean(name: str, x: Any) -> None:
    """Raise as `check_samples`, and ValueError for images that are not scaled to [-1, 1]."""
    checks.clean_samples(name, x, _functions_for(name, x))


def check_array(name: str, x: Any) -> None:
    """Raise TypeError, saying what to type, for a Tensor, a masked array or what is no array."""
    _functions_for(name, x)
    if not hasattr(x, "dtype"):
        raise TypeError(f"{name}: given {type(x).__name__}, wanted an array")
    checks.plain(name, x)


def check_batch(name: str, x: Any) -> None:
    """Raise as `check_array` and `check_clean`, and ValueError for a batch of none: to train on."""
    check_array(name, x)
    check_clean(name, x)
    if len(x) == 0:
        raise ValueError(f"{name}: given shape {x.shape}, wanted at least one sample")


def on_device_of(x: Array, array: Array) -> Array:
    """The array, moved to where x is if it is on the host; one on a device stays there."""
    return from_host(array, x) if isinstance(array, np.ndarray) else array


def _functions_for(name: str, x: Any) -> Any:
    """The functions for an array like x; NumPy's for what is none. TypeError for a Tensor."""
    if isinstance(x, Tensor):
        raise TypeError(f"{name}: given a Tensor, wanted an array: type {name}.numpy()")
    return namespace(x) if hasattr(x, "dtype") else np


# --- coefficients ---


def column(values, x: Array) -> Any:
    """Coefficients for the samples of x: one becomes a Python float, (batch,) a column.

    A column is (batch, 1, …), with the dtype and on the device of x, and so it multiplies x. Raises
    ValueError where there are neither one nor as many as samples.
    """
    return columns([values], x)[0]


def columns(values: Sequence, x: Array) -> list:
    """The `column` of each of several; they move to a device together."""
    return from_host_together([_on_host(each, x) for each in values], x)


def _on_host(values, x: Array) -> Any:
    values = np.asarray(values)
    if values.ndim == 0:
        return float(values)
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"t: given shape {values.shape}, wanted one number or one per sample, ({x.shape[0]},)"
        )
    shape = (-1, *[1] * (x.ndim - 1))
    return values.astype(x.dtype).reshape(shape)


def weighted_sum(a, x: Array, b, y: Array) -> Array:
    """a x + b y, in one pass where samples are large; a and b are two numbers, or two columns.

    The pass rounds once less. So the batch must not decide: a sample is the same in any.
    """
    if isinstance(x, Tensor) or x.size <= SMALL * len(x):
        return a * x + b * y
    return call("blend", x, y, a=a, b=b)


def scaled(factor: Any, x: Array) -> Array:
    """factor x of one factor; x as it is where that is 1, as on most schedules."""
    return x if factor == 1 else float(factor) * x


def dot(a: Array, b: Array) -> Array:
    """The inner product of each sample with its partner, (batch, 1, …)."""
    axes = tuple(range(1, a.ndim))
    return namespace(a).sum(a * b, axis=axes, keepdims=True)


def exp(value: Any) -> Any:
    """e^value of a float, an array or a Tensor."""
    return math.exp(value) if isinstance(value, float) else ops.exp(value)


# --- noise ---


class Rng(Protocol):
    """What draws noise: a NumPy Generator, or anything with its `standard_normal(size, dtype)`."""

    def standard_normal(self, size: Any, dtype: Any) -> Any: ...


class RngOfSamples:
    """A Generator for each sample of a batch: what a sample draws does not depend on the others."""

    def __init__(self, seeds: Any):
        self.generators = [checks.generator("rng", seed) for seed in seeds]

    def standard_normal(self, size: Any, dtype: Any) -> np.ndarray:
        """Noise of the shape `size`, whose first axis is the batch."""
        rows = [generator.standard_normal(size[1:], dtype) for generator in self.generators]
        return np.array(rows, dtype).reshape(size)


def are_seeds(rng: Any) -> bool:
    """Whether it is a list of seeds, one for each sample."""
    return isinstance(rng, list | tuple | range) or getattr(rng, "ndim", 0) == 1


def as_rng(rng: Any, batch: int) -> Any:
    """What draws the noise for a batch.

    It is a new Generator for a seed, a `RngOfSamples` for a list of seeds, one for each sample;
    None, where none is drawn, and what has `standard_normal(size, dtype)` as they are. Raises
    ValueError for another number of seeds, TypeError for anything else.
    """
    if are_seeds(rng):
        if len(rng) != batch:
            raise ValueError(f"rng: given {len(rng)} seeds, wanted {batch}, one for each sample")
        return RngOfSamples(rng)
    knows_no_dtype = isinstance(rng, np.random.RandomState | ModuleType)
    if rng is None or (hasattr(rng, "standard_normal") and not knows_no_dtype):
        return rng
    return checks.generator("rng", rng)


def draw_noise(rng: Any, like: Array) -> Array:
    """Standard normal noise with the shape and the dtype of `like`.

    It is drawn on the host and moved to where `like` is.
    """
    return from_host(noise_on_host(rng, like), like)


def noise_on_host(rng: Any, like: Array) -> np.ndarray:
    """The noise of `draw_noise`, before it is moved."""
    if not hasattr(rng, "standard_normal"):
        raise ValueError(
            f"rng: given {rng!r}, wanted a NumPy Generator, or a seed such as 0: "
            "noise has to be drawn here"
        )
    return np.asarray(rng.standard_normal(like.shape, like.dtype), like.dtype)


# --- conditions ---


def as_condition(condition: Any, batch: int, name: str = "condition") -> Array | None:
    """The condition with one row per sample; None, the null condition, stays None.

    Integers are labels, (batch,) on the host, 0 being null; floats are vectors (batch, d), zeros
    being null. One label or one vector (d,) is repeated for every sample. Raises TypeError for what
    is neither, ValueError for a negative label or another batch size.
    """
    if condition is None:
        return None
    checks.plain(name, condition)
    given = type(condition).__name__
    if not hasattr(condition, "dtype"):
        condition = np.asarray(condition)
    kind = condition.dtype.kind
    if kind not in "iuf":
        given = given if kind == "O" else condition.dtype
        raise TypeError(f"{name}: given {given}, wanted None, integer labels or float vectors")
    one_row = 1 if kind == "f" else 0
    if condition.ndim == one_row:
        condition = namespace(condition).broadcast_to(condition, (batch, *condition.shape))
    if kind != "f":
        return checks.labels(name, condition, batch)
    if condition.ndim != 2 or condition.shape[0] != batch:
        raise ValueError(
            f"{name}: given shape {condition.shape}, wanted ({batch}, d): one vector per sample"
        )
    return condition
