"""Kernels that go row by row: rows of an embedding fetched, their gradients added up, and softmax over the last axis.

A row stays in L1 from its first use to its last, where NumPy makes a pass over all rows for each step of the formula.
"""

import math

import numba
import numpy as np

from .. import generic
from .compiled import contiguous, for_lanes, matrix
from .ran import ran

_ids = numba.int64[::1]
SMALL = 1 << 10  # larger softmaxes are NumPy's: its exp takes 16 numbers at a time


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


@for_lanes((matrix, matrix))
def softmax_rows(x, y):
    for i in range(len(x)):
        row, to = x[i], y[i]
        largest = row[0]
        for k in range(1, len(row)):
            if row[k] > largest or row[k] != row[k]:  # a NaN wins, and then stays
                largest = row[k]
        total = np.float32(0)
        for k in range(len(row)):
            to[k] = math.exp(row[k] - largest)
            total += to[k]
        for k in range(len(row)):
            to[k] /= total


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


def softmax(x, axis):
    if x.dtype != np.float32 or not 0 < x.size <= SMALL or axis not in (-1, x.ndim - 1):
        return generic.softmax(x, axis)
    ran["softmax"] += 1
    y = np.empty(x.shape, np.float32)
    softmax_rows()(contiguous(x).reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1]))
    return y
