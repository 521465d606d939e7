"""Direct convolution on register tiles: forward, input gradient, dense layers.

Each image is copied into a small scratch with a border (where it needs one at all); a tile then
walks along the rows of the output. All sizes are run-time arguments; only the tile is fixed at
compile time.

    scratch                                    output
    0 x x x x x x x 0                          . . . . . . .
    0 x x x x x x x 0      w (3 × 3)           [ one tile ] .    tiles of neighbours; the last one of a row
    0 x x x x x x x 0   ⋆            =         . . [ tile   ]    overlaps the one before it
    0 x x x x x x x 0                          . . . . . . .

The input gradient is a convolution of g with the weights flipped. Where the stride is s, it is s ×
s convolutions: pixels of dx whose row and column leave the same rest modulo s meet the same taps,
every s-th one of the kernel.
"""

import math
import sys
from functools import cache, lru_cache, partial

import numba
import numpy as np

from . import functions, small_groups, tiles
from .borders import meeting, own_or_copied
from .compiled import compiled_body, contiguous, images, integers, kernel, matrix, numbers, scratch
from .vector import lanes, registers

# numbers of an output that would push all else out of the nearest caches, and leave them itself
LARGE = 1 << 20
NEAR = 1 << 12  # numbers of weights that stay in the nearest cache


# --- bodies ---


