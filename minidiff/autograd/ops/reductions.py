"""Sums, means and extremes over axes (`axis` is None, an int or a tuple; `keepdims` as in NumPy), and products."""

import math
from typing import Any

from ..primitive import Primitive, broadcast_to, sum_to
from .elementwise import equal
from .shapes import reshape, swapaxes

sum = Primitive(
    "sum",
    "x * axis=None keepdims=False",
    x=lambda g, in_shape, axis: broadcast_to(_kept(g, in_shape, axis), shape=in_shape),
)
mean = Primitive(
    "mean",
    "x * axis=None keepdims=False",
    x=lambda g, in_shape, axis: broadcast_to(_kept(g, in_shape, axis) / _count(in_shape, axis), shape=in_shape),
)
# Where several elements are the largest (smallest), each gets an equal share.
max = Primitive(
    "max", "x * axis=None keepdims=False", x=lambda g, x, out, in_shape, axis: _shares(g, x, out, in_shape, axis)
)
min = Primitive(
    "min", "x * axis=None keepdims=False", x=lambda g, x, out, in_shape, axis: _shares(g, x, out, in_shape, axis)
)
argmax, argmin = Primitive("argmax", "x * axis=None"), Primitive("argmin", "x * axis=None")

_matmul = Primitive(
    "matmul",
    "x y",
    x=lambda g, y, in_shape: sum_to(_matmul(g, swapaxes(y, axis1=-1, axis2=-2)), shape=in_shape),
    y=lambda g, x, in_shape: sum_to(_matmul(swapaxes(x, axis1=-1, axis2=-2), g), shape=in_shape),
)


def matmul(x: Any, y: Any) -> Any:
    """x @ y with NumPy's rules: (…, n, k) @ (…, k, m), leading axes broadcast; a 1-D operand is a row or a column.

    Raises ValueError if the inner sizes differ.
    """
    a, b = x.shape, y.shape
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise ValueError(f"matmul: cannot multiply {tuple(a)} by {tuple(b)}: the inner sizes must be equal")
    if len(a) > 1 and len(b) > 1:
        return _matmul(x, y)
    out = _matmul(reshape(x, shape=(1, *a)) if len(a) == 1 else x, reshape(y, shape=(*b, 1)) if len(b) == 1 else y)
    lead = out.shape[:-2]
    return reshape(out, shape=lead + out.shape[-2:-1] * (len(a) > 1) + out.shape[-1:] * (len(b) > 1))


def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    """The mean squared distance from the mean; `ddof` is taken off the count."""
    centred = x - mean(x, axis=axis, keepdims=True)
    n = _count(x.shape, axis)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / (n - ddof)


def _axes(shape, axis):
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return {a % len(shape) for a in axes} if shape else set()


def _count(shape, axis):
    return math.prod(shape[a] for a in _axes(shape, axis))


def _kept(g, shape, axis):
    """g with the axes that were summed away put back, of length 1."""
    gone = _axes(shape, axis)
    return reshape(g, shape=tuple(1 if i in gone else n for i, n in enumerate(shape)))


def _shares(g, x, out, shape, axis):
    ties = equal(x, _kept(out, shape, axis)) * 1.0
    return ties * (_kept(g, shape, axis) / sum(ties, axis=axis, keepdims=True))
