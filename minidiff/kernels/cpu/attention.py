"""Softmax, and attention as one kernel a (batch, head): five small matrix products on the convolutions' tiles.

    forward                                     backward
    s = q kᵀ            (n × n, in scratch)     dp = g vᵀ                    (n × n, in scratch)
    p = softmax(s·scale)   row by row           ds = p · (dp − Σ dp·p) · scale   row by row
    out = p v                                   dq = ds k,   dk = dsᵀ q,   dv = pᵀ g

A product a @ b is a convolution of one row of pixels: the rows of a are the pixels, b the weights, its columns padded
to whole vectors. Transposed products (dk, dv) are weight gradients.
"""

from functools import cache

import numba
import numpy as np

from .. import generic
from . import functions, tiles
from .compiled import compiled, contiguous, helper, matrix, numbers, scratch, unbound
from .ran import ran
from .vector import lanes, registers, vector

square = thin = down = softmax_row = gradient_row = unbound  # bound by `compiled`
PIXELS = CHANNELS = LANES = 0
INPUTS = 16


# --- bodies: one row ---


def _softmax_row(e, s, p, scale, n):
    """p = softmax(s · scale) over n numbers; s is overwritten."""
    whole, factor, lowest = n // e.lanes, e.splat(scale), e.constant(float("-inf"))
    rest = whole * e.lanes
    mask = e.first(n - rest)
    last = e.choose(mask, e.load(s + rest, mask) * factor, lowest)

    def larger(a, b):
        return e.choose(e.below(a, b), b, a)

    top = e.variable(last)

    @e.loop(whole)
    def _(i):
        top.set(larger(top.get(), e.load(s + i * e.lanes) * factor))

    highest = e.across(larger, top.get())
    last = e.choose(mask, functions.exp(e, last - highest), e.constant(0))
    total = e.variable(last)

    @e.loop(whole)
    def _(i):
        value = functions.exp(e, e.load(s + i * e.lanes) * factor - highest)
        e.store(value, s + i * e.lanes)
        total.set(total.get() + value)

    share = e.constant(1) / e.across(lambda a, b: a + b, total.get())

    @e.loop(whole)
    def _(i):
        e.store(e.load(s + i * e.lanes) * share, p + i * e.lanes)

    e.store(last * share, p + rest, mask)


def _gradient_row(e, dp, p, scale, n):
    """dp ← p · (dp − Σ dp·p) · scale over n numbers."""
    whole, factor = n // e.lanes, e.splat(scale)
    rest = whole * e.lanes
    mask = e.first(n - rest)
    total = e.variable(e.load(dp + rest, mask) * e.load(p + rest, mask))

    @e.loop(whole)
    def _(i):
        total.set(e.fma(e.load(dp + i * e.lanes), e.load(p + i * e.lanes), total.get()))

    shared = e.across(lambda a, b: a + b, total.get())

    @e.loop(whole)
    def _(i):
        place = dp + i * e.lanes
        e.store(e.load(p + i * e.lanes) * (e.load(place) - shared) * factor, place)

    e.store(e.load(p + rest, mask) * (e.load(dp + rest, mask) - shared) * factor, dp + rest, mask)


# --- the loops ---


@helper
def transposed(a, into, wide):
    """a (n × d) as d rows of `wide` numbers."""
    for k in range(a.shape[1]):
        for i in range(a.shape[0]):
            into[k * wide + i] = a[i, k]


@helper
def widened(a, into, wide):
    """a (n × d) as n rows of `wide` numbers."""
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            into[i * wide + k] = a[i, k]


