"""Sums, means and extremes over axes (`axis` is None, an int or a tuple; `keepdims` as in NumPy), and sorting."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

from ..kernels import generic, namespace
from ..tape.primitive import Primitive
from .elementwise import absolute, equal, exp, sqrt, where
from .shapes import astype, axes_of, flip, pad, ravel, reshape, take_along_axis, transpose

_OVER = "x * axis=None keepdims=False"
# half the time of np.sum
_add_up = lambda x, axis, keepdims: namespace(x).add.reduce(x, axis=axis, keepdims=keepdims)
_extreme = {"x": lambda g, x, out, in_shape, axis: _shares(g, x, out, in_shape, axis)}

sum = Primitive(
    "sum", _OVER, kernel=_add_up, x=lambda g, in_shape, axis: _spread(g, shape=in_shape, axis=axis)
)
mean = Primitive(
    "mean", _OVER, x=lambda g, in_shape, axis: _spread(g / count(in_shape, axis), in_shape, axis)
)
_spread: Primitive = Primitive("spread", "x * shape axis",  # the other way round
                               kernel=lambda x, shape, axis: generic.broadcast_to(kept(x, shape, axis), shape),
                               x=lambda g, in_shape, axis: reshape(sum(g, axis=axis), shape=in_shape))  # fmt: skip
# equals get equal shares
max, min = Primitive("max", _OVER, **_extreme), Primitive("min", _OVER, **_extreme)
logsumexp = Primitive("logsumexp", _OVER, x=lambda g, x, out, in_shape, axis:
                      kept(g, in_shape, axis) * exp(x - kept(out, in_shape, axis)))  # fmt: skip
argmax, argmin = Primitive("argmax", _OVER), Primitive("argmin", _OVER)
argsort = Primitive(
    "argsort", "x * axis=-1", kernel=lambda x, axis: namespace(x).argsort(x, axis, kind="stable")
)
_cumsum = Primitive(
    "cumsum", "x * axis", x=lambda g, axis: flip(_cumsum(flip(g, axis=axis), axis=axis), axis=axis)
)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sums along an axis (through all elements in a row, if None)."""
    return _cumsum(ravel(x), axis=0) if axis is None else _cumsum(x, axis=axis)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product over axes: by halves, so that a zero among the factors is a factor like any other."""
    gone, n = axes_of(x.shape, axis), len(x.shape)
    rest = [i for i in range(n) if i not in gone]
    x, shape = transpose(x, axes=(*rest, *sorted(gone))), x.shape
    x = reshape(x, shape=(*(shape[i] for i in rest), count(shape, axis)))
    while (m := x.shape[-1]) != 1:
        x = (
            pad(x, (*((0, 0),) * len(rest), (0, m % 2 or m == 0)), constant_values=1)
            if m % 2 or m == 0
            else x
        )
        if m:
            x = x[..., ::2] * x[..., 1::2]
    return reshape(
        x,
        shape=tuple(
            1 if i in gone else k for i, k in enumerate(shape) if keepdims or i not in gone
        ),
    )


def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The mean squared distance from the mean; `ddof` is taken off the count."""
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / (count(x.shape, axis) - ddof)


def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The square root of `var`; where that is 0, so is the derivative."""
    return _root(var(x, axis, ddof, keepdims))


def norm(x: Any, ord: float | None = None, axis: Any = None, keepdims: bool = False) -> Any:
    """(Σ |x|^ord)^(1/ord) over axes, by default with ord=2; the largest |x| for ord=inf, the
    smallest for −inf.

    At 0 the derivative is 0. All elements that meet are one vector, also those of a matrix. Raises
    ValueError for ord=0 and for the names of matrix norms.
    """
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(absolute(x), axis=axis, keepdims=keepdims)
    if isinstance(ord, str) or ord == 0:
        raise ValueError(f"norm: ord must be None or a number other than 0; got {ord!r}")
    if ord in (None, 2):
        return _root(sum(x * x, axis=axis, keepdims=keepdims))
    total = sum(absolute(x) ** ord if ord != 1 else absolute(x), axis=axis, keepdims=keepdims)
    return (
        total
        if ord == 1
        else where(equal(total, 0), 0, where(equal(total, 0), 1, total) ** (1 / ord))
    )


def sort(x: Any, axis: int = -1) -> Any:
    """In ascending order along an axis; equals keep their order, and so their gradients."""
    return take_along_axis(x, argsort(x, axis=axis), axis)


def count(shape: tuple[int, ...], axis: Any) -> int:
    """How many elements meet in one of a reduction's results."""
    return math.prod(shape[a] for a in axes_of(shape, axis))


def kept(g: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """g with the axes that were summed away put back, of length 1, where it would not be broadcast rightly as it is."""
    if axis is None or len(g.shape) == len(shape):
        return g
    gone = axes_of(shape, axis)
    return reshape(g, shape=tuple(1 if i in gone else n for i, n in enumerate(shape)))


def _root(x):
    """√x with the derivative 0 at 0."""
    zero = equal(x, 0)
    return where(zero, 0, sqrt(where(zero, 1, x)))


def _shares(g, x, out, shape, axis):
    ties = astype(equal(x, kept(out, shape, axis)), dtype=g.dtype)
    return ties * (kept(g, shape, axis) / sum(ties, axis=axis, keepdims=True))
