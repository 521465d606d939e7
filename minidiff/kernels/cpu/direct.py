"""The direct way: convolutions and input gradients on register tiles; plans for `correlate`.

The input gradient for stride 1 is a convolution of g with the weights flipped. Where the stride is
s, it is s × s convolutions: pixels of dx whose row and column leave the same rest modulo s meet the
same taps, every s-th one of the kernel.
"""

import itertools
import math
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from . import borders, tiles, vector
from .compiled import compiled_body, contiguous, images, numbers, scratch
from .correlate import Plan, correlate, straight
from .plans import by_axis, packed
from .problem import Pair, Problem
from .rare import half_vectors, spaced, streaming
from .views import ceil_divide


class Correlation(NamedTuple):
    """A convolution that may write to every `step`-th pixel of y only, for (i, j) < out.

    y[first + step · (i, j)] = bias + Σ x[stride · (i, j) + dilation · tap − before] · w[tap]

    Columns of x may be taken `spacing` apart, with zeros between them.
    """

    x: tuple[int, int, int, int]  # shapes
    w: tuple[int, int, int, int]
    y: tuple[int, int, int, int]
    out: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    first: Pair = (0, 0)
    step: Pair = (1, 1)
    groups: int = 1
    spacing: int = 1


class Tiling(NamedTuple):
    """The tile that a correlation takes, and how its groups appear to the loops around it."""

    name: str  # of the tile, among the compiled kernels
    tile: Callable  # pixels of a tile -> the body for a row of tiles
    lengths: tuple[int, ...]  # the pixels that a tile may have
    groups: int
    inputs: int  # of each group
    outputs: int
    taps: int = 1  # of a row, in one step of the tile
    reads_beyond: int = 0  # numbers after a pixel's that a tile reads


class Prepared(NamedTuple):
    """All that is worked out once for the shapes of a correlation."""

    run: Callable  # the compiled kernel
    plan: np.ndarray
    tiling: Tiling
    padded: int  # outputs of a group in w and bias, in whole vectors
    scratch: int  # numbers
    zeros: int  # how many of them, the first, must be 0


# --- which tile ---


@cache
def _plain_tile(half: bool) -> Callable:
    split = half_vectors.by_vectors_and_half if half else tiles.by_vectors
    sizes = lambda pixels: {1: pixels, 2: min(pixels, 8), 3: min(pixels, 8)}
    return lambda pixels: tiles.tiled_product(sizes(pixels), split)


def lengths(lanes: int) -> tuple[int, ...]:
    """The pixels that a tile may have."""
    return (7, 8, 16, 6, 4, 1) if vector.registers(lanes) == 32 else (4, 1)


def plain_tiling(c: Correlation, lanes: int) -> Tiling:
    """Groups one by one, on tiles of 1 to 3 vectors of outputs."""
    outputs = c.w[3] // c.groups
    half = half_vectors.fit(outputs, lanes)
    name = "half" if half else ""
    return Tiling(name, _plain_tile(half), lengths(lanes), c.groups, c.w[2], outputs)


def _best_length(count: int, lengths: tuple, most: int = 16) -> tuple[float, int]:
    """(cost of a pixel, length): sums in registers, and overlaps computed twice, cost alike."""
    cost, length = min(
        (ceil_divide(count, p) * (p + 1) / count, -p) for p in lengths if p <= min(count, most)
    )
    return cost, -length


def _pixels_and_images(c: Correlation, tiling: Tiling) -> tuple[int, int]:
    """The pixels of a tile, and the images that it takes at once.

    (pixels, 1) is a tile of neighbours in a row, (n, n) one of a single pixel in each of n images.
    Neighbours near the edge also meet columns of zeros. The same pixels of several images meet
    none, but they lie far apart, and that costs a little. If they are multiples of 4 KiB apart,
    they share a few places of the cache.
    """
    images, _, width, _ = c.x
    out = c.out[1]
    taps = c.w[1]
    row_cost, pixels = _best_length(out, tiling.lengths)
    if images == 1 or tiling.taps > 1 or tiling.reads_beyond or c.spacing > 1:
        return pixels, 1
    starts = [j * c.stride[1] - c.before[1] for j in range(out)]
    columns = [start + v * c.dilation[1] for start in starts for v in range(taps)]
    inside = sum(0 <= column < width for column in columns)
    multiples_of_4k = math.prod(c.x[1:]) % 1024 == 0
    images_cost, at_once = _best_length(images, tiling.lengths, 4 if multiples_of_4k else 16)
    if at_once > 1 and images_cost * inside * 1.08 < row_cost * out * taps:
        return at_once, at_once
    return pixels, 1