@kernel(numba.float32[:, :, :, :, :, ::1], numbers, images)
def add_taps(e, z, bias, y, images, height, width, channels, taps_h, taps_w, down, right):
    """y = bias + Σ over taps of z, which has for each pixel its products with all taps: (tap row, column, out)."""
    high, wide = height + (taps_h - 1) * down, width + (taps_w - 1) * right
    pixel, some = taps_h * taps_w * channels, e.first(channels)

    @e.loop(images * height)
    def _(i):
        @e.loop(width)
        def _(j):
            total = e.variable(e.load(bias, some))

            @e.loop(taps_h)
            def _(u):
                row = (
                    z
                    + ((i // height * high + i % height + u * down) * wide + j) * pixel
                    + u * taps_w * channels
                )

                @e.loop(taps_w)
                def _(v):
                    total.set(total.get() + e.load(row + v * (right * pixel + channels), some))

            e.store(total.get(), y + (i * width + j) * channels, some)


def _correlate(row, taps):
    """y[first + step · (i, j)] = bias + Σ x[(i, j) · stride − before + tap · dilation] · w[tap],
    `taps` a step.

    In w and bias the outputs of a group are padded to whole vectors. Small groups that a vector
    holds count as one; their tile reads on beyond a pixel. An image with fewer than `reach` numbers
    after it is copied to `bordering`, and what is written past the caches is made in `line`, a row
    at a time; `address` is y's, in numbers, modulo a vector's. The other arguments are explained in
    `_plan`.
    """

    def body(e, x, w, bias, y, bordering, line, given, address):
        (
            count,
            height,
            width,
            c_in,
            taps_h,
            taps_w,
            depth,
            w_step,
            y_height,
            y_width,
            c_out,
            groups,
            inputs,
            outputs,
            reach,
            out_h,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            before_h,
            before_w,
            first_h,
            first_w,
            step_h,
            step_w,
            wide,
            apart,
            together,
            images,
            places,
            pixels,
            left,
            right,
            x_pixel,
            y_pixel,
            at_once,
            past,
            spacing,
        ) = (e.integer(given + k) for k in range(39))
        image, y_image = height * width * c_in, y_height * y_width * c_out
        w_row, padded = taps_w * depth * w_step, w_step // groups

        @e.loop((count + (images - 1)) // images)
        def _(k):
            n = e.smaller(k * images, count - together)
            of_image = x + n * image, (count - 1 - n) * image, reach, bordering, height, width, c_in
            source, pitch = own_or_copied(e, *of_image, 0, before_w, height, wide, spacing)
            pitch = pitch * c_in

            @e.loop(groups // at_once)
            def _(begin):
                @e.loop(out_h)
                def _(i):
                    down = i * stride_h - before_h
                    u, u_end = meeting(e, down, dilation_h, taps_h, height)

                    @e.loop(places)
                    def _(j):
                        across = j * stride_w - left
                        v, v_end = meeting(e, across, dilation_w, taps_w, right)
                        columns = e.choose(e.fewer(0, apart), (v_end - v) // taps, 1)
                        steps = e.choose(e.fewer(0, apart), depth, (v_end - v) * c_in)
                        here = (
                            source
                            + (down + u * dilation_h) * pitch
                            + (across + v * dilation_w) * c_in
                        )
                        at = (
                            n * y_image
                            + ((first_h + i * step_h) * y_width + first_w + j * step_w) * c_out
                        )
                        to, weights = (
                            e.choose(e.fewer(0, past), line, y + at),
                            w + u * w_row + v * depth * w_step,
                        )

                        @e.loop(at_once)
                        def _(one):
                            group = begin * at_once + one
                            row(
                                e,
                                here + group * inputs,
                                weights + group * padded,
                                bias + group * padded,
                                to + group * outputs,
                                pixels,
                                u_end - u,
                                columns,
                                steps,
                                dilation_h * pitch,
                                dilation_w * c_in * taps,
                                w_row,
                                depth * w_step * taps,
                                w_step,
                                x_pixel,
                                y_pixel,
                                e.smaller(outputs, c_out - group * outputs),
                            )

                        # up to an aligned place
                        head = (address + at + (e.lanes - 1)) % e.lanes * -1 + (e.lanes - 1)
                        size = pixels * c_out
                        copy = lambda: e.call(
                            tiles.stream, line, y + at, e.smaller(head, size), size
                        )
                        e.when(e.fewer(0, past), copy)

    return body


@kernel(matrix, numbers, numbers, matrix)
def scale_and_shift(e, x, scale, shift, y, rows, columns):
    e.loop(rows)(
        lambda i: functions.each(
            e, type(e).fma, [x + i * columns, scale, shift], y + i * columns, columns
        )
    )


@cache
def _correlate_kernel(pixels: int, width: int, half: bool, taps: int, group: tuple):
    """`group`: what `small_groups.product` needs, with so many `taps` in a step; or ()."""
    sizes = {1: pixels, 2: min(pixels, 8), 3: min(pixels, 8)}
    tile = partial(small_groups.product, taps, *group) if group else tiles.product
    name = f"correlate_{pixels}" + f"_groups{taps}{group}" * bool(group) + "_half" * half
    types = images, images, numbers, images, numbers, numbers, integers
    return compiled_body(_correlate(tiles.row(sizes, half, tile), taps), types, width, name)


# --- the wrappers ---


def _tile(
    images, image, width, taps, out, stride, dilation, before, lanes, spread
) -> tuple[int, int]:
    """(pixels of a tile, 0), which runs along a row of `out`; or (p, p): the tile is the same pixel
    of p images.

    Sums in registers, and overlaps computed twice, cost alike; beside neighbours of one image lie
    columns of zeros. Images lie far apart, which must be outweighed; if by multiples of 4 KiB, they
    share a few places of the cache. What is `spread` for small groups serves more pixels of a
    longer tile.
    """

    def best(count, most=16):
        sizes = (7, 8, 16, 6, 4, 1, *[14] * spread) if registers(lanes) == 32 else (4, 1)
        return min((-(-count // p) * (p + 1) / count, -p) for p in sizes if p <= min(count, most))

    inside = sum(
        0 <= j * stride + v * dilation - before < width for j in range(out) for v in range(taps)
    )
    (along, p), (together, q) = best(out), best(images, 16 if image % 1024 else 4)
    return (-q, -q) if images > 1 and together * inside * 1.08 < along * out * taps else (-p, 0)


def widened(w, groups, outputs, width):
    """The last axis of w, with each group's `outputs`, and those that the last one lacks, padded to `width`."""
    if outputs == width and groups * width == w.shape[-1]:
        return contiguous(w)
    wide, (whole, rest) = (
        np.zeros((*w.shape[:-1], groups, width), np.float32),
        divmod(w.shape[-1], outputs),
    )
    wide[..., :whole, :outputs] = w[..., : whole * outputs].reshape(*w.shape[:-1], whole, outputs)
    if rest:
        wide[..., whole, :rest] = w[..., whole * outputs :]
    return wide.reshape(*w.shape[:-1], -1)


@lru_cache(1024)  # of shapes: a network asks for the same few again and again
def _plan(
    x_shape,
    w_shape,
    y_shape,
    out,
    stride,
    dilation,
    before,
    first,
    step,
    groups,
    spacing,
    large,
    width,
):
    """How `run` runs: the kernel; its groups, their outputs, and these in whole vectors; zeros that
    the memory starts with, where the rest of it begins, its size; and the numbers that the kernel
    is given."""
    (count, height, x_width, c_in), (taps_h, taps_w, depth, c_out) = x_shape, w_shape
    group, groups, size, beyond = small_groups.bundled(
        depth, c_out // groups, groups, width, stride, dilation
    )
    # a number that is not spread is as well loaded again
    several = depth > 1 or stride == dilation == (1, 1)
    taps = next(t for t in (3, 5, 7, 2, 1) if taps_w % t == 0) if several and group else 1
    padded, image, along_row = (
        -(-size[1] // width) * width,
        height * x_width * c_in,
        taps > 1 or beyond or spacing > 1,
    )
    how = taps_w, out[1], stride[1], dilation[1], before[1], width, bool(group) and depth > 1
    pixels, together = _tile(1 if along_row else count, image, x_width, *how)
    wide = (out[1] - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    apart = dilation[1] != 1 or depth != c_in  # else a row of taps is one run of memory
    past = large and not together and step[1] == 1  # y is written a row at a time, past the caches
    # To go along memory once, and then through a copy, is quicker than through large x once for
    # each group.
    border = not together and (
        spacing > 1 or before[1] != 0 or wide > x_width or (past and groups > 1)
    )
    end = -(-(height * wide * c_in + beyond) // width) * width
    # One row of pixels along a tile, or the same pixel of so many images `together`, in each of so
    # many `places`; the columns of x that there are for taps; how far apart the pixels are. Groups
    # come after each other through a row, or through an image where the weights of all would not
    # stay near.
    along = 1, out[1], 0, wide, stride[1] * c_in, step[1] * y_shape[3]
    if together:
        along = out[1], together, before[1], x_width, image, math.prod(y_shape[1:])
    weights = taps_h * taps_w * depth, groups * padded
    at_once = 1 if math.prod(weights) > NEAR and along[-1] == y_shape[3] and not past else groups
    kernel = _correlate_kernel(
        pixels, width, not group and tiles.leaves_half(size[1], width), taps, group
    )
    sizes = (
        *x_shape,
        *w_shape[:3],
        weights[1],
        *y_shape[1:],
        groups,
        *size,
        sys.maxsize if border else beyond,
        out[0],
    )
    how = *stride, *dilation, *before, *first, *step, wide, int(apart), together, max(1, together)
    numbers = np.array((*sizes, *how, *along, at_once, past, spacing))
    zeros = end if border or beyond > 0 else 0
    return kernel, groups, size[1], padded, zeros, end, end + out[1] * y_shape[3] + width, numbers


def run(
    x, w, bias, y, out, stride, dilation, before, first=(0, 0), step=(1, 1), groups=1, spacing=1
) -> None:
    """`correlate` with the tile that fits; columns of x may be taken `spacing` apart, with zeros between them."""
    how, large, width = (
        (out, stride, dilation, before, first, step, groups, spacing),
        y.size >= LARGE,
        lanes(),
    )
    kernel, groups, outputs, padded, zeros, end, size, given = _plan(
        x.shape, w.shape, y.shape, *how, large, width
    )
    bias = np.zeros(w.shape[3], np.float32) if bias is None else bias
    w, bias = (widened(a, groups, outputs, padded) for a in (w, bias))
    memory = scratch(size)
    memory[:zeros] = 0
    kernel(x, w, bias, y, memory, memory[end:], given, y.ctypes.data // 4 % width if large else 0)


def turned(w, groups):
    """Weights with inputs and outputs of each group in each other's place."""
    taps_h, taps_w, depth, c_out = w.shape
    parts = w.reshape(taps_h, taps_w, depth, groups, c_out // groups)
    return parts.transpose(0, 1, 4, 3, 2).reshape(taps_h, taps_w, c_out // groups, groups * depth)


def forward(x, w, b, out, stride, padding, dilation, groups=1):
    y = np.empty((x.shape[0], *out, w.shape[3]), np.float32)
    taps_h, taps_w, c_in, c_out = w.shape
    if taps_h == taps_w == c_in == 1 < groups == c_out and stride == (1, 1) and padding == (0, 0):
        # Numbers times numbers, a row of pixels at a time: in the order of memory, where tiles
        # would leap over pixels.
        b = np.zeros(c_out, np.float32) if b is None else b
        scale, shift = (np.tile(a.reshape(-1), x.shape[2]) for a in (w, b))
        rows = x.reshape(-1, len(scale))
        scale_and_shift(lanes())(rows, scale, shift, y.reshape(rows.shape), *rows.shape)
        return y
    few = 1 < taps_h * taps_w <= 2 * lanes() // c_out and c_in > 3 and 4 * c_out <= lanes()
    if few and stride == (1, 1) and groups == 1 and min(padding) >= 0:
        # Vectors of (tap, output) take the place of nearly empty ones of outputs; then taps are
        # added.
        high, wide = out[0] + (taps_h - 1) * dilation[0], out[1] + (taps_w - 1) * dilation[1]
        z = np.zeros((len(x), high, wide, taps_h, taps_w, c_out), np.float32)
        one = w.transpose(2, 0, 1, 3).reshape(1, 1, c_in, -1)
        run(
            x,
            one,
            None,
            z.reshape(len(x), high, wide, -1),
            x.shape[1:3],
            stride,
            stride,
            (0, 0),
            first=padding,
        )
        b = np.zeros(c_out, np.float32) if b is None else contiguous(b)
        add_taps(lanes())(z, b, y, *y.shape, taps_h, taps_w, *dilation)
        return y
    run(x, w, b, y, out, stride, dilation, padding, groups=groups)
    return y


def input_gradient(g, w, x_size, stride, padding, dilation, groups=1):
    """dx, for any stride with dilation 1 and any dilation with stride 1."""
    (s, t), (high, wide) = stride, x_size
    if s == t == 1:
        before = (
            (len(w) - 1) * dilation[0] - padding[0],
            (w.shape[1] - 1) * dilation[1] - padding[1],
        )
        return forward(
            g, turned(w[::-1, ::-1], groups), None, x_size, stride, before, dilation, groups
        )
    dx = np.zeros if s > w.shape[0] or t > w.shape[1] else np.empty  # some pixels meet no tap
    dx = dx((g.shape[0], *x_size, w.shape[2] * groups), np.float32)
    # Depthwise, memory is what is slow: it is written in whole rows, with zeros between the columns
    # of g.
    spacing = t if w.shape[2] == 1 and w.shape[3] == groups and padding[1] < w.shape[1] else 1
    t //= spacing
    for i in range(s):
        for j in range(t):
            taps = turned(w[i::s, j::t][::-1, ::-1], groups)
            first = ((i - padding[0]) % s, (j - padding[1]) % t)
            out = (-(-(high - first[0]) // s), -(-(wide - first[1]) // t))
            if 0 in taps.shape or min(out) <= 0:
                continue
            before = (
                len(taps) - 1 - (first[0] + padding[0]) // s,
                taps.shape[1] - 1 - (first[1] + padding[1]) // t,
            )
            run(g, taps, None, dx, out, (1, 1), (1, 1), before, first, (s, t), groups, spacing)
    return dx
