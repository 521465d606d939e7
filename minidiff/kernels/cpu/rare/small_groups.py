"""Convolution in small groups: a vector holds the outputs of several groups.

                                                    groups a, b, … of 2 inputs and 3 outputs
    x of a pixel       [a0 a1 b0 b1 c0 c1 …]
    permuted, k = 0    [a0 a0 a0 b0 b0 b0 c0 …]     × w[tap, 0], in the order of the outputs
    permuted, k = 1    [a1 a1 a1 b1 b1 b1 c1 …]     × w[tap, 1]
                                                    y = [a a a b b b c …], their sum over taps

The loops around these tiles are the direct convolution's, for which as many groups as a vector
holds are one. A permuted vector serves all taps of a row that meet it, each for another pixel.
Depthwise convolution, groups of one channel, is the case where nothing is moved. Where a group has
more inputs than outputs, its inputs come from several vectors. If what is left for the last vector
fits in half of one, half a vector is taken.
"""

import itertools
from functools import cache

from .. import direct, tiles, vector
from .. import weight_gradient as dense_gradient
from ..problem import Problem
from ..views import ceil_divide


def fits(p: Problem) -> bool:
    """Whether a vector holds the outputs of two groups or more."""
    return p.groups > 1 and 2 * p.outputs <= vector.lanes() * p.groups and direct.fits(p)


def fits_phases(p: Problem) -> bool:
    """The same for the outputs of the input gradient."""
    return p.groups > 1 and 2 * p.inputs <= vector.lanes() * p.groups and direct.fits_phases(p)


def forward(x, w, b, p: Problem):
    return direct.forward(x, w, b, p, _tiling)


def phases(g, w, p: Problem, spacing=1):
    return direct.phases(g, w, p, _tiling, spacing)


def weight_gradient(g, x, p: Problem):
    return dense_gradient.weight_gradient(g, x, p, _gradient_tiling)


# --- inputs of several groups, in the order of their outputs ---


