"""Self-attention as one kernel a (image, head), straight from the layer's (positions, 3 · channels) and back into it.

The probabilities stand with the queries side by side, so that a softmax goes down sixteen columns at once:

    forward                                     backward
    sᵀ = k qᵀ       keys × queries              dpᵀ = v gᵀ, then  ds = p · (dp − Σ dp·p) · scale  down the columns
    pᵀ = softmax(sᵀ · scale)   down columns     dq = ds k
    out = p v                                   dk = dsᵀ q,   dv = pᵀ g

A product a @ b is a convolution of one row of pixels on `tiles`: the rows of a are the pixels, b the weights, its
columns padded to whole vectors; a transposed product (out, dq) is a weight gradient.
"""

import math

import numba
import numpy as np

from .. import generic
from . import functions, tiles
from .compiled import contiguous, for_lanes, helper, numbers, scratch, unbound
from .ran import ran
from .vector import lanes, registers

product = transposed_product = copied = softmax_columns = gradient_columns = unbound  # bound by `compiled`
LANES = 0
_cube, _square = numba.float32[:, :, ::1], numba.float32[:, :, :, ::1]


# --- bodies: products; rows are `…_row` numbers apart ---


def _product(e, a, b, zero, y, rows, depth, columns, a_row, b_row, y_row):
    """y = a @ b, a being rows × depth."""
    most = 7 if registers(e.lanes) == 32 else 4

    def run(pixels):
        row = tiles.row(dict.fromkeys((1, 2, 3), pixels))
        row(e, a, b, zero, y, rows, 1, 1, depth, 0, 0, 0, 0, b_row, a_row, y_row, columns)

    e.when(e.fewer(rows, most), lambda: run(1), lambda: run(most))


def _transposed_product(e, a, b, y, rows, depth, columns, a_row, b_row, y_row):
    """y += aᵀ @ b, a being depth × rows; rows and columns padded."""
    tile = tiles.taps(tiles.INPUTS[registers(e.lanes)])
    tile(e, a, b, y, rows, columns, 1, depth, 0, a_row, 0, b_row, y_row, 0, 0)


