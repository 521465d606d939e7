"""Winograd convolution F(4 × 4, 3 × 3): 36 products for 16 outputs of 9 taps, a quarter of the direct 144.

Lavin & Gray 2016: a 4 × 4 tile of output is  y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A,  x the 6 × 6 tile of input around it.
Over channels, the ⊙ is one matrix product for each of the 36 positions:

      x 6 × 6          V: 36 positions                                   M: 36 positions          y 4 × 4
     ┌──────┐   Bᵀ·B   ┌─┬─┬─┬──      each: tiles × inputs  @  U     Aᵀ·A   ┌────┐
     │ ┌────┼─┐  →     │ │ │ │        U = G w Gᵀ: inputs × outputs    →     │    │
     └─┼────┘ │        └─┴─┴─┴──                                            └────┘
       └──────┘ tiles overlap by 2

The points that make A, B and G are 0, ±3/4, ±3/2, ∞: all of B is exact in float32, and the error stays at the direct
kernel's own, where the usual ±1, ±2 lose a digit. A block of 32 tiles, running on across images, stays in the cache;
V lies as [position][vector of inputs][tile][lane], so that a product's pixels are `lanes` apart for any channel count.
Tiles at the border read zeros; where 4 does not divide the size, the last tile overlaps the one before it.

The input gradient is the same with flipped weights. Weight gradient: dU += Vᵀ (A g Aᵀ) in each position, dw = Gᵀ dU G.
"""

from functools import cache

import numba
import numpy as np

from . import tiles, transforms
from .compiled import compiled, contiguous, helper, images, numbers, scratch, unbound
from .vector import lanes, registers, vector

BLOCK, LEAST = 32, 16  # tiles in a block; and the fewest, a register tile

# Bound by `compiled`:
read_tile = write_tile = read_gradient = transform_weights = restore_weights = transpose = multiply = gather = unbound
LANES = 0


# --- bodies: one tile, all channels, a vector at a time; `lines` is scratch for 36 vectors ---


def _into_positions(e, v, position):
    def store(j, values):
        for i, value in enumerate(values):
            e.store(value, v + position * j + position * (6 * i))

    return store


def _from_positions(e, m, position):
    return lambda i: [e.load(m + position * 6 * i + position * j) for j in range(6)]


