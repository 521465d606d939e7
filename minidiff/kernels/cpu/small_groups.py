"""Convolution in small groups: a vector holds several whole groups of outputs, and meets the inputs
spread over them.

                                                          groups a, b, … of 2 inputs and 3 outputs
    x of a pixel     [a0 a1 b0 b1 c0 c1 …]
    spread, k = 0    [a0 a0 a0 b0 b0 b0 c0 …]             × w[tap, 0], which lies in the order of the outputs
    spread, k = 1    [a1 a1 a1 b1 b1 b1 c1 …]             × w[tap, 1]
                                                          y = [a a a b b b c …] is their sum, over all taps

What has been spread serves all taps of a row that meet it, each for another pixel. Depthwise
convolution, groups of one, is the case where nothing moves. Where a group has more inputs than
outputs, they are gathered from several vectors. What is left for the last vector may fit in a half
of one, which costs half as much where registers go through their units in halves, and nowhere more.
The loops around these tiles are the direct convolution's.
"""

import itertools

from . import tiles
from .vector import registers


def divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most`, or 1."""
    return max(d for d in range(1, max(1, most) + 1) if n % d == 0)


def spread(e, place, steps: int, inputs: int, outputs: int) -> list:
    """The first `steps` inputs of the groups from `place` on, each spread over the outputs."""
    held = range(e.lanes // outputs)
    if inputs >= e.lanes:  # a vector would hold inputs of one group only
        alike = [{n: e.splat(place + (n * inputs + k)) for n in held} for k in range(steps)]
        return [e.spread(vectors, 0, e.lanes, outputs) for vectors in alike]
    loaded = {
        v: e.load(place + v * e.lanes)
        for v in {(n * inputs + k) // e.lanes for n in held for k in range(steps)}
    }
    return [e.spread(loaded, k, inputs, outputs) for k in range(steps)]


def bundled(inputs: int, outputs: int, groups: int, lanes: int, stride, dilation) -> tuple:
    """Groups of so many inputs and outputs, as many as a vector holds taken for one.

    Gives what these tiles are made for, or () where groups are for other tiles; how many groups
    there are then; the inputs and outputs of each; and if a tile reads beyond a pixel, how far from
    a group's first input on, else 0.
    """
    held = lanes // outputs
    if groups == 1 or held < 2:
        return (), groups, (inputs, outputs), 0
    reads = 0 if inputs == outputs == 1 and 2 * groups % lanes == 0 else held * inputs + lanes
    return (
        (inputs, outputs, stride[1], dilation[1]),
        -(-groups // held),
        (held * inputs, held * outputs),
        reads,
    )


def narrowest(e, left, compute) -> None:
    """compute(e), with vectors half as wide where they hold all outputs that are left."""
    e.when(e.fewer(e.lanes // 2, left), lambda: compute(e), lambda: compute(e.half()))


def meetings(
    pixels: int, taps: int, stride: int, dilation: int
) -> dict[int, list[tuple[int, int]]]:
    """For each place in a row of x: the (pixel of y, tap) that meet there."""
    pairs = sorted((p * stride + t * dilation, p, t) for p in range(pixels) for t in range(taps))
    return {q: [(p, t) for place, p, t in pairs if place == q] for q, _, _ in pairs}


def product(
    taps: int, inputs: int, outputs: int, stride: int, dilation: int, pixels: int, _vectors: int
):
    """`tiles.product` for groups; a step is `taps` taps of a row."""

    def body(
        e,
        x,
        w,
        bias,
        y,
        rows,
        columns,
        _,
        x_row,
        x_column,
        w_row,
        w_column,
        w_step,
        x_pixel,
        y_pixel,
        left,
    ):
        # inputs whose weights all stay in registers
        some = inputs if taps * inputs <= registers(e.lanes) // 3 else 1
        terms, apart = list(itertools.product(range(taps), range(some))), stride if taps > 1 else 1

        def compute(e):
            sums = [e.variable(e.load(bias)) for _ in range(pixels)]

            @e.loop(rows)
            def _rows(i):
                @e.loop(columns)
                def _columns(j):
                    @e.loop(inputs // some)
                    def _inputs(part):
                        here = x + i * x_row + j * x_column + part * some
                        first = w + i * w_row + j * w_column + part * (w_step * some)
                        weights = {
                            (t, k): e.load(first + w_step * (t * inputs + k)) for t, k in terms
                        }
                        for q, pairs in meetings(pixels, taps, apart, dilation).items():
                            for k, value in enumerate(
                                spread(e, here + x_pixel // apart * q, some, inputs, outputs)
                            ):
                                for p, t in pairs:
                                    sums[p].set(e.fma(value, weights[t, k], sums[p].get()))

            tiles.store_sums(e, [[total] for total in sums], y, y_pixel, left)

        narrowest(e, left, compute)

    return body


def tile_of_taps(kernel, inputs: int, width: int, lanes: int) -> tuple[int, int, int, int]:
    """(rows of taps, taps of a row, inputs) of a tile of the weight gradient, a sum for each; all
    are divisors.

    And the pixels of a step: those that need the fewest values spread for a row of g, so many
    pixels wide.
    """
    most = 25 if registers(lanes) == 32 else 10
    columns = divisor(kernel[1], 7)
    some = divisor(inputs, most // columns)
    across = divisor(kernel[0], most // (columns * some))
    room = min(8, registers(lanes) - 4 - across * columns * some)
    pixels = min(
        range(1, room + 1), key=lambda p: width // p * (p + columns - 1) + width % p * columns
    )
    return across, columns, some, pixels


def taps(tile, inputs: int, outputs: int, stride: int, dilation: int):
    """`tile[0]` rows of taps of the weight gradient, for the groups of one vector.

    dw[u, t, k] += Σ over pixels of x[pixel moved by the tap, input k of each group] · g[pixel].
    """
    across, along, some, pixels = tile
    terms = list(itertools.product(range(across), range(along), range(some)))

    def body(
        e,
        x,
        g,
        dw,
        all_inputs,
        left,
        rows,
        columns,
        x_row,
        x_column,
        g_row,
        g_column,
        dw_tap,
        x_tap,
        x_taps,
    ):
        parts = pixels if len(terms) <= 2 else 1  # one or two sums would wait for themselves

        def compute(e):
            @e.loop(all_inputs // (along * inputs))
            def _taps(chunk):
                @e.loop(inputs // some)
                def _inputs(part):
                    first, at = (
                        x + chunk * (along * x_tap) + part * some,
                        chunk * (along * inputs) + part * some,
                    )
                    places = {
                        (u, t, k): dw + (all_inputs * u + at + t * inputs + k) * dw_tap
                        for u, t, k in terms
                    }
                    sums = [{tap: e.variable(e.load(place)) for tap, place in places.items()}]
                    sums += [
                        {tap: e.variable(e.constant(0)) for tap in terms} for _ in range(parts - 1)
                    ]

                    @e.loop(rows)
                    def _rows(i):
                        whole = columns // pixels
                        for count, start, times in (
                            (pixels, 0, whole),
                            (1, whole * pixels, columns - whole * pixels),
                        ):

                            @e.loop(times)
                            def _columns(j, count=count, start=start):
                                j = j * count + start
                                here, across_g = (
                                    first + i * x_row + j * x_column,
                                    g + i * g_row + j * g_column,
                                )
                                gradients = [e.load(across_g + g_column * p) for p in range(count)]
                                met = meetings(count, along, stride, dilation).items()
                                for u, (q, pairs) in itertools.product(range(across), met):
                                    moved = here + x_taps * u + x_column // stride * q
                                    for k, value in enumerate(
                                        spread(e, moved, some, inputs, outputs)
                                    ):
                                        for p, t in pairs:
                                            total = sums[p % parts][u, t, k]
                                            total.set(e.fma(value, gradients[p], total.get()))

                    for tap, place in places.items():
                        e.store(
                            sum([others[tap].get() for others in sums[1:]], sums[0][tap].get()),
                            place,
                        )

        narrowest(e, left, compute)

    return body
