"""Operations that move elements and compute nothing: each one's derivative is the move back."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..kernels import namespace
from ..tape.primitive import Primitive, broadcast_to
from ..tape.tape import Value
from .elementwise import equal, where, zeros_like

reshape = Primitive("reshape", "x * shape", x=lambda g, in_shape: reshape(g, shape=in_shape))
transpose = Primitive(
    "transpose", "x * axes=None", x=lambda g, axes: transpose(g, axes=_inverse(axes))
)
swapaxes = Primitive("swapaxes", "x * axis1 axis2", x=lambda g, **axes: swapaxes(g, **axes))
_cast = lambda x, dtype: x.astype(dtype)
# a step
_uncast = lambda g, x, dtype: (
    astype(g, dtype=x.dtype) if np.dtype(dtype).kind == "f" else zeros_like(x)
)
astype = Primitive("astype", "x * dtype", kernel=_cast, x=_uncast)
flip = Primitive("flip", "x * axis=None", x=lambda g, axis: flip(g, axis=axis))
roll = Primitive(
    "roll",
    "x * shift axis=None",
    x=lambda g, shift, axis: roll(g, shift=_negative(shift), axis=axis),
)
tril = Primitive("tril", "x * k=0", x=lambda g, k: tril(g, k=k))
triu = Primitive("triu", "x * k=0", x=lambda g, k: triu(g, k=k))

_getitem = Primitive("getitem", "x * index", kernel=lambda x, index: x[index],
                     x=lambda g, in_shape, index: scatter_add(g, index, in_shape))  # fmt: skip
_scatter_add = Primitive(
    "scatter_add", "y * index shape", y=lambda g, index: _getitem(g, index=index)
)
_pad = Primitive(
    "pad", "x * width value=0", x=lambda g, in_shape, width: g[_inside(in_shape, width)]
)
_concatenate = Primitive(
    "concatenate", "*xs * axis", joint=lambda g, aux, axis: split(g, aux, axis)
)


# --- axes ---


def axes_of(shape: tuple[int, ...], axis: Any) -> set[int]:
    """The axes that `axis` (None, an int or a tuple) means, counted from the front."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return {normalize_axis_index(a, len(shape)) for a in axes} if shape else set()


def expand_dims(x: Any, axis: int) -> Any:
    """A new axis of length 1, so that it stands at `axis` of the result.

    Raises ValueError if it cannot stand there.
    """
    axis = normalize_axis_index(axis, len(x.shape) + 1, "expand_dims")
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """Without the given axes of length 1, or without all such axes."""
    gone = {i for i, n in enumerate(x.shape) if n == 1} if axis is None else axes_of(x.shape, axis)
    if any(x.shape[i] != 1 for i in gone):
        raise ValueError(f"squeeze: axis {axis} of shape {tuple(x.shape)} is not of length 1")
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in gone))


def ravel(x: Any) -> Any:
    """All elements along one axis."""
    return reshape(x, shape=(-1,))


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Any:
    """A border: `pad_width` is ((before, after), …), a pair for each axis, or one pair or int for
    all.

    It is a constant, or made of x itself: `mode` "reflect", "edge", "wrap" or "symmetric", as in
    NumPy. Raises ValueError for a negative width or an unknown mode.
    """
    width = np.broadcast_to(pad_width, (len(x.shape), 2)).tolist()
    if min(map(min, width), default=0) < 0:
        raise ValueError(f"pad: pad_width must not be negative; got {pad_width}")
    if mode == "constant":
        return _pad(x, width=tuple(map(tuple, width)), value=constant_values)
    if mode not in ("reflect", "edge", "wrap", "symmetric"):
        raise ValueError(f"pad: mode {mode!r} is not known")
    xp = array_namespace(x)
    for axis, pair in enumerate(width):
        x = take(x, xp.pad(xp.arange(x.shape[axis]), pair, mode=mode), axis)
    return x


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """The axis (or axes) `source` put at `destination`, the others in their order."""
    return transpose(x, axes=np.moveaxis(np.empty(range(len(x.shape))), source, destination).shape)


# --- joining, cutting, repeating ---


def concatenate(arrays: Sequence, axis: int = 0) -> Any:
    """Join arrays along an axis that exists; see `stack` for a new one.

    Raises ValueError if there are none.
    """
    if not len(arrays):
        raise ValueError("concatenate: given no arrays, wanted one or more")
    return _concatenate(*arrays, axis=axis)