def _read_tile(e, x, zero, v, lines, top, left, height, width, channels, position, block):
    """V of one tile: x is the image, (top, left) the tile's first output, `zero` six pixels of zeros.

    Only the first and last of the 6 rows and columns can lie outside.
    """
    first = x + ((top - 1) * width + (left - 1)) * channels
    before, after = e.fewer(0, left), e.fewer(left + 4, width)

    @e.loop(channels // e.lanes)
    def _(c):
        def row(i):
            inside = e.inside(top - 1 + i, height)
            line = e.choose(inside, first + width * channels * i + c * e.lanes, zero)
            start, end = e.choose(before, line, zero), e.choose(after, line + channels * 5, zero)
            return [e.load(place) for place in (start, *(line + channels * j for j in range(1, 5)), end)]

        transforms.both_ways(e, transforms.of_input, lines, 6, 6, row, _into_positions(e, v + c * block, position))


def _write_tile(e, m, bias, y, lines, position, row, channels):
    """y of one tile from its products."""

    @e.loop(channels // e.lanes)
    def _(c):
        at = c * e.lanes
        offset = e.load(bias + at)

        def store(j, values):
            for i, value in enumerate(values):
                e.store(value + offset, y + at + channels * j + row * i)

        transforms.both_ways(e, transforms.of_products, lines, 6, 4, _from_positions(e, m + at, position), store)


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
            total.set(total.get() + ((values[0] + values[1]) + (values[2] + values[3])))
            return values

        transforms.both_ways(e, transforms.of_gradient, lines, 4, 6, load, _into_positions(e, d + at, position))
        e.store(e.load(db + at) + total.get(), db + at)


def _transform_weights(e, w, u, lines, size):
    """U = G w Gᵀ for `size` pairs of channels."""

    @e.loop(size // e.lanes)
    def _(c):
        place = w + c * e.lanes
        row = lambda i: [e.load(place + size * 3 * i + size * j) for j in range(3)]
        transforms.both_ways(e, transforms.of_weights, lines, 3, 6, row, _into_positions(e, u + c * e.lanes, size))


def _restore_weights(e, u, w, lines, size):
    """dw = Gᵀ dU G for `size` pairs of channels."""

    @e.loop(size // e.lanes)
    def _(c):
        def store(j, values):
            for i, value in enumerate(values):
                e.store(value, w + c * e.lanes + size * j + size * (3 * i))

        transforms.both_ways(
            e, transforms.of_weight_gradient, lines, 6, 3, _from_positions(e, u + c * e.lanes, size), store
        )


def _transpose(e, w, turned, rows, columns):
    """One square block of a matrix of rows × columns, into its transpose."""
    for k, value in enumerate(e.transposed([e.load(w + columns * k) for k in range(e.lanes)])):
        e.store(value, turned + rows * k)


# --- bodies: the product of one position ---


def _multiply(sizes):
    """m (tiles × outputs) = v (tiles × inputs) @ u, with `sizes[vectors]` tiles at a time."""
    row = tiles.row(sizes)

    def body(e, v, u, zero, m, count, c_in, c_out):
        lanes = e.lanes
        rows, v_row, u_row = c_in // lanes, count * lanes, c_out * lanes
        row(e, v, u, zero, m, count, rows, 1, lanes, v_row, 0, u_row, 0, c_out, lanes, c_out, c_out)

    return body


def _gather(sizes):
    """u (inputs × outputs) += vᵀ (inputs × tiles) @ d (tiles × outputs); `sizes` gives each tile its inputs."""

    def body(e, v, d, u, count, block, c_in, c_out):
        def run(vectors):
            inputs, channels = sizes[vectors], vectors * e.lanes
            tile, parts = tiles.outer(inputs, vectors), e.lanes // inputs

            @e.loop(c_in // inputs)
            def _(part):
                at = part // parts * (block * e.lanes) + part % parts * inputs

                @e.loop(c_out // channels)
                def _(group):
                    c = group * channels
                    tile(e, v + at, d + c, u + part * inputs * c_out + c, 1, count, 0, e.lanes, 0, c_out, c_out)

        tiles.by_vectors(e, c_out, run)

    return body


# --- the loops ---


@helper
def find_corners(first, per_image, across, height, width, corners):
    """For each tile of a block: image, row and column of its first output, and the rows and columns that overlap."""
    n, tile = divmod(first, per_image)
    i, j = divmod(tile, across)
    for t in range(len(corners)):
        top, left = min(i * 4, height - 4), min(j * 4, width - 4)
        corners[t, 0], corners[t, 1], corners[t, 2] = n, top, left
        corners[t, 3], corners[t, 4] = i * 4 - top, j * 4 - left
        j += 1
        if j == across:
            i, j = i + 1, 0
            if i * across == per_image:
                n, i = n + 1, 0


def convolve(x, w, bias, y, flipped, memory, zero):
    """3 × 3, stride 1, padding 1. Flipped: w is (3, 3, outputs, inputs), turned as the input gradient needs it."""
    count, height, width, c_in = x.shape
    c_out = y.shape[3]
    across = (width + 3) // 4
    per_image = (height + 3) // 4 * across
    total, size = count * per_image, c_in * c_out
    block = min(BLOCK, total)
    v_step, m_step = block * c_in + 16, block * c_out + 16  # from position to position: not a power of two
    lines, memory = memory[: 36 * LANES], memory[36 * LANES :]
    u, turned = memory[: 36 * size], memory[36 * size : 45 * size]
    v = memory[45 * size : 45 * size + 36 * v_step]
    m = memory[45 * size + 36 * v_step : 45 * size + 36 * (v_step + m_step)]
    x_flat, y_flat, w_flat = x.reshape(x.size), y.reshape(y.size), w.reshape(w.size)
    if flipped:
        for tap in range(9):
            for i in range(0, c_out, LANES):
                for j in range(0, c_in, LANES):
                    here, there = tap * size + i * c_in + j, (8 - tap) * size + j * c_out + i
                    transpose(w_flat, here, turned, there, c_out, c_in)
        w_flat = turned
    transform_weights(w_flat, 0, u, 0, lines, 0, size)
    corners = np.empty((block, 5), np.int64)
    for start in range(0, total, block):
        first = min(start, total - block)
        find_corners(first, per_image, across, height, width, corners)
        for t in range(block):
            n, top, left = corners[t, 0], corners[t, 1], corners[t, 2]
            image = n * height * width * c_in
            read_tile(
                x_flat, image, zero, 0, v, t * LANES, lines, 0, top, left, height, width, c_in, v_step, block * LANES
            )  # fmt: skip
        for k in range(36):
            multiply(v, k * v_step, u, k * size, zero, 0, m, k * m_step, block, c_in, c_out)
        for t in range(block):
            at = ((corners[t, 0] * height + corners[t, 1]) * width + corners[t, 2]) * c_out
            write_tile(m, t * c_out, bias, 0, y_flat, at, lines, 0, m_step, width * c_out, c_out)


def gradient(g, x, dw, db, memory, zero):
    """dw and db of the same convolution."""
    count, height, width, c_in = x.shape
    c_out = g.shape[3]
    across = (width + 3) // 4
    per_image = (height + 3) // 4 * across
    total, size = count * per_image, c_in * c_out
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
        find_corners(first, per_image, across, height, width, corners[:some])
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
            gather(v, k * v_step, d, k * d_step, u, k * size, some, BLOCK, c_in, c_out)
    restore_weights(u, 0, dw.reshape(dw.size), 0, lines, 0, size)


# Tiles in a register tile with 1, 2 and 3 vectors, for 32 and for 16 registers.
_SIZES = {32: {1: 16, 2: 8, 3: 8}, 16: {1: 8, 2: 4, 3: 4}}


@cache
def _convolve(width: int):
    return compiled(
        convolve,
        (images, images, numbers, images, numba.boolean, numbers, numbers),
        f"_x{width}",
        read_tile=vector(_read_tile, width, places=4),
        transform_weights=vector(_transform_weights, width, places=3),
        transpose=vector(_transpose, width, places=2),
        multiply=vector(_multiply(_SIZES[registers(width)]), width, places=4),
        write_tile=vector(_write_tile, width, places=4),
        LANES=width,
    )


@cache
def _gradient(width: int):
    inputs = {vectors: min(size, width) for vectors, size in tiles.INPUTS[registers(width)].items()}
    return compiled(
        gradient,
        (images, images, images, numbers, numbers, numbers),
        f"_x{width}",
        read_tile=vector(_read_tile, width, places=4),
        read_gradient=vector(_read_gradient, width, places=5),
        gather=vector(_gather(inputs), width, places=3),
        restore_weights=vector(_restore_weights, width, places=3),
        LANES=width,
    )


# --- the wrappers ---


def fits(x_shape, channels: int, kernel, stride, padding, dilation, least=LEAST) -> bool:
    """Whether the shape is one for Winograd: 3 × 3 'same', whole vectors of channels, so many tiles at least."""
    count, height, width, c_in = x_shape
    return (
        kernel == (3, 3)
        and stride == padding == dilation == (1, 1)
        and c_in % lanes() == channels % lanes() == 0
        and min(height, width) >= 4
        and count * (-(-height // 4)) * (-(-width // 4)) >= least
    )


@cache
def _zero(channels: int):
    return np.zeros(channels, np.float32)


def _scratch(c_in: int, c_out: int):
    return scratch(45 * c_in * c_out + 36 * (BLOCK * (c_in + c_out) + 32 + lanes()))


def forward(x, w, b, flipped=False):
    """The convolution, or with `flipped` the input gradient's: then x is g and w still (3, 3, in, out)."""
    c_in, c_out = w.shape[3 if flipped else 2], w.shape[2 if flipped else 3]
    zero = _zero(6 * max(c_in, c_out))
    y = np.empty((*x.shape[:3], c_out), np.float32)
    bias = zero[:c_out] if b is None else contiguous(b)
    _convolve(lanes())(x, contiguous(w), bias, y, flipped, _scratch(c_in, c_out), zero)
    return y


def weight_and_bias_gradient(g, x):
    c_in, c_out = x.shape[3], g.shape[3]
    dw, db = np.empty((3, 3, c_in, c_out), np.float32), np.empty(c_out, np.float32)
    _gradient(lanes())(g, x, dw, db, _scratch(c_in, c_out), _zero(6 * max(c_in, c_out)))
    return dw, db
