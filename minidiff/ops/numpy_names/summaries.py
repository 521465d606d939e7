"""Over axes: products so far, differences, means with weights, medians and quantiles; sequences."""

import builtins
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ...checks import growth, whole
from ...tape.primitive import Primitive
from ..elementwise import as_floats, isnan, not_equal, subtract, where, zeros_like
from ..reductions import max, mean, min, sort, sum
from ..shapes import (
    array_namespace,
    astype,
    axes_of,
    concatenate,
    getitem,
    moveaxis,
    ravel,
    real_dtype,
    reshape,
    stack,
    take_along_axis,
    with_room,
)
from .joining import array, atleast_1d, diagonal
from .pointwise import isclose

any = Primitive("any", "x * axis=None keepdims=False")
all = Primitive("all", "x * axis=None keepdims=False")
argpartition = Primitive("argpartition", "x * kth axis=-1")
full_like = Primitive(
    "full_like",
    "x * fill_value dtype=None",
    kernel=lambda x, fill_value, dtype: array_namespace(x).full_like(
        x, fill_value, real_dtype(dtype or x.dtype)
    ),
    x=lambda g, x: zeros_like(x),
)

amax = max
amin = min


def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of x's shape, dtype and device."""
    return full_like(x, fill_value=1, dtype=dtype)


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True) -> Any:
    """`num` numbers from start to stop, evenly spaced along a new first axis.

    `stop` itself is the last one unless `endpoint` is False.
    """
    start, stop = as_floats(start, stop)
    difference = stop - start
    size = math.prod(getattr(difference, "shape", ()))
    growth("num", num, size, size * whole("num", num))
    steps = np.linspace(0.0, 1.0, num, endpoint)
    if not hasattr(difference, "shape"):
        return start * (1 - steps) + stop * steps
    shape = (num,) + (1,) * len(difference.shape)
    xp = array_namespace(difference)
    dtype = difference.dtype if difference.dtype.kind == "f" else None
    t = xp.asarray(steps.reshape(shape), dtype)
    return start * (1 - t) + stop * t


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sums of the diagonals of the matrices in two axes."""
    return sum(diagonal(x, offset, axis1, axis2), axis=-1)


def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements are not 0."""
    return sum(astype(not_equal(x, 0), dtype=np.int64), axis=axis, keepdims=keepdims)


