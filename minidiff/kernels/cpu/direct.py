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

from functools import cache, partial

import numba
import numpy as np

from . import small_groups, tiles
from .compiled import compiled, contiguous, helper, images, matrix, numbers, scratch, unbound
from .vector import lanes, registers, vector

Pair = tuple[int, int]

# Bound by `compiled`, for each tile:
row = stream = taps = column_sums = unbound
LARGE = 1 << 20  # numbers of an output that would push all else out of the nearest caches, and leave them itself
NEAR = 1 << 12  # numbers of weights that stay in the nearest cache
LANES = TAPS = 0  # lanes of a vector; taps of a row in a step of the tile, or rows of taps in a weight gradient's


# --- the loops ---


@helper
def bordered(x, first, height, width, channels, into, top, left, high, wide):
    """Copy one image (at x[first]) into a scratch of high × wide pixels; its border there is zero already."""
    for i in range(max(0, -top), min(height, high - top)):
        j, end = max(0, -left), min(width, wide - left)
        source = x[first + (i * width + j) * channels : first + (i * width + end) * channels]
        start = ((i + top) * wide + j + left) * channels
        row = into[start : start + (end - j) * channels]
        for k in range(len(row)):
            row[k] = source[k]


@helper
def meeting(first, step, count, size):
    """(start, end) of those k of 0 … count − 1 for which first + k · step lies in 0 … size − 1."""
    start = min(count, max(0, -(first // step)))
    return start, max(start, min(count, (size - 1 - first) // step + 1))


def correlate(x, w, bias, y, memory, groups, size, beyond, out, stride, dilation, before, first, step, together, past):
    """y[first + step · (i, j)] = bias + Σ x[(i, j) · stride − before + tap · dilation] · w[tap], of size `out`.

    `size`: a group's inputs and outputs; in w and bias outputs are padded to whole vectors. Small groups that a vector
    holds count as one; their tile reads up to `beyond` numbers. `memory` takes an image and a row of y.
    `together`: so many images run along a tile, if not 0. `past`: y is written row by row, past the caches.
    """
    count, height, width, c_in = x.shape
    (taps_h, taps_w, depth, w_step), (inputs, outputs) = w.shape, size
    (_, y_height, y_width, c_out), (out_h, out_w), padded = y.shape, out, w_step // groups
    wide = (out_w - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    flat, weights, y_flat = x.reshape(x.size), w.reshape(w.size), y.reshape(y.size)
    apart = dilation[1] != 1 or depth != c_in  # else a row of taps is one run of memory
    image, y_image, w_row = height * width * c_in, y_height * y_width * c_out, taps_w * depth * w_step
    places, pixels, left, right, x_pixel, y_pixel = 1, out_w, 0, wide, stride[1] * c_in, step[1] * c_out
    if together:
        places, pixels, left, right, x_pixel, y_pixel = out_w, together, before[1], width, image, y_image
    # Groups after each other through a row, or through an image where the weights of all would not stay near.
    at_once = 1 if w.size > NEAR and y_pixel == c_out and not past else groups
    # To go along memory once, and then through a copy, is quicker than through large x once for each group.
    border = not together and (before[1] != 0 or wide > width or (past and groups > 1))
    end = (height * wide * c_in + beyond + LANES - 1) // LANES * LANES
    bordering, target = memory[:end], memory if past else y_flat
    if border or beyond > 0:
        bordering[:] = 0
    for k in range(0, count, max(1, together)):
        n = min(k, count - together)
        source, here, pitch = flat, n * image, width * c_in
        if border or (count - 1 - n) * image < beyond:
            source, here, pitch = bordering, 0, wide * c_in
            bordered(flat, n * image, height, width, c_in, source, 0, before[1], height, wide)
        for begin in range(0, groups, at_once):
            for i in range(out_h):
                down = i * stride[0] - before[0]
                u, u_end = meeting(down, dilation[0], taps_h, height)
                for j in range(places):
                    across = j * stride[1] - left
                    v, v_end = meeting(across, dilation[1], taps_w, right)
                    columns, steps = ((v_end - v) // TAPS, depth) if apart else (1, (v_end - v) * c_in)
                    w_at = u * w_row + v * depth * w_step
                    x_at = here + (down + u * dilation[0]) * pitch + (across + v * dilation[1]) * c_in
                    at = n * y_image + ((first[0] + i * step[0]) * y_width + first[1] + j * step[1]) * c_out
                    for group in range(begin, begin + at_once):
                        c, k, m = group * padded, group * inputs, group * outputs
                        row(
                            source, x_at + k, weights, w_at + c, bias, c, target, (end if past else at) + m,
                            pixels, u_end - u, columns, steps, dilation[0] * pitch, TAPS * dilation[1] * c_in,
                            w_row, TAPS * depth * w_step, w_step, x_pixel, y_pixel, min(outputs, c_out - m),
                        )  # fmt: skip
                    if past:
                        head = min(-(y_flat.ctypes.data // 4 + at) % LANES, out_w * c_out)
                        stream(memory, end, y_flat, at, head, out_w * c_out)


def add_taps(z, bias, y, dilation):
    """y = bias + Σ over taps of z, which has for each pixel its products with all taps: (tap row, column, out)."""
    count, height, width, channels = y.shape
    taps_h, taps_w = z.shape[3], z.shape[4]
    for n in range(count):
        for i in range(height):
            for c in range(channels):
                row = y[n, i, :, c]
                row[:] = bias[c]
                for u in range(taps_h):
                    for v in range(taps_w):
                        terms = z[n, i + u * dilation[0], v * dilation[1] : v * dilation[1] + width, u, v, c]
                        for j in range(width):
                            row[j] += terms[j]


def scale_and_shift(x, scale, shift, y):
    for i in range(len(x)):
        for k in range(len(scale)):
            y[i, k] = x[i, k] * scale[k] + shift[k]


def weight_gradient(g, x, dw, db, memory, size, beyond, taps_h, taps_w, stride, dilation, before):
    """dw[row of taps, tap and input, group, output] += Σ over output pixels of x · g, and db += Σ g.

    Inputs and outputs are padded to whole tiles: what lies beyond is written and means nothing; tiles read up to
    `beyond` numbers from their first on. Groups are `size` apart: see `correlate`.
    """
    (count, out_h, out_w, c_out), (_, height, width, c_in) = g.shape, x.shape
    (rows, inputs, groups, padded), (depth, outputs) = dw.shape, size
    x_flat, g_flat, dw_flat = x.reshape(x.size), g.reshape(g.size), dw.reshape(dw.size)
    per_row = rows // taps_h  # 1: a row of dw holds a whole row of taps; else one tap
    top, left, high, wide = 0, 0, height, width  # the border that is copied: none where a tap's pixels can be chosen
    if TAPS > 1:
        top, high = before[0], (out_h - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    if per_row == 1:
        left, wide = before[1], (out_w - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    border = top != 0 or left != 0 or high > height or wide > width
    end = high * wide * c_in + beyond
    bordering, widening = memory[:end], memory[end : end + out_h * out_w * c_out + beyond]
    if border or beyond > 0:
        bordering[:], widening[:] = 0, 0
    for n in range(count):
        source, image, pitch = x_flat, n * height * width * c_in, width * c_in
        gradient, g_image = g_flat, n * out_h * out_w * c_out
        if border or (count - 1 - n) * height * width * c_in < beyond:
            source, image, pitch = bordering, 0, wide * c_in
            bordered(x_flat, n * height * width * c_in, height, width, c_in, source, top, left, high, wide)
        if (count - 1 - n) * out_h * out_w * c_out < beyond:
            gradient, g_image = widening, 0
            bordered(g_flat, n * out_h * out_w * c_out, out_h, out_w, c_out, gradient, 0, 0, out_h, out_w)
        column_sums(gradient, g_image, db, 0, out_h * out_w, c_out, len(db) // LANES)
        for k in range(0, rows, TAPS):
            down, right = k // per_row * dilation[0] + top - before[0], k % per_row * dilation[1] + left - before[1]
            (i, i_end), (j, j_end) = meeting(down, stride[0], out_h, high), meeting(right, stride[1], out_w, wide)
            x_at = image + (down + i * stride[0]) * pitch + (right + j * stride[1]) * c_in
            g_at = g_image + (i * out_w + j) * c_out
            for group in range(groups):
                taps(
                    source, x_at + group * depth, gradient, g_at + group * outputs,
                    dw_flat, (k * inputs * groups + group) * padded, inputs, min(outputs, c_out - group * outputs),
                    i_end - i, j_end - j,
                    stride[0] * pitch, stride[1] * c_in, out_w * c_out, c_out, groups * padded,
                    dilation[1] * c_in, dilation[0] * pitch,
                )  # fmt: skip


_pair = numba.types.UniTuple(numba.intp, 2)


@cache
def _correlate(pixels: int, width: int, half: bool, taps: int, group: tuple):
    """`group`: what `small_groups.product` needs, with so many `taps` in a step; or ()."""
    sizes = {1: pixels, 2: min(pixels, 8), 3: min(pixels, 8)}
    tile = partial(small_groups.product, taps, *group) if group else tiles.product
    arrays, rest = (images, images, numbers, images, numbers), (*[_pair] * 6, numba.intp, numba.boolean)
    name = f"_{pixels}x{width}" + f"_groups{taps}{group}" * bool(group) + "_half" * half
    bound = {"stream": vector(tiles.stream, width, places=2), "TAPS": taps, "LANES": width}
    types = (*arrays, numba.intp, _pair, numba.intp, *rest)
    return compiled(correlate, types, name, row=vector(tiles.row(sizes, half, tile), width, places=4), **bound)


_add_taps = cache(lambda: compiled(add_taps, (numba.float32[:, :, :, :, :, ::1], numbers, images, _pair)))
_scale = cache(lambda: compiled(scale_and_shift, (matrix, numbers, numbers, matrix)))


@cache
def _weight_gradient(width: int, half: bool, inputs: int, tile: tuple, group: tuple):
    """`inputs` of a tile; or the `tile` of taps, and what else `small_groups.taps` needs, or ()."""
    some = small_groups.taps(tile, *group) if group else tiles.taps({**tiles.INPUTS[registers(width)], 1: inputs}, half)
    sums = vector(tiles.column_sums, width, places=2)
    types = (images, images, images, numbers, numbers, _pair, *[numba.intp] * 3, _pair, _pair, _pair)
    name = f"_{inputs}x{width}" + f"_groups{tile}{group}" * bool(group) + "_half" * half
    bound = {"LANES": width, "TAPS": tile[0]}
    return compiled(weight_gradient, types, name, taps=vector(some, width, places=3), column_sums=sums, **bound)


# --- the wrappers ---


@cache
def _tile(images, image, width, taps, out, stride, dilation, before, lanes, sparse) -> Pair:
    """(pixels of a tile, 0), which runs along a row of `out`; or (p, p): the tile is the same pixel of p images.

    Sums in registers, and overlaps computed twice, cost alike; beside neighbours of one image lie columns of zeros.
    Images lie far apart, which must be outweighed; if by multiples of 4 KiB, they share a few places of the cache.
    Where a pixel is met by few multiplications (`sparse`), to copy images for a border costs more than that.
    """

    def best(count, most=16):
        sizes = [p for p in ((7, 8, 16, 6, 4, 1) if registers(lanes) == 32 else (4, 1)) if p <= min(count, most)]
        return min((-(-count // p) * (p + 1) / count, -p) for p in sizes)

    inside = sum(0 <= j * stride + v * dilation - before < width for j in range(out) for v in range(taps))
    (along, p), (together, q) = best(out), best(images, 16 if image % 1024 else 4)
    far = 0.8 if sparse and inside < out * taps else 1.08
    return (-q, -q) if images > 1 and together * inside * far < along * out * taps else (-p, 0)


def widened(w, groups, outputs, width):
    """The last axis of w, with each group's `outputs`, and those that the last one lacks, padded to `width`."""
    if outputs == width and groups * width == w.shape[-1]:
        return contiguous(w)
    wide, (whole, rest) = np.zeros((*w.shape[:-1], groups, width), np.float32), divmod(w.shape[-1], outputs)
    wide[..., :whole, :outputs] = w[..., : whole * outputs].reshape(*w.shape[:-1], whole, outputs)
    if rest:
        wide[..., whole, :rest] = w[..., whole * outputs :]
    return wide.reshape(*w.shape[:-1], -1)


def leaves_half(outputs, width) -> bool:
    """Whether half a vector holds what is left of the outputs when whole ones are full."""
    return 0 < outputs % width <= width // 2


def run(x, w, bias, y, out, stride, dilation, before, first=(0, 0), step=(1, 1), groups=1) -> None:
    """`correlate` with the tile that fits."""
    width, (_, taps_w, depth, c_out) = lanes(), w.shape
    group, groups, size, beyond = small_groups.bundled(depth, c_out // groups, groups, width, stride, dilation)
    several = depth > 1 or stride == dilation == (1, 1)  # a number that is not spread is as well loaded again
    taps = next(t for t in (3, 5, 7, 2, 1) if taps_w % t == 0) if several and group else 1
    bias = np.zeros(c_out, np.float32) if bias is None else bias
    w, bias = (widened(a, groups, size[1], -(-size[1] // width) * width) for a in (w, bias))
    image = x.shape[1] * (out[1] * stride[1] + taps_w * dilation[1]) * x.shape[3]
    memory = scratch(image + beyond + out[1] * y.shape[3] + 2 * width)
    sparse = bool(group) and depth == taps == 1 and stride != (1, 1) and len(w) * taps_w < 10
    how = (taps_w, out[1], stride[1], dilation[1], before[1], width, sparse)
    pixels, together = _tile(1 if taps > 1 or beyond else len(x), x[0].size, x.shape[2], *how)
    kernel = _correlate(pixels, width, not group and leaves_half(size[1], width), taps, group)
    past = y.size >= LARGE and not together and step[1] == 1
    kernel(x, w, bias, y, memory, groups, size, beyond, out, stride, dilation, before, first, step, together, past)


def turned(w, groups):
    """Weights with inputs and outputs of each group in each other's place."""
    taps_h, taps_w, depth, c_out = w.shape
    parts = w.reshape(taps_h, taps_w, depth, groups, c_out // groups)
    return parts.transpose(0, 1, 4, 3, 2).reshape(taps_h, taps_w, c_out // groups, groups * depth)


def forward(x, w, b, out, stride, padding, dilation, groups=1):
    y = np.empty((x.shape[0], *out, w.shape[3]), np.float32)
    taps_h, taps_w, c_in, c_out = w.shape
    if taps_h == taps_w == c_in == 1 < groups == c_out and stride == (1, 1) and padding == (0, 0):
        # Numbers times numbers, a row of pixels at a time: in the order of memory, where tiles would leap over pixels.
        b = np.zeros(c_out, np.float32) if b is None else b
        scale, shift = (np.tile(a.reshape(-1), x.shape[2]) for a in (w, b))
        _scale()(x.reshape(-1, len(scale)), scale, shift, y.reshape(-1, len(scale)))
        return y
    few = 1 < taps_h * taps_w <= 2 * lanes() // c_out and c_in > 3 and 4 * c_out <= lanes()
    if few and stride == (1, 1) and groups == 1 and min(padding) >= 0:
        # Vectors of (tap, output) take the place of nearly empty ones of outputs; then taps are added.
        high, wide = out[0] + (taps_h - 1) * dilation[0], out[1] + (taps_w - 1) * dilation[1]
        z = np.zeros((len(x), high, wide, taps_h, taps_w, c_out), np.float32)
        one = w.transpose(2, 0, 1, 3).reshape(1, 1, c_in, -1)
        run(x, one, None, z.reshape(len(x), high, wide, -1), x.shape[1:3], stride, stride, (0, 0), first=padding)
        _add_taps()(z, np.zeros(c_out, np.float32) if b is None else contiguous(b), y, dilation)
        return y
    run(x, w, b, y, out, stride, dilation, padding, groups=groups)
    return y


def input_gradient(g, w, x_size, stride, padding, dilation, groups=1):
    """dx, for any stride with dilation 1 and any dilation with stride 1."""
    (s, t), (high, wide) = stride, x_size
    if s == t == 1:
        before = ((len(w) - 1) * dilation[0] - padding[0], (w.shape[1] - 1) * dilation[1] - padding[1])
        return forward(g, turned(w[::-1, ::-1], groups), None, x_size, stride, before, dilation, groups)
    dx = np.zeros if s > w.shape[0] or t > w.shape[1] else np.empty  # some pixels meet no tap
    dx = dx((g.shape[0], *x_size, w.shape[2] * groups), np.float32)
    for i in range(s):
        for j in range(t):
            taps = turned(w[i::s, j::t][::-1, ::-1], groups)
            first = ((i - padding[0]) % s, (j - padding[1]) % t)
            out = (-(-(high - first[0]) // s), -(-(wide - first[1]) // t))
            if 0 in taps.shape or min(out) <= 0:
                continue
            before = (len(taps) - 1 - (first[0] + padding[0]) // s, taps.shape[1] - 1 - (first[1] + padding[1]) // t)
            run(g, taps, None, dx, out, (1, 1), (1, 1), before, first, stride, groups)
    return dx


def weight_and_bias_gradient(g, x, kernel, stride, padding, dilation, groups=1):
    """(dw, db)."""
    width, (taps_h, taps_w), c_in, c_out = lanes(), kernel, x.shape[3] // groups, g.shape[3] // groups
    if c_out < min(c_in, width) and stride == dilation == (1, 1) and kernel != (1, 1):
        # Few outputs: with x and g in each other's place the vectors are full, and the taps come out flipped.
        before = (kernel[0] - 1 - padding[0], kernel[1] - 1 - padding[1])
        flipped, _ = weight_and_bias_gradient(x, g, kernel, stride, before, dilation, groups)
        return np.ascontiguousarray(turned(flipped[::-1, ::-1], groups)), bias_gradient(g)
    total, padded = c_out * groups, -(-c_out // width) * width
    group, groups, size, beyond = small_groups.bundled(c_in, c_out, groups, width, stride, dilation)
    half = not group and leaves_half(c_out, width)
    single = c_out <= width + half * width // 2  # there is one whole vector, or none
    if group:
        tile, some, joined = small_groups.tile_of_taps(kernel, c_in, g.shape[2], width), 1, True
    else:
        tile, some = (1, 0, 0, 0), tiles.INPUTS[registers(width)][1 if single else 2]
        # The taps of a row as one, where that wastes less than it adds in columns of zeros.
        joined = dilation[1] == groups == 1 and c_in % some > 0
    rows, inputs = (taps_h, taps_w * c_in) if joined else (taps_h * taps_w, c_in)
    some = min(some, inputs) if single else some
    dw = np.zeros((rows, -(-inputs // some) * some, groups, padded), np.float32)
    db = np.zeros(-(-total // width) * width, np.float32)
    whole = dw.shape == (rows, inputs, groups, size[1]) and groups * size[1] == total
    beyond = beyond or (0 if whole else max(padded, dw.shape[1]))  # whole vectors, and all inputs of a tile
    high = max(x.shape[1], g.shape[1] * stride[0] + taps_h * dilation[0])
    wide = max(x.shape[2], g.shape[2] * stride[1] + taps_w * dilation[1])
    memory = scratch(high * wide * x.shape[3] + g[0].size + 2 * beyond)
    of_one = some if single or half else tiles.INPUTS[registers(width)][1]  # what is not used need not be compiled anew
    run_tiles = _weight_gradient(width, half, of_one, tile, group)
    run_tiles(g, x, dw, db, memory, size, beyond, *kernel, stride, dilation, padding)
    if not whole:
        dw = np.ascontiguousarray(dw[:, :inputs, :, : size[1]].reshape(rows, inputs, -1)[..., :total])
    return dw.reshape(*kernel, c_in, total), db[:total]


def bias_gradient(g):
    """Σ over pixels, 64 sums side by side for each channel: NumPy is slow where rows are short."""
    rows = g.reshape(-1, g.shape[3])
    end = len(rows) // 64 * 64
    return rows[:end].reshape(-1, 64 * g.shape[3]).sum(0).reshape(64, -1).sum(0) + rows[end:].sum(0)