# --- plans ---


@cache
def _kernel(name, tile, taps, pixels, lanes, copy, write) -> Callable:
    """The kernel of that name, which must be another for other arguments."""
    body = correlate(tile(pixels), taps, copy, write)
    types = images, images, numbers, images, numbers, Plan
    return compiled_body(body, types, lanes, name)


def _geometry(c: Correlation, at_once: int, wide: int) -> dict[str, int]:
    """How tiles lie: along a row of one image, or at the same pixel of several images."""
    if at_once == 1:
        return {
            "places": 1,
            "pixels": c.out[1],
            "pixel_x": c.stride[1] * c.x[3],
            "pixel_y": c.step[1] * c.y[3],
            "left": 0,
            "right": wide,
        }
    return {
        "places": c.out[1],
        "pixels": at_once,
        "pixel_x": math.prod(c.x[1:]),
        "pixel_y": math.prod(c.y[1:]),
        "left": c.before[1],
        "right": c.x[2],
    }


@lru_cache(1024)  # of shapes: a network asks for the same few again and again
def _prepared(c: Correlation, tiling_of: Callable, large: bool, lanes: int) -> Prepared:
    """The kernel and the plan; `large` says that y is too large for the caches."""
    images, height, width, channels = c.x
    taps_h, taps_w, depth, _ = c.w
    tiling = tiling_of(c, lanes)
    padded = ceil_divide(tiling.outputs, lanes) * lanes
    pixels, at_once = _pixels_and_images(c, tiling)
    along_row = at_once == 1

    # writing: a whole row at a time past the caches, or straight to its place
    past_caches = large and along_row and c.step[1] == 1
    write = streaming.past_caches if past_caches else straight

    # reading: an image is copied if a row of y needs columns that it lacks
    wide = (c.out[1] - 1) * c.stride[1] + (taps_w - 1) * c.dilation[1] + 1
    bordered = along_row and (c.spacing > 1 or c.before[1] != 0 or wide > width)
    # a large one is read once, along memory, into the copy, and not once for each group
    bordered = bordered or (past_caches and tiling.groups > 1)
    copy = spaced.copy_spaced(c.spacing) if c.spacing > 1 else borders.bordered
    border = ceil_divide(height * wide * channels + tiling.reads_beyond, lanes) * lanes

    plan = Plan(
        images=images,
        height=height,
        width=width,
        channels=channels,
        taps_h=taps_h,
        taps_w=taps_w,
        depth=depth,
        w_channels=tiling.groups * padded,
        y_height=c.y[1],
        y_width=c.y[2],
        y_channels=c.y[3],
        out_h=c.out[0],
        groups=tiling.groups,
        group_inputs=tiling.inputs,
        group_outputs=tiling.outputs,
        wide=wide,
        reach=sys.maxsize if bordered else tiling.reads_beyond,
        line=border,
        at_once=at_once,
        joined=int(c.dilation[1] == 1 and depth == channels),
        **by_axis(stride=c.stride, dilation=c.dilation, before=c.before),
        **by_axis(first=c.first, step=c.step),
        **_geometry(c, at_once, wide),
    )
    parts = ["correlate", str(pixels), tiling.name]
    parts += ["spaced", str(c.spacing)] * (c.spacing > 1) + ["past_caches"] * past_caches
    name = "_".join(filter(None, parts))
    return Prepared(
        _kernel(name, tiling.tile, tiling.taps, pixels, lanes, copy, write),
        packed(plan),
        tiling,
        padded,
        scratch=border + c.out[1] * c.y[3] + lanes,
        zeros=border if bordered or tiling.reads_beyond else 0,
    )


# --- arrays ---


