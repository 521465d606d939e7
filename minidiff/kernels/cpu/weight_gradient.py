"""The direct way to the gradients of weights and bias, of convolutions and dense layers.

x, each pixel moved by the tap        g
┌───────────┐                         ┌───────────┐
│ inputs    │  →→→ all pixels →→→     │ outputs   │      dw[tap] += inputs ⊗ outputs
└───────────┘                         └───────────┘      db      += outputs
"""

import sys
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from ..sums import ROWS, total
from . import borders, sweeps, tiles, vector
from .compiled import compiled_body, images, numbers, scratch, weights
from .direct import turned
from .plans import by_axis, packed
from .problem import Problem
from .rare import half_vectors
from .views import View, ceil_divide


class Plan(NamedTuple):
    """The numbers of a weight gradient."""

    images: int
    out_h: int  # rows of g
    out_w: int
    band: int  # rows of g whose pixels are one sum: in longer ones float32 loses digits
    outputs: int  # channels of g
    height: int  # rows of x
    width: int
    channels: int  # of x
    # dw, in whole tiles
    tap_rows: int  # rows of dw: taps, or rows of taps
    inputs: int  # of each: channels, or columns of taps × channels
    groups: int
    padded: int  # outputs of a group
    # what a group has
    group_inputs: int
    group_outputs: int
    # where x and g are read
    g_reach: int  # an image of g is copied if fewer numbers come after it
    x_reach: int  # likewise of x
    g_copy: int  # where in the scratch the copy of g begins
    top: int  # where in its copy the image of x begins
    left: int
    high: int  # rows of the copy
    wide: int  # columns of the copy
    taps_per_row: int  # how many rows of dw are one row of taps
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    padding_h: int
    padding_w: int


class Tiling(NamedTuple):
    """The tile that a weight gradient takes, and how it sees taps, inputs and groups."""

    name: str  # of the tile, among the compiled kernels
    tile: Callable  # a body
    tap_rows: int  # rows of taps in a tile
    joined: bool  # whether the taps of a row are so many more inputs
    multiple: int  # the inputs in dw are padded to a multiple of it
    groups: int
    inputs: int  # of each group
    outputs: int
    reads_beyond: int = 0  # numbers after a pixel's that a tile reads


class Prepared(NamedTuple):
    """All that is worked out once for the shapes of a weight gradient."""

    run: Callable  # the compiled kernel
    plan: np.ndarray
    tiling: Tiling
    inputs: int  # in a row of dw
    dw_shape: tuple  # padded
    db_size: int  # padded
    whole: bool  # whether nothing of dw is padded
    scratch: int  # numbers
    zeros: int  # how many of them, the first, must be 0


# --- the body ---


