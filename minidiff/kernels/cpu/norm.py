"""Group norm with a shift, swish and a skip added, as one kernel: forward, and all gradients.

An image is pixels × channels. A vector of channels goes down all pixels, with its sums in
registers:

            c0 … c15   c16 … c31     1. Σ x down each column of vectors: the mean of each group
    pixel 0    |          |          2. Σ (x − mean)² likewise: with two passes, nothing cancels
    pixel 1    |          |          3. y = silu(x · a + b) + skip, where a = weight / σ and
      …        ↓          ↓             b = bias + shift − mean · a

Backward, with h = x·a + b: a first pass writes d = g · silu'(h) to dx, and sums d and d·(x − mean)
in registers. The sums give dweight, dbias, dshift and two means of each group. With these, a second
pass makes dx = d · a + x · slope + offset of what is still in the cache.
"""

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from .. import generic
from . import functions, sweeps, vector
from .compiled import contiguous, kernel, matrix, number, numbers, scratch
from .counters import run_counts
from .plans import packed
from .views import View


class Plan(NamedTuple):
    """Sizes of a group norm."""

    images: int
    pixels: int  # of an image
    channels: int
    groups: int
    per_group: int  # channels of a group
    shifts: int  # channels, or 0 where no shift is added
    skips: int  # 1, or 0 where no skip is added


# --- bodies: one vector of channels, down all pixels of a view (pixel, channel) ---


def _sum_of_squares(e, x, mean, pixels):
    """Σ (x − mean)²"""

    def add(total, i):
        centred = e.load(x.at(i)) - mean
        return e.fma(centred, centred, total)

    return sweeps.sum_over(e, pixels, add)


def _apply(e, x, scale, offset, skip, y, plan):
    """y = silu(x · scale + offset) + skip"""
    mask = e.mask_first(plan.skips * e.lanes)

    @e.loop(plan.pixels)
    def pixel(i):
        value = functions.silu(e, e.fma(e.load(x.at(i)), scale, offset))
        e.store(value + e.load(skip.at(i), mask), y.at(i))


def _gradient_sums(e, g, x, mean, scale, offset, d, pixels):
    """d = g · silu'(x · scale + offset); gives Σ d and Σ d·(x − mean)."""
    total = e.variable(e.constant(0))
    product = e.variable(e.constant(0))

    @e.loop(pixels)
    def pixel(i):
        value = e.load(x.at(i))
        gradient = functions.silu_dx(e, e.load(g.at(i)), e.fma(value, scale, offset))
        e.store(gradient, d.at(i))
        total.set(total.get() + gradient)
        product.set(e.fma(gradient, value - mean, product.get()))

    return total.get(), product.get()


def _combine(e, d, x, scale, slope, offset, pixels):
    """d ← d · scale + x · slope + offset"""

    @e.loop(pixels)
    def pixel(i):
        moved = e.fma(e.load(x.at(i)), slope, offset)
        e.store(e.fma(e.load(d.at(i)), scale, moved), d.at(i))


# --- bodies: the channels of one image ---


