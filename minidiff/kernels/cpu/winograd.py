"""Winograd convolution F(4 × 4, 3 × 3): 36 products for 16 outputs of 9 taps, a quarter of the direct 144.

F(2 × 2, 5 × 5) has the same tile of input, and 36 products in place of 100: `TAPS` tells them apart.

Lavin & Gray 2016: a 4 × 4 tile of output is  y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A,  x the 6 × 6 tile of input around it.
Over channels, the ⊙ is one matrix product for each of the 36 positions:

      x 6 × 6          V: 36 positions                                   M: 36 positions          y 4 × 4
     ┌──────┐   Bᵀ·B   ┌─┬─┬─┬──      each: tiles × inputs  @  U     Aᵀ·A   ┌────┐
     │ ┌────┼─┐  →     │ │ │ │        U = G w Gᵀ: inputs × outputs    →     │    │
     └─┼────┘ │        └─┴─┴─┴──                                            └────┘
       └──────┘ tiles overlap by 2

The points that make A, B and G are 0, ±5/8, ±25/16, ∞: all of B is exact in float32, and the error stays below three
times the direct kernel's own, where the usual ±1, ±2 lose a digit. A block of 32 tiles, running on across images, stays
in the cache; V lies as [position][vector of inputs][tile][lane], so that a product's pixels are `lanes` apart for any
channel count. Tiles at the border read zeros; where 4 does not divide the size, the last tile overlaps the one before.

The input gradient is the same with flipped weights. Weight gradient: dU += Vᵀ (A g Aᵀ) in each position, dw = Gᵀ dU G;
not for 5 × 5, where it would err more than three times as much as the direct one, and so would y if it were a sum over
fewer than 16 channels. Groups have matrix products of their own, and all else in common.
"""

from functools import cache, partial, reduce
from operator import add

import numba
import numpy as np

from . import tiles, transforms
from .compiled import compiled, contiguous, helper, images, numbers, scratch, unbound
from .vector import lanes, registers, vector

BLOCK, LEAST = 32, 16  # tiles in a block; and the fewest, a register tile

# Bound by `compiled`:
read_tile = write_tile = read_gradient = transform_weights = restore_weights = transpose = multiply = gather = unbound
LANES = TAPS = 0


# --- bodies: one tile, all channels, a vector at a time; `lines` is scratch for 36 vectors ---


def _into_positions(e, v, position):
    def store(j, values):
        for i, value in enumerate(values):
            e.store(value, v + position * j + position * (6 * i))

    return store


def _from_positions(e, m, position):
    return lambda i: [e.load(m + position * 6 * i + position * j) for j in range(6)]


