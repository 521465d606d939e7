"""Winograd convolution F(4 × 4, 3 × 3): 36 products for 16 outputs of 9 taps; direct, they are 144.

Lavin & Gray 2016: with x the 6 × 6 tile of input around it, a 4 × 4 tile of output is

    y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A

Over channels, the ⊙ is one matrix product for each of the 36 positions:

      x 6 × 6          V: 36 positions               M: 36 positions     y 4 × 4
     ┌──────┐   Bᵀ·B   ┌─┬─┬─┬──   each: tiles × inputs  @  U     Aᵀ·A   ┌────┐
     │ ┌────┼─┐  →     │ │ │ │     U = G w Gᵀ: inputs × outputs    →     │    │
     └─┼────┘ │        └─┴─┴─┴──                                         └────┘
       └──────┘ tiles overlap by 2

The points that make A, B and G are 0, ±5/8, ±25/16, ∞ (see `transforms`): all of B is exact in
float32, and the error stays below three times the direct kernel's own. The usual ±1, ±2 lose a
digit. Only a fourth output uses the point ∞. So where 4 does not divide a side, its last tiles have
three outputs, and 5 positions each way (see `runs`).

V and M lie as [vector of channels][position][tile][lane]: the places of one tile are constants
apart, and so are the pixels of a product, for any number of channels. Groups have matrix products
of their own, and share all else.

The input gradient is the same with flipped weights. For the weight gradient, each position has
dU += Vᵀ (A g Aᵀ), and dw = Gᵀ dU G.

F(2 × 2, 5 × 5) has the same tile of input, and 36 products in place of 100; `taps` tells them
apart. It has no weight gradient, as this would err more than three times as much as the direct one.
So would sums over fewer than 16 channels: those go other ways.
"""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np

from . import sweeps, tiles, transforms, vector
from .compiled import compiled_body, contiguous, images, numbers, scratch, weights
from .plans import packed, unpacked
from .problem import Problem
from .runs import BLOCK, BlockPlan, ImageSize, RunPlan, find_runs, transformed
from .vector import registers
from .views import View, ceil_divide

LEAST = 16  # tiles of all images, which fill a register tile
LINES = 6 * (4 * BLOCK + 3)  # vectors: what `transforms.read` puts down for a run of a whole block
POSITIONS = 36

_table = numba.int64[:, ::1]


class Plan(NamedTuple):
    """Sizes of a convolution."""

    blocks: int
    height: int
    width: int
    inputs: int  # of all groups
    outputs: int
    groups: int


# --- bodies: the product of one position, for one group ---


class Product(NamedTuple):
    """Sizes of the product of one position."""

    tiles: Any  # that take part
    inputs: Any  # of the group
    outputs: Any
    all_outputs: Any  # of all groups, which a row of U has


