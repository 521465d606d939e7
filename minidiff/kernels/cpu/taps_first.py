"""Convolutions to very few outputs: first the products with all taps, then their sums.

A vector of one output channel would be nearly empty. So a 1 × 1 convolution gives each pixel's
products with all taps, vectors of (tap, output), and then each pixel of y adds up those that its
taps meet:

    z[i, j, u, v] = x[i, j] @ w[u, v]                   one vector for all (u, v, output)
    y[i, j] = bias + Σ z[i + u, j + v, u, v]            over the taps (u, v)
"""

import numba
import numpy as np

from . import direct, vector
from .compiled import contiguous, images, kernel, numbers, whole
from .problem import Problem
from .views import View


@kernel(numba.float32[:, :, :, :, :, ::1], numbers, images, *(whole,) * 8)
def add_taps(
    e, z, bias, y, images, height, width, channels, taps_h, taps_w, dilation_h, dilation_w
):
    """y[n, i, j] = bias + Σ over taps (u, v) of z[n, i + u·dilation, j + v·dilation, u, v]."""
    high = height + (taps_h - 1) * dilation_h
    wide = width + (taps_w - 1) * dilation_w
    z = View.of(z, images, high, wide, taps_h, taps_w, channels)
    y = View.of(y, images, height, width, channels)
    mask = e.mask_first(channels)

    @e.loop(images, height, width)
    def pixel(n, i, j):
        total = e.variable(e.load(bias, mask))
        met = z[n, i:, j:]

        @e.loop(taps_h, taps_w)
        def tap(u, v):
            place = met.at(u * dilation_h, v * dilation_w, u, v)
            total.set(total.get() + e.load(place, mask))

        e.store(total.get(), y.at(n, i, j), mask)


def fits(p: Problem) -> bool:
    """A vector, or two, must hold all taps, and sums must be worth it."""
    taps = p.kernel[0] * p.kernel[1]
    lanes = vector.lanes()
    if p.groups > 1 or p.stride != (1, 1) or min(p.padding) < 0 or min(p.out) < 1:
        return False
    return taps > 1 and taps * p.outputs <= 2 * lanes and p.inputs > 3 and 4 * p.outputs <= lanes


def forward(x, w, b, p: Problem):
    taps_h, taps_w, inputs, outputs = w.shape
    high = p.out[0] + (taps_h - 1) * p.dilation[0]
    wide = p.out[1] + (taps_w - 1) * p.dilation[1]
    z = np.zeros((len(x), high, wide, taps_h, taps_w, outputs), np.float32)
    z_flat = z.reshape(len(x), high, wide, -1)
    all_taps = w.transpose(2, 0, 1, 3).reshape(1, 1, inputs, -1)
    ones = (1, 1)
    c = direct.Correlation(
        x.shape, all_taps.shape, z_flat.shape, p.size, ones, ones, before=(0, 0), first=p.padding
    )
    direct.run(x, all_taps, None, z_flat, c)
    b = np.zeros(outputs, np.float32) if b is None else contiguous(b)
    y = np.empty((len(x), *p.out, outputs), np.float32)
    add_taps(vector.lanes())(z, b, y, *y.shape, taps_h, taps_w, *p.dilation)
    return y
