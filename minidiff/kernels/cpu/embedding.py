"""Embeddings: rows fetched from a table, and their gradients added up."""

import numpy as np

from .. import generic
from ..sums import in_pieces
from . import sweeps, vector
from .compiled import contiguous, integers, kernel, matrix, whole
from .counters import run_counts
from .views import View

# --- bodies ---


@kernel(matrix, integers, matrix, whole, whole)
def gather(e, table, ids, rows, count, columns):
    """rows[i] = table[ids[i]]"""
    table = View(table, columns)
    rows = View(rows, columns)

    @e.loop(count)
    def row(i):
        sweeps.copy(e, table.at(e.integer(ids + i)), rows.at(i), columns)


@kernel(matrix, integers, matrix, whole, whole)
def scatter_add(e, g, ids, table, count, columns):
    """table[ids[i]] += g[i]"""
    g = View(g, columns)
    table = View(table, columns)

    @e.loop(count)
    def row(i):
        total = table.at(e.integer(ids + i))
        add = lambda e, old, new: old + new
        sweeps.pointwise(e, add, [total, g.at(i)], total, columns)


# --- the kernels of the table ---


def _fast(a, ids, rows):
    """Ids that name no row go to `generic`, where NumPy raises its IndexError."""
    if a.dtype != np.float32 or ids.dtype != np.int64 or not a.size or not ids.size:
        return False
    return ids.min() >= 0 and ids.max() < rows


def embedding(table, ids):
    if table.ndim != 2 or not _fast(table, ids, len(table)):
        return generic.embedding(table, ids)
    run_counts["embedding"] += 1
    columns = table.shape[1]
    rows = np.empty((*ids.shape, columns), np.float32)
    flat = contiguous(ids).reshape(-1)
    run = gather(vector.lanes())
    run(contiguous(table), flat, rows.reshape(-1, columns), len(flat), columns)
    return rows


def embedding_dtable(g, ids, rows):
    if g.shape[:-1] != ids.shape or not _fast(g, ids, rows):
        return generic.embedding_dtable(g, ids, rows)
    run_counts["embedding_dtable"] += 1
    columns = g.shape[-1]

    def added(g, ids):
        table = np.zeros((rows, columns), np.float32)
        run = scatter_add(vector.lanes())
        run(g, ids, table, len(ids), columns)
        return (table,)

    flat = contiguous(ids).reshape(-1)
    (table,) = in_pieces(added, contiguous(g).reshape(len(flat), columns), flat)
    return table
