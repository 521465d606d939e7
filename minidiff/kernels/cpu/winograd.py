"""Winograd convolution F(4 × 4, 3 × 3): 36 products for 16 outputs of 9 taps, a quarter of the
direct 144.

Lavin & Gray 2016: a 4 × 4 tile of output is  y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A,  x the 6 × 6 tile of input around it.
Over channels, the ⊙ is one matrix product for each of the 36 positions:

      x 6 × 6          V: 36 positions                                   M: 36 positions          y 4 × 4
     ┌──────┐   Bᵀ·B   ┌─┬─┬─┬──      each: tiles × inputs  @  U     Aᵀ·A   ┌────┐
     │ ┌────┼─┐  →     │ │ │ │        U = G w Gᵀ: inputs × outputs    →     │    │
     └─┼────┘ │        └─┴─┴─┴──                                            └────┘
       └──────┘ tiles overlap by 2

The points that make A, B and G are 0, ±5/8, ±25/16, ∞ (see `transforms`): all of B is exact in
float32, and the error stays below three times the direct kernel's own, where the usual ±1, ±2 lose
a digit. What is at ∞, only the fourth output wants: where 4 does not divide a side, its last tiles
have three, and 5 positions each way (see `runs`).

V and M lie as [vector of channels][position][tile][lane]: all places of a tile are constants apart,
and the pixels of a product are `lanes` apart, for any number of channels. F(2 × 2, 5 × 5) has the
same tile of input, and 36 products in place of 100: `taps` tells them apart.

The input gradient is the same with flipped weights. Weight gradient: dU += Vᵀ (A g Aᵀ) in each
position, dw = Gᵀ dU G; not for 5 × 5, where it would err more than three times as much as the
direct one, and so would y if it were a sum over fewer than 16 channels. Groups have matrix products
of their own, and all else in common.
"""

from functools import cache, lru_cache

import numba
import numpy as np

from . import tiles, transforms
from .compiled import compiled_body, contiguous, images, numbers, scratch
from .runs import BLOCK, NUMBERS, OF_BLOCK, find_runs, pitch
from .vector import lanes, registers

LEAST = 16  # tiles: a register tile
LINES = 6 * (4 * BLOCK + 3)  # vectors: what `transforms.read` puts down for a run of a whole block


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
                        e,
                        v + t,
                        u + c,
                        zero,
                        m + t + c // e.lanes * slab,
                        inputs // e.lanes,
                        1,
                        e.lanes,
                        slab,
                        0,
                        c_out * e.lanes,
                        0,
                        c_out,
                        e.lanes,
                        e.lanes,
                        vectors * e.lanes,
                    )

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
                    tile(
                        e,
                        at,
                        d + c // e.lanes * slab,
                        into,
                        1,
                        count,
                        0,
                        e.lanes,
                        0,
                        e.lanes,
                        c_out,
                    )

        tiles.by_vectors(e, outputs, run)

    return body


# --- bodies: all tiles ---


def _parts(e, memory, inputs, c_in, c_out):
    """Of the memory: `lines`, U, V, M, and what is left."""
    u, slots = memory + LINES * e.lanes, 36 * (BLOCK + 1)
    v = u + inputs * c_out * 36
    return memory, u, v, v + c_in * slots, v + (c_in + c_out) * slots


def _at(e, v, k, channel):
    """The place in V or M of position k, from that channel on."""
    return v + k * pitch(e) + channel * (36 * (BLOCK + 1))


