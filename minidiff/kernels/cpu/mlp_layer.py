"""A layer of the conditional MLP as one kernel: dense, shifted by an embedding and a label, swish.

    z = x @ w + e @ v                                               two products, by BLAS
    z[i] += b + c + table[ids[i]],   y = silu(z)                    one pass over the rows
    dz = g · silu'(z),   db += dz[i],   dtable[ids[i]] += dz[i]     one pass back

The layers of networks for points in the plane are so small that calls cost more than numbers do. So
one kernel does the work of six operations.
"""

import numpy as np

from .. import generic
from ..sums import in_pieces
from . import functions, sweeps, vector
from .compiled import contiguous, integers, kernel, matrix, numbers, whole
from .counters import run_counts
from .views import View

# --- bodies ---


@kernel(matrix, numbers, numbers, matrix, integers, matrix, numbers, whole, whole, whole)
def forward(e, z, b, c, table, ids, y, refused, rows, columns, labels):
    """z becomes the shifted z, y its swish; `refused` gets a 1 if an id is none of the labels."""
    row_of_z = View(z, columns)
    row_of_table = View(table, columns)

    @e.loop(rows)
    def row(i):
        label = e.integer(ids + i)

        def shift():
            sources = [row_of_z.at(i), b, c, row_of_table.at(label)]
            add = lambda e, z, b, c, own: z + (b + c + own)
            sweeps.pointwise(e, add, sources, row_of_z.at(i), columns)

        def refuse():
            e.store(e.constant(1), refused, e.mask_first(1))

        e.when(e.inside(label, labels), shift, refuse)

    sweeps.pointwise(e, functions.silu, [z], y, rows * columns)


@kernel(matrix, matrix, integers, matrix, numbers, matrix, whole, whole)
def backward(e, g, z, ids, dz, db, dtable, rows, columns):
    """dz, and added to what is there: db and dtable."""
    dz = View(dz, columns)
    dtable = View(dtable, columns)
    sweeps.pointwise(e, functions.silu_dx, [g, z], dz.place, rows * columns)
    add = lambda e, total, new: total + new

    @e.loop(rows)
    def row(i):
        own = dtable.at(e.integer(ids + i))
        sweeps.pointwise(e, add, [db, dz.at(i)], db, columns)
        sweeps.pointwise(e, add, [own, dz.at(i)], own, columns)


# --- the kernels of the table ---


def conditioned_dense(x, w, b, e, v, c, table, ids):
    if x.dtype == np.float32 and ids.dtype == np.int64:
        z = x.dot(w)  # on matrices this small, quicker than matmul
        z += e.dot(v)
        y = np.empty_like(z)
        refused = np.zeros(1, np.float32)
        vectors = contiguous(b), contiguous(c)
        run = forward(vector.lanes())
        run(z, *vectors, contiguous(table), contiguous(ids), y, refused, *z.shape, len(table))
        if not refused[0]:
            run_counts["conditioned_dense"] += 1
            return y, z
    return generic.conditioned_dense(x, w, b, e, v, c, table, ids)


def conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs):
    if g.dtype != np.float32 or ids.dtype != np.int64:
        return generic.conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs)
    run_counts["conditioned_dense_grads"] += 1
    dz = np.empty_like(z)
    run = backward(vector.lanes())

    def added(g, z, ids, dz):
        db = np.zeros(z.shape[1], np.float32)
        dtable = np.zeros((rows, z.shape[1]), np.float32)
        run(g, z, ids, dz, db, dtable, *z.shape)
        return db, dtable

    db, dtable = in_pieces(added, contiguous(g), z, contiguous(ids), dz)
    dx = dz.dot(w.T) if needs[0] else None
    de = dz.dot(v.T) if needs[3] else None
    return dx, x.T.dot(dz), db, de, e.T.dot(dz), db, dtable