def _weight_gradient(tile, tap_rows):
    """dw[tap row, input, group, output] += Σ over all pixels of x · g, and db += Σ g.

    `tile` takes `tap_rows` rows of dw at once. What it writes beyond the inputs and outputs that
    there are means nothing.
    """

    def body(e, g, x, dw, db, memory, plan):
        g = View.of(g, plan.images, plan.out_h, plan.out_w, plan.outputs)
        x = View.of(x, plan.images, plan.height, plan.width, plan.channels)
        dw = View.of(dw, plan.tap_rows, plan.inputs, plan.groups, plan.padded)
        x_size = plan.height, plan.width, plan.channels
        x_frame = borders.Frame(*x_size, plan.top, plan.left, plan.high, plan.wide)
        g_size = plan.out_h, plan.out_w
        g_frame = borders.Frame(*g_size, plan.outputs, 0, 0, *g_size)
        g_copy = memory + plan.g_copy
        all_pixels = plan.out_h * plan.out_w
        vectors = ceil_divide(plan.outputs, e.lanes)

        @e.loop(plan.images)
        def image(n):
            images_after = plan.images - 1 - n
            after = images_after * x.steps[0]
            x_image = borders.readable(e, x.at(n), after, plan.x_reach, memory, x_frame)
            after = images_after * g.steps[0]
            g_image = borders.readable(e, g.at(n), after, plan.g_reach, g_copy, g_frame)
            pixels_of_g = View(g_image.place, plan.outputs, 1)

            @e.loop(ceil_divide(all_pixels, ROWS))
            def bias(piece):
                first = piece * ROWS
                count = e.min(ROWS, all_pixels - first)
                sweeps.column_sums(e, pixels_of_g[first:], db, count, vectors)

            @e.loop(plan.tap_rows // tap_rows)
            def taps(part):
                k = part * tap_rows
                x_taps, g_pixels, (rows, columns) = _meeting_pixels(e, plan, x_image, g_image, k)

                @e.loop(plan.groups, ceil_divide(rows, plan.band))
                def group(m, piece):
                    output = m * plan.group_outputs
                    first = piece * plan.band
                    tile(
                        e,
                        x_taps[:, :, first:, :, m * plan.group_inputs :],
                        g_pixels[first:, :, output:],
                        dw[k:, :, m],
                        plan.inputs,
                        e.min(plan.group_outputs, plan.outputs - output),
                        (e.min(plan.band, rows - first), columns),
                    )

    return body


def _meeting_pixels(e, plan, x, g, k):
    """The pixels of x and g that meet at row k of dw.

    Views x (tap row, tap column, pixel row, pixel column, channel), g (pixel row, pixel column,
    channel), and how many rows and columns of pixels there are.
    """
    down = k // plan.taps_per_row * plan.dilation_h + plan.top - plan.padding_h
    across = k % plan.taps_per_row * plan.dilation_w + plan.left - plan.padding_w
    i, rows = borders.meeting(e, down, plan.stride_h, plan.out_h, plan.high)
    j, columns = borders.meeting(e, across, plan.stride_w, plan.out_w, plan.wide)
    first = x[down + i * plan.stride_h :, across + j * plan.stride_w :]
    row, column, channel = first.steps
    tap_steps = plan.dilation_h * row, plan.dilation_w * column
    pixel_steps = plan.stride_h * row, plan.stride_w * column
    x_taps = View(first.place, *tap_steps, *pixel_steps, channel)
    return x_taps, g[i:, j:], (rows, columns)


# --- plans ---


@cache
def _plain_tile(sizes: tuple, half: bool) -> Callable:
    outer = tiles.tiled_outer(
        dict(enumerate(sizes, 1)), half_vectors.by_vectors_and_half if half else tiles.by_vectors
    )

    def tile(e, x, g, dw, inputs, channels, sizes):
        outer(e, x[0, 0], g, dw[0], inputs, channels, sizes)

    return tile


def plain_tiling(p: Problem, lanes: int) -> Tiling:
    """Tap by tap, or a row of taps as one; groups one by one."""
    inputs = p.inputs // p.groups
    outputs = p.outputs // p.groups
    half = half_vectors.fit(outputs, lanes)
    one_vector = outputs <= lanes + half * lanes // 2
    sizes = tiles.INPUTS[vector.registers(lanes)]
    multiple = sizes[1 if one_vector else 2]
    # a row of taps as one, where that wastes less than it adds in columns of zeros
    joined = p.dilation[1] == p.groups == 1 and inputs % multiple > 0
    if one_vector:
        multiple = min(multiple, p.kernel[1] * inputs if joined else inputs)
    # a tile that is not used need not be compiled anew
    of_one = multiple if one_vector or half else sizes[1]
    name = f"{of_one}_half" if half else f"{of_one}"
    tile = _plain_tile((of_one, sizes[2], sizes[3]), half)
    return Tiling(name, tile, 1, joined, multiple, p.groups, inputs, outputs)


@cache
def _kernel(name, tile, tap_rows, lanes) -> Callable:
    body = _weight_gradient(tile, tap_rows)
    types = images, images, weights, numbers, numbers, Plan
    return compiled_body(body, types, lanes, f"weight_gradient_{name}")


@lru_cache(1024)  # of shapes: a network asks for the same few again and again
def _prepared(p: Problem, tiling_of: Callable, lanes: int) -> Prepared:
    tiling = tiling_of(p, lanes)
    taps_h, taps_w = p.kernel
    depth = p.inputs // p.groups
    tap_rows = taps_h if tiling.joined else taps_h * taps_w
    inputs = taps_w * depth if tiling.joined else depth
    padded = ceil_divide(tiling.outputs, lanes) * lanes
    in_tiles = ceil_divide(inputs, tiling.multiple) * tiling.multiple
    dw_shape = tap_rows, in_tiles, tiling.groups, padded
    nothing_padded = dw_shape == (tap_rows, inputs, tiling.groups, tiling.outputs)
    whole = nothing_padded and tiling.groups * tiling.outputs == p.outputs
    reads_beyond = tiling.reads_beyond or (0 if whole else max(padded, in_tiles))

    # x needs a border where a tile cannot choose the pixels that its taps meet
    top = 0
    left = 0
    high, wide = p.size
    if tiling.tap_rows > 1:
        top = p.padding[0]
        high = (p.out[0] - 1) * p.stride[0] + (taps_h - 1) * p.dilation[0] + 1
    if tiling.joined:
        left = p.padding[1]
        wide = (p.out[1] - 1) * p.stride[1] + (taps_w - 1) * p.dilation[1] + 1
    bordered = top != 0 or left != 0 or high > p.size[0] or wide > p.size[1]
    x_room = high * wide * p.inputs + reads_beyond
    g_room = p.out[0] * p.out[1] * p.outputs + reads_beyond
    plan = Plan(
        images=p.images,
        band=max(1, ROWS // p.out[1]),
        outputs=p.outputs,
        height=p.size[0],
        width=p.size[1],
        channels=p.inputs,
        tap_rows=tap_rows,
        inputs=in_tiles,
        groups=tiling.groups,
        padded=padded,
        group_inputs=tiling.inputs,
        group_outputs=tiling.outputs,
        g_reach=reads_beyond,
        x_reach=sys.maxsize if bordered else reads_beyond,
        g_copy=x_room,
        top=top,
        left=left,
        high=high,
        wide=wide,
        taps_per_row=tap_rows // taps_h,
        **by_axis(out=p.out, stride=p.stride, dilation=p.dilation, padding=p.padding),
    )
    return Prepared(
        _kernel(tiling.name, tiling.tile, tiling.tap_rows, lanes),
        packed(plan),
        tiling,
        inputs,
        dw_shape,
        db_size=ceil_divide(p.outputs, lanes) * lanes,
        whole=whole,
        scratch=x_room + g_room,
        zeros=x_room + g_room if bordered or reads_beyond else 0,
    )


# --- the ways ---


def fits(p: Problem) -> bool:
    return min(p.kernel) > 0


def weight_gradient(g, x, p: Problem, tiling_of=plain_tiling):
    """(dw, db)."""
    ready = _prepared(p, tiling_of, vector.lanes())
    dw = np.zeros(ready.dw_shape, np.float32)
    db = np.zeros(ready.db_size, np.float32)
    memory = scratch(ready.scratch)
    memory[: ready.zeros] = 0
    ready.run(g, x, dw, db, memory, ready.plan)
    if not ready.whole:
        used = dw[:, : ready.inputs, :, : ready.tiling.outputs]
        joined = used.reshape(len(dw), ready.inputs, -1)
        dw = np.ascontiguousarray(joined[..., : p.outputs])
    return dw.reshape(*p.kernel, p.inputs // p.groups, p.outputs), db[: p.outputs]


def fits_swapped(p: Problem) -> bool:
    """Few outputs, which would fill vectors less than the inputs do."""
    few = p.outputs < min(p.inputs, vector.lanes() * p.groups)
    return few and p.stride == p.dilation == (1, 1) and p.kernel != (1, 1)


def swapped(g, x, p: Problem):
    """(dw, db): with x and g in each other's place the taps come out flipped."""
    flipped, _ = weight_gradient(x, g, p.transposed())
    dw = turned(flipped[::-1, ::-1], p.groups)
    return np.ascontiguousarray(dw), _bias_gradient(g)


def _bias_gradient(g):
    """Σ over pixels, 64 sums side by side for each channel: NumPy is slow where rows are short."""
    rows = g.reshape(-1, g.shape[3])
    end = len(rows) // 64 * 64
    sums = total(rows[:end].reshape(-1, 64 * g.shape[3]), 0)
    return total(sums.reshape(64, -1), 0) + total(rows[end:], 0)
