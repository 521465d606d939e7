"""Rows of an embedding fetched, and their gradients added up."""

import numba
import numpy as np

from .. import generic
from .compiled import contiguous, for_lanes, matrix
from .ran import ran

_ids = numba.int64[::1]


# --- the loops; ids that are no rows are refused, and NumPy then says what is wrong ---


@for_lanes((matrix, _ids, matrix))
def gather(table, ids, rows):
    for i in range(len(ids)):
        if not 0 <= ids[i] < len(table):
            return False
        source, to = table[ids[i]], rows[i]
        for k in range(len(to)):
            to[k] = source[k]
    return True


@for_lanes((matrix, _ids, matrix))
def scatter_add(g, ids, table):
    table[:] = 0
    for i in range(len(ids)):
        if not 0 <= ids[i] < len(table):
            return False
        source, to = g[i], table[ids[i]]
        for k in range(len(to)):
            to[k] += source[k]
    return True


# --- the wrappers ---


def embedding(table, ids):
    if table.dtype == np.float32 and ids.dtype == np.int64 and table.size and ids.size:
        rows = np.empty((*ids.shape, table.shape[1]), np.float32)
        if gather()(contiguous(table), contiguous(ids).reshape(-1), rows.reshape(-1, rows.shape[-1])):
            ran["embedding"] += 1
            return rows
    return generic.embedding(table, ids)


def embedding_dtable(g, ids, rows):
    if g.dtype == np.float32 and ids.dtype == np.int64 and g.size:
        table = np.empty((rows, g.shape[-1]), np.float32)
        if scatter_add()(contiguous(g).reshape(-1, g.shape[-1]), contiguous(ids).reshape(-1), table):
            ran["embedding_dtable"] += 1
            return table
    return generic.embedding_dtable(g, ids, rows)
