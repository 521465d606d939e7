"""Operations that move elements and compute nothing: each one's derivative is the move back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..primitive import Primitive, broadcast_to
from ..tape import Value

reshape = Primitive("reshape", "x * shape", x=lambda g, in_shape: reshape(g, shape=in_shape))
transpose = Primitive("transpose", "x * axes=None", x=lambda g, axes: transpose(g, axes=_inverse(axes)))
swapaxes = Primitive("swapaxes", "x * axis1 axis2", x=lambda g, axis1, axis2: swapaxes(g, axis1=axis1, axis2=axis2))
astype = Primitive("astype", "x * dtype", x=lambda g, x: astype(g, dtype=x.dtype))

_getitem = Primitive("getitem", "x * index", x=lambda g, in_shape, index: scatter_add(g, index=index, shape=in_shape))
scatter_add = Primitive("scatter_add", "y * index shape", y=lambda g, index: _getitem(g, index=index))

_pad = Primitive("pad", "x * width value=0", x=lambda g, in_shape, width: g[_inside(in_shape, width)])
_concatenate = Primitive("concatenate", "*xs * axis", joint=lambda g, in_shapes, axis: _pieces(g, in_shapes, axis))


def getitem(x: Any, index: Any) -> Any:
    """x[index], with NumPy's rules; places that are named twice add up in the gradient."""
    if isinstance(index, tuple):
        index = tuple(_plain_index(i) for i in index)
    else:
        index = _plain_index(index)
    return _getitem(x, index=index)


def pad(x: Any, pad_width: Any, constant_values: float = 0) -> Any:
    """A border of a constant: `pad_width` is ((before, after), …), one pair for each axis, or one pair or int for all."""
    width = np.broadcast_to(pad_width, (len(x.shape), 2)).tolist()
    if min(map(min, width), default=0) < 0:
        raise ValueError(f"pad: pad_width must not be negative; got {pad_width}")
    return _pad(x, width=tuple(map(tuple, width)), value=constant_values)


def concatenate(arrays: Sequence, axis: int = 0) -> Any:
    """Join arrays along an axis that exists; see `stack` for a new one."""
    return _concatenate(*arrays, axis=axis)


def stack(arrays: Sequence, axis: int = 0) -> Any:
    """Join arrays of one shape along a new axis."""
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


def expand_dims(x: Any, axis: int) -> Any:
    """A new axis of length 1, so that it stands at `axis` of the result."""
    axis = axis % (len(x.shape) + 1)
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """Without the given axes of length 1, or without all such axes."""
    n = len(x.shape)
    gone = {i for i in range(n) if x.shape[i] == 1} if axis is None else {a % n for a in np.atleast_1d(axis).tolist()}
    if any(x.shape[i] != 1 for i in gone):
        raise ValueError(f"squeeze: axis {axis} of shape {tuple(x.shape)} is not of length 1")
    return reshape(x, shape=tuple(size for i, size in enumerate(x.shape) if i not in gone))


def _plain_index(index):
    return index.data if isinstance(index, Value) else np.asarray(index) if isinstance(index, list) else index


def _inverse(axes):
    return axes if axes is None else tuple(int(i) for i in np.argsort([a % len(axes) for a in axes]))


def _inside(shape, width):
    return tuple(slice(before, before + size) for size, (before, _) in zip(shape, width))


def _pieces(g, shapes, axis):
    """The part of g that each joined array had."""
    lead, start, pieces = (slice(None),) * (axis % len(shapes[0])), 0, []
    for shape in shapes:
        pieces.append(g[(*lead, slice(start, start + shape[axis]))])
        start += shape[axis]
    return pieces


__all__ = [
    "astype",
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "getitem",
    "pad",
    "reshape",
    "scatter_add",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
]