def _permuted(e, place, count: int, inputs: int, outputs: int) -> list:
    """The first `count` inputs of the groups from `place` on: vectors with one for each output."""
    groups = range(e.lanes // outputs)
    if inputs >= e.lanes:  # a vector would hold inputs of one group only
        vectors = []
        for k in range(count):
            alone = {n: e.load_broadcast(place + (n * inputs + k)) for n in groups}
            numbers = [lane // outputs * e.lanes for lane in range(e.lanes)]
            vectors.append(e.permute(alone, numbers))
        return vectors
    needed = {(n * inputs + k) // e.lanes for n in groups for k in range(count)}
    loaded = {v: e.load(place + v * e.lanes) for v in needed}
    of_group = [lane // outputs * inputs for lane in range(e.lanes)]
    return [e.permute(loaded, [first + k for first in of_group]) for k in range(count)]


def _meetings(pixels: int, taps: int, stride: int, dilation: int) -> dict[int, list]:
    """For each column of x that is met: the (pixel of y, tap) that meet there."""
    meetings: dict[int, list] = {}
    pairs = itertools.product(range(pixels), range(taps))
    for column, p, t in sorted((p * stride + t * dilation, p, t) for p, t in pairs):
        meetings.setdefault(column, []).append((p, t))
    return meetings


def _in_narrow_vectors(e, channels, compute) -> None:
    """compute(e), with vectors half as wide where they hold all channels."""
    e.when(e.lt(e.lanes // 2, channels), lambda: compute(e), lambda: compute(e.half()))


# --- convolutions ---


def _product(taps: int, inputs: int, outputs: int, stride: int, dilation: int, pixels: int):
    """`tiles.product` for one vector of groups; a step has `taps` taps and `count` inputs."""

    def tile(e, count, x, w, bias, y, over, channels):
        rows, columns, _ = over
        terms = list(itertools.product(range(taps), range(count)))
        columns_apart = stride if taps > 1 else 1  # of pixels
        column = x.steps[0] // columns_apart
        meetings = _meetings(pixels, taps, columns_apart, dilation)
        sums = [e.variable(e.load(bias.place)) for _ in range(pixels)]

        @e.loop(rows, columns, inputs // count)
        def step(i, j, part):
            first = part * count
            weights = {(t, k): e.load(w.at(i, j, first + (t * inputs + k))) for t, k in terms}
            for q, pairs in meetings.items():
                place = x.at(0, i, j, first) + column * q
                for k, value in enumerate(_permuted(e, place, count, inputs, outputs)):
                    for p, t in pairs:
                        sums[p].set(e.fma(value, weights[t, k], sums[p].get()))

        tiles.store_sums(e, [[total] for total in sums], y, channels)

    return tile


@cache
def _tile(taps: int, inputs: int, outputs: int, stride: int, dilation: int):
    """Pixels of a tile -> the body for a row of them."""

    def of(pixels):
        product = _product(taps, inputs, outputs, stride, dilation, pixels)

        def body(e, x, w, bias, y, all_pixels, over, channels):
            all_weights_stay = taps * inputs <= vector.registers(e.lanes) // 3  # in registers
            count = inputs if all_weights_stay else 1

            def compute(e):
                @tiles.overlapping(e, all_pixels, pixels)
                def part_of_pixels(p):
                    product(e, count, x[p:], w, bias, y[p:], over, channels)

            _in_narrow_vectors(e, channels, compute)

        return body

    return of


def _tiling(c: direct.Correlation, lanes: int) -> direct.Tiling:
    inputs = c.w[2]
    outputs = c.w[3] // c.groups
    held = lanes // outputs
    # a number that is alone in its group is as well loaded again for the next tap
    several = inputs > 1 or c.stride == c.dilation == (1, 1)
    taps = next(t for t in (3, 5, 7, 2, 1) if c.w[1] % t == 0) if several else 1
    group = taps, inputs, outputs, c.stride[1], c.dilation[1]
    fills_vectors = inputs == outputs == 1 and 2 * c.groups % lanes == 0
    lengths = direct.lengths(lanes)
    if inputs > 1 and vector.registers(lanes) == 32:
        lengths = (*lengths, 14)  # what is permuted serves more pixels of a longer tile
    return direct.Tiling(
        "groups" + "_".join(map(str, group)),
        _tile(*group),
        lengths,
        groups=ceil_divide(c.groups, held),
        inputs=held * inputs,
        outputs=held * outputs,
        taps=taps,
        reads_beyond=0 if fills_vectors else held * inputs + lanes,
    )


# --- gradients of weights ---


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`, or 1."""
    return max(d for d in range(1, max(1, most) + 1) if n % d == 0)


def _taps_of_tile(p: Problem, inputs: int, lanes: int) -> tuple[int, int, int, int]:
    """(rows of taps, taps of a row, inputs) of a tile, a sum for each; all are divisors.

    And the pixels of a step: those that need the fewest vectors permuted for a row of g.
    """
    most = 25 if vector.registers(lanes) == 32 else 10
    columns = _divisor(p.kernel[1], 7)
    count = _divisor(inputs, most // columns)
    rows = _divisor(p.kernel[0], most // (columns * count))
    room = min(8, vector.registers(lanes) - 4 - rows * columns * count)
    width = p.out[1]
    permuted = lambda pixels: width // pixels * (pixels + columns - 1) + width % pixels * columns
    return rows, columns, count, min(range(1, room + 1), key=permuted)


@cache
def _gradient_tile(shape: tuple, inputs: int, outputs: int, stride: int, dilation: int):
    """dw[u, t, k] += Σ over pixels of x[pixel moved by the tap, input k of each group] · g[pixel].

    For `shape[0]` rows of taps, and the groups of one vector.
    """
    tap_rows, along, count, pixels = shape
    terms = list(itertools.product(range(tap_rows), range(along), range(count)))
    partial_sums = pixels if len(terms) <= 2 else 1  # one or two sums would wait for themselves

    def step(e, x, g, column, sums, pixels):
        """Add the terms of so many pixels: x (tap row, input), g (pixel, channel)."""
        gradients = [e.load(g.at(p)) for p in range(pixels)]
        met = _meetings(pixels, along, stride, dilation).items()
        for u, (q, pairs) in itertools.product(range(tap_rows), met):
            place = x.at(u) + column * q
            for k, value in enumerate(_permuted(e, place, count, inputs, outputs)):
                for p, t in pairs:
                    total = sums[p % partial_sums][u, t, k]
                    total.set(e.fma(value, gradients[p], total.get()))

    def compute(e, x, g, dw, all_inputs, over):
        rows, columns = over
        column = x.steps[3] // stride  # of x

        @e.loop(all_inputs // (along * inputs), inputs // count)
        def part_of_taps(chunk, part):
            first_input = chunk * (along * inputs) + part * count
            places = {(u, t, k): dw.at(u, first_input + (t * inputs + k)) for u, t, k in terms}
            sums = [{t: e.variable(e.constant(0)) for t in terms} for _ in range(partial_sums)]
            first_x = x[:, chunk * along, :, :, part * count :]

            @e.loop(rows)
            def row(i):
                run = lambda j, pixels: step(e, first_x[:, i, j], g[i, j:], column, sums, pixels)
                whole = columns // pixels
                e.loop(whole)(lambda j: run(j * pixels, pixels))
                e.loop(columns - whole * pixels)(lambda j: run(whole * pixels + j, 1))

            for term, place in places.items():
                of_term = (part[term].get() for part in sums)
                e.store(sum(of_term, e.load(place)), place)

    def tile(e, x, g, dw, all_inputs, channels, over):
        run = lambda e: compute(e, x, g, dw, all_inputs, over)
        _in_narrow_vectors(e, channels, run)

    return tile


def _gradient_tiling(p: Problem, lanes: int) -> dense_gradient.Tiling:
    inputs = p.inputs // p.groups
    outputs = p.outputs // p.groups
    held = lanes // outputs
    shape = _taps_of_tile(p, inputs, lanes)
    group = inputs, outputs, p.stride[1], p.dilation[1]
    fills_vectors = inputs == outputs == 1 and 2 * p.groups % lanes == 0
    return dense_gradient.Tiling(
        "groups" + "_".join(map(str, (*shape, *group))),
        _gradient_tile(shape, *group),
        tap_rows=shape[0],
        joined=True,
        multiple=1,
        groups=ceil_divide(p.groups, held),
        inputs=held * inputs,
        outputs=held * outputs,
        reads_beyond=0 if fills_vectors else held * inputs + lanes,
    )
