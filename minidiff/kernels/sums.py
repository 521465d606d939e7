"""Sums of many numbers, without losing digits.

NumPy adds in pairs only what lies side by side in memory. Over other axes it adds one number after
the other, and in float32 the total soon is too large for the next one: the mean of 5 million
numbers around 285 would be 277. There float64 takes no more time.
"""

import math

from . import namespace

MANY = 1024  # terms; fewer lose no digits that count
ROWS = 8192  # that a kernel adds up one after the other


def dtype_of_sums(dtype):
    """NumPy's: sums and products of short integers and booleans are long integers."""
    return {"b": "i8", "i": "i8", "u": "u8"}.get(dtype.kind, dtype)


def total(x, axis=None, keepdims=False):
    """The sum over axes. (The ufunc's `reduce` takes half the time of `np.sum`.)"""
    if x.size > MANY and _loses_digits(x, axis):
        wide = namespace(x).add.reduce(x, axis=axis, keepdims=keepdims, dtype="f8")
        return wide.astype(x.dtype)
    return namespace(x).add.reduce(x, axis=axis, keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    if x.size > MANY and _loses_digits(x, axis):
        return namespace(x).mean(x, axis=axis, keepdims=keepdims, dtype="f8").astype(x.dtype)
    return namespace(x).mean(x, axis=axis, keepdims=keepdims)


def largest(x, axis):
    """What sums of exponentials are taken relative to, with the axes kept; −∞ of no elements."""
    xp = namespace(x)
    return xp.max(x, axis, keepdims=True) if x.size else xp.sum(x, axis, keepdims=True) - math.inf


def cumsum(x, axis):
    if x.size > MANY and x.dtype == "f4":
        return namespace(x).cumsum(x, axis, dtype="f8").astype(x.dtype)
    return namespace(x).cumsum(x, axis)


def scatter_add(y, index, shape):
    """Zeros of that shape, with y added at the index; places named twice get both."""
    parts = index if isinstance(index, tuple) else (index,)
    if all(isinstance(part, int | slice | type(None) | type(...)) for part in parts):
        out = namespace(y).zeros(shape, y.dtype)
        out[index] = y
        return out
    dtype = "f8" if y.dtype == "f4" else y.dtype  # many float32 terms would lose digits
    out = namespace(y).zeros(shape, dtype)
    namespace(y).add.at(out, index, y.astype(dtype, copy=False))
    return out.astype(y.dtype, copy=False)


def in_pieces(kernel, *arrays):
    """The tuple of sums over rows that `kernel` gives, of at most `ROWS` rows at a time.

    float64 adds the pieces up.
    """
    rows = len(arrays[0])
    if rows <= ROWS or arrays[0].dtype != "f4":
        return kernel(*arrays)
    starts = range(0, rows, ROWS)
    pieces = [kernel(*(array[i : i + ROWS] for array in arrays)) for i in starts]
    return tuple(total(namespace(arrays[0]).stack(parts), 0) for parts in zip(*pieces))


def _loses_digits(x, axis):
    """Whether many float32 terms would be added one after the other."""
    if x.dtype != "f4":
        return False
    axes = range(x.ndim) if axis is None else axis
    axes = axes if hasattr(axes, "__len__") else (axes,)
    terms = math.prod(x.shape[i % x.ndim] for i in axes)
    last_axes = list(range(x.ndim - len(axes), x.ndim))
    in_pairs = x.flags.c_contiguous and sorted(i % x.ndim for i in axes) == last_axes
    return terms > MANY and not in_pairs
