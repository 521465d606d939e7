"""Direct convolution on register tiles: forward, input gradient, weight and bias gradient, dense layers.

Each image is copied into a small zero-bordered scratch that stays in the cache (where it needs a border at all); a
tile then walks along the rows of the output. All sizes are run-time arguments; only the tile is fixed at compile time.

    scratch (row = wide · channels)            output
    0 0 0 0 0 0 0 0 0                          . . . . . . .
    0 x x x x x x x 0      w (3 × 3)           [ one tile ] .    tiles of `PIXELS` neighbours; the last one of
    0 x x x x x x x 0   ⋆            =         . . [ tile   ]    a row overlaps the one before it
    0 0 0 0 0 0 0 0 0                          . . . . . . .

The input gradient is a convolution of g with the weights flipped. Where the stride is s, it is s × s convolutions:
pixels of dx whose row and column leave the same rest modulo s meet the same taps, every s-th one of the kernel.
"""

from functools import cache

import numba
import numpy as np

from . import tiles
from .compiled import compiled, contiguous, helper, images, matrix, numbers, scratch, unbound
from .vector import lanes, registers, vector

Pair = tuple[int, int]

# Bound by `compiled`, for each tile:
product = outer = column_sums = unbound
PIXELS = INPUTS = CHANNELS = LANES = 0


# --- the loops ---


@helper
def bordered(x, first, height, width, channels, into, top, left, high, wide, channels_to):
    """Copy one image (at x[first]) into a scratch of high × wide pixels; its border there is zero already."""
    for i in range(max(0, -top), min(height, high - top)):
        j, end = max(0, -left), min(width, wide - left)
        source = x[first + (i * width + j) * channels : first + (i * width + end) * channels]
        start = ((i + top) * wide + j + left) * channels_to
        if channels == channels_to:
            row = into[start : start + (end - j) * channels]
            for k in range(len(row)):
                row[k] = source[k]
        else:
            for pixel in range(end - j):
                for k in range(channels):
                    into[start + pixel * channels_to + k] = source[pixel * channels + k]


