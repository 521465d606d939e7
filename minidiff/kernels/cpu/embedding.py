"""Rows of an embedding fetched, and their gradients added up."""

import numpy as np

from .. import generic
from . import functions
from .compiled import contiguous, integers, kernel, matrix
from .ran import ran
from .vector import lanes

# --- bodies: of rows with so many columns ---


@kernel(matrix, integers, matrix)
def gather(e, table, ids, rows, count, columns):
    row = lambda i: table + e.integer(ids + i) * columns
    e.loop(count)(lambda i: functions.copied(e, row(i), rows + i * columns, columns))


@kernel(matrix, integers, matrix)
def scatter_add(e, g, ids, table, count, columns):
    @e.loop(count)
    def _(i):
        row = table + e.integer(ids + i) * columns
        functions.each(
            e, lambda e, total, number: total + number, [row, g + i * columns], row, columns
        )


# --- the wrappers; where ids are no rows, NumPy says what is wrong ---


def _fast(a, ids, rows):
    return (
        a.dtype == np.float32
        and ids.dtype == np.int64
        and a.size
        and ids.size
        and 0 <= ids.min() <= ids.max() < rows
    )


def embedding(table, ids):
    if not _fast(table, ids, len(table)):
        return generic.embedding(table, ids)
    ran["embedding"] += 1
    rows, columns = np.empty((*ids.shape, table.shape[1]), np.float32), table.shape[1]
    flat = contiguous(ids).reshape(-1)
    gather(lanes())(contiguous(table), flat, rows.reshape(-1, columns), len(flat), columns)
    return rows


def embedding_dtable(g, ids, rows):
    if not _fast(g, ids, rows):
        return generic.embedding_dtable(g, ids, rows)
    ran["embedding_dtable"] += 1
    table, flat = np.zeros((rows, g.shape[-1]), np.float32), contiguous(ids).reshape(-1)
    scatter_add(lanes())(contiguous(g).reshape(len(flat), -1), flat, table, len(flat), g.shape[-1])
    return table