def _copied(e, a, b, rows, columns, a_row, b_row):
    """b = a"""

    @e.loop((columns + (e.lanes - 1)) // e.lanes)
    def _(group):
        c = group * e.lanes
        some = e.first(columns - c)

        @e.loop(rows)
        def _(i):
            e.store(e.load(a + i * a_row + c, some), b + i * b_row + c, some)


# --- bodies: one vector of columns, `rows` numbers down, `step` apart ---


def _softmax_columns(e, s, scale, rows, step):
    """s ← softmax(s · scale) down each column."""
    factor, top, total = e.splat(scale), e.variable(e.load(s)), e.variable(e.constant(0))

    @e.loop(rows)
    def _(i):
        value = e.load(s + i * step)
        top.set(e.choose(e.below(top.get(), value), value, top.get()))

    highest = top.get() * factor

    @e.loop(rows)
    def _(i):
        value = functions.exp(e, e.load(s + i * step) * factor - highest)
        e.store(value, s + i * step)
        total.set(total.get() + value)

    share = e.constant(1) / total.get()

    @e.loop(rows)
    def _(i):
        e.store(e.load(s + i * step) * share, s + i * step)


def _gradient_columns(e, dp, p, scale, rows, step):
    """dp ← p · (dp − Σ dp·p) · scale down each column."""
    factor, total = e.splat(scale), e.variable(e.constant(0))

    @e.loop(rows)
    def _(i):
        total.set(e.fma(e.load(dp + i * step), e.load(p + i * step), total.get()))

    @e.loop(rows)
    def _(i):
        e.store(e.load(p + i * step) * (e.load(dp + i * step) - total.get()) * factor, dp + i * step)


# --- the loops ---


@helper
def transposed(a, n, d, step, into, wide):
    """n rows of d numbers, `step` apart, as d rows of `wide` numbers."""
    for i in range(n):
        for k in range(d):
            into[k * wide + i] = a[i * step + k]


@helper
def parted(memory, n, d, wide, narrow):
    """Zeros for d × wide, n × narrow, wide × narrow and n × wide numbers."""
    a, b = d * wide, d * wide + n * narrow
    c, end = b + wide * narrow, b + wide * narrow + n * wide
    memory[:end] = 0
    return memory[:a], memory[a:b], memory[b:c], memory[c:end]


@for_lanes(
    (_cube, *(numbers,) * 3, _square, _cube),
    product=(_product, 4),
    transposed_product=(_transposed_product, 3),
    copied=(_copied, 2),
    softmax_columns=(_softmax_columns, 2),
)
def attend(qkv, scale, zero, memory, p, out):
    """qkv (images, n, 3 · channels), p (images, heads, keys, queries padded), out (images, n, channels)."""
    (count, heads, n, wide), channels = p.shape, out.shape[2]
    d, step = channels // heads, 3 * channels
    narrow = -(-d // LANES) * LANES
    queries, values, result, _ = parted(memory, n, d, wide, narrow)
    flat, p_flat, out_flat = qkv.reshape(qkv.size), p.reshape(p.size), out.reshape(out.size)
    for h in range(count * heads):
        first, s = h // heads * n * step + h % heads * d, h * n * wide
        transposed(flat[first:], n, d, step, queries, wide)
        product(flat, first + channels, queries, 0, zero, 0, p_flat, s, n, d, wide, step, wide, wide)
        for j in range(0, wide, LANES):
            softmax_columns(p_flat, s + j, scale, 0, n, wide)
        copied(flat, first + 2 * channels, values, 0, n, d, step, narrow)
        result[:] = 0
        transposed_product(p_flat, s, values, 0, result, 0, wide, n, narrow, wide, narrow, narrow)
        copied(result, 0, out_flat, h // heads * n * channels + h % heads * d, n, d, narrow, channels)


@for_lanes(
    (_cube, _cube, _square, *(numbers,) * 3, _cube),
    product=(_product, 4),
    transposed_product=(_transposed_product, 3),
    copied=(_copied, 2),
    gradient_columns=(_gradient_columns, 3),
)
def attend_gradient(g, qkv, p, scale, zero, memory, dqkv):
    (count, heads, n, wide), channels = p.shape, g.shape[2]
    d, step = channels // heads, 3 * channels
    narrow = -(-d // LANES) * LANES
    gradients, right, result, ds = parted(memory, n, d, wide, narrow)
    flat, p_flat, g_flat, to = qkv.reshape(qkv.size), p.reshape(p.size), g.reshape(g.size), dqkv.reshape(dqkv.size)
    for h in range(count * heads):
        first, s = h // heads * n * step + h % heads * d, h * n * wide
        g_first = h // heads * n * channels + h % heads * d
        transposed(g_flat[g_first:], n, d, channels, gradients, wide)
        product(flat, first + 2 * channels, gradients, 0, zero, 0, ds, 0, n, d, wide, step, wide, wide)
        for j in range(0, wide, LANES):
            gradient_columns(ds, j, p_flat, s + j, scale, 0, n, wide)
        copied(flat, first + channels, right, 0, n, d, step, narrow)  # dq = ds k
        result[:] = 0
        transposed_product(ds, 0, right, 0, result, 0, wide, n, narrow, wide, narrow, narrow)
        copied(result, 0, to, first, n, d, narrow, step)
        copied(flat, first, right, 0, n, d, step, narrow)  # dk = dsᵀ q
        product(ds, 0, right, 0, zero, 0, to, first + channels, n, n, d, wide, narrow, step)
        copied(g_flat, g_first, right, 0, n, d, channels, narrow)  # dv = pᵀ g
        product(p_flat, s, right, 0, zero, 0, to, first + 2 * channels, n, n, d, wide, narrow, step)


# --- the wrappers ---


def _wide(n: int) -> int:
    """The queries, padded: a whole number of vectors, and of tiles of 16 inputs."""
    return -(-n // 16) * 16


def _fixed(n: int, channels: int, heads: int) -> list[np.ndarray]:
    """The scale, a bias of zeros, scratch memory."""
    wide, d = _wide(n), channels // heads
    scale, size = np.array([1 / math.sqrt(d)], np.float32), wide * (3 * d + 3 * 16 + n)
    return [scale, np.zeros(wide + d + 16, np.float32), scratch(size)]


def self_attention(qkv, heads):
    count, n, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    if qkv.dtype != np.float32 or qkv.size == 0 or n > 1024:
        return generic.self_attention(qkv, heads)
    ran["self_attention"] += 1
    p, out = np.empty((count, heads, n, _wide(n)), np.float32), np.empty((count, n, channels), np.float32)
    attend(lanes())(contiguous(qkv), *_fixed(n, channels, heads), p, out)
    return out, p


def self_attention_dqkv(g, qkv, aux, heads):
    n, channels = g.shape[1:]
    if not g.dtype == qkv.dtype == np.float32 or g.size == 0 or n > 1024:
        return generic.self_attention_dqkv(g, qkv, aux, heads)
    ran["self_attention_dqkv"] += 1
    dqkv = np.empty(qkv.shape, np.float32)
    attend_gradient(lanes())(contiguous(g), contiguous(qkv), aux, *_fixed(n, channels, heads), dqkv)
    return dqkv