def _channels(e, plan):
    """A decorator: runs the function for the first channel of each vector of channels."""
    return lambda body: e.loop(plan.channels // e.lanes)(lambda k: body(k * e.lanes))


def _group_means(e, terms, share, plan, means, finish=lambda mean: mean):
    """means[group] = finish(share · Σ of the group's terms), of one term for each channel."""

    @e.loop(plan.groups)
    def group(k):
        total = e.variable(e.constant(0))
        first = terms + k * plan.per_group

        @e.loop(plan.per_group)
        def channel(c):
            total.set(total.get() + e.load_broadcast(first + c))

        e.store(finish(total.get() * share), means + k, e.mask_first(1))


def _to_channels(e, of_groups, of_channels, groups, per_group):
    """Each group's number, to all its channels."""

    @e.loop(groups)
    def group(k):
        value = e.load_broadcast(of_groups + k)

        @e.loop(per_group)
        def channel(c):
            e.store(value, of_channels + k * per_group + c, e.mask_first(1))


def _scale_and_offset(e, mean, rstd, weight, bias, shift, scale, offset, plan):
    """x · scale + offset is x normalised, weighted and shifted."""

    @_channels(e, plan)
    def vector(c):
        a = e.load(rstd + c) * e.load(weight + c)
        b = e.fma(-e.load(mean + c), a, e.load(bias + c))
        e.store(a, scale + c)
        e.store(b + e.load(shift + c, e.mask_first(plan.shifts)), offset + c)


# --- bodies: all images; `share` is what one number counts in its group's mean ---


@kernel(*(numbers,) * 3, matrix, *(numbers,) * 2, *(matrix,) * 2, numbers, number, number, Plan)
def norm(e, x, weight, bias, shift, skip, y, means, rstds, memory, share, eps, plan):
    sums, centre, scale, offset = (memory + plan.channels * k for k in range(4))
    groups = plan.groups, plan.per_group
    shape = plan.images, plan.pixels, plan.channels
    x, skip, y = (View.of(array, *shape) for array in (x, skip, y))
    means, rstds = (View(array, plan.groups) for array in (means, rstds))

    @e.loop(plan.images)
    def image(n):
        e.call(sweeps.clear, sums, plan.channels)
        sweeps.column_sums(e, x[n], sums, plan.pixels, plan.channels // e.lanes)
        _group_means(e, sums, share, plan, means.at(n))
        e.call(_to_channels, means.at(n), centre, *groups)

        @_channels(e, plan)
        def squares(c):
            total = _sum_of_squares(e, x[n, :, c:], e.load(centre + c), plan.pixels)
            e.store(total, sums + c)

        inverse_root = lambda variance: e.constant(1) / e.sqrt(variance + eps)
        _group_means(e, sums, share, plan, rstds.at(n), inverse_root)
        e.call(_to_channels, rstds.at(n), scale, *groups)
        moved = shift + n * plan.shifts
        _scale_and_offset(e, centre, scale, weight, bias, moved, scale, offset, plan)

        @_channels(e, plan)
        def apply(c):
            a = e.load(scale + c)
            b = e.load(offset + c)
            _apply(e, x[n, :, c:], a, b, skip[n, :, c:], y[n, :, c:], plan)


@kernel(*(numbers,) * 4, *(matrix,) * 3, *(numbers,) * 3, matrix, numbers, number, Plan)
def norm_gradients(
    e, g, x, weight, bias, shift, means, rstds, dx, dweight, dbias, dshift, memory, share, plan
):
    centre, rstd, scale, offset, h, normal_h, h_mean, normal_h_mean = (
        memory + plan.channels * k for k in range(8)
    )
    groups = plan.groups, plan.per_group
    shape = plan.images, plan.pixels, plan.channels
    g, x, dx = (View.of(array, *shape) for array in (g, x, dx))
    for total in dweight, dbias:
        e.call(sweeps.clear, total, plan.channels)

    @e.loop(plan.images)
    def image(n):
        e.call(_to_channels, means + n * plan.groups, centre, *groups)
        e.call(_to_channels, rstds + n * plan.groups, rstd, *groups)
        moved = shift + n * plan.shifts
        _scale_and_offset(e, centre, rstd, weight, bias, moved, scale, offset, plan)

        @_channels(e, plan)
        def sums(c):
            mean, a, b = (e.load(array + c) for array in (centre, scale, offset))
            views = g[n, :, c:], x[n, :, c:], dx[n, :, c:]
            total, product = _gradient_sums(e, *views[:2], mean, a, b, views[2], plan.pixels)
            product = product * e.load(rstd + c)  # Σ d · x̂
            factor = e.load(weight + c)
            e.store(total, dshift + n * plan.channels + c)
            e.store(e.load(dbias + c) + total, dbias + c)
            e.store(e.load(dweight + c) + product, dweight + c)
            e.store(factor * total, h + c)
            e.store(factor * product, normal_h + c)

        for terms, mean in (h, h_mean), (normal_h, normal_h_mean):
            _group_means(e, terms, share, plan, mean)
            e.call(_to_channels, mean, terms, *groups)

        @_channels(e, plan)
        def combine(c):
            r = e.load(rstd + c)
            slope = -e.load(normal_h + c) * r * r
            constant = e.fma(-e.load(centre + c), slope, -e.load(h + c) * r)
            _combine(e, dx[n, :, c:], x[n, :, c:], e.load(scale + c), slope, constant, plan.pixels)


# --- the kernels of the table ---


@cache
def _lanes(channels, dtype, most) -> int:
    """The widest vector that divides the channels, or 0: then the work is `generic`'s."""
    if dtype != np.float32:
        return 0
    return next((n for n in (16, 8, 4) if n <= most and channels % n == 0), 0)


@lru_cache(256)  # of shapes: a network asks for the same few again and again
def _plan(shape, groups, shifted, skipped):
    """The plan, packed; and what one number counts in its group's mean."""
    images, *size, channels = shape
    pixels = int(np.prod(size))
    per_group = channels // groups
    shifts = channels if shifted else 0
    plan = Plan(images, pixels, channels, groups, per_group, shifts, int(skipped))
    return packed(plan), 1 / (pixels * per_group)


def _operands(x, weight, bias, shift):
    """What both kernels take, as they take it."""
    shift = np.empty((len(x), 0), np.float32) if shift is None else contiguous(shift)
    return contiguous(x).reshape(-1), contiguous(weight), contiguous(bias), shift


def group_norm_silu(x, weight, bias, shift, skip, groups, eps):
    lanes = _lanes(x.shape[-1], x.dtype, vector.lanes())
    if x.size == 0 or not lanes:
        return generic.group_norm_silu(x, weight, bias, shift, skip, groups, eps)
    run_counts["group_norm_silu"] += 1
    y = np.empty(x.shape, np.float32)
    mean = np.empty((len(x), groups), np.float32)
    rstd = np.empty((len(x), groups), np.float32)
    operands = _operands(x, weight, bias, shift)
    skipped = operands[0] if skip is None else contiguous(skip).reshape(-1)
    plan, share = _plan(x.shape, groups, shift is not None, skip is not None)
    memory = scratch(4 * x.shape[-1])
    norm(lanes)(*operands, skipped, y.reshape(-1), mean, rstd, memory, share, eps, plan)
    return y, (mean.reshape(-1, 1, groups, 1), rstd.reshape(-1, 1, groups, 1))


def group_norm_silu_grads(g, x, weight, bias, shift, aux, groups):
    channels = x.shape[-1]
    lanes = _lanes(channels, x.dtype, vector.lanes())
    if x.size == 0 or not lanes:
        return generic.group_norm_silu_grads(g, x, weight, bias, shift, aux, groups)
    run_counts["group_norm_silu_grads"] += 1
    dx = np.empty(x.shape, np.float32)
    dweight = np.empty(channels, np.float32)
    dbias = np.empty(channels, np.float32)
    dshift = np.empty((len(x), channels), np.float32)
    operands = _operands(x, weight, bias, shift)
    mean, rstd = (contiguous(a).reshape(-1, groups) for a in aux)
    plan, share = _plan(x.shape, groups, shift is not None, False)
    norm_gradients(lanes)(
        contiguous(g).reshape(-1),
        *operands,
        mean,
        rstd,
        dx.reshape(-1),
        dweight,
        dbias,
        dshift,
        scratch(8 * channels),
        share,
        plan,
    )
    return dx, dweight, dbias, None if shift is None else dshift
