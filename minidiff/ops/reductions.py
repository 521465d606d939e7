"""Sums, means and extremes over axes, and sorting.

The derivative of a sum is a broadcast, and the derivative of a broadcast is a sum. An element
enters a sum once, so its gradient is the gradient of the sum:

    y = sum(x, axis=1)                      (n, k) → (n,)
    dx = broadcast_over(dy, (n, k), 1)      (n,) → (n, 1) → (n, k)

The others weight that broadcast: the mean by 1 / k, `logsumexp` by the softmax of x, and `max` by 1
at the largest element and 0 elsewhere. As in NumPy, `axis` is None, an int or a tuple, and with
`keepdims` the axes stay, of length 1.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

from ..kernels import generic, namespace, sums
from ..tape.primitive import Primitive
from .elementwise import absolute, as_floats, equal, exp, linear, sqrt, where
from .shapes import (
    astype,
    axes_of,
    flip,
    pad,
    ravel,
    reshape,
    take_along_axis,
    transpose,
    with_room,
)

# How a reduction declares its arguments.
REDUCTION = "x * axis=None keepdims=False"

# fmt: off
sum = linear("sum", REDUCTION, kernel=sums.total,
             x=lambda g, in_shape, axis: broadcast_over(g, shape=in_shape, axis=axis))
broadcast_over = linear("broadcast_over", "y * shape axis",
                        kernel=lambda y, shape, axis:
                        generic.broadcast_to(_keepdims(y, shape, axis), shape),
                        y=lambda g, in_shape, axis: reshape(sum(g, axis=axis), shape=in_shape))
mean = linear("mean", REDUCTION, kernel=sums.mean,
              x=lambda g, in_shape, axis:
              broadcast_over(g / _number_of_terms(in_shape, axis), shape=in_shape, axis=axis))
max = Primitive("max", REDUCTION,
                x=lambda g, x, out, in_shape, axis: _divide_among_equals(g, x, out, in_shape, axis))
min = Primitive("min", REDUCTION,
                x=lambda g, x, out, in_shape, axis: _divide_among_equals(g, x, out, in_shape, axis))
logsumexp = Primitive("logsumexp", REDUCTION, wants_floats=True,
                      x=lambda g, x, out, in_shape, axis:
                      _keepdims(g, in_shape, axis) * exp(x - _keepdims(out, in_shape, axis)))
_cumsum = linear("cumsum", "x * axis", kernel=sums.cumsum,
                 x=lambda g, axis: flip(_cumsum(flip(g, axis=axis), axis=axis), axis=axis))

# Positions are integers and have no derivative.
argmax = Primitive("argmax", REDUCTION)
argmin = Primitive("argmin", REDUCTION)
argsort = Primitive("argsort", "x * axis=-1",
                    kernel=lambda x, axis: namespace(x).argsort(x, axis, kind="stable"))
# fmt: on


def _number_of_terms(shape, axis):
    """How many elements meet in one result."""
    return math.prod(shape[a] for a in axes_of(shape, axis))


def _keepdims(y, shape, axis):
    """A result y of a reduction of `shape` with its axes put back, of length 1.

    y stays as it is if it is broadcast to `shape` rightly without them.
    """
    if axis is None or len(y.shape) == len(shape):
        return y
    reduced = axes_of(shape, axis)
    return y.reshape(tuple(1 if i in reduced else n for i, n in enumerate(shape)))


def _divide_among_equals(g, x, out, shape, axis):
    """The gradient of an extreme, in equal shares for all elements that are equal to it."""
    is_extreme = astype(equal(x, _keepdims(out, shape, axis)), dtype=g.dtype)
    share = _keepdims(g, shape, axis) / sum(is_extreme, axis=axis, keepdims=True)
    return is_extreme * share


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sums along an axis (through all elements in a row, if None)."""
    return _cumsum(ravel(x), axis=0) if axis is None else _cumsum(x, axis=axis)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product over axes.

    Factors are multiplied in pairs, and the products again, until one is left. So a zero is a
    factor like any other: the textbook's derivative, out / x, would divide by it.
    """
    x = with_room(x)
    shape = x.shape
    reduced = axes_of(shape, axis)
    rest = [i for i in range(len(shape)) if i not in reduced]
    # All factors of one product stand along the last axis.
    x = transpose(x, axes=(*rest, *sorted(reduced)))
    number = _number_of_terms(shape, axis)
    factors = reshape(x, shape=(*(shape[i] for i in rest), number))
    one_more = (*((0, 0) for _ in rest), (0, 1))
    if number == 0:
        factors = pad(factors, one_more, constant_values=1)
    while factors.shape[-1] > 1:
        if factors.shape[-1] % 2:
            factors = pad(factors, one_more, constant_values=1)
        factors = factors[..., ::2] * factors[..., 1::2]
    if keepdims:
        return reshape(factors, shape=tuple(1 if i in reduced else n for i, n in enumerate(shape)))
    return reshape(factors, shape=tuple(shape[i] for i in rest))


def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The mean squared distance from the mean; `ddof` is taken off the number of elements."""
    centred = x - mean(x, axis=axis, keepdims=True)
    total = sum(centred * centred, axis=axis, keepdims=keepdims)
    freedom = _number_of_terms(x.shape, axis) - ddof
    return total / (freedom if freedom > 0 else 0)


def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The square root of `var`; where that is 0, so is the derivative."""
    return _safe_sqrt(var(x, axis, ddof, keepdims))


def norm(x: Any, ord: float | None = None, axis: Any = None, keepdims: bool = False) -> Any:
    """(Σ |x|^ord)^(1/ord) over axes, by default with ord=2.

    ord=inf gives the largest |x|, −inf the smallest. All elements that meet are one vector, also
    those of a matrix. At 0 the derivative is 0. Raises ValueError for ord=0 and for the names of
    matrix norms.
    """
    if isinstance(ord, str) or ord == 0:
        raise ValueError(f"ord: given {ord!r}, wanted None or a number other than 0")
    (x,) = as_floats(x)
    if ord == math.inf:
        return max(absolute(x), axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return min(absolute(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(absolute(x), axis=axis, keepdims=keepdims)
    if ord in (None, 2):
        return _safe_sqrt(sum(x * x, axis=axis, keepdims=keepdims))
    # At 0 the slope of |x|^ord is 0 or has no limit.
    at_zero = equal(x, 0)
    powers = where(at_zero, 0 if ord > 0 else math.inf, where(at_zero, 1, absolute(x)) ** ord)
    total = sum(powers, axis=axis, keepdims=keepdims)
    is_zero = equal(total, 0)
    return where(is_zero, 0 if ord > 0 else math.inf, where(is_zero, 1, total) ** (1 / ord))


def sort(x: Any, axis: int | None = -1) -> Any:
    """x in ascending order along an axis (all elements in a row, if None).

    Equals keep their order, and so do their gradients.
    """
    if axis is None:
        return sort(ravel(x))
    return take_along_axis(x, argsort(x, axis=axis), axis)


def _safe_sqrt(x):
    """√x with the derivative 0 at 0."""
    is_zero = equal(x, 0)
    return where(is_zero, 0, sqrt(where(is_zero, 1, x)))
