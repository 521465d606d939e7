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

# "contract" lets a product and its sum be one instruction, "reassoc" lets several parts of a sum
# run side by side. The other parts of fast mathematics would lose NaN and infinity.
compiled = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})


def contiguous(array):
    """The array in order of memory, or a copy: Numba compiles a loop anew for any other layout."""
    return np.require(array, None, ["C_CONTIGUOUS", "ALIGNED", "WRITEABLE", "ENSUREARRAY"])


# --- convolution: the three corners of one trilinear form ---
#
#     Σ y[n,i,j,k,o] · x[n,row,column,k,c] · w[u,v,c,k,o],   row = i · stride + u · dilation
#
# The loops of all three are the same. Two of the arrays are known, and the third is what their
# products are added to. Channels have two axes, (group k, channel of the group c or o).


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
def conv2d_dx_loop(g, w, dx, stride, dilation):
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
def conv2d_dw_loop(g, x, dw, stride, dilation):
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
                                    dw[u, v, c, k, o] += g[n, i, j, k, o] * x[n, row, column, k, c]


def in_groups(array, groups):
    """The same numbers with channels as (group, channel of the group)."""
    return contiguous(array).reshape(*array.shape[:-1], groups, array.shape[-1] // groups)


def bordered(x, padding):
    """Images with so many rows and columns of zeros on each side."""
    return generic.pad(contiguous(x), [(0, 0), *zip(padding, padding), (0, 0)], 0)


def conv2d(x, w, stride, padding, dilation, groups):
    size = generic.conv_size(x.shape[1:3], w.shape[:2], stride, padding, dilation)
    y = np.zeros((len(x), *size, w.shape[3]), x.dtype)
    x = in_groups(bordered(x, padding), groups)
    conv2d_loop(x, in_groups(w, groups), in_groups(y, groups), stride, dilation)
    return y


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    return conv2d(x, w, stride, padding, dilation, groups) + b


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    height, width = x_size
    down, across = padding
    dx = np.zeros((len(g), height + 2 * down, width + 2 * across, w.shape[2] * groups), g.dtype)
    g = in_groups(g, groups)
    conv2d_dx_loop(g, in_groups(w, groups), in_groups(dx, groups), stride, dilation)
    return dx[:, down : down + height, across : across + width]


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    dw = np.zeros((*kernel, x.shape[3] // groups, g.shape[3]), g.dtype)
    x = in_groups(bordered(x, padding), groups)
    conv2d_dw_loop(in_groups(g, groups), x, in_groups(dw, groups), stride, dilation)
    return dw


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    dw = conv2d_dw(g, x, kernel, stride, padding, dilation, groups)
    return dw, np.sum(g, (0, 1, 2))


# --- dense: every row of x by itself, whatever axes the rows have ---


@compiled
def dense_loop(x, w, y):
    inputs, outputs = w.shape
    for n in range(len(x)):
        for c in range(inputs):
            for o in range(outputs):
                y[n, o] += x[n, c] * w[c, o]


@compiled
def dense_dw_loop(g, x, dw):
    inputs, outputs = dw.shape
    for n in range(len(x)):
        for c in range(inputs):
            for o in range(outputs):
                dw[c, o] += g[n, o] * x[n, c]


def as_rows(array):
    """The same numbers with all axes but the last as one."""
    return contiguous(array).reshape(math.prod(array.shape[:-1]), array.shape[-1])


def dense(x, w, b):
    y = np.zeros((*x.shape[:-1], w.shape[1]), x.dtype)
    dense_loop(as_rows(x), contiguous(w), as_rows(y))
    return y + b


def dense_dw_db(g, x):
    dw = np.zeros((x.shape[-1], g.shape[-1]), g.dtype)
    dense_dw_loop(as_rows(g), as_rows(x), dw)
    return dw, np.sum(as_rows(g), 0)


# --- embedding: row ids[n] of the table for each n ---


@compiled
def embedding_loop(table, ids, y):
    for n in range(len(ids)):
        for c in range(table.shape[1]):
            y[n, c] = table[ids[n], c]


@compiled
def embedding_dtable_loop(g, ids, dtable):
    for n in range(len(ids)):
        for c in range(dtable.shape[1]):
            dtable[ids[n], c] += g[n, c]


def row_numbers(ids, rows):
    """The ids in one row, as NumPy reads them: −1 is the last row, and IndexError where none is."""
    return np.ravel(np.arange(rows)[ids])


def embedding(table, ids):
    y = np.empty((*ids.shape, table.shape[1]), table.dtype)
    embedding_loop(contiguous(table), row_numbers(ids, len(table)), as_rows(y))
    return y


def embedding_dtable(g, ids, rows):
    dtable = np.zeros((rows, g.shape[-1]), g.dtype)
    embedding_dtable_loop(as_rows(g), row_numbers(ids, rows), dtable)
    return dtable


convolutions = conv2d, conv2d_bias, conv2d_dx, conv2d_dw, conv2d_dw_db
others = dense, dense_dw_db, embedding, embedding_dtable
KERNELS = {kernel.__name__: kernel for kernel in (*convolutions, *others)}