@helper
def widened(rows, length, into, wide):
    """Rows of `length` numbers as rows of `wide`, zeros at their ends."""
    if length == wide:
        for k in range(len(rows)):
            into[k] = rows[k]
        return
    into[:] = 0
    for i in range(len(rows) // length):
        for k in range(length):
            into[i * wide + k] = rows[i * length + k]


def correlate(x, w, bias, y, memory, out_h, out_w, stride, dilation, before, first, step):
    """y[first + step · (i, j)] = bias + Σ x[(i, j) · stride − before + tap · dilation] · w[tap]; out = (out_h, out_w).

    Memory takes weights and bias (if there is one), padded to whole vectors, then one bordered image.
    """
    count, height, width, c_in = x.shape
    taps_h, taps_w, _, c_out = w.shape
    y_height, y_width = y.shape[1], y.shape[2]
    padded = (c_out + LANES - 1) // LANES * LANES
    end = taps_h * taps_w * c_in * padded
    weights, offset, memory = memory[:end], memory[end : end + padded], memory[end + padded :]
    widened(w.reshape(w.size), c_out, weights, padded)
    offset[:] = 0
    offset[: len(bias)] = bias
    high = (out_h - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    wide = (out_w - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    flat, y_flat, source = x.reshape(x.size), y.reshape(y.size), x.reshape(x.size)
    border = before[0] != 0 or before[1] != 0 or high > height or wide > width
    image, pitch = height * width * c_in, width * c_in
    if border:
        image, pitch, source = 0, wide * c_in, memory[: high * wide * c_in]
        source[:] = 0
    rows, columns, steps = taps_h, 1, taps_w * c_in  # a row of taps is one run of memory,
    if dilation[1] != 1:
        columns, steps = taps_w, c_in  # unless the taps lie apart
    for n in range(count):
        if border:
            bordered(flat, n * height * width * c_in, height, width, c_in, source, *before, high, wide, c_in)
        for i in range(out_h):
            for start in range(0, out_w, PIXELS):
                j = min(start, out_w - PIXELS)
                at = ((n * y_height + first[0] + i * step[0]) * y_width + first[1] + j * step[1]) * c_out
                here = n * image + i * stride[0] * pitch + j * stride[1] * c_in
                for c in range(0, padded, CHANNELS):
                    product(
                        source, here, weights, c, offset, c, y_flat, at + c, rows, columns, steps,
                        dilation[0] * pitch, dilation[1] * c_in, taps_w * c_in * padded, c_in * padded, padded,
                        stride[1] * c_in, step[1] * c_out, c_out - c,
                    )  # fmt: skip


def correlate_few(x, w, bias, y, memory, taps_h, taps_w, dilation, before):
    """The convolution for few output channels: one product a pixel gives all taps, then each output adds up its own.

    w is (inputs, taps · outputs, padded): a vector of (tap, output) takes the place of a vector of outputs,
    which would be nearly empty. z lies in memory with a zero border; stride 1.
    """
    count, height, width, c_in = x.shape
    out_h, out_w, c_out, padded = y.shape[1], y.shape[2], y.shape[3], w.shape[1]
    wide = out_w + (taps_w - 1) * dilation[1]
    x_flat, y_flat = x.reshape(x.size), y.reshape(y.size)
    z = memory[: (out_h + (taps_h - 1) * dilation[0]) * wide * padded]
    z[:] = 0
    zero = np.zeros(padded, np.float32)
    for n in range(count):
        for i in range(height):
            for start in range(0, width, PIXELS):
                j = min(start, width - PIXELS)
                for c in range(0, padded, CHANNELS):
                    product(
                        x_flat, ((n * height + i) * width + j) * c_in, w, c, zero, 0,
                        z, ((i + before[0]) * wide + j + before[1]) * padded + c,
                        1, 1, c_in, 0, 0, 0, 0, padded, c_in, padded, CHANNELS,
                    )  # fmt: skip
        for i in range(out_h):
            for j in range(out_w):
                for c in range(c_out):
                    total = bias[c]
                    for u in range(taps_h):
                        first = ((i + u * dilation[0]) * wide + j) * padded + u * taps_w * c_out + c
                        for v in range(taps_w):
                            total += z[first + v * (dilation[1] * padded + c_out)]
                    y_flat[((n * out_h + i) * out_w + j) * c_out + c] = total


def weight_gradient(g, x, dw, db, memory, taps_h, taps_w, stride, dilation, before):
    """dw[row of taps, tap and input] += Σ over output pixels of x · g, and db += Σ g.

    dw is (rows, inputs, outputs), both padded to whole tiles: what lies beyond is written and means nothing.
    """
    count, out_h, out_w, c_out = g.shape
    height, width, c_in = x.shape[1], x.shape[2], x.shape[3]
    rows, inputs, padded = dw.shape
    high = (out_h - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    wide = (out_w - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    x_flat, g_flat, dw_flat = x.reshape(x.size), g.reshape(g.size), dw.reshape(dw.size)
    border = before[0] != 0 or before[1] != 0 or high > height or wide > width or inputs != taps_w * c_in
    source, image, pitch = x_flat, height * width * c_in, width * c_in
    end = 0
    if border:
        end = high * wide * c_in + inputs
        source, image, pitch = memory[:end], 0, wide * c_in
        source[:] = 0
    gradient, g_image = g_flat, out_h * out_w * c_out
    if padded != c_out:
        gradient, g_image = memory[end : end + out_h * out_w * padded], 0
        gradient[:] = 0
    per_row = rows // taps_h  # 1: a row of dw holds a whole row of taps; else one tap
    for n in range(count):
        if border:
            bordered(x_flat, n * height * width * c_in, height, width, c_in, source, *before, high, wide, c_in)
        if padded != c_out:
            bordered(g_flat, n * out_h * out_w * c_out, out_h, out_w, c_out, gradient, 0, 0, out_h, out_w, padded)
        for c in range(0, padded, LANES):
            column_sums(gradient, n * g_image + c, db, c, out_h * out_w, padded)
        for row in range(rows):
            tap = (row // per_row) * dilation[0] * pitch + (row % per_row) * dilation[1] * c_in
            for k in range(0, inputs, INPUTS):
                for c in range(0, padded, CHANNELS):
                    outer(
                        source, n * image + tap + k, gradient, n * g_image + c, dw_flat,
                        (row * inputs + k) * padded + c, out_h, out_w, stride[0] * pitch, stride[1] * c_in,
                        out_w * padded, padded, padded,
                    )  # fmt: skip


def channel_sums(g, sums):
    pixels, channels = g.size // g.shape[3], g.shape[3]
    whole, flat = channels // LANES * LANES, g.reshape(g.size)
    sums[:] = 0
    for c in range(0, whole, LANES):
        column_sums(flat, c, sums, c, pixels, channels)
    for c in range(whole, channels):
        for i in range(pixels):
            sums[c] += flat[i * channels + c]


_pair = numba.types.UniTuple(numba.intp, 2)


@cache
def _correlate(pixels: int, vectors: int, width: int):
    return compiled(
        correlate,
        (images, images, numbers, images, numbers, numba.intp, numba.intp, *[_pair] * 5),
        f"_{pixels}x{vectors}x{width}",
        product=vector(tiles.product(pixels, vectors), width, places=4),
        PIXELS=pixels,
        CHANNELS=vectors * width,
        LANES=width,
    )


@cache
def _correlate_few(pixels: int, vectors: int, width: int):
    return compiled(
        correlate_few,
        (images, matrix, numbers, images, numbers, numba.intp, numba.intp, _pair, _pair),
        f"_{pixels}x{vectors}x{width}",
        product=vector(tiles.product(pixels, vectors), width, places=4),
        PIXELS=pixels,
        CHANNELS=vectors * width,
    )


@cache
def _weight_gradient(inputs: int, vectors: int, width: int):
    return compiled(
        weight_gradient,
        (images, images, numba.float32[:, :, ::1], numbers, numbers, numba.intp, numba.intp, _pair, _pair, _pair),
        f"_{inputs}x{vectors}x{width}",
        outer=vector(tiles.outer(inputs, vectors), width, places=3),
        column_sums=vector(tiles.column_sums, width, places=2),
        INPUTS=inputs,
        CHANNELS=vectors * width,
        LANES=width,
    )


@cache
def _channel_sums(width: int):
    sums = vector(tiles.column_sums, width, places=2)
    return compiled(channel_sums, (images, numbers), f"_x{width}", column_sums=sums, LANES=width)


# --- which tile ---


@cache
def choose(many: int, vectors: int, width: int, sizes: tuple[int, ...]) -> Pair:
    """The tile (broadcast side, vectors) that covers `many` × `vectors` in the fewest cycles.

    A step of a tile p × v takes p·v / 2 cycles of multiply-adds, (p + v) / 2 of loads, and 4 of latency at least.
    """

    def cycles(tile: Pair) -> float:
        p, v = tile
        return -(-many // p) * (vectors // v) * max(p * v / 2, (p + v) / 2, 4)

    free = registers(width) - (width < 16)  # without AVX-512 the broadcast value takes a register
    tiles = [(p, v) for p in sizes for v in (3, 2, 1) if vectors % v == 0 and (p + 1) * v <= free]
    return min(tiles, key=cycles)


# --- the wrappers ---


_NONE = np.empty(0, np.float32)


@cache
def choose_pixels(out_w: int, vectors: int, width: int) -> Pair:
    return choose(out_w, vectors, width, tuple(p for p in (7, 14, 8, 4, 1) if p <= out_w))


def run(x, w, bias, y, out, stride, dilation, before, first=(0, 0), step=(1, 1)) -> None:
    """`correlate` with the tile that fits."""
    width, (taps_h, taps_w, c_in, c_out) = lanes(), w.shape
    vectors = -(-c_out // width)
    image = ((out[0] - 1) * stride[0] + taps_h * dilation[0]) * ((out[1] - 1) * stride[1] + taps_w * dilation[1]) * c_in
    memory = scratch((taps_h * taps_w * c_in + 1) * vectors * width + image)
    bias = _NONE if bias is None else contiguous(bias)
    kernel = _correlate(*choose_pixels(out[1], vectors, width), width)
    kernel(x, contiguous(w), bias, y, memory, *out, stride, dilation, before, first, step)


def forward(x, w, b, out, stride, padding, dilation):
    y = np.empty((x.shape[0], *out, w.shape[3]), np.float32)
    taps_h, taps_w, c_in, c_out = w.shape
    bordered_everywhere = max(0, *padding) and padding[0] < taps_h and padding[1] < taps_w
    if 1 < taps_h * taps_w <= lanes() // c_out and stride == (1, 1) and bordered_everywhere:
        turned = np.zeros((c_in, lanes()), np.float32)
        turned[:, : taps_h * taps_w * c_out] = w.transpose(2, 0, 1, 3).reshape(c_in, -1)
        b = np.zeros(c_out, np.float32) if b is None else contiguous(b)
        kernel = _correlate_few(*choose_pixels(x.shape[2], 1, lanes()), lanes())
        size = (out[0] + (taps_h - 1) * dilation[0]) * (out[1] + (taps_w - 1) * dilation[1]) * lanes()
        kernel(x, turned, b, y, scratch(size), taps_h, taps_w, dilation, padding)
        return y
    run(x, w, b, y, out, stride, dilation, padding)
    return y


def input_gradient(g, w, x_size, stride, padding, dilation, bias=None):
    """dx (+ bias), for any stride with dilation 1 and any dilation with stride 1."""
    (s, t), (high, wide) = stride, x_size
    dx = np.zeros if s > w.shape[0] or t > w.shape[1] else np.empty  # some pixels meet no tap
    dx = dx((g.shape[0], *x_size, w.shape[2]), np.float32)
    for i in range(s):
        for j in range(t):
            taps = w[i::s, j::t][::-1, ::-1].transpose(0, 1, 3, 2)
            first = ((i - padding[0]) % s, (j - padding[1]) % t)
            out = (-(-(high - first[0]) // s), -(-(wide - first[1]) // t))
            if 0 in taps.shape or min(out) <= 0:
                continue
            before = (
                (taps.shape[0] - 1) * dilation[0] - (first[0] + padding[0]) // s,
                (taps.shape[1] - 1) * dilation[1] - (first[1] + padding[1]) // t,
            )
            run(g, taps, bias, dx, out, (1, 1), dilation, before, first, stride)
    return dx


def weight_and_bias_gradient(g, x, kernel, stride, padding, dilation):
    """(dw, db)."""
    if g.shape[3] < min(x.shape[3], lanes()) and stride == dilation == (1, 1) and kernel != (1, 1):
        # Few outputs: with x and g in each other's place the vectors are full, and the taps come out flipped.
        before = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
        flipped, _ = weight_and_bias_gradient(x, g, kernel, stride, before, dilation)
        return np.ascontiguousarray(flipped[::-1, ::-1].transpose(0, 1, 3, 2)), bias_gradient(g)
    width, (taps_h, taps_w), c_in, c_out = lanes(), kernel, x.shape[3], g.shape[3]
    vectors = -(-c_out // width)
    rows, inputs = (taps_h, taps_w * c_in) if dilation[1] == 1 else (taps_h * taps_w, c_in)
    tile = choose(inputs, vectors, width, (16, 8, 4))
    whole = -(-inputs // tile[0]) * tile[0]
    dw, db = np.zeros((rows, whole, vectors * width), np.float32), np.zeros(vectors * width, np.float32)
    high = (g.shape[1] - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    wide = (g.shape[2] - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    memory = scratch(high * wide * c_in + whole + g.shape[1] * g.shape[2] * vectors * width)
    _weight_gradient(*tile, width)(g, x, dw, db, memory, taps_h, taps_w, stride, dilation, padding)
    if dw.shape[1:] != (inputs, c_out):
        dw, db = np.ascontiguousarray(dw[:, :inputs, :c_out]), db[:c_out].copy()
    return dw.reshape(taps_h, taps_w, c_in, c_out), db


def bias_gradient(g):
    sums = np.empty(g.shape[3], np.float32)
    _channel_sums(lanes())(g, sums)
    return sums
