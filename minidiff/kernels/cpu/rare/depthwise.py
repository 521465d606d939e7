"""Depthwise convolutions (groups of one channel) without neighbours, and strided gradients.

All others are `small_groups`.
"""

import numpy as np

from .. import sweeps, vector
from ..compiled import kernel, matrix, numbers, whole
from ..problem import Problem
from ..views import View
from . import small_groups

# --- 1 × 1: each number times its channel's weight, plus its channel's bias ---


@kernel(matrix, numbers, numbers, matrix, whole, whole)
def scale_and_shift(e, x, scale, shift, y, rows, columns):
    x = View(x, columns)
    y = View(y, columns)
    formula = lambda e, x, scale, shift: e.fma(x, scale, shift)

    @e.loop(rows)
    def row(i):
        sweeps.pointwise(e, formula, [x.at(i), scale, shift], y.at(i), columns)


def fits_pointwise(p: Problem) -> bool:
    depthwise = p.inputs == p.outputs == p.groups > 1
    one_by_one = p.kernel == p.stride == (1, 1) and p.padding == (0, 0)
    return depthwise and one_by_one and p.out == p.size


def pointwise(x, w, b, p: Problem):
    """A row of pixels at a time, in the order of memory: tiles would leap from pixel to pixel."""
    y = np.empty(x.shape, np.float32)
    b = np.zeros(p.outputs, np.float32) if b is None else b
    scale, shift = (np.tile(a.reshape(-1), p.size[1]) for a in (w, b))
    rows = x.reshape(-1, len(scale))
    scale_and_shift(vector.lanes())(rows, scale, shift, y.reshape(rows.shape), *rows.shape)
    return y


# --- the input gradient for a stride ---


def fits_phases(p: Problem) -> bool:
    depthwise = p.inputs == p.outputs == p.groups > 1
    return depthwise and small_groups.fits_phases(p) and p.padding[1] < p.kernel[1]


def phases(g, w, p: Problem):
    """A row of dx at once, from g with zeros between its columns: memory is what is slow here."""
    return small_groups.phases(g, w, p, spacing=p.stride[1])