def _multiply(sizes):
    """m (tiles × outputs) = v (tiles × inputs) @ u, in register tiles of `sizes[vectors]` tiles.

    v and m have room for whole register tiles.
    """

    def body(e, v, u, zero, m, n):
        # axes (tile, vector of channels, lane)
        v = transformed(e, v)[0].transpose(1, 0, 2)
        m = transformed(e, m)[0].transpose(1, 0, 2)
        # axes (vector of inputs, lane, output)
        u = View(u, e.lanes * n.all_outputs, n.all_outputs, 1)
        over = n.inputs // e.lanes, e.lanes

        def run(e, vectors, first, times):
            product = tiles.product(sizes[vectors], vectors)

            @e.loop(times, ceil_divide(n.tiles, sizes[vectors]))
            def part(group, k):
                c = first + group * (vectors * e.lanes)
                t = k * sizes[vectors]
                to = m[t:, c // e.lanes :, 0]
                bias = View(zero, e.lanes)
                product(e, v[t:], u[..., c :: e.lanes], bias, to, over, vectors * e.lanes)

        tiles.by_vectors(e, n.outputs, run)

    return body


def _gather(sizes):
    """u (inputs × outputs) += vᵀ @ d (tiles × outputs), `sizes[vectors]` inputs at a time."""

    def body(e, v, d, u, n):
        v = transformed(e, v)[0]  # axes (vector of channels, tile, lane)
        d = transformed(e, d)[0].transpose(1, 0, 2)  # axes (tile, vector of channels, lane)
        u = View(u, n.all_outputs, 1)

        def run(e, vectors, first, times):
            size = sizes[vectors]
            outer = tiles.outer(size, vectors)
            parts = e.lanes // size  # of a vector of inputs

            @e.loop(n.inputs // size, times)
            def part(k, group):
                c = first + group * (vectors * e.lanes)
                of_inputs = v[k // parts, :, k % parts * size :]
                of_outputs = d[:, c // e.lanes :, 0]
                outer(e, of_inputs, of_outputs, u[k * size :, c :: e.lanes], (n.tiles,))

        tiles.by_vectors(e, n.outputs, run)

    return body


# --- bodies: all tiles ---


class Memory(NamedTuple):
    """Places in the scratch."""

    lines: Any  # what is read of a run, down the columns
    u: Any
    v: Any
    m: Any  # or D, in the weight gradient
    spare: Any  # takes outputs that no image has


def _sizes_of_memory(plan, lanes):
    """How many numbers there are in each part of the scratch."""
    slots = POSITIONS * (BLOCK + 1)
    depth = plan.inputs // plan.groups
    return Memory(
        lines=LINES * lanes,
        u=POSITIONS * depth * plan.outputs,
        v=slots * plan.inputs,
        m=slots * plan.outputs,
        spare=4 * plan.outputs,
    )


def _parts_of_memory(e, place, plan):
    places = []
    for size in _sizes_of_memory(plan, e.lanes):
        places.append(place)
        place = place + size
    return Memory(*places)


def _of_channel(e, v, position, channel):
    """The place in V or M of a position, from that channel on."""
    return transformed(e, v).at(position, channel // e.lanes)


def _for_blocks(e, runs, blocks, plan, before, product, after=None):
    """For each block: before(run), product(position, group, tiles that take part), after(run)."""

    @e.loop(plan.blocks)
    def block(n):
        first = blocks + n * len(BlockPlan._fields)
        plan_of_block = unpacked(e, BlockPlan, first)

        def for_runs(do):
            @e.loop(plan_of_block.runs)
            def run(r):
                do(runs + (plan_of_block.first + r) * len(RunPlan._fields))

        for_runs(before)

        @e.loop(POSITIONS)
        def position(k):
            # the last row of positions is k ≥ 30, the last column k % 6 = 5
            share = e.integer(first + (k // 30 * 2 + k % 6 // 5 + BlockPlan._fields.index("tiles")))
            e.loop(plan.groups)(lambda group: product(k, group, share))

        if after is not None:
            for_runs(after)


def _convolve(taps, lanes):
    """y, from w as (taps, taps, inputs of a group, outputs)."""
    multiply = _multiply(tiles.INPUTS[registers(lanes)])
    transform_weights = transforms.weights(taps)
    read = transforms.read(taps)
    write = transforms.write(taps)

    def body(e, x, w, bias, y, memory, zero, runs, blocks, plan):
        depth = plan.inputs // plan.groups
        outputs = plan.outputs // plan.groups
        pairs = depth * plan.outputs
        memory = _parts_of_memory(e, memory, plan)
        x_size = ImageSize(plan.height, plan.width, plan.inputs)
        y_size = ImageSize(plan.height, plan.width, plan.outputs)
        e.call(transform_weights, w, memory.u, pairs)

        def before(run):
            e.call(read, x, zero, memory.v, memory.lines, run, x_size)

        def product(k, group, share):
            v = _of_channel(e, memory.v, k, group * depth)
            m = _of_channel(e, memory.m, k, group * outputs)
            u = memory.u + k * pairs + group * outputs
            e.call(multiply, v, u, zero, m, Product(share, depth, outputs, plan.outputs))

        def after(run):
            e.call(write, memory.m, bias, y, memory.spare, run, y_size)

        _for_blocks(e, runs, blocks, plan, before, product, after)

    return body


def _gradient(lanes):
    """dw and db of the 3 × 3 convolution."""
    sizes = tiles.INPUTS[registers(lanes)]
    gather = _gather({vectors: min(size, lanes) for vectors, size in sizes.items()})
    read = transforms.read(3)

    def body(e, x, dw, db, g, memory, zero, runs, blocks, plan):
        depth = plan.inputs // plan.groups
        outputs = plan.outputs // plan.groups
        pairs = depth * plan.outputs
        memory = _parts_of_memory(e, memory, plan)
        x_size = ImageSize(plan.height, plan.width, plan.inputs)
        g_size = ImageSize(plan.height, plan.width, plan.outputs)
        e.call(sweeps.clear, memory.u, pairs * POSITIONS)
        e.call(sweeps.clear, db, plan.outputs)

        def before(run):
            e.call(read, x, zero, memory.v, memory.lines, run, x_size)
            e.call(transforms.read_gradient, g, zero, memory.m, db, run, g_size)

        def product(k, group, share):
            v = _of_channel(e, memory.v, k, group * depth)
            d = _of_channel(e, memory.m, k, group * outputs)
            u = memory.u + k * pairs + group * outputs
            e.call(gather, v, d, u, Product(share, depth, outputs, plan.outputs))

        _for_blocks(e, runs, blocks, plan, before, product)
        e.call(transforms.restore_weights, memory.u, dw, pairs)

    return body


_TYPES = (images, weights, numbers, images, numbers, numbers, _table, _table, Plan)


@cache
def _forward_kernel(taps: int, lanes: int):
    return compiled_body(_convolve(taps, lanes), _TYPES, lanes, f"convolve_{taps}")


@cache
def _gradient_kernel(lanes: int):
    return compiled_body(_gradient(lanes), _TYPES, lanes, "convolve_gradient")


# --- which problems are for Winograd ---


def _lanes(p: Problem, taps: int, most: int) -> int:
    """The widest vectors, of `most` lanes or half, that the channels of a group fill; else 0."""
    widths = (most, most // 2) if taps == 3 else (most,)
    depth = p.inputs // p.groups
    outputs = p.outputs // p.groups
    return next((n for n in widths if n >= 4 and depth % n == outputs % n == 0), 0)


def _is_same(p: Problem) -> bool:
    """Whether y is as large as x, with plain taps of a size that there are transforms for."""
    taps = p.kernel[0]
    plain = p.stride == p.dilation == (1, 1) and p.padding == (taps // 2, taps // 2)
    return p.kernel in ((3, 3), (5, 5)) and plain and p.out == p.size


def _tiles(p: Problem) -> int:
    outputs = 7 - p.kernel[0]
    return p.images * ceil_divide(p.size[0], outputs) * ceil_divide(p.size[1], outputs)


@lru_cache(maxsize=1024)
def lanes_of_forward(p: Problem, most: int) -> int:
    """The lanes, at most so many, or 0 if the problem is not for Winograd.

    Sums must be long enough for an error below three direct ones, and images large enough for it to
    be quicker.
    """
    depth = p.inputs // p.groups
    if not _is_same(p) or min(depth, p.outputs // p.groups) < 8 or _tiles(p) < LEAST:
        return 0
    taps = p.kernel[0]
    if taps == 5:
        large_enough = min(p.size) >= 8
    else:
        large_enough = depth >= 16 and min(p.size) >= (6 if depth < 32 else 4)
    return _lanes(p, taps, most) if large_enough else 0


@lru_cache(maxsize=1024)
def lanes_of_gradient(p: Problem, most: int) -> int:
    """The same for the weight gradient."""
    least_channels = min(p.inputs, p.outputs) // p.groups
    if not _is_same(p) or p.kernel != (3, 3) or least_channels < 8:
        return 0
    return _lanes(p, 3, most) if _tiles(p) >= 64 and min(p.size) >= 6 else 0


def fits(p: Problem) -> bool:
    return lanes_of_forward(p, vector.lanes()) > 0


def fits_weight_gradient(p: Problem) -> bool:
    return lanes_of_gradient(p, vector.lanes()) > 0


# --- the ways ---


class Prepared(NamedTuple):
    """All that is worked out once for the shapes of a convolution."""

    runs: np.ndarray
    blocks: np.ndarray
    plan: np.ndarray
    zero: np.ndarray  # a row of zeros, and a bias
    scratch: int  # numbers


@lru_cache(maxsize=256)
def _prepared(p: Problem, lanes: int) -> Prepared:
    runs, blocks = find_runs(p.images, *p.size, 7 - p.kernel[0])
    plan = Plan(len(blocks), *p.size, p.inputs, p.outputs, p.groups)
    zero = np.zeros(p.size[1] * max(p.inputs, p.outputs), np.float32)
    return Prepared(runs, blocks, packed(plan), zero, sum(_sizes_of_memory(plan, lanes)))


def forward(x, w, b, p: Problem):
    lanes = lanes_of_forward(p, vector.lanes())
    ready = _prepared(p, lanes)
    y = np.empty((p.images, *p.out, p.outputs), np.float32)
    bias = ready.zero[: p.outputs] if b is None else contiguous(b)
    _forward_kernel(p.kernel[0], lanes)(
        x,
        contiguous(w),
        bias,
        y,
        scratch(ready.scratch),
        ready.zero,
        ready.runs,
        ready.blocks,
        ready.plan,
    )
    return y


def weight_gradient(g, x, p: Problem):
    """(dw, db)."""
    lanes = lanes_of_gradient(p, vector.lanes())
    ready = _prepared(p, lanes)
    dw = np.empty((3, 3, p.inputs // p.groups, p.outputs), np.float32)
    db = np.empty(p.outputs, np.float32)
    _gradient_kernel(lanes)(
        x, dw, db, g, scratch(ready.scratch), ready.zero, ready.runs, ready.blocks, ready.plan
    )
    return dw, db
