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
from functools import cache

import numba
import numpy as np

from .. import generic
from . import functions, tiles
from .compiled import compiled, contiguous, helper, numbers, scratch, unbound
from .ran import ran
from .vector import lanes, registers, vector

square = thin = down = softmax_columns = gradient_columns = unbound  # bound by `compiled`
PIXELS = CHANNELS = INPUTS = LANES = 0


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
def transposed(a, first, n, d, step, into, wide):
    """n rows of d numbers, `step` apart, as d rows of `wide` numbers."""
    for i in range(n):
        for k in range(d):
            into[k * wide + i] = a[first + i * step + k]


@helper
def widened(a, first, n, d, step, into, wide):
    """The same as n rows of `wide` numbers."""
    for i in range(n):
        for k in range(d):
            into[i * wide + k] = a[first + i * step + k]


def attend(qkv, scale, zero, memory, p, out):
    """qkv (images, n, 3 · channels), p (images, heads, keys, queries padded), out (images, n, channels)."""
    (count, heads, n, wide), channels = p.shape, out.shape[2]
    d, step = channels // heads, 3 * channels
    narrow = -(-d // LANES) * LANES
    a, b, c = d * wide, d * wide + n * narrow, d * wide + (n + wide) * narrow
    queries, values, result = memory[:a], memory[a:b], memory[b:c]
    memory[:c] = 0
    flat, p_flat, out_flat = qkv.reshape(qkv.size), p.reshape(p.size), out.reshape(out.size)
    for h in range(count * heads):
        first, s = h // heads * n * step + h % heads * d, h * n * wide
        transposed(flat, first, n, d, step, queries, wide)
        for start in range(0, n, PIXELS):
            i = min(start, n - PIXELS)
            row = first + channels + i * step
            for j in range(0, wide, CHANNELS):
                square(
                    flat, row, queries, j, zero, 0, p_flat, s + i * wide + j,
                    1, 1, d, 0, 0, 0, 0, wide, step, wide, CHANNELS,
                )  # fmt: skip
        for j in range(0, wide, LANES):
            softmax_columns(p_flat, s + j, scale, 0, n, wide)
        widened(flat, first + 2 * channels, n, d, step, values, narrow)
        result[:] = 0
        for i in range(0, wide, INPUTS):
            for j in range(0, narrow, LANES):
                down(p_flat, s + i, values, j, result, i * narrow + j, 1, n, 0, wide, 0, narrow, narrow)
        for i in range(n):
            for k in range(d):
                out_flat[(h // heads * n + i) * channels + h % heads * d + k] = result[i * narrow + k]


def attend_gradient(g, qkv, p, scale, zero, memory, dqkv):
    (count, heads, n, wide), channels = p.shape, g.shape[2]
    d, step = channels // heads, 3 * channels
    narrow = -(-d // LANES) * LANES
    ends = np.cumsum(np.array([d * wide, n * wide, n * narrow, wide * narrow]))
    weights, ds = memory[: ends[0]], memory[ends[0] : ends[1]]
    right, result = memory[ends[1] : ends[2]], memory[ends[2] : ends[3]]
    memory[: ends[3]] = 0
    flat, p_flat, g_flat, to = qkv.reshape(qkv.size), p.reshape(p.size), g.reshape(g.size), dqkv.reshape(dqkv.size)
    for h in range(count * heads):
        first, s = h // heads * n * step + h % heads * d, h * n * wide
        g_first = h // heads * n * channels + h % heads * d
        transposed(g_flat, g_first, n, d, channels, weights, wide)
        for start in range(0, n, PIXELS):
            i = min(start, n - PIXELS)
            row = first + 2 * channels + i * step
            for j in range(0, wide, CHANNELS):
                square(
                    flat, row, weights, j, zero, 0, ds, i * wide + j,
                    1, 1, d, 0, 0, 0, 0, wide, step, wide, CHANNELS,
                )  # fmt: skip
        for j in range(0, wide, LANES):
            gradient_columns(ds, j, p_flat, s + j, scale, 0, n, wide)
        widened(flat, first + channels, n, d, step, right, narrow)
        result[:] = 0
        for i in range(0, wide, INPUTS):
            for j in range(0, narrow, LANES):
                down(ds, i, right, j, result, i * narrow + j, 1, n, 0, wide, 0, narrow, narrow)
        for i in range(n):
            for k in range(d):
                to[first + i * step + k] = result[i * narrow + k]
        for part in range(1, 3):  # dk = dsᵀ q, then dv = pᵀ g
            if part == 1:
                left, at = ds, 0
                widened(flat, first, n, d, step, right, narrow)
            else:
                left, at = p_flat, s
                widened(g_flat, g_first, n, d, channels, right, narrow)
            for start in range(0, n, PIXELS):
                i = min(start, n - PIXELS)
                for j in range(0, narrow, LANES):
                    thin(
                        left, at + i * wide, right, j, zero, 0, to, first + part * channels + i * step + j,
                        1, 1, n, 0, 0, 0, 0, narrow, wide, step, d - j,
                    )  # fmt: skip


_cube, _square = numba.float32[:, :, ::1], numba.float32[:, :, :, ::1]


def _kernel(name: str, n: int, width: int):
    most = 7 if registers(width) == 32 else 4
    return _compiled(name, most if n >= most else 1, 2 if _wide(n) // width % 2 == 0 else 1, width)


@cache
def _compiled(name: str, pixels: int, vectors: int, width: int):
    inputs = 16 if width == 16 else 8
    bound = {
        "square": vector(tiles.product(pixels, vectors), width, places=4),
        "thin": vector(tiles.product(pixels, 1), width, places=4),
        "down": vector(tiles.outer(inputs, 1), width, places=3),
        "softmax_columns": vector(_softmax_columns, width, places=2),
        "gradient_columns": vector(_gradient_columns, width, places=3),
    }
    arguments = {"attend": (_cube, *(numbers,) * 3, _square, _cube),
                 "attend_gradient": (_cube, _cube, _square, *(numbers,) * 3, _cube)}  # fmt: skip
    sizes = {"PIXELS": pixels, "CHANNELS": vectors * width, "INPUTS": inputs, "LANES": width}
    name_of_variant = f"_{pixels}x{vectors}x{width}"
    return compiled(globals()[name], arguments[name], name_of_variant, **bound, **sizes)


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
    _kernel("attend", n, lanes())(contiguous(qkv), *_fixed(n, channels, heads), p, out)
    return out, p


def self_attention_dqkv(g, qkv, aux, heads):
    n, channels = g.shape[1:]
    if not g.dtype == qkv.dtype == np.float32 or g.size == 0 or n > 1024:
        return generic.self_attention_dqkv(g, qkv, aux, heads)
    ran["self_attention_dqkv"] += 1
    dqkv = np.empty(qkv.shape, np.float32)
    kernel = _kernel("attend_gradient", n, lanes())
    kernel(contiguous(g), contiguous(qkv), aux, *_fixed(n, channels, heads), dqkv)
    return dqkv
