"""A dense layer that an embedding and a label shift, and its swish: the products are BLAS's, the
rest is here.

    z = x @ w + e @ v                                               two products
    z[i] += b + c + table[ids[i]], y = silu(z)                      one pass, a row at a time
    dz = g · silu'(z), db += dz[i], dtable[ids[i]] += dz[i]         one pass

Layers for points in the plane are so small that a call costs more than its numbers: hence few
calls.
"""

import numba
import numpy as np

from .. import generic
from . import functions
from .compiled import contiguous, for_lanes, matrix, numbers, unbound
from .ran import ran
from .vector import lanes

step = unbound  # bound by `compiled`
_ids = numba.int64[::1]


# --- the loops; ids that are no rows are refused ---


@for_lanes((matrix, numbers, numbers, matrix, _ids, matrix), step=functions.silu_each)
def forward(z, b, c, table, ids, y):
    for i in range(len(ids)):
        if not 0 <= ids[i] < len(table):
            return False
        row, own = z[i], table[ids[i]]
        for k in range(len(row)):
            row[k] += b[k] + c[k] + own[k]
    step(z, y, z.size)
    return True


@for_lanes((matrix, matrix, _ids, matrix, numbers, matrix), step=functions.silu_dx_each)
def backward(g, z, ids, dz, db, dtable):
    step(g, z, dz, z.size)
    db[:] = 0
    dtable[:] = 0
    for i in range(len(ids)):
        row, own = dz[i], dtable[ids[i]]
        for k in range(len(row)):
            db[k] += row[k]
            own[k] += row[k]


# --- the wrappers ---


def conditioned_dense(x, w, b, e, v, c, table, ids):
    if x.dtype == np.float32 and ids.dtype == np.int64:
        z = x.dot(w)  # on matrices this small, quicker than matmul
        z += e.dot(v)
        y = np.empty_like(z)
        if forward(lanes())(z, contiguous(b), contiguous(c), contiguous(table), contiguous(ids), y):
            ran["conditioned_dense"] += 1
            return y, z
    # NumPy would count negative ones from the end
    if ids.size and not 0 <= ids.min() <= ids.max() < len(table):
        raise IndexError(
            f"conditioned_dense: ids must lie in 0 … {len(table) - 1}; got {ids.min()} … {ids.max()}"
        )
    return generic.conditioned_dense(x, w, b, e, v, c, table, ids)


def conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs):
    if g.dtype != np.float32 or ids.dtype != np.int64:
        return generic.conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs)
    ran["conditioned_dense_grads"] += 1
    dz, db, dtable = (
        np.empty_like(z),
        np.empty(z.shape[1], np.float32),
        np.empty((rows, z.shape[1]), np.float32),
    )
    backward(lanes())(contiguous(g), z, contiguous(ids), dz, db, dtable)
    dx, de = dz.dot(w.T) if needs[0] else None, dz.dot(v.T) if needs[3] else None
    return dx, x.T.dot(dz), db, de, e.T.dot(dz), db, dtable
