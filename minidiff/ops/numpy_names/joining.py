"""Joining, cutting and turning arrays."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ...checks import growth, whole
from ...tape.primitive import broadcast_to
from ...tape.tape import Value
from ..elementwise import linear, where
from ..shapes import (
    array_namespace,
    concatenate,
    expand_dims,
    flip,
    getitem,
    moveaxis,
    placed,
    ravel,
    reshape,
    split,
    stack,
    swapaxes,
    take,
    transpose,
)

concat = concatenate
permute_dims = transpose
copy = linear("copy", "x", kernel=lambda x: x.copy(), x=lambda g: g)


def array(values: Any) -> Any:
    """Nested lists of numbers, arrays and Tensors as one array; a Tensor, if there is one inside.

    `np.array([t, 2 * t])` would lose the gradient; this keeps it. Numbers take the dtype of the
    arrays beside them, but fractions beside integers alone stay fractions. An array or Tensor is
    given back as it is.
    """
    if not isinstance(values, list | tuple):
        return values if hasattr(values, "shape") else np.asarray(values)
    arrays = [leaf for leaf in _leaves(values) if hasattr(leaf, "shape")]
    if not arrays:
        return np.asarray(values)
    floats = [leaf for leaf in arrays if leaf.dtype.kind == "f"]
    return _stacked(values, [*floats, *arrays][0])


def _leaves(values: Any) -> Iterator:
    if not isinstance(values, list | tuple):
        yield values
    else:
        for value in values:
            yield from _leaves(value)


def _stacked(values: Any, pattern: Any) -> Any:
    """Nested lists as one array; numbers take the dtype and the place of `pattern`."""
    if isinstance(values, list | tuple):
        return stack([_stacked(value, pattern) for value in values])
    if hasattr(values, "shape"):
        return values
    if isinstance(values, str | bytes):  # to NumPy, the name of a dtype
        raise TypeError(f"values: given {values!r} among arrays, wanted numbers")
    dtype = np.result_type(pattern.dtype, values)  # a fraction beside integers stays one
    return array_namespace(pattern).asarray(values, dtype)


# --- joining ---


def atleast_1d(x: Any) -> Any:
    """x; a number as an array of one element."""
    x = array(x)
    return x if x.shape else reshape(x, shape=(1,))


def atleast_2d(x: Any) -> Any:
    """x; an array of one axis as a row."""
    x = atleast_1d(x)
    return x if len(x.shape) > 1 else expand_dims(x, 0)


def atleast_3d(x: Any) -> Any:
    """x; an array of one axis as (1, n, 1), a matrix as (n, m, 1)."""
    x = atleast_2d(x)
    return x if len(x.shape) > 2 else expand_dims(x, 2)


def vstack(tup: Sequence) -> Any:
    """Join along the first axis; arrays of one axis are rows."""
    return concatenate([atleast_2d(x) for x in tup], 0)


def hstack(tup: Sequence) -> Any:
    """Join along the second axis; arrays of one axis along that."""
    parts = [atleast_1d(x) for x in tup]
    return concatenate(parts, 0 if parts and len(parts[0].shape) == 1 else 1)


def dstack(tup: Sequence) -> Any:
    """Join along the third axis; see `atleast_3d`."""
    return concatenate([atleast_3d(x) for x in tup], 2)


def column_stack(tup: Sequence) -> Any:
    """Join along the second axis; arrays of one axis are columns."""
    parts = [array(x) for x in tup]
    columns = [swapaxes(atleast_2d(x), 0, 1) if len(x.shape) < 2 else x for x in parts]
    return concatenate(columns, 1)


def append(x: Any, values: Any, axis: int | None = None) -> Any:
    """x, then `values`, along an axis; all elements in a row, if None."""
    parts = [array(x), array(values)]
    return concatenate([ravel(part) for part in parts] if axis is None else parts, axis or 0)


def insert(x: Any, obj: int, values: Any, axis: int | None = None) -> Any:
    """x with `values` put before position `obj` of an axis (of all elements in a row, if None).

    `values` is a number, or broadcast to one slice. Raises IndexError for a position that is not
    there.
    """
    if np.ndim(obj) != 0:
        raise IndexError(f"obj: given {obj}, wanted one position")
    if axis is None:
        x = ravel(x)
        axis = 0
    n = x.shape[axis]
    if not -n <= obj <= n:
        raise IndexError(f"obj: given {obj}, wanted a position from {-n} to {n}")
    before, after = split(x, [obj + n if obj < 0 else obj], axis)
    shape = list(x.shape)
    shape[axis] = 1
    if not hasattr(values, "shape"):
        values = array_namespace(x).asarray(values, x.dtype)
    return concatenate([before, broadcast_to(values, shape=tuple(shape)), after], axis)


def delete(x: Any, obj: Any, axis: int | None = None) -> Any:
    """x without the slices `obj` (an index, several, or a slice) of an axis."""
    n = int(np.prod(x.shape)) if axis is None else x.shape[axis]
    return take(x, array_namespace(x).asarray(np.delete(np.arange(n), obj)), axis)


def meshgrid(*xi: Any, indexing: str = "xy") -> list:
    """Coordinates of a grid, one array for each axis; "ij" keeps the order of the axes.

    With "xy" the first two are swapped. Raises ValueError for another `indexing`.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing: given {indexing!r}, wanted 'xy' or 'ij'")
    n = len(xi)
    axes = list(range(n))
    if indexing == "xy" and n > 1:
        axes[:2] = [1, 0]
    rows = [reshape(x, shape=(1,) * k + (-1,) + (1,) * (n - k - 1)) for k, x in zip(axes, xi)]
    shape = np.broadcast_shapes(*(row.shape for row in rows))
    return [broadcast_to(row, shape=shape) for row in rows]