def attend(q, k, v, scale, zero, memory, p, out):
    """q, k, v, out: (heads, n, d), p: (heads, n, n), scale: one number; `zero` is the bias that is not there."""
    heads, n, d = q.shape
    wide, narrow = -(-n // 16) * 16, -(-d // LANES) * LANES
    a, b, c = d * wide, (d + n) * wide, (d + n) * wide + n * narrow
    keys, s, values = memory[:a], memory[a:b], memory[b:c]
    memory[:c] = 0
    for h in range(heads):
        transposed(k[h], keys, wide)
        widened(v[h], values, narrow)
        rows, weights, result = q[h].reshape(n * d), p[h].reshape(n * n), out[h].reshape(n * d)
        for start in range(0, n, PIXELS):
            i = min(start, n - PIXELS)
            for j in range(0, wide, CHANNELS):
                square(rows, i * d, keys, j, zero, 0, s, i * wide + j, 1, 1, d, 0, 0, 0, 0, wide, d, wide, CHANNELS)
        for i in range(n):
            softmax_row(s, i * wide, weights, i * n, scale, 0, n)
        for start in range(0, n, PIXELS):
            i = min(start, n - PIXELS)
            for j in range(0, narrow, LANES):
                thin(
                    weights, i * n, values, j, zero, 0, result, i * d + j, 1, 1, n, 0, 0, 0, 0, narrow, n, d, d - j
                )  # fmt: skip


def attend_gradients(g, q, k, v, p, scale, zero, memory, dq, dk, dv):
    heads, n, d = q.shape
    wide, narrow = -(-n // 16) * 16, -(-d // LANES) * LANES  # 16: a whole number of tiles of INPUTS
    ends = np.cumsum(np.array([d * wide, n * wide, n * wide, n * narrow, wide * narrow]))
    values, ds, weights = memory[: ends[0]], memory[ends[0] : ends[1]], memory[ends[1] : ends[2]]
    right, result = memory[ends[2] : ends[3]], memory[ends[3] : ends[4]]
    memory[: ends[4]] = 0
    for h in range(heads):
        transposed(v[h], values, wide)
        widened(p[h], weights, wide)
        rows, to = g[h].reshape(n * d), dq[h].reshape(n * d)
        for start in range(0, n, PIXELS):
            i = min(start, n - PIXELS)
            for j in range(0, wide, CHANNELS):
                square(
                    rows, i * d, values, j, zero, 0, ds, i * wide + j,
                    1, 1, d, 0, 0, 0, 0, wide, d, wide, CHANNELS,
                )  # fmt: skip
        for i in range(n):
            gradient_row(ds, i * wide, weights, i * wide, scale, 0, n)
        widened(k[h], right, narrow)
        for start in range(0, n, PIXELS):
            i = min(start, n - PIXELS)
            for j in range(0, narrow, LANES):
                thin(ds, i * wide, right, j, zero, 0, to, i * d + j, 1, 1, n, 0, 0, 0, 0, narrow, wide, d, d - j)
        for left, side, into in ((ds, q[h], dk[h]), (weights, g[h], dv[h])):
            widened(side, right, narrow)
            result[:] = 0
            for i in range(0, wide, INPUTS):
                for j in range(0, narrow, LANES):
                    down(left, i, right, j, result, i * narrow + j, 1, n, 0, wide, 0, narrow, narrow)
            for i in range(n):
                for j in range(d):
                    into[i, j] = result[i * narrow + j]


def softmax_rows(x, scale, memory, y):
    n = x.shape[1]
    row = memory[:n]
    for i in range(len(x)):
        row[:] = x[i]
        softmax_row(row, 0, y[i], 0, scale, 0, n)


_cube = numba.float32[:, :, ::1]


@cache
def _attention(name: str, n: int, width: int):
    most = 7 if registers(width) == 32 else 4
    return _attention_of(name, most if n >= most else 1, 2 if -(-n // 16) * 16 // width % 2 == 0 else 1, width)


@cache
def _attention_of(name, pixels, vectors, width):
    gradients = name == "attend_gradients"
    return compiled(
        attend_gradients if gradients else attend,
        (*[_cube] * (5 if gradients else 3), numbers, numbers, numbers, *[_cube] * (3 if gradients else 2)),
        f"_{pixels}x{vectors}x{width}",
        square=vector(tiles.product(pixels, vectors), width, places=4),
        thin=vector(tiles.product(pixels, 1), width, places=4),
        down=vector(tiles.outer(INPUTS if width == 16 else 8, 1), width, places=3),
        softmax_row=vector(_softmax_row, width, places=3),
        gradient_row=vector(_gradient_row, width, places=3),
        PIXELS=pixels,
        CHANNELS=vectors * width,
        INPUTS=INPUTS if width == 16 else 8,
        LANES=width,
    )


@cache
def _softmax(width: int):
    row = vector(_softmax_row, width, places=3)
    return compiled(softmax_rows, (matrix, numbers, numbers, matrix), f"_x{width}", softmax_row=row)


# --- the wrappers ---


def softmax(x, axis):
    if x.dtype != np.float32 or x.size == 0 or axis not in (-1, x.ndim - 1):
        return generic.softmax(x, axis)
    ran["softmax"] += 1
    x = contiguous(x)
    y = np.empty_like(x)
    shape = (-1, x.shape[-1])
    _softmax(lanes())(x.reshape(shape), np.ones(1, np.float32), scratch(x.shape[-1]), y.reshape(shape))
    return y


def _fast(*arrays) -> bool:
    shape = arrays[0].shape
    return all(a.dtype == np.float32 and a.shape == shape for a in arrays) and arrays[0].size > 0 and shape[-2] <= 1024


def _cubes(*arrays):
    return [contiguous(a).reshape(-1, *a.shape[-2:]) for a in arrays]


def attention(q, k, v, scale):
    if not _fast(q, k, v):
        return generic.attention(q, k, v, scale)
    ran["attention"] += 1
    n, d = q.shape[-2:]
    out, p = np.empty(q.shape, np.float32), np.empty((*q.shape[:-1], n), np.float32)
    wide = n + d + 32
    kernel = _attention("attend", n, lanes())
    factor, zero = np.array([scale], np.float32), np.zeros(wide, np.float32)
    kernel(*_cubes(q, k, v), factor, zero, scratch(3 * wide * wide), *_cubes(p, out))
    return out, p


def attention_grads(g, q, k, v, aux, scale):
    if not _fast(g, q, k, v) or aux.dtype != np.float32:
        return generic.attention_grads(g, q, k, v, aux, scale)
    ran["attention_grads"] += 1
    n, d = q.shape[-2:]
    dq, dk, dv = (np.empty(q.shape, np.float32) for _ in range(3))
    wide = n + d + 32
    kernel = _attention("attend_gradients", n, lanes())
    factor, zero = np.array([scale], np.float32), np.zeros(wide, np.float32)
    kernel(*_cubes(g, q, k, v, aux), factor, zero, scratch(5 * wide * wide), *_cubes(dq, dk, dv))
    return dq, dk, dv
