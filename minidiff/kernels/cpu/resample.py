"""Kernels that move channels about: embedding gradients, pooling, upsampling. The inner loops run over channels."""

from functools import cache

import numba
import numpy as np

from .. import generic
from .compiled import compiled, contiguous, images, matrix
from .ran import ran

_bytes = numba.uint8[:, :, :, ::1]
_size = numba.intp


# --- the loops ---


def scatter_add(g, ids, table):
    """table[ids[i]] += g[i]; whether every id is a row of the table (negative ones count from the end)."""
    rows = len(table)
    for i in range(len(ids)):
        row = ids[i] + rows if ids[i] < 0 else ids[i]
        if not 0 <= row < rows:
            return False
        to, source = table[row], g[i]
        for k in range(len(to)):
            to[k] += source[k]
    return True


def upsample(x, scale, y):
    count, height, width, _ = x.shape
    for n in range(count):
        for i in range(height):
            for j in range(width):
                source = x[n, i, j]
                for u in range(i * scale, (i + 1) * scale):
                    for v in range(j * scale, (j + 1) * scale):
                        to = y[n, u, v]
                        for k in range(len(to)):
                            to[k] = source[k]


def downsample(g, scale, dx):
    count, height, width, _ = dx.shape
    for n in range(count):
        for i in range(height):
            for j in range(width):
                to = dx[n, i, j]
                to[:] = 0
                for u in range(i * scale, (i + 1) * scale):
                    for v in range(j * scale, (j + 1) * scale):
                        source = g[n, u, v]
                        for k in range(len(to)):
                            to[k] += source[k]


def pool(x, size, stride, y, winner):
    count, height, width, channels = y.shape
    for n in range(count):
        for i in range(height):
            for j in range(width):
                best, which = y[n, i, j], winner[n, i, j]
                best[:] = x[n, i * stride, j * stride]
                which[:] = 0
                for u in range(size):
                    for v in range(size):
                        source = x[n, i * stride + u, j * stride + v]
                        for k in range(channels):
                            # a NaN wins, and then stays
                            wins = source[k] > best[k] or (np.isnan(source[k]) and not np.isnan(best[k]))
                            best[k] = source[k] if wins else best[k]
                            which[k] = u * size + v if wins else which[k]


def unpool(g, winner, size, stride, dx):
    count, height, width, channels = g.shape
    dx[:] = 0
    for n in range(count):
        for i in range(height):
            for j in range(width):
                for k in range(channels):
                    u, v = divmod(winner[n, i, j, k], size)
                    dx[n, i * stride + u, j * stride + v, k] += g[n, i, j, k]


_ARGUMENTS = {
    scatter_add: (matrix, numba.int64[::1], matrix),
    upsample: (images, _size, images),
    downsample: (images, _size, images),
    pool: (images, _size, _size, images, _bytes),
    unpool: (images, _bytes, _size, _size, images),
}


@cache
def _loop(loop):
    return compiled(loop, _ARGUMENTS[loop])


# --- the wrappers ---


def embedding_dtable(g, ids, rows):
    if g.dtype != np.float32 or g.size == 0:
        return generic.embedding_dtable(g, ids, rows)
    ran["embedding_dtable"] += 1
    table = np.zeros((rows, g.shape[-1]), np.float32)
    flat = np.array(ids, np.int64).reshape(-1)
    if not _loop(scatter_add)(contiguous(g).reshape(-1, g.shape[-1]), flat, table):
        raise IndexError(f"ids of an embedding with {rows} rows: got {flat.min()} to {flat.max()}")
    return table


def upsample_nearest(x, scale):
    if x.dtype != np.float32 or x.size == 0:
        return generic.upsample_nearest(x, scale)
    ran["upsample_nearest"] += 1
    count, height, width, channels = x.shape
    y = np.empty((count, height * scale, width * scale, channels), np.float32)
    _loop(upsample)(contiguous(x), scale, y)
    return y


def upsample_nearest_dx(g, scale):
    if g.dtype != np.float32 or g.size == 0:
        return generic.upsample_nearest_dx(g, scale)
    ran["upsample_nearest_dx"] += 1
    count, height, width, channels = g.shape
    dx = np.empty((count, height // scale, width // scale, channels), np.float32)
    _loop(downsample)(contiguous(g), scale, dx)
    return dx


def max_pool2d(x, size, stride):
    out = generic.conv_size(x.shape[1:3], (size, size), (stride, stride), (0, 0), (1, 1))
    if x.dtype != np.float32 or x.size == 0 or min(out) < 1 or size > 15:
        return generic.max_pool2d(x, size, stride)
    ran["max_pool2d"] += 1
    y = np.empty((x.shape[0], *out, x.shape[3]), np.float32)
    winner = np.empty(y.shape, np.uint8)
    _loop(pool)(contiguous(x), size, stride, y, winner)
    return y, winner


def max_pool2d_dx(g, index, x_size, size, stride):
    if g.dtype != np.float32 or g.size == 0 or index.dtype != np.uint8:
        return generic.max_pool2d_dx(g, index, x_size, size, stride)
    ran["max_pool2d_dx"] += 1
    dx = np.empty((g.shape[0], *x_size, g.shape[3]), np.float32)
    _loop(unpool)(contiguous(g), contiguous(index), size, stride, dx)
    return dx