# --- cutting ---

# A list of more arrays than that is a slip.
MOST_PARTS = 2**20


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Cut into so many parts, the first ones longer by one; or before the given indices."""
    if isinstance(indices_or_sections, int | np.integer):
        sections = whole("indices_or_sections", indices_or_sections, 1, MOST_PARTS)
        parts = np.array_split(np.arange(x.shape[axis]), sections)
        indices_or_sections = np.cumsum([len(part) for part in parts])[:-1].tolist()
    return split(x, indices_or_sections, axis)


def vsplit(x: Any, indices_or_sections: Any) -> list:
    """`split` along the first axis."""
    return split(x, indices_or_sections, 0)


def hsplit(x: Any, indices_or_sections: Any) -> list:
    """`split` along the second axis, or along the only one."""
    return split(x, indices_or_sections, min(len(x.shape) - 1, 1))


def dsplit(x: Any, indices_or_sections: Any) -> list:
    """`split` along the third axis."""
    return split(x, indices_or_sections, 2)


# --- turning ---


def flipud(x: Any) -> Any:
    """Rows in reverse order."""
    return flip(x, axis=0)


def fliplr(x: Any) -> Any:
    """Columns in reverse order."""
    return flip(x, axis=1)


def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by k quarters of a circle, from the first of two axes towards the second."""
    first, second = (normalize_axis_index(axis, len(x.shape)) for axis in axes)
    if first == second:
        raise ValueError(f"axes: given {axes}, wanted two different axes")
    if k % 4 == 2:
        return flip(flip(x, axis=first), axis=second)
    if k % 4 == 1:
        return swapaxes(flip(x, axis=second), first, second)
    return flip(swapaxes(x, first, second), axis=second) if k % 4 == 3 else x


def rollaxis(x: Any, axis: int, start: int = 0) -> Any:
    """The axis put before the axis `start`."""
    n = len(x.shape)
    axis = normalize_axis_index(axis, n)
    start = normalize_axis_index(start, n + 1) if start >= 0 else start + n
    return moveaxis(x, axis, start - (axis < start))


def matrix_transpose(x: Any) -> Any:
    """Each matrix transposed: the last two axes swapped."""
    return swapaxes(x, -1, -2)


# --- diagonals ---


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals of the matrices in two axes, as the last axis."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.shape[-2:]
    down = max(-offset, 0)
    right = max(offset, 0)
    i = array_namespace(x).arange(max(min(rows - down, columns - right), 0))
    return getitem(x, (..., i + down, i + right))


def make_diagonal(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """Square matrices in two new axes, with x's last axis as diagonals and zeros elsewhere."""
    n = x.shape[-1] + abs(offset)
    size = math.prod(x.shape)
    growth("offset", offset, size, math.prod(x.shape[:-1]) * n * n)
    i = array_namespace(x).arange(x.shape[-1])
    index = (..., i + max(-offset, 0), i + max(offset, 0))
    return moveaxis(placed(x, index, (*x.shape[:-1], n, n)), (-2, -1), (axis1, axis2))


def select(condlist: Sequence, choicelist: Sequence, default: Any = 0) -> Any:
    """For each element the choice of the first condition that holds; else `default`.

    Raises ValueError unless there is a choice for each condition.
    """
    if len(condlist) != len(choicelist):
        raise ValueError(
            f"condlist: given {len(condlist)} conditions, wanted {len(choicelist)}: one per choice"
        )
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        default = where(condition, choice, default)
    return default


def nonzero(x: Any) -> tuple:
    """Indices of the elements that are not 0, an array of integers for each axis."""
    x = array(x)
    return array_namespace(x).nonzero(x.data if isinstance(x, Value) else x)
