"""Depthwise convolution: each channel has a filter of its own, and so a vector of channels meets one of weights.

           tap 0     tap 1     tap 2              channels c … c + 15 in the lanes; nothing is broadcast
    x     [c … ]    [c … ]    [c … ]              of pixels j, j + 1, j + 2
            ×         ×         ×
    w     [c … ]    [c … ]    [c … ]     y[c … ] of pixel j is their sum, over all rows of taps

Forward and input gradient walk as the direct convolution does, on a tile of their own (`direct.run`,
`tiles.depthwise`). The weight gradient is here: the taps of a row are the tile, and each holds its sum along a row of
pixels, which stays in the L1 cache. Several outputs of one input channel are several channels that hold the same.
"""

from functools import cache

import numba
import numpy as np

from . import direct, tiles
from .compiled import compiled, images, numbers, scratch, unbound
from .direct import Pair, bordered
from .vector import lanes, vector

TAPS = 3  # in a tile

# Bound by `compiled`:
taps = column_sums = unbound
LANES = 0


def _tile(e, x, g, dw, count, channels, columns, x_tap, x_column, g_column):
    """dw[t] += Σ over pixels j of x[t · x_tap + j · x_column] · g[j · g_column], for `count` taps, all channels."""

    def run(vectors):
        @e.loop(count // TAPS)
        def _(part):
            @e.loop(channels // (vectors * e.lanes))
            def _(group):
                c, t = group * (vectors * e.lanes), part * TAPS
                places = [[dw + (t + k) * channels + c + v * e.lanes for v in range(vectors)] for k in range(TAPS)]
                sums = [[e.variable(e.load(place)) for place in row] for row in places]

                @e.loop(columns)
                def _(j):
                    gradient = [e.load(g + j * g_column + c + v * e.lanes) for v in range(vectors)]
                    for k in range(TAPS):
                        for v in range(vectors):
                            value = e.load(x + j * x_column + (t + k) * x_tap + c + v * e.lanes)
                            sums[k][v].set(e.fma(value, gradient[v], sums[k][v].get()))

                tiles.store_all(e, sums, places)

    tiles.by_vectors(e, channels, run)


def weight_gradient(g, x, dw, db, memory, stride, dilation, before):
    """dw[tap row, tap, channel] += Σ over output pixels of x · g, and db += Σ g; taps and channels are padded."""
    count, out_h, out_w, channels = g.shape
    height, width = x.shape[1], x.shape[2]
    taps_h, taps_w, padded = dw.shape
    high = (out_h - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    wide = (out_w - 1) * stride[1] + (taps_w - 1) * dilation[1] + 1
    x_flat, gradient, dw_flat = x.reshape(x.size), g.reshape(g.size), dw.reshape(dw.size)
    end = high * wide * channels + LANES
    source, memory = memory[:end], memory[end:]
    source[:] = 0
    image = g_image = out_h * out_w * channels
    if padded != channels:  # then the last vector reaches beyond the image
        gradient, g_image = memory[: image + LANES], 0
        gradient[:] = 0
    for n in range(count):
        bordered(x_flat, n * height * width * channels, height, width, channels, source, *before, high, wide)
        if padded != channels:
            bordered(g.reshape(g.size), n * image, out_h, out_w, channels, gradient, 0, 0, out_h, out_w)
        for c in range(0, padded, LANES):
            column_sums(gradient, n * g_image + c, db, c, out_h * out_w, channels)
        for i in range(out_h):
            for u in range(taps_h):
                taps(
                    source, (i * stride[0] + u * dilation[0]) * wide * channels,
                    gradient, n * g_image + i * out_w * channels, dw_flat, u * taps_w * padded,
                    taps_w, padded, out_w, dilation[1] * channels, stride[1] * channels, channels,
                )  # fmt: skip


@cache
def _weight_gradient(width: int):
    return compiled(
        weight_gradient,
        (images, images, numba.float32[:, :, ::1], numbers, numbers, direct._pair, direct._pair, direct._pair),
        f"_depthwise_x{width}",
        taps=vector(_tile, width, places=3),
        column_sums=vector(tiles.column_sums, width, places=2),
        LANES=width,
    )


def repeated(x, outputs: int, groups: int):
    """(x, groups); if groups are single channels, each as often as it has outputs, so that these are groups as well."""
    if not 1 < groups == x.shape[3] < outputs:
        return x, groups
    return np.repeat(x, outputs // groups, 3), outputs


def weight_and_bias_gradient(g, x, kernel: Pair, stride, padding, dilation):
    """(dw, db)."""
    width, channels, (taps_h, taps_w) = lanes(), x.shape[3], kernel
    padded, whole = -(-channels // width) * width, -(-taps_w // TAPS) * TAPS
    dw, db = np.zeros((taps_h, whole, padded), np.float32), np.zeros(padded, np.float32)
    high = (g.shape[1] - 1) * stride[0] + (taps_h - 1) * dilation[0] + 1
    wide = (g.shape[2] - 1) * stride[1] + (whole - 1) * dilation[1] + 1
    memory = scratch(high * wide * channels + g[0].size + 2 * width)
    _weight_gradient(width)(g, x, dw, db, memory, stride, dilation, padding)
    return np.ascontiguousarray(dw[:, :taps_w, None, :channels]), db[:channels].copy()
