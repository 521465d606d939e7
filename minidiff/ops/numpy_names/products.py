"""Products of vectors and matrices by NumPy's other names."""

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..elementwise import multiply
from ..products import einsum, tensordot
from ..shapes import moveaxis, ravel, reshape, roll
from .joining import array


def inner(x: Any, y: Any) -> Any:
    """The sum over the last axes of both; a number times anything, if one is a number."""
    if np.isscalar(x) or np.isscalar(y):
        return multiply(x, y)
    x = array(x)
    y = array(y)
    if not x.shape or not y.shape:
        return multiply(x, y)
    return tensordot(x, y, ([-1], [-1]))


def vdot(x: Any, y: Any) -> Any:
    """The sum over all elements of x times those of y, both in a row."""
    return inner(ravel(array(x)), ravel(array(y)))


def vecdot(x: Any, y: Any, axis: int = -1) -> Any:
    """The sum of x · y over one axis; the others are broadcast."""
    return einsum("...i,...i->...", moveaxis(array(x), axis, -1), moveaxis(array(y), axis, -1))


def kron(x: Any, y: Any) -> Any:
    """Every element of x times the whole of y: a block for each element of x."""
    x = array(x)
    y = array(y)
    n = max(len(x.shape), len(y.shape))
    sizes = [(1,) * (n - len(a.shape)) + tuple(a.shape) for a in (x, y)]
    outer = reshape(x, shape=tuple(k for size in sizes[0] for k in (size, 1)))
    inner = reshape(y, shape=tuple(k for size in sizes[1] for k in (1, size)))
    return reshape(multiply(outer, inner), shape=tuple(i * j for i, j in zip(*sizes)))


def cross(
    x: Any, y: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The vector at right angles to two vectors of length 3, with the area between them as length.

    The vectors lie along `axisa`, `axisb` and, in the result, `axisc`; `axis` stands for all three.
    Raises ValueError unless they have three elements.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x = moveaxis(array(x), axisa, -1)
    y = moveaxis(array(y), axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        raise ValueError(
            f"cross: given vectors of {x.shape[-1]} and {y.shape[-1]} elements, wanted 3 and 3"
        )

    def turned(a: Any, by: int) -> Any:
        return roll(a, shift=by, axis=-1)

    out = turned(x, -1) * turned(y, 1) - turned(x, 1) * turned(y, -1)
    return moveaxis(out, -1, normalize_axis_index(axisc, len(out.shape)))