def _blocks(e, blocks, count, runs, groups, before, product, after=lambda run: None):
    """Of each block: before(run) for all its runs, product(position, group, tiles that take part), after(run)."""

    @e.loop(count)
    def _(n):
        block = blocks + n * OF_BLOCK

        def each_run(do):
            first = e.integer(block)
            e.loop(e.integer(block + 1))(lambda r: do(runs + (first + r) * NUMBERS))

        each_run(before)

        @e.loop(36)
        def _(k):
            share = e.integer(block + (k // 30 * 2 + k % 6 // 5 + 2))
            e.loop(groups)(lambda group: product(k, group, share))

        each_run(after)


def _convolve(taps, width):
    """y, from w as (taps, taps, inputs of a group, c_out)."""
    multiply, transform_weights = (
        _multiply(tiles.INPUTS[registers(width)]),
        transforms.weights(taps),
    )
    read, write = transforms.read(taps), transforms.write(taps)

    def body(
        e, x, w, bias, y, memory, zero, runs, blocks, count, height, width, c_in, c_out, groups
    ):
        inputs, outputs, size = c_in // groups, c_out // groups, c_in // groups * c_out
        lines, u, v, m, spare = _parts(e, memory, inputs, c_in, c_out)
        e.call(transform_weights, w, u, size)

        def product(k, group, share):
            source, to = _at(e, v, k, group * inputs), _at(e, m, k, group * outputs)
            e.call(
                multiply,
                source,
                u + k * size + group * outputs,
                zero,
                to,
                share,
                inputs,
                outputs,
                c_out,
            )

        before = lambda run: e.call(read, x, zero, v, lines, run, height, width, c_in)
        after = lambda run: e.call(write, m, bias, y, spare, run, height, width, c_out)
        _blocks(e, blocks, count, runs, groups, before, product, after)

    return body


def _gradient(width):
    """dw and db of the 3 × 3 convolution."""
    gather = _gather(
        {vectors: min(size, width) for vectors, size in tiles.INPUTS[registers(width)].items()}
    )
    read = transforms.read(3)

    def body(
        e, x, dw, db, g, memory, zero, runs, blocks, count, height, width, c_in, c_out, groups
    ):
        inputs, outputs, size = c_in // groups, c_out // groups, c_in // groups * c_out
        lines, u, v, d, _ = _parts(e, memory, inputs, c_in, c_out)
        e.call(tiles.cleared, u, size * 36)
        e.call(tiles.cleared, db, c_out)

        def before(run):
            e.call(read, x, zero, v, lines, run, height, width, c_in)
            e.call(transforms.read_gradient, g, zero, d, db, run, height, width, c_out)

        def product(k, group, share):
            left, right = _at(e, v, k, group * inputs), _at(e, d, k, group * outputs)
            e.call(
                gather, left, right, u + k * size + group * outputs, share, inputs, outputs, c_out
            )

        _blocks(e, blocks, count, runs, groups, before, product)
        e.call(transforms.restore_weights, u, dw, size)

    return body


_table = numba.int64[:, ::1]
_types = (images, images, numbers, images, numbers, numbers, _table, _table)
_forward = cache(
    lambda taps, width: compiled_body(_convolve(taps, width), _types, width, f"convolve_{taps}")
)
_weight_gradient = cache(
    lambda width: compiled_body(_gradient(width), _types, width, "convolve_gradient")
)


# --- the wrappers ---


@lru_cache(maxsize=1024)
def fits(
    most: int, x_shape, channels: int, kernel, stride, padding, dilation, groups=1, of_weights=False
) -> int:
    """The lanes, at `most` so many, for a shape that is one for Winograd, else 0.

    That is 'same', with whole or half vectors of channels in each group. Sums must be long enough
    for an error below three direct ones, and images large enough for 5 × 5 to be quicker.
    """
    (count, height, width, c_in), taps, step = x_shape, kernel[0], 7 - kernel[0]
    same = (
        kernel in ((3, 3), (5, 5)) and stride == dilation == (1, 1) and padding == (taps // 2,) * 2
    )
    inputs, outputs, small = c_in // groups, channels // groups, min(height, width)
    if not same or min(inputs, outputs) < 8:
        return 0
    total = count * -(-height // step) * -(-width // step)
    least = 8 if taps == 5 else 6 if of_weights or inputs < 32 else 4
    enough = (
        taps == 3 and total >= 64 if of_weights else total >= LEAST and (taps == 5 or inputs >= 16)
    )
    widths = [
        n
        for n in (most, most // 2)[: 2 if taps == 3 else 1]
        if n >= 4 and inputs % n == outputs % n == 0
    ]
    return widths[0] if enough and widths and small >= least else 0


@cache
def _zero(size: int):
    return np.zeros(size, np.float32)


def _scratch(inputs: int, c_in: int, c_out: int):
    return scratch(
        LINES * lanes() + 36 * inputs * c_out + 36 * (BLOCK + 1) * (c_in + c_out) + 4 * c_out
    )


def forward(x, w, b, groups, width):
    c_in, c_out = x.shape[3], w.shape[3]
    y, zero = np.empty((*x.shape[:3], c_out), np.float32), _zero(x.shape[2] * max(c_in, c_out))
    bias, memory = (
        zero[:c_out] if b is None else contiguous(b),
        _scratch(c_in // groups, c_in, c_out),
    )
    runs, blocks = find_runs(*x.shape[:3], 7 - len(w))
    sizes = len(blocks), *x.shape[1:], c_out, groups
    _forward(len(w), width)(x, contiguous(w), bias, y, memory, zero, runs, blocks, *sizes)
    return y


def weight_and_bias_gradient(g, x, groups, width):
    c_in, c_out = x.shape[3], g.shape[3]
    dw, db = np.empty((3, 3, c_in // groups, c_out), np.float32), np.empty(c_out, np.float32)
    memory, zero = _scratch(c_in // groups, c_in, c_out), _zero(x.shape[2] * max(c_in, c_out))
    runs, blocks = find_runs(*x.shape[:3], 4)
    _weight_gradient(width)(
        x, dw, db, g, memory, zero, runs, blocks, len(blocks), *x.shape[1:], c_out, groups
    )
    return dw, db