def _widened(w, tiling: Tiling, padded: int):
    """w with the outputs of each group, and those that the last group lacks, padded to `padded`."""
    outputs = tiling.outputs
    if outputs == padded and tiling.groups * padded == w.shape[-1]:
        return contiguous(w)
    wide = np.zeros((*w.shape[:-1], tiling.groups, padded), np.float32)
    whole, rest = divmod(w.shape[-1], outputs)
    of_groups = w[..., : whole * outputs].reshape(*w.shape[:-1], whole, outputs)
    wide[..., :whole, :outputs] = of_groups
    if rest:
        wide[..., whole, :rest] = w[..., whole * outputs :]
    return wide.reshape(*w.shape[:-1], -1)


def run(x, w, bias, y, c: Correlation, tiling_of=plain_tiling) -> None:
    """Write that correlation of x with w into y; bias may be None."""
    ready = _prepared(c, tiling_of, y.size >= streaming.LARGE, vector.lanes())
    bias = np.zeros(w.shape[3], np.float32) if bias is None else bias
    w, bias = (_widened(a, ready.tiling, ready.padded) for a in (w, bias))
    memory = scratch(ready.scratch)
    memory[: ready.zeros] = 0
    ready.run(x, w, bias, y, memory, ready.plan)


def turned(w, groups):
    """Weights with the inputs and outputs of each group in each other's place."""
    taps_h, taps_w, depth, outputs = w.shape
    parts = w.reshape(taps_h, taps_w, depth, groups, outputs // groups)
    return parts.transpose(0, 1, 4, 3, 2).reshape(taps_h, taps_w, outputs // groups, groups * depth)


# --- the ways ---


def fits(p: Problem) -> bool:
    return min(p.out) > 0


def forward(x, w, b, p: Problem, tiling_of=plain_tiling):
    y = np.empty((p.images, *p.out, p.outputs), np.float32)
    c = Correlation(
        x.shape, w.shape, y.shape, p.out, p.stride, p.dilation, p.padding, groups=p.groups
    )
    run(x, w, b, y, c, tiling_of)
    return y


def fits_phases(p: Problem) -> bool:
    return p.dilation == (1, 1) and min(p.size) > 0


class Phase(NamedTuple):
    """Pixels of dx whose row and column leave the rests `row` and `column` modulo the stride."""

    row: int
    column: int
    correlation: Correlation


@lru_cache(1024)  # of shapes: a network asks for the same few again and again
def _phases(p: Problem, spacing: int) -> list[Phase]:
    """The phases of an input gradient that have pixels, and taps that meet them."""
    down = p.stride[0]
    across = p.stride[1] // spacing
    phases = []
    for i, j in itertools.product(range(down), range(across)):
        taps = len(range(i, p.kernel[0], down)), len(range(j, p.kernel[1], across))
        first = (i - p.padding[0]) % down, (j - p.padding[1]) % across
        out = ceil_divide(p.size[0] - first[0], down), ceil_divide(p.size[1] - first[1], across)
        if min(*taps, *out) <= 0:
            continue
        correlation = Correlation(
            x=(p.images, *p.out, p.outputs),
            w=(*taps, p.outputs // p.groups, p.inputs),
            y=(p.images, *p.size, p.inputs),
            out=out,
            stride=(1, 1),
            dilation=(1, 1),
            before=(
                taps[0] - 1 - (first[0] + p.padding[0]) // down,
                taps[1] - 1 - (first[1] + p.padding[1]) // across,
            ),
            first=first,
            step=(down, across),
            groups=p.groups,
            spacing=spacing,
        )
        phases.append(Phase(i, j, correlation))
    return phases


def phases(g, w, p: Problem, tiling_of=plain_tiling, spacing=1):
    """The input gradient for any stride, without dilation: a convolution for each phase of it.

    With a `spacing`, which must divide the stride along a row, the columns of g lie so far apart,
    with zeros between them, and a row of dx is one phase of so many.
    """
    down = p.stride[0]
    across = p.stride[1] // spacing
    some_pixels_meet_no_tap = down > p.kernel[0] or p.stride[1] > p.kernel[1]
    new = np.zeros if some_pixels_meet_no_tap else np.empty
    dx = new((p.images, *p.size, p.inputs), np.float32)
    for i, j, correlation in _phases(p, spacing):
        taps = turned(w[i::down, j::across][::-1, ::-1], p.groups)
        run(g, taps, None, dx, correlation, tiling_of)
    return dx
