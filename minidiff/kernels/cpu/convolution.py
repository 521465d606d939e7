"""The convolution kernels: the ways that each may go, and which one it takes, the first that fits.

float32 goes one of the ways in these tables. Anything else, and what fits none, is `generic`'s.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .. import generic
from ..sums import in_pieces, total
from . import direct, taps_first, vector, weight_gradient, winograd
from .compiled import contiguous
from .counters import run_counts
from .problem import Problem
from .rare import depthwise, dilated, small_groups


class Way(NamedTuple):
    """One way to compute a convolution or a gradient: which problems it fits, and how it goes."""

    name: str
    fits: Callable[[Problem], bool]
    run: Callable


WAYS = {
    # run(x, w, b, problem) -> y
    "conv2d": (
        Way("winograd", winograd.fits, winograd.forward),
        Way("dilated", dilated.fits, dilated.forward),
        Way("depthwise 1×1", depthwise.fits_pointwise, depthwise.pointwise),
        Way("taps first", taps_first.fits, taps_first.forward),
        Way("small groups", small_groups.fits, small_groups.forward),
        Way("direct", direct.fits, direct.forward),
    ),
    # run(g, w, problem) -> dx, for a stride; else dx is a convolution of g, with the ways above
    "conv2d_dx": (
        Way("depthwise", depthwise.fits_phases, depthwise.phases),
        Way("small groups", small_groups.fits_phases, small_groups.phases),
        Way("direct", direct.fits_phases, direct.phases),
    ),
    # run(g, x, problem) -> dw, db
    "conv2d_dw_db": (
        Way("winograd", winograd.fits_weight_gradient, winograd.weight_gradient),
        Way("dilated", dilated.fits_weight_gradient, dilated.weight_gradient),
        Way("swapped", weight_gradient.fits_swapped, weight_gradient.swapped),
        Way("small groups", small_groups.fits, small_groups.weight_gradient),
        Way("direct", weight_gradient.fits, weight_gradient.weight_gradient),
    ),
}


def _problem(kernel: str, a, b, size, stride, padding, dilation, groups) -> Problem | None:
    """The problem of operands of these shapes, or None where they do not fit.

    Compiled code does not notice where an array ends. `size` is what the kernel is told beside its
    operands: height and width of x, for its gradient, or of the weights, for theirs.
    """
    if len(a) != 4 or len(b) != 4 or min(groups, *stride, *dilation) < 1:
        return None
    outputs = a[3]
    out = a[1:3]
    if kernel == "conv2d":
        fits = a[3] == b[2] * groups
        x = a
        taps = b[:2]
        outputs = b[3]
        out = None
    elif kernel == "conv2d_dx":
        fits = a[3] == b[3]
        x = a[0], *size, b[2] * groups
        taps = b[:2]
    else:
        fits = a[0] == b[0] and b[3] % groups == 0
        x = b
        taps = size
    if not fits or outputs % groups:
        return None
    return Problem.of(x, taps, outputs, stride, padding, dilation, groups, out)


@lru_cache(4096)  # of shapes: a network asks for the same few again and again
def _first_that_fits(kernel: str, lanes: int, *shapes_and_settings) -> tuple[Way | None, Any]:
    """The way that a kernel takes with vectors of so many lanes, or None; and its problem."""
    p = _problem(kernel, *shapes_and_settings)
    if p is None:
        return None, None
    table = kernel
    if kernel == "conv2d_dx" and p.stride == (1, 1):
        p = p.transposed()
        table = "conv2d"
    return next((way for way in WAYS[table] if way.fits(p)), None), p


def _way(kernel: str, a, b, size, *settings) -> tuple[Way | None, Any]:
    """The way of these operands, counted, and its problem; None if they are `generic`'s."""
    if not _fast(a, b):
        return None, None
    way, p = _first_that_fits(kernel, vector.lanes(), a.shape, b.shape, size, *settings)
    if way is not None:
        run_counts[f"{kernel}: {way.name}"] += 1
    return way, p


def _fast(a, b) -> bool:
    return a.dtype == b.dtype == np.float32 and a.size > 0 and b.size > 0


def conv2d(x, w, stride, padding, dilation, groups):
    return conv2d_bias(x, w, None, stride, padding, dilation, groups)


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    settings = stride, padding, dilation, groups
    way, p = _way("conv2d", x, w, None, *settings)
    if way is None:
        y = generic.conv2d(x, w, *settings)
        return y if b is None else y + b
    return way.run(contiguous(x), w, b, p)


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    settings = stride, padding, dilation, groups
    way, p = _way("conv2d_dx", g, w, x_size, *settings)
    if way is None:
        return generic.conv2d_dx(g, w, x_size, *settings)
    if stride == (1, 1):
        return way.run(contiguous(g), direct.turned(w[::-1, ::-1], groups), None, p)
    return way.run(contiguous(g), w, p)


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    return conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups)[0]


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    settings = stride, padding, dilation, groups
    way, p = _way("conv2d_dw_db", g, x, kernel, *settings)
    if way is None:
        return generic.conv2d_dw_db(g, x, kernel, *settings)
    return way.run(contiguous(g), contiguous(x), p)


# --- dense layers ---

SMALL = 1 << 18  # multiply-adds: up to here BLAS is quicker, and uses one thread


def _as_convolution(x, outputs) -> Problem:
    """A dense layer is a 1 × 1 convolution of one row of pixels."""
    ones = (1, 1)
    pixels = x.size // x.shape[-1]
    return Problem.of((1, 1, pixels, x.shape[-1]), ones, outputs, ones, (0, 0), ones, 1)


def dense(x, w, b):
    if not _fast(x, w) or x.size * w.shape[1] <= SMALL:
        return generic.dense(x, w, b)
    run_counts["dense"] += 1
    row = contiguous(x).reshape(1, 1, -1, x.shape[-1])
    y = direct.forward(row, w[None, None], b, _as_convolution(x, w.shape[1]))
    return y.reshape(*x.shape[:-1], w.shape[1])


def dense_dw_db(g, x):
    if not _fast(g, x) or x.size * g.shape[-1] <= SMALL:
        if g.ndim == 2:
            return np.matmul(x.T, g), total(g, 0)
        return generic.dense_dw_db(g, x)
    run_counts["dense_dw_db"] += 1
    rows = (contiguous(a).reshape(-1, a.shape[-1]) for a in (g, x))
    return in_pieces(_dense_dw_db, *rows)


def _dense_dw_db(g, x):
    p = _as_convolution(x, g.shape[-1])
    dw, db = weight_gradient.weight_gradient(g[None, None], x[None, None], p)
    return dw.reshape(dw.shape[2:]), db
