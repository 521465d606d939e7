"""Depthwise convolution: each channel has a filter of its own, and so a vector of channels meets one of weights.

           tap 0     tap 1     tap 2              channels c … c + 15 in the lanes; nothing is broadcast
    x     [c … ]    [c … ]    [c … ]              of pixels j, j + 1, j + 2
            ×         ×         ×
    w     [c … ]    [c … ]    [c … ]     y[c … ] of pixel j is their sum, over all rows of taps

Groups of 2, 4 or 8 channels, as many outputs as inputs, are the same in that many steps: step k spreads input k of each
group over the lanes of its outputs. The loops around these tiles are the direct convolution's. Several outputs of one
input channel are as many channels that hold the same.
"""

import itertools

import numpy as np

from . import tiles


def product(taps: int, size: int):
    """`tiles.product` for vectors of inputs, in groups of `size` channels; a step is `taps` taps of a row.

    If they are several, they are as far apart as the pixels, and what has been loaded serves all pixels that see it.
    """

    def tile(pixels, _vectors):
        def body(e, x, w, bias, y, rows, columns, _, x_row, x_column, w_row, w_column, w_step, x_pixel, y_pixel, left):
            sums = [e.variable(e.load(bias)) for _ in range(pixels)]

            @e.loop(rows)
            def _rows(i):
                @e.loop(columns)
                def _columns(j):
                    here, row = x + i * x_row + j * x_column, w + i * w_row + j * w_column
                    weights = [e.load(row + w_step * k) for k in range(taps * size)]
                    for p in range(pixels + taps - 1):
                        values = e.load(here + x_pixel * p)
                        for t in range(max(0, p - pixels + 1), min(taps, p + 1)):
                            for k in range(size):
                                value = e.spread(values, k, size)
                                sums[p - t].set(e.fma(value, weights[t * size + k], sums[p - t].get()))

            tiles.store_sums(e, [[total] for total in sums], y, y_pixel, left, e.lanes)

        return body

    return tile


def square(kernel, size: int, registers: int) -> int:
    """Rows and columns of taps in a tile of the weight gradient."""
    return next((n for n in (5, 1) if kernel == (n, n) and n * n < registers), 3) if size == 1 else 1


def taps(square: int, size: int):
    """`square` rows of taps of the weight gradient: dw[u, t] += Σ over pixels of x[pixel, moved by the tap] · g[pixel].

    A tile is `square` × `square` taps of one vector of channels, for each of the `size` inputs of a group. Where these
    are one or two sums, a tile is up to three vectors: a single sum would wait for itself.
    """

    def body(e, x, g, dw, count, channels, rows, columns, x_row, x_column, g_row, g_column, dw_tap, x_tap, x_taps):
        def run(vectors, start, times):
            tile = list(itertools.product(range(square), range(square), range(size), range(vectors)))

            @e.loop(count // (square * size))
            def _(part):
                @e.loop(times)
                def _(group):
                    c, left = start + group * (vectors * e.lanes), part * square
                    at = lambda u, t, k, v: dw + (count * u + (left + t) * size + k) * dw_tap + c + v * e.lanes
                    places = list(itertools.starmap(at, tile))
                    sums = [e.variable(e.load(place)) for place in places]

                    @e.loop(rows)
                    def _(i):
                        first, across = x + i * x_row + left * x_tap + c, g + i * g_row + c

                        @e.loop(columns)
                        def _(j):
                            gradients = [e.load(across + j * g_column + v * e.lanes) for v in range(vectors)]
                            here = first + j * x_column
                            for (u, t, k, v), total in zip(tile, sums, strict=True):
                                value = e.spread(e.load(here + x_taps * u + x_tap * t + v * e.lanes), k, size)
                                total.set(e.fma(value, gradients[v], total.get()))

                    tiles.store_all(e, [sums], [places])

        tiles.by_vectors(e, channels, run) if square * size <= 2 else run(1, 0, channels // e.lanes)

    return body


def applies(size: int, groups: int, outputs: int, lanes: int) -> bool:
    """Whether vectors hold whole groups of `size` inputs and as many outputs."""
    return groups > 1 and size < lanes and lanes % size == 0 and outputs == size * groups


def repeated(x, outputs: int, groups: int):
    """(x, groups); if groups are single channels, each as often as it has outputs, so that these are groups as well."""
    if not 1 < groups == x.shape[3] < outputs:
        return x, groups
    return np.repeat(x, outputs // groups, 3), outputs