def _read_tile(taps):
    """V of one tile: x is the image, (top, left) the tile's first output, `zero` six pixels of zeros."""
    border = taps // 2

    def body(e, x, zero, v, lines, top, left, height, width, channels, position, block):
        first = x + ((top - border) * width + (left - border)) * channels
        # Only so many columns at each end can lie outside.
        inside = {j: e.inside(left - border + j, width) for j in range(6) if not border <= j < 6 - border}

        @e.loop(channels // e.lanes)
        def _(c):
            def row(i):
                line = e.choose(e.inside(top - border + i, height), first + width * channels * i + c * e.lanes, zero)
                places = [line + channels * j for j in range(6)]
                return [e.load(e.choose(inside[j], p, zero) if j in inside else p) for j, p in enumerate(places)]

            transforms.both_ways(e, transforms.of_input, lines, 6, 6, row, _into_positions(e, v + c * block, position))

    return body


def _write_tile(taps):
    """y of one tile from its products."""
    step = 7 - taps

    def body(e, m, bias, y, lines, position, row, channels):
        @e.loop(channels // e.lanes)
        def _(c):
            at = c * e.lanes
            offset = e.load(bias + at)

            def store(j, values):
                for i, value in enumerate(values):
                    e.store(value + offset, y + at + channels * j + row * i)

            transform = partial(transforms.sums, count=step)
            transforms.both_ways(e, transform, lines, 6, step, _from_positions(e, m + at, position), store)

    return body


def _read_gradient(e, g, zero, d, db, lines, skip_rows, skip_columns, row, channels, position):
    """A g Aᵀ of one tile, and db += Σ g; the rows and columns to skip belong to the tile before it: zeros."""
    others = [e.fewer(skip_columns, j + 1) for j in range(4)]

    @e.loop(channels // e.lanes)
    def _(c):
        at = c * e.lanes
        total = e.variable(e.constant(0))

        def load(i):
            line = e.choose(e.fewer(skip_rows, i + 1), g + row * i + at, zero)
            values = [e.load(e.choose(other, line + channels * j, zero)) for j, other in enumerate(others)]
            total.set(total.get() + reduce(add, values))
            return values

        transforms.both_ways(e, transforms.values, lines, 4, 6, load, _into_positions(e, d + at, position))
        e.store(e.load(db + at) + total.get(), db + at)


def _transform_weights(taps):
    """U = G w Gᵀ for `size` pairs of channels."""

    def body(e, w, u, lines, size):
        @e.loop(size // e.lanes)
        def _(c):
            place = w + c * e.lanes
            row = lambda i: [e.load(place + size * taps * i + size * j) for j in range(taps)]
            transform = partial(transforms.values, scales=transforms.SCALES)
            transforms.both_ways(e, transform, lines, taps, 6, row, _into_positions(e, u + c * e.lanes, size))

    return body


def _restore_weights(e, u, dw, lines, size):
    """dw = Gᵀ dU G for `size` pairs of channels."""

    @e.loop(size // e.lanes)
    def _(c):
        place = dw + c * e.lanes

        def store(j, values):
            for i, value in enumerate(values):
                e.store(value, place + size * 3 * i + size * j)

        transform = partial(transforms.sums, count=3, scales=transforms.SCALES)
        transforms.both_ways(e, transform, lines, 6, 3, _from_positions(e, u + c * e.lanes, size), store)


def _transpose(e, w, turned, rows, columns):
    """One square block of a matrix of rows × columns, into its transpose."""
    for k, value in enumerate(e.transposed([e.load(w + columns * k) for k in range(e.lanes)])):
        e.store(value, turned + rows * k)


# --- bodies: the product of one position ---


def _multiply(sizes):
    """m (tiles × outputs) = v (tiles × inputs) @ u, with `sizes[vectors]` tiles at a time."""
    row = tiles.row(sizes)

    def body(e, v, u, zero, m, count, inputs, outputs, c_out):
        lanes = e.lanes
        rows, v_row, u_row = inputs // lanes, count * lanes, c_out * lanes
        row(e, v, u, zero, m, count, rows, 1, lanes, v_row, 0, u_row, 0, c_out, lanes, c_out, outputs)

    return body


def _gather(sizes):
    """u (inputs × outputs) += vᵀ (inputs × tiles) @ d (tiles × outputs); `sizes` gives each tile its inputs."""

    def body(e, v, d, u, count, block, inputs, outputs, c_out):
        def run(vectors, start, times):
            some = sizes[vectors]
            tile, parts = tiles.outer(some, vectors), e.lanes // some

            @e.loop(inputs // some)
            def _(part):
                at = part // parts * (block * e.lanes) + part % parts * some

                @e.loop(times)
                def _(i):
                    c = start + i * (vectors * e.lanes)
                    tile(e, v + at, d + c, u + part * some * c_out + c, 1, count, 0, e.lanes, 0, c_out, c_out)

        tiles.by_vectors(e, outputs, run)

    return body


# --- the loops ---


@helper
def find_corners(first, per_image, across, height, width, step, corners):
    """For each tile of a block: image, row and column of its first output, and the rows and columns that overlap."""
    n, tile = divmod(first, per_image)
    i, j = divmod(tile, across)
    for t in range(len(corners)):
        top, left = min(i * step, height - step), min(j * step, width - step)
        corners[t, 0], corners[t, 1], corners[t, 2] = n, top, left
        corners[t, 3], corners[t, 4] = i * step - top, j * step - left
        j += 1
        if j == across:
            i, j = i + 1, 0
            if i * across == per_image:
                n, i = n + 1, 0


def convolve(x, w, bias, y, groups, flipped, memory, zero):
    """w is (TAPS, TAPS, inputs of a group, c_out). Flipped: (…, outputs of a group, c_in), turned for the gradient."""
    count, height, width, c_in = x.shape
    c_out, step = y.shape[3], 7 - TAPS
    inputs, outputs = c_in // groups, c_out // groups
    across = (width + step - 1) // step
    per_image = (height + step - 1) // step * across
    total, size, taps = count * per_image, inputs * c_out, TAPS * TAPS
    block = min(BLOCK, total)
    v_step, m_step = block * c_in + 16, block * c_out + 16  # from position to position: not a power of two
    lines, memory = memory[: 36 * LANES], memory[36 * LANES :]
    (u, turned), memory = (memory[: 36 * size], memory[36 * size : (36 + taps) * size]), memory[(36 + taps) * size :]
    v, m = memory[: 36 * v_step], memory[36 * v_step : 36 * (v_step + m_step)]
    x_flat, y_flat, w_flat = x.reshape(x.size), y.reshape(y.size), w.reshape(w.size)
    if flipped:
        for tap in range(taps):
            for group in range(groups):
                for i in range(0, outputs, LANES):
                    for j in range(0, inputs, LANES):
                        here = tap * size + i * c_in + group * inputs + j
                        there = (taps - 1 - tap) * size + j * c_out + group * outputs + i
                        transpose(w_flat, here, turned, there, c_out, c_in)
        w_flat = turned
    transform_weights(w_flat, 0, u, 0, lines, 0, size)
    corners = np.empty((block, 5), np.int64)
    for start in range(0, total, block):
        first = min(start, total - block)
        find_corners(first, per_image, across, height, width, step, corners)
        for t in range(block):
            n, top, left = corners[t, 0], corners[t, 1], corners[t, 2]
            image = n * height * width * c_in
            read_tile(
                x_flat, image, zero, 0, v, t * LANES, lines, 0, top, left, height, width, c_in, v_step, block * LANES
            )  # fmt: skip
        for k in range(36):
            for group in range(groups):
                c = group * outputs
                v_at, u_at, m_at = k * v_step + group * inputs * block, k * size + c, k * m_step + c
                multiply(v, v_at, u, u_at, zero, 0, m, m_at, block, inputs, outputs, c_out)
        for t in range(block):
            at = ((corners[t, 0] * height + corners[t, 1]) * width + corners[t, 2]) * c_out
            write_tile(m, t * c_out, bias, 0, y_flat, at, lines, 0, m_step, width * c_out, c_out)


def gradient(g, x, dw, db, groups, memory, zero):
    """dw and db of the 3 × 3 convolution."""
    count, height, width, c_in = x.shape
    c_out, step = g.shape[3], 4
    inputs, outputs = c_in // groups, c_out // groups
    across = (width + step - 1) // step
    per_image = (height + step - 1) // step * across
    total, size = count * per_image, inputs * c_out
    v_step, d_step = BLOCK * c_in + 16, BLOCK * c_out + 16
    lines, memory = memory[: 36 * LANES], memory[36 * LANES :]
    u, v = memory[: 36 * size], memory[36 * size : 36 * (size + v_step)]
    d = memory[36 * (size + v_step) : 36 * (size + v_step + d_step)]
    x_flat, g_flat = x.reshape(x.size), g.reshape(g.size)
    u[:] = 0
    db[:] = 0
    corners = np.empty((BLOCK, 5), np.int64)
    for first in range(0, total, BLOCK):
        some = min(BLOCK, total - first)
        find_corners(first, per_image, across, height, width, step, corners[:some])
        for t in range(some):
            n, top, left = corners[t, 0], corners[t, 1], corners[t, 2]
            skip_rows, skip_columns = corners[t, 3], corners[t, 4]
            image = n * height * width * c_in
            read_tile(
                x_flat, image, zero, 0, v, t * LANES, lines, 0, top, left, height, width, c_in, v_step, BLOCK * LANES
            )  # fmt: skip
            at = ((n * height + top) * width + left) * c_out
            read_gradient(
                g_flat, at, zero, 0, d, t * c_out, db, 0, lines, 0,
                skip_rows, skip_columns, width * c_out, c_out, d_step,
            )  # fmt: skip
        for k in range(36):
            for group in range(groups):
                c = group * outputs
                v_at, d_at, u_at = k * v_step + group * inputs * BLOCK, k * d_step + c, k * size + c
                gather(v, v_at, d, d_at, u, u_at, some, BLOCK, inputs, outputs, c_out)
    restore_weights(u, 0, dw.reshape(dw.size), 0, lines, 0, size)


@cache
def _convolve(taps: int, width: int):
    return compiled(
        convolve,
        (images, images, numbers, images, numba.intp, numba.boolean, numbers, numbers),
        f"_{taps}x{width}",
        read_tile=vector(_read_tile(taps), width, places=4),
        transform_weights=vector(_transform_weights(taps), width, places=3),
        transpose=vector(_transpose, width, places=2),
        multiply=vector(_multiply(tiles.INPUTS[registers(width)]), width, places=4),
        write_tile=vector(_write_tile(taps), width, places=4),
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
        read_tile=vector(_read_tile(3), width, places=4),
        read_gradient=vector(_read_gradient, width, places=5),
        gather=vector(_gather(inputs), width, places=3),
        restore_weights=vector(_restore_weights, width, places=3),
        LANES=width,
    )


# --- the wrappers ---


def fits(x_shape, channels: int, kernel, stride, padding, dilation, groups=1, of_weights=False) -> int:
    """The lanes for a shape that is one for Winograd, else 0: 'same', whole or half vectors of channels in each group.

    Sums must be long enough for an error below three direct ones, and images large enough for 5 × 5 to be quicker.
    """
    (count, height, width, c_in), taps, step = x_shape, kernel[0], 7 - kernel[0]
    same = kernel in ((3, 3), (5, 5)) and stride == dilation == (1, 1) and padding == (taps // 2,) * 2
    inputs, outputs, small = c_in // groups, channels // groups, min(height, width)
    if not same or min(inputs, outputs) < 8:
        return 0
    total = count * -(-height // step) * -(-width // step)
    least = 8 if taps == 5 else 6 if of_weights or inputs < 32 else 4
    enough = taps == 3 and total >= 64 if of_weights else total >= LEAST and (taps == 5 or inputs >= 16)
    widths = [n for n in (lanes(), lanes() // 2)[: 2 if taps == 3 else 1] if n >= 4 and inputs % n == outputs % n == 0]
    return widths[0] if enough and widths and small >= least else 0


@cache
def _zero(channels: int):
    return np.zeros(channels, np.float32)


def _scratch(w_shape, groups: int):
    taps, _, inputs, c_out = w_shape
    size, c_in = inputs * c_out, inputs * groups
    return scratch((36 + taps * taps) * size + 36 * (BLOCK * (c_in + c_out) + 32 + lanes()))


def forward(x, w, b, groups, width, flipped=False):
    """The convolution, or with `flipped` the input gradient's: then x is g and w still (taps, taps, in, out)."""
    c_out = w.shape[2] * groups if flipped else w.shape[3]
    zero = _zero(6 * max(x.shape[3], c_out))
    y = np.empty((*x.shape[:3], c_out), np.float32)
    bias = zero[:c_out] if b is None else contiguous(b)
    _convolve(len(w), width)(x, contiguous(w), bias, y, groups, flipped, _scratch(w.shape, groups), zero)
    return y


def weight_and_bias_gradient(g, x, groups, width):
    c_in, c_out = x.shape[3], g.shape[3]
    dw, db = np.empty((3, 3, c_in // groups, c_out), np.float32), np.empty(c_out, np.float32)
    _gradient(width)(g, x, dw, db, groups, _scratch(dw.shape, groups), _zero(6 * max(c_in, c_out)))
    return dw, db
