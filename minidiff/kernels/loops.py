"""Convolution, dense layers and embeddings as plain loops that Numba compiles: to read, to change.

With `MINIDIFF_KERNELS=loops` they take the place of the vector kernels in `cpu`, and `generic` does
the rest. A kernel here is a loop, which does the arithmetic, and a function of `generic`'s name,
which makes room for the result. Change a loop, and see what happens: docs/kernels.md has an
exercise. With `NUMBA_DISABLE_JIT=1` the loops are plain Python, for a debugger to step through.
"""

import math

import numba
import numpy as np

from . import generic
from .disk_cache import keep
from .sums import dtype_of_sums, in_pieces, total
from .taps import check_convolution

# "contract" lets a product and its sum be one instruction, "reassoc" lets several parts of a sum
# run side by side. The other parts of fast mathematics would lose NaN and infinity.
_jit = numba.njit(nogil=True, fastmath={"contract", "reassoc"})


def compiled(loop):
    """The loop as machine code, which is kept on disk; as it is without a compiler."""
    fast = _jit(loop)
    if fast is not loop:
        keep(fast)
    return fast


def contiguous(array):
    """The array in order of memory, or a copy: Numba compiles a loop anew for any other layout.

    Raises TypeError for float16, which Numba cannot compute with.
    """
    if array.dtype == np.float16:
        raise TypeError(
            "array: given float16, wanted float32 or float64; MINIDIFF_KERNELS=generic takes it"
        )
    return np.require(array, None, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE", "ENSUREARRAY"])


def check(fits, *arrays):
    """ValueError unless the shapes fit: a compiled loop does not notice where an array ends."""
    if not fits:
        raise ValueError(f"arrays: given {[a.shape for a in arrays]}, wanted ones that fit")


# --- convolution: the three corners of one trilinear form ---
#
#     Σ y[n,i,j,k,o] · x[n,row,column,k,c] · w[u,v,c,k,o],   row = i · stride + u · dilation
#
# Two of the arrays are known, and the third is what their products are added to: that is all that
# the three loops differ in. Channels have two axes, the group k and the channel c or o of it.


@compiled
def conv2d_loop(x, w, y, stride, dilation):
    images, rows, columns, groups, outputs = y.shape
    taps_down, taps_across, inputs, _, _ = w.shape
    for n in range(images):
        for i in range(rows):
            for j in range(columns):
                for u in range(taps_down):
                    row = i * stride[0] + u * dilation[0]
                    for v in range(taps_across):
                        column = j * stride[1] + v * dilation[1]
                        for k in range(groups):
                            for c in range(inputs):
                                for o in range(outputs):
                                    y[n, i, j, k, o] += x[n, row, column, k, c] * w[u, v, c, k, o]


@compiled
def conv2d_dx_loop(dx, w, g, stride, dilation):
    images, rows, columns, groups, outputs = g.shape
    taps_down, taps_across, inputs, _, _ = w.shape
    for n in range(images):
        for i in range(rows):
            for j in range(columns):
                for u in range(taps_down):
                    row = i * stride[0] + u * dilation[0]
                    for v in range(taps_across):
                        column = j * stride[1] + v * dilation[1]
                        for k in range(groups):
                            for c in range(inputs):
                                for o in range(outputs):
                                    dx[n, row, column, k, c] += g[n, i, j, k, o] * w[u, v, c, k, o]


@compiled
def conv2d_dw_loop(x, dw, g, stride, dilation):
    images, rows, columns, groups, outputs = g.shape
    taps_down, taps_across, inputs, _, _ = dw.shape
    for n in range(images):
        for i in range(rows):
            for j in range(columns):
                for u in range(taps_down):
                    row = i * stride[0] + u * dilation[0]
                    for v in range(taps_across):
                        column = j * stride[1] + v * dilation[1]
                        for k in range(groups):
                            for c in range(inputs):
                                for o in range(outputs):
                                    dw[u, v, c, k, o] += x[n, row, column, k, c] * g[n, i, j, k, o]


def in_groups(array, groups):
    """The same numbers with channels as (group, channel of the group)."""
    return contiguous(array).reshape(*array.shape[:-1], groups, array.shape[-1] // groups)


def run(loop, x, w, y, stride, dilation, groups):
    """The loop over three arrays that fit; it writes to one of them."""
    x, w, y = (in_groups(array, groups) for array in (x, w, y))
    high, wide = generic.conv_size(x.shape[1:3], w.shape[:2], stride, (0, 0), dilation)
    pixels_fit = len(x) == len(y) and y.shape[1] <= high and y.shape[2] <= wide
    channels_fit = x.shape[4] == w.shape[2] and y.shape[4] == w.shape[4]
    check(pixels_fit and channels_fit, x, w, y)
    loop(x, w, y, stride, dilation)


def bordered(x, padding):
    """Images with so many rows and columns of zeros on each side."""
    return generic.pad(contiguous(x), [(0, 0), *zip(padding, padding), (0, 0)], 0)


def conv2d(x, w, stride, padding, dilation, groups):
    check_convolution(x, w, stride, dilation, groups)
    size = generic.conv_size(x.shape[1:3], w.shape[:2], stride, padding, dilation)
    y = np.zeros((len(x), *size, w.shape[3]), x.dtype)
    run(conv2d_loop, bordered(x, padding), w, y, stride, dilation, groups)
    return y


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    return conv2d(x, w, stride, padding, dilation, groups) + b


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    check_convolution(g, w, stride, dilation, groups)
    height, width = x_size
    down, across = padding
    dx = np.zeros((len(g), height + 2 * down, width + 2 * across, w.shape[2] * groups), g.dtype)
    run(conv2d_dx_loop, dx, w, g, stride, dilation, groups)
    return dx[:, down : down + height, across : across + width]


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    check_convolution(g, x, stride, dilation, groups)
    dw = np.zeros((*kernel, x.shape[3] // groups, g.shape[3]), g.dtype)
    run(conv2d_dw_loop, bordered(x, padding), dw, g, stride, dilation, groups)
    return dw


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    dw = conv2d_dw(g, x, kernel, stride, padding, dilation, groups)
    return dw, total(g, (0, 1, 2))


# --- dense: every row of x by itself, whatever axes the rows have ---


@compiled
def dense_loop(x, w, y):
    inputs, outputs = w.shape
    for n in range(len(x)):
        for c in range(inputs):
            for o in range(outputs):
                y[n, o] += x[n, c] * w[c, o]


@compiled
def dense_dw_loop(x, dw, g):
    inputs, outputs = dw.shape
    for n in range(len(x)):
        for c in range(inputs):
            for o in range(outputs):
                dw[c, o] += x[n, c] * g[n, o]


def as_rows(array):
    """The same numbers with all axes but the last as one."""
    return contiguous(array).reshape(math.prod(array.shape[:-1]), array.shape[-1])


def dense(x, w, b):
    check(x.shape[-1] == len(w), x, w)
    y = np.zeros((*x.shape[:-1], w.shape[1]), x.dtype)
    dense_loop(as_rows(x), contiguous(w), as_rows(y))
    return y + b


def dense_dw_db(g, x):
    check(x.shape[:-1] == g.shape[:-1], g, x)
    return in_pieces(dense_dw_db_of_rows, as_rows(g), as_rows(x))


def dense_dw_db_of_rows(g, x):
    dw = np.zeros((x.shape[-1], g.shape[-1]), g.dtype)
    dense_dw_loop(x, dw, g)
    return dw, total(g, 0)


# --- embedding: row ids[n] of the table for each n ---


@compiled
def embedding_loop(table, ids, y):
    for n in range(len(ids)):
        row = ids[n]
        for c in range(table.shape[1]):
            y[n, c] = table[row, c]


@compiled
def embedding_dtable_loop(g, ids, dtable):
    for n in range(len(ids)):
        row = ids[n]
        for c in range(dtable.shape[1]):
            dtable[row, c] += g[n, c]


def row_numbers(ids, rows):
    """The ids in one row, as NumPy reads them: −1 is the last row, and IndexError where none is."""
    return np.ravel(np.arange(rows)[ids])


def embedding(table, ids):
    y = np.empty((*ids.shape, table.shape[1]), table.dtype)
    embedding_loop(contiguous(table), row_numbers(ids, len(table)), as_rows(y))
    return y


def embedding_dtable(g, ids, rows):
    check(g.shape[:-1] == ids.shape, g, ids)

    def added(g, ids):
        dtable = np.zeros((rows, g.shape[-1]), dtype_of_sums(g.dtype))
        embedding_dtable_loop(g, ids, dtable)
        return (dtable,)

    (dtable,) = in_pieces(added, as_rows(g), row_numbers(ids, rows))
    return dtable


convolutions = conv2d, conv2d_bias, conv2d_dx, conv2d_dw, conv2d_dw_db
others = dense, dense_dw_db, embedding, embedding_dtable
KERNELS = {kernel.__name__: kernel for kernel in (*convolutions, *others)}
