"""Winograd convolution F(4 × 4, 3 × 3): 36 products for 16 outputs of 9 taps, a quarter of the direct 144.

Lavin & Gray 2016: a 4 × 4 tile of output is  y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A,  x the 6 × 6 tile of input around it.
Over channels, the ⊙ is one matrix product for each of the 36 positions:

      x 6 × 6          V: 36 positions                                   M: 36 positions          y 4 × 4
     ┌──────┐   Bᵀ·B   ┌─┬─┬─┬──      each: tiles × inputs  @  U     Aᵀ·A   ┌────┐
     │ ┌────┼─┐  →     │ │ │ │        U = G w Gᵀ: inputs × outputs    →     │    │
     └─┼────┘ │        └─┴─┴─┴──                                            └────┘
       └──────┘ tiles overlap by 2

The points that make A, B and G are 0, ±5/8, ±25/16, ∞ (see `transforms`): all of B is exact in float32, and the error
stays below three times the direct kernel's own, where the usual ±1, ±2 lose a digit. What is at ∞, only the fourth
output wants: where 4 does not divide a side, its last tiles have three, and 5 positions each way (see `runs`).

V and M lie as [vector of channels][position][tile][lane]: all places of a tile are constants apart, and the pixels of a
product are `lanes` apart, for any number of channels. F(2 × 2, 5 × 5) has the same tile of input, and 36 products in
place of 100: `TAPS` tells them apart.

The input gradient is the same with flipped weights. Weight gradient: dU += Vᵀ (A g Aᵀ) in each position, dw = Gᵀ dU G;
not for 5 × 5, where it would err more than three times as much as the direct one, and so would y if it were a sum over
fewer than 16 channels. Groups have matrix products of their own, and all else in common.
"""

from functools import cache, lru_cache

import numba
import numpy as np

from . import tiles, transforms
from .compiled import compiled, contiguous, helper, images, numbers, scratch, unbound
from .runs import BLOCK, NUMBERS, cut, find_runs, pitch
from .vector import lanes, registers, vector

LEAST = 16  # tiles: a register tile
LINES = 6 * (4 * BLOCK + 3)  # vectors: what `transforms.read` puts down for a run of a whole block

# Bound by `compiled`:
read = write = read_gradient = transform_weights = restore_weights = multiply = gather = unbound
LANES = TAPS = 0


# --- bodies: the product of one position ---


