"""Self-attention as one kernel a (image, head), straight from the layer's (positions, 3 · channels)
and back into it.

The probabilities stand with the queries side by side, so that a softmax goes down sixteen columns
at once:

    forward                                     backward
    sᵀ = k qᵀ       keys × queries              dpᵀ = v gᵀ, then  ds = p · (dp − Σ dp·p) · scale  down the columns
    pᵀ = softmax(sᵀ · scale)   down columns     dq = ds k
    out = p v                                   dk = dsᵀ q,   dv = pᵀ g

A product a @ b is a convolution of one row of pixels on `tiles`: the rows of a are the pixels, b
the weights, its columns padded to whole vectors; a transposed product (out, dq) is a weight
gradient.
"""

import math

import numba
import numpy as np

from .. import generic
from . import functions, tiles
from .compiled import contiguous, kernel, number, numbers, scratch
from .ran import ran
from .vector import lanes, registers

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


def _transposed(e, a, b, rows, columns, a_row, b_row):
    """b = aᵀ"""

    @e.loop(rows)
    def _(i):
        @e.loop(columns)
        def _(k):
            e.store(e.splat(a + i * a_row + k), b + k * b_row + i, e.first(1))


# --- bodies: one vector of columns, `rows` numbers down, `step` apart ---


def _softmax_columns(e, s, scale, rows, step):
    """s ← softmax(s · scale) down each column."""
    top, total = e.variable(e.load(s)), e.variable(e.constant(0))

    @e.loop(rows)
    def _(i):
        value = e.load(s + i * step)
        top.set(e.choose(e.below(top.get(), value), value, top.get()))

    highest = top.get() * scale

    @e.loop(rows)
    def _(i):
        value = functions.exp(e, e.load(s + i * step) * scale - highest)
        e.store(value, s + i * step)
        total.set(total.get() + value)

    share = e.constant(1) / total.get()

    @e.loop(rows)
    def _(i):
        e.store(e.load(s + i * step) * share, s + i * step)


def _gradient_columns(e, dp, p, scale, rows, step):
    """dp ← p · (dp − Σ dp·p) · scale down each column."""
    total = e.variable(e.constant(0))

    @e.loop(rows)
    def _(i):
        total.set(e.fma(e.load(dp + i * step), e.load(p + i * step), total.get()))

    @e.loop(rows)
    def _(i):
        e.store(e.load(p + i * step) * (e.load(dp + i * step) - total.get()) * scale, dp + i * step)


# --- bodies: all images and heads ---


def _sizes(e, n, wide, channels, heads):
    """Of a head: its numbers, padded to whole vectors; how many there are in queries, in values, and in a result."""
    d = channels // heads
    narrow = (d + (e.lanes - 1)) // e.lanes * e.lanes
    return d, narrow, d * wide, n * narrow, wide * narrow


@kernel(_cube, number, numbers, numbers, _square, _cube)
def attend(e, qkv, scale, zero, memory, p, out, images, heads, n, wide, channels):
    """qkv (images, n, 3 · channels), p (images, heads, keys, queries padded), out (images, n, channels)."""
    step, (d, narrow, queries_size, values_size, size) = (
        channels * 3,
        _sizes(e, n, wide, channels, heads),
    )
    queries, values, result = memory, memory + queries_size, memory + queries_size + values_size
    e.call(tiles.cleared, memory, queries_size + values_size)

    @e.loop(images)
    def _(image):
        @e.loop(heads)
        def _(head):
            s, of_head = p + (image * heads + head) * n * wide, qkv + image * n * step + head * d
            e.call(_transposed, of_head, queries, n, d, step, wide)
            e.call(_product, of_head + channels, queries, zero, s, n, d, wide, step, wide, wide)
            e.loop(wide // e.lanes)(lambda j: _softmax_columns(e, s + j * e.lanes, scale, n, wide))
            e.call(_copied, of_head + channels * 2, values, n, d, step, narrow)
            e.call(tiles.cleared, result, size)
            e.call(_transposed_product, s, values, result, wide, n, narrow, wide, narrow, narrow)
            e.call(_copied, result, out + image * n * channels + head * d, n, d, narrow, channels)


@kernel(_cube, _cube, _square, number, numbers, numbers, _cube)
def attend_gradient(e, g, qkv, p, scale, zero, memory, dqkv, images, heads, n, wide, channels):
    step, (d, narrow, queries_size, values_size, size) = (
        channels * 3,
        _sizes(e, n, wide, channels, heads),
    )
    gradients, right, result = memory, memory + queries_size, memory + queries_size + values_size
    ds = result + size
    e.call(tiles.cleared, memory, queries_size + values_size)

    @e.loop(images)
    def _(image):
        @e.loop(heads)
        def _(head):
            s, first = p + (image * heads + head) * n * wide, image * n * step + head * d
            of_head, to, g_of_head = qkv + first, dqkv + first, g + image * n * channels + head * d
            e.call(_transposed, g_of_head, gradients, n, d, channels, wide)
            e.call(
                _product, of_head + channels * 2, gradients, zero, ds, n, d, wide, step, wide, wide
            )
            e.loop(wide // e.lanes)(
                lambda j: _gradient_columns(e, ds + j * e.lanes, s + j * e.lanes, scale, n, wide)
            )
            e.call(_copied, of_head + channels, right, n, d, step, narrow)  # dq = ds k
            e.call(tiles.cleared, result, size)
            e.call(_transposed_product, ds, right, result, wide, n, narrow, wide, narrow, narrow)
            e.call(_copied, result, to, n, d, narrow, step)
            e.call(_copied, of_head, right, n, d, step, narrow)  # dk = dsᵀ q
            e.call(_product, ds, right, zero, to + channels, n, n, d, wide, narrow, step)
            e.call(_copied, g_of_head, right, n, d, channels, narrow)  # dv = pᵀ g
            e.call(_product, s, right, zero, to + channels * 2, n, n, d, wide, narrow, step)


# --- the wrappers ---


def _wide(n: int) -> int:
    """The queries, padded: a whole number of vectors, and of tiles of 16 inputs."""
    return -(-n // 16) * 16


def _fixed(n: int, channels: int, heads: int) -> list:
    """The scale, a bias of zeros, scratch memory."""
    wide, d = _wide(n), channels // heads
    return [
        1 / math.sqrt(d),
        np.zeros(wide + d + 16, np.float32),
        scratch(wide * (3 * d + 3 * 16 + n)),
    ]


def self_attention(qkv, heads):
    count, n, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    if qkv.dtype != np.float32 or qkv.size == 0 or n > 1024:
        return generic.self_attention(qkv, heads)
    ran["self_attention"] += 1
    p, out = (
        np.empty((count, heads, n, _wide(n)), np.float32),
        np.empty((count, n, channels), np.float32),
    )
    attend(lanes())(
        contiguous(qkv), *_fixed(n, channels, heads), p, out, count, heads, n, _wide(n), channels
    )
    return out, p


def self_attention_dqkv(g, qkv, aux, heads):
    n, channels = g.shape[1:]
    if not g.dtype == qkv.dtype == np.float32 or g.size == 0 or n > 1024:
        return generic.self_attention_dqkv(g, qkv, aux, heads)
    ran["self_attention_dqkv"] += 1
    dqkv = np.empty(qkv.shape, np.float32)
    attend_gradient(lanes())(
        contiguous(g),
        contiguous(qkv),
        aux,
        *_fixed(n, channels, heads),
        dqkv,
        len(g),
        heads,
        n,
        _wide(n),
        channels,
    )
    return dqkv
