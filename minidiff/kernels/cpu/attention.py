"""Self-attention as one kernel, from the layer's (positions, 3 · channels), head by head.

The probabilities stand with the queries side by side, so that a softmax goes down a vector of
columns at once:

    forward                                  backward
    sᵀ = k qᵀ       keys × queries           dpᵀ = v gᵀ
    pᵀ = softmax(sᵀ · scale), by columns     ds = p · (dp − Σ dp·p) · scale, by columns
    out = p v                                dq = ds k,   dk = dsᵀ q,   dv = pᵀ g

A product a @ b is `tiles.product`: the rows of a are the pixels, and b the weights. A transposed
product (out, dq) is `tiles.outer`.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import generic
from . import functions, sweeps, tiles, vector
from .compiled import contiguous, cube, images, kernel, number, numbers, scratch
from .counters import run_counts
from .plans import packed
from .vector import registers
from .views import View, ceil_divide


class Plan(NamedTuple):
    """Sizes of an attention."""

    images: int
    heads: int
    positions: int
    queries: int  # positions, padded to whole vectors and to whole tiles of 16 inputs
    channels: int  # of all heads
    depth: int  # channels of a head
    padded: int  # depth, padded to whole vectors


# --- bodies: matrices are views (row, column) ---


def _product(e, a, b, zero, y, rows, depth, columns):
    """y = a @ b, where a is rows × depth."""
    pixels = 7 if registers(e.lanes) == 32 else 4

    def in_tiles_of(pixels):
        product = tiles.tiled_product(dict.fromkeys((1, 2, 3), pixels))
        product(e, a, b, View(zero, 1), y, rows, (depth,), columns)

    e.when(e.lt(rows, pixels), lambda: in_tiles_of(1), lambda: in_tiles_of(pixels))


def _transposed_product(e, a, b, y, rows, depth, columns):
    """y += aᵀ @ b, where a is depth × rows; rows and columns are padded."""
    outer = tiles.tiled_outer(tiles.INPUTS[registers(e.lanes)])
    outer(e, a, b, y, rows, columns, (depth,))


def _copy(e, a, b, rows, columns):
    """b = a, a vector of columns at a time."""

    @e.loop(ceil_divide(columns, e.lanes))
    def vector(k):
        c = k * e.lanes
        mask = e.mask_first(columns - c)

        @e.loop(rows)
        def row(i):
            e.store(e.load(a.at(i, c), mask), b.at(i, c), mask)


def _transpose(e, a, b, rows, columns):
    """b = aᵀ"""

    @e.loop(rows, columns)
    def element(i, k):
        e.store(e.load_broadcast(a.at(i, k)), b.at(k, i), e.mask_first(1))


def _softmax(e, s, scale, rows):
    """s ← softmax(s · scale), down a vector of columns."""
    largest = e.variable(e.load(s.place))
    total = e.variable(e.constant(0))

    @e.loop(rows)
    def find_largest(i):
        value = e.load(s.at(i))
        largest.set(e.select(e.lt(largest.get(), value), value, largest.get()))

    shift = largest.get() * scale

    @e.loop(rows)
    def exponential(i):
        value = functions.exp(e, e.load(s.at(i)) * scale - shift)
        e.store(value, s.at(i))
        total.set(total.get() + value)

    share = e.constant(1) / total.get()

    @e.loop(rows)
    def normalise(i):
        e.store(e.load(s.at(i)) * share, s.at(i))


def _softmax_gradient(e, dp, p, scale, rows):
    """dp ← p · (dp − Σ dp·p) · scale, down a vector of columns."""
    total = e.variable(e.constant(0))

    @e.loop(rows)
    def sum_up(i):
        total.set(e.fma(e.load(dp.at(i)), e.load(p.at(i)), total.get()))

    @e.loop(rows)
    def gradient(i):
        e.store(e.load(p.at(i)) * (e.load(dp.at(i)) - total.get()) * scale, dp.at(i))


def _memory_parts(memory, plan):
    """Three matrices in the scratch: depth × queries, positions × padded, queries × padded."""
    parts = []
    shapes = [
        (plan.depth, plan.queries),
        (plan.positions, plan.padded),
        (plan.queries, plan.padded),
    ]
    for shape in shapes:
        parts.append(View.of(memory, *shape))
        memory = memory + shape[0] * shape[1]
    return parts, memory


def _projections(place, plan):
    """Views (image, position, head, channel) of the queries, the keys and the values."""
    n = plan.positions
    row = plan.channels * 3
    whole = View(place, n * row, row, plan.depth, 1)
    return [whole[:, :, :, plan.channels * k :] for k in range(3)]


# --- bodies: all images and heads ---


@kernel(cube, number, numbers, numbers, images, cube, Plan)
def attend(e, qkv, scale, zero, memory, p, out, plan):
    """Shapes: qkv (images, n, 3 · channels), p (images, heads, keys, queries).

    out is (images, n, channels).
    """
    n = plan.positions
    depth = plan.depth
    queries = plan.queries
    padded = plan.padded
    (q_transposed, v_padded, result), _ = _memory_parts(memory, plan)
    q, k, v = _projections(qkv, plan)
    p = View.of(p, plan.images, plan.heads, n, queries)
    out = View.of(out, plan.images, n, plan.heads, depth)
    e.call(sweeps.clear, memory, depth * queries + n * padded)

    @e.loop(plan.images, plan.heads)
    def head(i, h):
        s = p[i, h]
        e.call(_transpose, q[i, :, h], q_transposed, n, depth)
        e.call(_product, k[i, :, h], q_transposed, zero, s, n, depth, queries)
        e.loop(queries // e.lanes)(lambda j: _softmax(e, s[:, j * e.lanes :], scale, n))
        e.call(_copy, v[i, :, h], v_padded, n, depth)
        e.call(sweeps.clear, result.place, queries * padded)
        e.call(_transposed_product, s, v_padded, result, queries, n, padded)
        e.call(_copy, result, out[i, :, h], n, depth)


@kernel(cube, cube, images, number, numbers, numbers, cube, Plan)
def attend_gradient(e, g, qkv, p, scale, zero, memory, dqkv, plan):
    n = plan.positions
    depth = plan.depth
    queries = plan.queries
    padded = plan.padded
    (g_transposed, right, result), after = _memory_parts(memory, plan)
    ds = View.of(after, n, queries)
    q, k, v = _projections(qkv, plan)
    dq, dk, dv = _projections(dqkv, plan)
    p = View.of(p, plan.images, plan.heads, n, queries)
    g = View.of(g, plan.images, n, plan.heads, depth)
    e.call(sweeps.clear, memory, depth * queries + n * padded)

    @e.loop(plan.images, plan.heads)
    def head(i, h):
        s = p[i, h]
        e.call(_transpose, g[i, :, h], g_transposed, n, depth)
        e.call(_product, v[i, :, h], g_transposed, zero, ds, n, depth, queries)

        @e.loop(queries // e.lanes)
        def vector(j):
            c = j * e.lanes
            _softmax_gradient(e, ds[:, c:], s[:, c:], scale, n)

        # dq = ds k
        e.call(_copy, k[i, :, h], right, n, depth)
        e.call(sweeps.clear, result.place, queries * padded)
        e.call(_transposed_product, ds, right, result, queries, n, padded)
        e.call(_copy, result, dq[i, :, h], n, depth)
        # dk = dsᵀ q
        e.call(_copy, q[i, :, h], right, n, depth)
        e.call(_product, ds, right, zero, dk[i, :, h], n, n, depth)
        # dv = pᵀ g
        e.call(_copy, g[i, :, h], right, n, depth)
        e.call(_product, s, right, zero, dv[i, :, h], n, n, depth)


@kernel(cube, cube, images, number, numbers, numbers, cube, Plan)
def attend_tangent(e, dqkv, qkv, p, scale, zero, memory, out, plan):
    n = plan.positions
    depth = plan.depth
    queries = plan.queries
    padded = plan.padded
    (transposed, right, result), after = _memory_parts(memory, plan)
    ds = View.of(after, n, queries)
    other = View.of(after + n * queries, n, queries)
    q, k, v = _projections(qkv, plan)
    dq, dk, dv = _projections(dqkv, plan)
    p = View.of(p, plan.images, plan.heads, n, queries)
    out = View.of(out, plan.images, n, plan.heads, depth)
    e.call(sweeps.clear, memory, depth * queries + n * padded)

    @e.loop(plan.images, plan.heads)
    def head(i, h):
        s = p[i, h]
        # ṡᵀ = k q̇ᵀ + k̇ qᵀ, and from it ṗᵀ
        e.call(_transpose, dq[i, :, h], transposed, n, depth)
        e.call(_product, k[i, :, h], transposed, zero, ds, n, depth, queries)
        e.call(_transpose, q[i, :, h], transposed, n, depth)
        e.call(_product, dk[i, :, h], transposed, zero, other, n, depth, queries)
        add = lambda e, x, y: x + y
        sweeps.pointwise(e, add, [ds.place, other.place], ds.place, n * queries)

        @e.loop(queries // e.lanes)
        def vector(j):
            c = j * e.lanes
            _softmax_gradient(e, ds[:, c:], s[:, c:], scale, n)

        # the tangent of p v: ṗ v + p v̇
        e.call(sweeps.clear, result.place, queries * padded)
        e.call(_copy, v[i, :, h], right, n, depth)
        e.call(_transposed_product, ds, right, result, queries, n, padded)
        e.call(_copy, dv[i, :, h], right, n, depth)
        e.call(_transposed_product, s, right, result, queries, n, padded)
        e.call(_copy, result, out[i, :, h], n, depth)


# --- the kernels of the table ---


@lru_cache(256)  # of shapes: a network asks for the same few again and again
def _plan(count, positions, channels, heads, lanes):
    """The plan and the same packed."""
    depth = channels // heads
    queries = ceil_divide(positions, 16) * 16
    padded = ceil_divide(depth, lanes) * lanes
    plan = Plan(count, heads, positions, queries, channels, depth, padded)
    return plan, packed(plan)


def _scale_zeros_and_memory(plan):
    """What all kernels need beside their operands."""
    zeros = np.zeros(plan.queries + plan.depth + 16, np.float32)
    size = plan.depth * plan.queries + plan.positions * plan.padded
    size += plan.queries * plan.padded + 2 * plan.positions * plan.queries
    return 1 / math.sqrt(plan.depth), zeros, scratch(size)


def _fast(count, positions, *arrays):
    return all(a.dtype == np.float32 for a in arrays) and count > 0 and positions <= 1024


def self_attention(qkv, heads):
    count, positions, rows = qkv.shape
    channels = rows // 3
    if not _fast(qkv.size, positions, qkv):
        return generic.self_attention(qkv, heads)
    run_counts["self_attention"] += 1
    lanes = vector.lanes()
    plan, numbers_of_plan = _plan(count, positions, channels, heads, lanes)
    p = np.empty((count, heads, positions, plan.queries), np.float32)
    out = np.empty((count, positions, channels), np.float32)
    shared = _scale_zeros_and_memory(plan)
    attend(lanes)(contiguous(qkv), *shared, p, out, numbers_of_plan)
    return out, p


def self_attention_dqkv(g, qkv, aux, heads):
    count, positions, channels = g.shape
    if not _fast(g.size, positions, g, qkv):
        return generic.self_attention_dqkv(g, qkv, aux, heads)
    run_counts["self_attention_dqkv"] += 1
    lanes = vector.lanes()
    plan, numbers_of_plan = _plan(count, positions, channels, heads, lanes)
    dqkv = np.empty(qkv.shape, np.float32)
    shared = _scale_zeros_and_memory(plan)
    run = attend_gradient(lanes)
    run(contiguous(g), contiguous(qkv), aux, *shared, dqkv, numbers_of_plan)
    return dqkv


def self_attention_tangent(dqkv, qkv, aux, heads):
    count, positions, rows = qkv.shape
    channels = rows // 3
    if not _fast(qkv.size, positions, dqkv, qkv):
        return generic.self_attention_tangent(dqkv, qkv, aux, heads)
    run_counts["self_attention_tangent"] += 1
    lanes = vector.lanes()
    plan, numbers_of_plan = _plan(count, positions, channels, heads, lanes)
    out = np.empty((count, positions, channels), np.float32)
    shared = _scale_zeros_and_memory(plan)
    run = attend_tangent(lanes)
    run(contiguous(dqkv), contiguous(qkv), aux, *shared, out, numbers_of_plan)
    return out