def _multiply(sizes):
    """m (tiles × outputs) = v (tiles × inputs) @ u, with `sizes[vectors]` tiles at a time, for which there is room."""

    def body(e, v, u, zero, m, count, inputs, outputs, c_out):
        def run(vectors, start, times):
            some, slab = sizes[vectors], 36 * pitch(e)
            tile = tiles.product(some, vectors, slab)

            @e.loop(times)
            def _(group):
                c = start + group * (vectors * e.lanes)

                @e.loop((count + (some - 1)) // some)
                def _(k):
                    t = k * (some * e.lanes)
                    tile(
                        e, v + t, u + c, zero, m + t + c // e.lanes * slab, inputs // e.lanes, 1, e.lanes,
                        slab, 0, c_out * e.lanes, 0, c_out, e.lanes, e.lanes, vectors * e.lanes,
                    )  # fmt: skip

        tiles.by_vectors(e, outputs, run)

    return body


def _gather(sizes):
    """u (inputs × outputs) += vᵀ (inputs × tiles) @ d (tiles × outputs); `sizes` gives each tile its inputs."""

    def body(e, v, d, u, count, inputs, outputs, c_out):
        def run(vectors, start, times):
            some, slab = sizes[vectors], 36 * pitch(e)
            tile, parts = tiles.outer(some, vectors, slab), e.lanes // some

            @e.loop(inputs // some)
            def _(part):
                at = v + (part // parts * slab + part % parts * some)

                @e.loop(times)
                def _(group):
                    c = start + group * (vectors * e.lanes)
                    into = u + part * some * c_out + c
                    tile(e, at, d + c // e.lanes * slab, into, 1, count, 0, e.lanes, 0, e.lanes, c_out)

        tiles.by_vectors(e, outputs, run)

    return body


# --- the loops ---


@helper
def part(memory, size):
    """(So many numbers of the memory, the rest.)"""
    return memory[:size], memory[size:]


@helper
def share_of(k, shares):
    """How many tiles take part in position k: see `find_runs`."""
    return shares[k // 30 * 2 + k % 6 // 5]


def convolve(x, w, bias, y, groups, memory, zero):
    """w is (TAPS, TAPS, inputs of a group, c_out)."""
    (count, height, width, c_in), c_out, whole = x.shape, y.shape[3], 7 - TAPS
    inputs, outputs, position = c_in // groups, c_out // groups, (BLOCK + 1) * LANES
    size, total = inputs * c_out, count * cut(height, whole)[0] * cut(width, whole)[0]
    lines, memory = part(memory, LINES * LANES)
    u, memory = part(memory, 36 * size)
    v, memory = part(memory, 36 * (BLOCK + 1) * c_in)
    m, spare = part(memory, 36 * (BLOCK + 1) * c_out)
    x_flat, y_flat = x.reshape(x.size), y.reshape(y.size)
    transform_weights(w.reshape(w.size), 0, u, 0, size)
    runs, shares = np.empty((BLOCK, NUMBERS), np.int64), np.empty(4, np.int64)
    table = runs.reshape(runs.size)
    for first in range(0, total, BLOCK):
        found = find_runs(first, min(BLOCK, total - first), height, width, whole, runs, shares)
        for r in range(found):
            read(x_flat, 0, zero, 0, v, 0, lines, 0, table, r * NUMBERS, height, width, c_in)
        for k in range(36):
            for group in range(groups):
                v_at, m_at = group * inputs * 36 * (BLOCK + 1), group * outputs * 36 * (BLOCK + 1)
                multiply(
                    v, v_at + k * position, u, k * size + group * outputs, zero, 0, m, m_at + k * position,
                    share_of(k, shares), inputs, outputs, c_out,
                )  # fmt: skip
        for r in range(found):
            write(m, 0, bias, 0, y_flat, 0, spare, 0, table, r * NUMBERS, height, width, c_out)


def gradient(g, x, dw, db, groups, memory, zero):
    """dw and db of the 3 × 3 convolution."""
    (count, height, width, c_in), c_out = x.shape, g.shape[3]
    inputs, outputs, position = c_in // groups, c_out // groups, (BLOCK + 1) * LANES
    size, total = inputs * c_out, count * cut(height, 4)[0] * cut(width, 4)[0]
    lines, memory = part(memory, LINES * LANES)
    u, memory = part(memory, 36 * size)
    v, d = part(memory, 36 * (BLOCK + 1) * c_in)
    x_flat, g_flat = x.reshape(x.size), g.reshape(g.size)
    u[:] = 0
    db[:] = 0
    runs, shares = np.empty((BLOCK, NUMBERS), np.int64), np.empty(4, np.int64)
    table = runs.reshape(runs.size)
    for first in range(0, total, BLOCK):
        for r in range(find_runs(first, min(BLOCK, total - first), height, width, 4, runs, shares)):
            read(x_flat, 0, zero, 0, v, 0, lines, 0, table, r * NUMBERS, height, width, c_in)
            read_gradient(g_flat, 0, zero, 0, d, 0, db, 0, table, r * NUMBERS, height, width, c_out)
        for k in range(36):
            for group in range(groups):
                v_at, d_at = group * inputs * 36 * (BLOCK + 1), group * outputs * 36 * (BLOCK + 1)
                gather(
                    v, v_at + k * position, d, d_at + k * position, u, k * size + group * outputs,
                    share_of(k, shares), inputs, outputs, c_out,
                )  # fmt: skip
    restore_weights(u, 0, dw.reshape(dw.size), 0, size)


@cache
def _convolve(taps: int, width: int):
    return compiled(
        convolve,
        (images, images, numbers, images, numba.intp, numbers, numbers),
        f"_{taps}x{width}",
        read=vector(transforms.read(taps), width, places=5),
        transform_weights=vector(transforms.weights(taps), width, places=2),
        multiply=vector(_multiply(tiles.INPUTS[registers(width)]), width, places=4),
        write=vector(transforms.write(taps), width, places=5),
        LANES=width,
        TAPS=taps,
    )


@cache
def _gradient(width: int):
    inputs = {vectors: min(size, width) for vectors, size in tiles.INPUTS[registers(width)].items()}
    return compiled(
        gradient,
        (images, images, images, numbers, numba.intp, numbers, numbers),
        f"_x{width}",
        read=vector(transforms.read(3), width, places=5),
        read_gradient=vector(transforms.read_gradient, width, places=5),
        gather=vector(_gather(inputs), width, places=3),
        restore_weights=vector(transforms.restore_weights, width, places=2),
        LANES=width,
    )


# --- the wrappers ---


@lru_cache(maxsize=1024)
def fits(most: int, x_shape, channels: int, kernel, stride, padding, dilation, groups=1, of_weights=False) -> int:
    """The lanes, at `most` so many, for a shape that is one for Winograd, else 0.

    That is 'same', with whole or half vectors of channels in each group. Sums must be long enough for an error below
    three direct ones, and images large enough for 5 × 5 to be quicker.
    """
    (count, height, width, c_in), taps, step = x_shape, kernel[0], 7 - kernel[0]
    same = kernel in ((3, 3), (5, 5)) and stride == dilation == (1, 1) and padding == (taps // 2,) * 2
    inputs, outputs, small = c_in // groups, channels // groups, min(height, width)
    if not same or min(inputs, outputs) < 8:
        return 0
    total = count * -(-height // step) * -(-width // step)
    least = 8 if taps == 5 else 6 if of_weights or inputs < 32 else 4
    enough = taps == 3 and total >= 64 if of_weights else total >= LEAST and (taps == 5 or inputs >= 16)
    widths = [n for n in (most, most // 2)[: 2 if taps == 3 else 1] if n >= 4 and inputs % n == outputs % n == 0]
    return widths[0] if enough and widths and small >= least else 0


@cache
def _zero(size: int):
    return np.zeros(size, np.float32)


def _scratch(inputs: int, c_in: int, c_out: int):
    return scratch(LINES * lanes() + 36 * inputs * c_out + 36 * (BLOCK + 1) * (c_in + c_out) + 4 * c_out)


def forward(x, w, b, groups, width):
    c_in, c_out = x.shape[3], w.shape[3]
    y, zero = np.empty((*x.shape[:3], c_out), np.float32), _zero(x.shape[2] * max(c_in, c_out))
    bias, memory = zero[:c_out] if b is None else contiguous(b), _scratch(c_in // groups, c_in, c_out)
    _convolve(len(w), width)(x, contiguous(w), bias, y, groups, memory, zero)
    return y


def weight_and_bias_gradient(g, x, groups, width):
    c_in, c_out = x.shape[3], g.shape[3]
    dw, db = np.empty((3, 3, c_in // groups, c_out), np.float32), np.empty(c_out, np.float32)
    memory, zero = _scratch(c_in // groups, c_in, c_out), _zero(x.shape[2] * max(c_in, c_out))
    _gradient(width)(g, x, dw, db, groups, memory, zero)
    return dw, db
