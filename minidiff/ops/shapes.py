"""Operations that move elements and compute nothing: each one's derivative is the move back.

    reshape ↔ reshape      transpose ↔ transpose      flip ↔ flip      roll ↔ roll the other way
    getitem ↔ scatter_add  pad ↔ slice off the border                  concatenate ↔ split

Reading x[index] may read one place twice. The way back adds: `scatter_add` puts the sum of all
gradients at each place. So the derivative of either is the other.

All of them are linear: tangents are moved as the elements are.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..checks import among, growth, on_host, plain, whole
from ..kernels.sums import dtype_of_sums
from ..tape.primitive import Primitive, broadcast_to, sum_to
from ..tape.promotion import REAL
from .elementwise import equal, linear, where, zeros_like
from .indices import array_namespace, index_of

# fmt: off
reshape = linear("reshape", "x * shape", x=lambda g, in_shape: reshape(g, shape=in_shape))
transpose = linear("transpose", "x * axes=None",
                   x=lambda g, axes: transpose(g, axes=_inverse_permutation(axes)))
swapaxes = linear("swapaxes", "x * axis1 axis2", x=lambda g, **axes: swapaxes(g, **axes))
flip = linear("flip", "x * axis=None", x=lambda g, axis: flip(g, axis=axis))
roll = linear("roll", "x * shift axis=None",
              x=lambda g, shift, axis: roll(g, shift=_opposite(shift), axis=axis))
# Of a vector, NumPy makes a matrix of equal rows.
tril = linear("tril", "x * k=0", x=lambda g, in_shape, k: sum_to(tril(g, k=k), shape=in_shape))
triu = linear("triu", "x * k=0", x=lambda g, in_shape, k: sum_to(triu(g, k=k), shape=in_shape))
astype = Primitive("astype", "x * dtype",
                   kernel=lambda x, dtype: x.astype(real_dtype(dtype)),
                   x=lambda g, x, dtype: _cast_back(g, x, dtype),
                   forward=lambda tangents, dtype: _cast(tangents[0], dtype))

_getitem = linear("getitem", "x * index",
                  kernel=lambda x, index: x[index],
                  x=lambda g, in_shape, index: scatter_add(g, index, in_shape))
_scatter_add = linear("scatter_add", "y * index shape",
                      y=lambda g, index: _getitem(g, index=index))
_pad = Primitive("pad", "x * width value=0",
                 x=lambda g, in_shape, width: g[_inside_border(in_shape, width)],
                 forward=lambda tangents, width: _pad(*tangents, width=width))
# What the kernel hands on (aux) is where one array ends and the next begins.
_concatenate = Primitive("concatenate", "*xs * axis",
                         joint=lambda g, aux, axis: split(g, aux, axis),
                         forward=lambda tangents, out_shape, aux, axis:
                         _joined_tangents(tangents, out_shape, aux, axis))
# fmt: on


def _inverse_permutation(axes):
    if axes is None:  # the reversed order is its own inverse
        return None
    return tuple(int(i) for i in np.argsort([axis % len(axes) for axis in axes]))


def _opposite(shift):
    return tuple(-s for s in shift) if isinstance(shift, tuple | list) else -shift


def _cast_back(g, x, dtype):
    """The gradient in the dtype of x; zeros after a cast to integers, which is a step function."""
    return astype(g, dtype=x.dtype) if np.dtype(dtype).kind == "f" else zeros_like(x)


def _cast(v, dtype):
    """The tangent in another dtype; none after a cast to integers."""
    return astype(v, dtype=dtype) if np.dtype(dtype).kind == "f" else None


def _joined_tangents(tangents, shape, cuts, axis):
    """Tangents joined as the arrays are, with zeros for an array that has none."""
    first = next(v for v in tangents if v is not None)
    zeros = array_namespace(first).zeros(shape, first.dtype)
    parts = zip(split(zeros, cuts, axis), tangents, strict=True)
    return _concatenate(*[zero if v is None else v for zero, v in parts], axis=axis)


def _inside_border(shape, width):
    """The index that cuts off the border again."""
    return tuple(slice(before, before + size) for size, (before, _) in zip(shape, width))


# --- axes ---


def axes_of(shape: tuple[int, ...], axis: Any) -> set[int]:
    """The axes that `axis` (None, an int or a tuple) means, counted from the front.

    A number has the axes 0 and −1, as for NumPy. Raises ValueError for an axis that is not there or
    is named twice.
    """
    if axis is None:
        return set(range(len(shape)))
    axes = axis if isinstance(axis, tuple) else (axis,)
    found = {normalize_axis_index(a, len(shape) or 1) for a in axes}
    if len(found) < len(axes):
        raise ValueError(f"axis: given {axis}, wanted each axis once")
    return found if shape else set()


def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """A new axis of length 1, which stands at `axis` of the result; several, for a tuple.

    Raises ValueError if it cannot stand there.
    """
    if isinstance(axis, tuple):
        new = axes_of((1,) * (len(x.shape) + len(axis)), axis)
        for place in sorted(new):
            x = expand_dims(x, place)
        return x
    axis = normalize_axis_index(axis, len(x.shape) + 1, "expand_dims")
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """x without the given axes, or by default without all axes of length 1.

    Raises ValueError if a given axis is longer.
    """
    if axis is None:
        removed = {i for i, n in enumerate(x.shape) if n == 1}
    else:
        removed = axes_of(x.shape, axis)
    if any(x.shape[i] != 1 for i in removed):
        raise ValueError(
            f"squeeze: given axis {axis} of shape {tuple(x.shape)}, wanted axes of length 1"
        )
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in removed))


def ravel(x: Any) -> Any:
    """All elements along one axis."""
    return reshape(x, shape=(-1,))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Any:
    """x with a border around it.

    `pad_width` is ((before, after), …), a pair for each axis, or one pair or int for all axes.
    The border is a constant, or made of x itself: `mode` "reflect", "edge", "wrap" or "symmetric",
    as in NumPy. Raises ValueError for a negative width or an unknown mode.
    """
    width = np.broadcast_to(pad_width, (len(x.shape), 2)).tolist()
    if any(before < 0 or after < 0 for before, after in width):
        raise ValueError(f"pad_width: given {pad_width}, wanted no negative numbers")
    among("mode", mode, ("constant", "reflect", "edge", "wrap", "symmetric"))
    padded = [before + n + after for n, (before, after) in zip(x.shape, width)]
    growth("pad_width", pad_width, math.prod(x.shape), math.prod(padded))
    if mode == "constant":
        return _pad(x, width=tuple(map(tuple, width)), value=constant_values)
    # NumPy pads the numbers of the places along each axis, and x is read at those places.
    xp = array_namespace(x)
    for axis, both_ends in enumerate(width):
        places = xp.pad(xp.arange(x.shape[axis]), both_ends, mode=mode)
        x = take(x, places, axis)
    return x


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """The axis (or axes) `source` put at `destination`, the others in their order."""
    # An array whose axis i has length i: after the move, its shape is the permutation.
    numbered = np.empty(range(len(x.shape)))
    return transpose(x, axes=np.moveaxis(numbered, source, destination).shape)


# --- joining, cutting, repeating ---


def concatenate(arrays: Sequence, axis: int | None = 0) -> Any:
    """Join arrays along an axis that exists (all elements in a row, if None).

    See `stack` for a new one. Raises ValueError if there are no arrays.
    """
    if not len(arrays):
        raise ValueError("concatenate: given no arrays, wanted one or more")
    if axis is None:
        return _concatenate(*map(ravel, arrays), axis=0)
    return _concatenate(*arrays, axis=axis)


def stack(arrays: Sequence, axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis."""
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Cut x into equal parts (an int says how many), or before the given indices.

    Raises ValueError if the parts cannot be equal.
    """
    size = x.shape[axis]
    if isinstance(indices_or_sections, int | np.integer):
        sections = whole("indices_or_sections", indices_or_sections, 1)
        if size % sections:
            raise ValueError(
                f"split: given {size} elements along axis {axis}, wanted a multiple of the "
                f"{sections} sections"
            )
        cuts = [k * (size // sections) for k in range(1, sections)]
    else:
        cuts = list(indices_or_sections)
    axes_before = (slice(None),) * (axis % len(x.shape))
    ends = pairwise([0, *cuts, size])
    return [getitem(x, (*axes_before, slice(start, stop))) for start, stop in ends]


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element, or each slice along `axis`, `repeats` times in a row.

    `repeats` is an int, or has an int for each of them.
    """
    plain("repeats", repeats)
    on_host("repeats", repeats)
    # what has a number for each of them is a host value, and so are the places to be taken then
    xp = np if np.ndim(repeats) else array_namespace(x)
    x = x if x.shape else reshape(x, shape=(1,))
    size = math.prod(x.shape)
    n = size if axis is None else x.shape[axis]
    copies = int(np.sum(repeats, dtype=object))  # in all, or, of one number, for each
    growth("repeats", repeats, size, size * copies // (1 if np.size(repeats) == 1 else n or 1))
    return take(x, xp.repeat(xp.arange(n), repeats), axis)


def tile(x: Any, reps: Any) -> Any:
    """Copies of the whole array side by side: `reps` of them along each axis.

    Axes are added in front as needed.
    """
    copies = list(reps) if isinstance(reps, tuple | list) else [reps]
    ndim = max(len(copies), len(x.shape))
    copies = [1] * (ndim - len(copies)) + copies
    sizes = [1] * (ndim - len(x.shape)) + list(x.shape)
    growth("reps", reps, math.prod(x.shape), math.prod(sizes) * math.prod(copies))
    # Along each axis: size → 1 × size → copies × size → copies · size.
    x = reshape(x, shape=tuple(n for size in sizes for n in (1, size)))
    x = broadcast_to(x, shape=tuple(n for pair in zip(copies, sizes) for n in pair))
    return reshape(x, shape=tuple(k * size for k, size in zip(copies, sizes)))


# --- indexing ---


def getitem(x: Any, index: Any) -> Any:
    """x[index], with NumPy's rules; the gradients of a place that is named twice add up.

    Raises IndexError for a place outside. Places that are on a device are looked at in `debug_mode`
    only; otherwise CuPy wraps them around.
    """
    return _getitem(x, index=index_of(x, index, x.shape))


def scatter_add(y: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape`, with y added at `index`: the transpose of `getitem`.

    What falls on one place adds up.
    """
    return placed(with_room(y), index, shape)


def placed(y: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """`scatter_add` in the dtype of y."""
    return _scatter_add(y, index=index_of(y, index, shape), shape=shape)


def real_dtype(dtype: Any) -> np.dtype:
    """The dtype; TypeError unless it is one of floats, integers or booleans."""
    if np.dtype(dtype).kind not in REAL:
        raise TypeError(f"dtype: given {np.dtype(dtype)}, wanted one of real numbers")
    return np.dtype(dtype)


def with_room(x: Any) -> Any:
    """x, but short integers and booleans as long ones, as NumPy sums and multiplies them."""
    return x if x.dtype.kind == "f" else astype(x, dtype=dtype_of_sums(x.dtype))


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices at `indices` along `axis` (of all elements in a row, if None).

    Raises as `getitem` does, and TypeError for a mask: x[mask] takes what it marks.
    """
    plain("indices", indices)
    given = np.dtype(getattr(indices, "dtype", None) or np.asarray(indices).dtype)
    if given.kind not in "iu" and np.size(indices):
        raise TypeError(f"indices: given {given}, wanted integers; for a mask type x[mask]")
    if axis is None:
        return getitem(ravel(x), (indices,))
    axes_before = (slice(None),) * normalize_axis_index(axis, len(x.shape))
    return getitem(x, (*axes_before, indices))


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """For each position along the other axes its own `indices`, as `argsort` gives them."""
    xp = array_namespace(x)
    ndim = len(x.shape)
    axis = normalize_axis_index(axis, ndim)
    # The open grid of all positions, and the indices in the place of their axis.
    index = [xp.reshape(xp.arange(n), (-1,) + (1,) * (ndim - i - 1)) for i, n in enumerate(x.shape)]
    index[axis] = indices
    return getitem(x, tuple(index))


def at_add(x: Any, index: Any, values: Any) -> Any:
    """A copy of x with `values` added at x[index]; what falls on one place adds up.

    Also `t.at[index].add(values)`.
    """
    return x + placed(_fit_to_index(x, index, values), index, x.shape)


def at_set(x: Any, index: Any, values: Any) -> Any:
    """A copy of x with x[index] replaced by `values`.

    Of several values for one place the last stays, and gets the gradient. Also
    `t.at[index].set(values)`.
    """
    values = _fit_to_index(x, index, values)
    xp = array_namespace(x)
    index = index_of(x, index, x.shape)
    # The values are numbered from 1. The largest number at a place says whose value stays.
    numbers = xp.reshape(xp.arange(1, math.prod(values.shape) + 1), values.shape)
    winners = xp.zeros(x.shape, int)
    xp.maximum.at(winners, index, numbers)
    stays = equal(winners[index], numbers)
    replaced = placed(where(stays, values, 0), index, x.shape)
    return where(equal(winners, 0), x, replaced)


def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix with this diagonal and zeros elsewhere.

    Raises ValueError for other numbers of axes; see `diagonal`.
    """
    if len(x.shape) not in (1, 2):
        raise ValueError(f"diag: given shape {tuple(x.shape)}, wanted a vector or a matrix")
    row = max(-k, 0)
    column = max(k, 0)
    is_vector = len(x.shape) == 1
    n = x.shape[0] if is_vector else max(min(x.shape[0] - row, x.shape[1] - column), 0)
    i = array_namespace(x).arange(n)
    index = (i + row, i + column)
    if is_vector:
        growth("k", k, n, (n + abs(k)) ** 2)
        return placed(x, index, (n + abs(k), n + abs(k)))
    return getitem(x, index)


def _fit_to_index(x, index, values):
    """The values in the shape of x[index]; a scalar in the dtype of x, too, if that has room."""
    if isinstance(values, np.generic) or not hasattr(values, "shape"):
        keeps_all = x.dtype.kind == "f" or not isinstance(values, float | np.floating)
        values = array_namespace(x).asarray(values, x.dtype if keeps_all else None)
    return broadcast_to(values, shape=getitem(x, index).shape)