def stack(arrays: Sequence, axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis."""
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Cut into so many equal parts, or before the given indices.

    Raises ValueError if the parts cannot be equal.
    """
    n, cuts, lead = x.shape[axis], indices_or_sections, (slice(None),) * (axis % len(x.shape))
    if isinstance(cuts, int | np.integer):
        if n % cuts:
            raise ValueError(
                f"split: {n} elements along axis {axis} cannot be cut into {cuts} equal parts"
            )
        cuts = range(n // cuts, n, n // cuts) if n else [0] * (cuts - 1)
    return [getitem(x, (*lead, slice(a, b))) for a, b in pairwise([0, *cuts, n])]


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element, or slice along `axis`, so many times in a row (an int, or one for each)."""
    xp, n = array_namespace(x), math.prod(x.shape) if axis is None else x.shape[axis]
    return take(x, xp.repeat(xp.arange(n), repeats), axis)


def tile(x: Any, reps: Any) -> Any:
    """The whole array so many times along each axis; axes are added in front as needed."""
    times, sizes = [list(reps) if isinstance(reps, tuple | list) else [reps], list(x.shape)]
    times, sizes = ([1] * (len(b) - len(a)) + a for a, b in ((times, sizes), (sizes, times)))
    blocks = reshape(x, shape=tuple(k for size in sizes for k in (1, size)))
    many = broadcast_to(blocks, shape=tuple(k for pair in zip(times, sizes) for k in pair))
    return reshape(many, shape=tuple(map(math.prod, zip(times, sizes))))


# --- indexing ---


def getitem(x: Any, index: Any) -> Any:
    """x[index], with NumPy's rules; places that are named twice add up in the gradient."""
    return _getitem(x, index=plain_index(index, array_namespace(x)))


def scatter_add(y: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape`, with y added at `index`; what falls on one place adds up: the transpose of `getitem`."""
    return _scatter_add(y, index=plain_index(index, array_namespace(y)), shape=shape)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices at `indices` along `axis` (of all elements in a row, if None)."""
    x, axis = (ravel(x), 0) if axis is None else (x, axis)
    return getitem(x, (*(slice(None),) * normalize_axis_index(axis, len(x.shape)), indices))


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """For each position along the other axes its own `indices`, as `argsort` and `argmax` give them."""
    n, axis, xp = len(x.shape), normalize_axis_index(axis, len(x.shape)), array_namespace(x)
    grid = [
        xp.reshape(xp.arange(size), (-1,) + (1,) * (n - i - 1)) for i, size in enumerate(x.shape)
    ]
    return getitem(x, (*grid[:axis], indices, *grid[axis + 1 :]))


def at_add(x: Any, index: Any, values: Any) -> Any:
    """A copy of x with `values` added at x[index]; what falls on one place adds up.

    Also `t.at[index].add(values)`.
    """
    return x + scatter_add(_as_part(x, index, values), index=index, shape=x.shape)


def at_set(x: Any, index: Any, values: Any) -> Any:
    """A copy of x with x[index] replaced; of several values for one place the last stays, and gets
    the gradient.

    Also `t.at[index].set(values)`.
    """
    values, xp = _as_part(x, index, values), array_namespace(x)
    index = plain_index(index, xp)
    turn = xp.reshape(xp.arange(1, math.prod(values.shape) + 1), values.shape)
    last = xp.zeros(x.shape, int)
    last[index] = turn
    stays = equal(last[index], turn)
    return where(
        equal(last, 0), x, scatter_add(where(stays, values, 0), index=index, shape=x.shape)
    )


def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix that has a given diagonal and zeros elsewhere."""
    down, right, vector = max(-k, 0), max(k, 0), len(x.shape) == 1
    n = x.shape[0] if vector else max(min(x.shape[0] - down, x.shape[1] - right), 0)
    i = array_namespace(x).arange(n)
    index = i + down, i + right
    return scatter_add(x, index=index, shape=(n + abs(k),) * 2) if vector else getitem(x, index)


def array_namespace(x: Any) -> Any:
    """The module of array functions for an array or Tensor."""
    return namespace(x.data if isinstance(x, Value) else x)


def plain_index(index: Any, xp: Any) -> Any:
    """An index, or a part of one, with Tensors and lists made arrays of the namespace xp."""
    if isinstance(index, tuple):
        return tuple(plain_index(part, xp) for part in index)
    return (
        index.data
        if isinstance(index, Value)
        else xp.asarray(index)
        if isinstance(index, list)
        else index
    )


def _as_part(x, index, values):
    """The values in the shape and dtype that x[index] has."""
    scalar = isinstance(values, np.generic) or not hasattr(values, "shape")
    values = array_namespace(x).asarray(values, x.dtype) if scalar else values
    return broadcast_to(values, shape=getitem(x, index).shape)


def _inverse(axes):
    return (
        axes if axes is None else tuple(int(i) for i in np.argsort([a % len(axes) for a in axes]))
    )


def _negative(shift):
    return tuple(-s for s in shift) if isinstance(shift, tuple | list) else -shift


def _inside(shape, width):
    return tuple(slice(before, before + size) for size, (before, _) in zip(shape, width))