def allclose(
    x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close: see `isclose`."""
    return bool(all(isclose(x, y, rtol, atol, equal_nan)))


def array_equal(x: Any, y: Any) -> bool:
    """Whether two arrays have one shape and the same elements."""
    x = array(x)
    y = array(y)
    return tuple(x.shape) == tuple(y.shape) and not bool(any(not_equal(x, y)))


# --- along an axis ---


def cumprod(x: Any, axis: int | None = None) -> Any:
    """Products so far along an axis (through all elements in a row, if None).

    Each round doubles how many factors have met, so that a zero is a factor like any other.
    """
    x = with_room(atleast_1d(x))
    x = ravel(x) if axis is None else moveaxis(x, axis, 0)
    step = 1
    while step < x.shape[0]:
        x = concatenate([x[:step], x[step:] * x[:-step]])
        step *= 2
    return x if axis is None else moveaxis(x, 0, axis)


def diff(x: Any, n: int = 1, axis: int = -1) -> Any:
    """The difference of each element and the one before it, n times over."""
    whole("n", n)
    x = array(x)
    length = x.shape[normalize_axis_index(axis, len(x.shape))] if n else 0
    step = not_equal if x.dtype == bool else subtract
    for _ in range(builtins.min(n, length)):  # then nothing is left
        x = step(_cut(x, axis, 1, None), _cut(x, axis, None, -1))
    return x


def gradient(x: Any, *spacing: float, axis: Any = None) -> Any:
    """Differences of neighbours, central inside and one-sided at the ends, for each axis.

    `spacing` is one number, or one per axis. The result is an array for one axis, a tuple for
    several. Raises ValueError for an axis of fewer than two elements, or for coordinates in the
    place of numbers.
    """
    if [step for step in spacing if np.ndim(step)]:
        raise ValueError("spacing: given an array, wanted the distance of neighbours, a number")
    (x,) = as_floats(array(x))
    axes = range(len(x.shape)) if axis is None else np.atleast_1d(axis).tolist()
    steps = spacing if len(spacing) > 1 else [*(spacing or [1.0])] * len(axes)
    if len(steps) != len(axes):
        raise ValueError(f"spacing: given {len(steps)} numbers, wanted one, or {len(axes)}")
    slopes = tuple(_slope(x, a, step) for a, step in zip(axes, steps))
    return slopes[0] if len(slopes) == 1 else slopes


def _slope(x, axis, step):
    if x.shape[axis] < 2:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted two elements along axis {axis}")
    inner = _cut(x, axis, 2, None) - _cut(x, axis, None, -2)
    first = _cut(x, axis, 1, 2) - _cut(x, axis, 0, 1)
    last = _cut(x, axis, -1, None) - _cut(x, axis, -2, -1)
    return concatenate([first, inner * 0.5, last], axis) / step


def _cut(x, axis, start, stop):
    """x[start:stop], along an axis."""
    lead = (slice(None),) * normalize_axis_index(axis, len(x.shape))
    return getitem(x, (*lead, slice(start, stop)))


# --- over axes ---


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """From peak to peak: the largest element minus the smallest."""
    return max(x, axis=axis, keepdims=keepdims) - min(x, axis=axis, keepdims=keepdims)


def average(x: Any, axis: Any = None, weights: Any = None, keepdims: bool = False) -> Any:
    """The mean in which elements count as much as their `weights`.

    Those have x's shape, or are one for each element along the axis.
    """
    x = array(x)
    if weights is None:
        return mean(x, axis=axis, keepdims=keepdims)
    x, weights = as_floats(x, array(weights))
    if weights.shape != x.shape:
        if not isinstance(axis, int) or tuple(weights.shape) != (x.shape[axis],):
            raise ValueError(
                f"weights: given shape {tuple(weights.shape)}, wanted {tuple(x.shape)}, or one "
                f"axis and a weight for each element along it"
            )
        behind = len(x.shape) - 1 - normalize_axis_index(axis, len(x.shape))
        weights = reshape(weights, shape=(-1,) + (1,) * behind)
    weights = weights + zeros_like(x)
    total = sum(weights, axis=axis, keepdims=keepdims)
    return sum(x * weights, axis=axis, keepdims=keepdims) / total


def quantile(x: Any, q: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The number below which a share q of the elements lies, between two of them on a line.

    Several q (a list) stand along a new first axis. Raises ValueError for a q outside [0, 1].
    """
    shares = np.asarray(q, np.float64)
    if shares.ndim > 1:
        raise ValueError(f"q: given shape {shares.shape}, wanted a number or a list of numbers")
    if shares.ndim:
        return stack([quantile(x, float(share), axis, keepdims) for share in shares])
    if not 0 <= shares <= 1:
        raise ValueError(f"q: given {q}, wanted a number in [0, 1]")
    (x,) = as_floats(array(x))
    if math.prod(x.shape) == 0:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted at least one element")
    gone = sorted(axes_of(x.shape, axis))
    shape = tuple(1 if i in gone else n for i, n in enumerate(x.shape) if keepdims or i not in gone)
    row = moveaxis(x, gone, range(-len(gone), 0)) if gone else x
    n = math.prod(x.shape[i] for i in gone)
    row = sort(reshape(row, shape=(*row.shape[: len(x.shape) - len(gone)], n)), axis=-1)
    place = float(shares) * (n - 1)
    low = math.floor(place)
    share = place - low
    value = row[..., low]
    if share:  # no difference of the two, which of infinite ones would be NaN
        value = value * (1 - share) + row[..., low + 1] * share
    last = row[..., -1]  # NaN if there is any
    return reshape(where(isnan(last), last, value), shape=shape)


def percentile(x: Any, q: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """`quantile` for q in percent."""
    return quantile(x, np.asarray(q) / 100, axis, keepdims)


def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The element in the middle, or the mean of the two there."""
    return quantile(x, 0.5, axis, keepdims)


def partition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """In an order in which the kth stands where sorting would put it, smaller ones before it."""
    if axis is None:
        return partition(ravel(x), kth)
    return take_along_axis(x, argpartition(x, kth=kth, axis=axis), axis)
