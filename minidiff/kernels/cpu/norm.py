"""Group norm, scaled and shifted, swish, a skip added: one kernel forward, one for all gradients.

An image is pixels × channels. A vector of channels goes down all pixels, with its sums in
registers:

            c0 … c15   c16 … c31     1. Σ x down each column of vectors: the mean of each group
    pixel 0    |          |          2. Σ (x − mean)² likewise: with two passes, nothing cancels
    pixel 1    |          |          3. y = silu(x · a + b) + skip, where
      …        ↓          ↓             a = weight · (1 + scale) / σ and
                                        b = bias · (1 + scale) + shift − mean · a

Backward, with h = x·a + b: a first pass writes d = g · silu'(h) to dx, and sums d and d·(x − mean)
in registers. The sums give the gradients of all vectors, and two means of each group. With these, a
second pass makes dx = d · a + x · slope + offset of what is still in the cache.
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
    scales: int  # channels, or 0 where there is no scale
    shifts: int  # channels, or 0 where no shift is added
    skips: int  # 1, or 0 where no skip is added


# --- bodies: one vector of channels, down all pixels of a view (pixel, channel) ---


def _sum_of_squares(e, x, mean, pixels):
    """Σ (x − mean)²"""

    def add(total, i):
        centred = e.load(x.at(i)) - mean
        return e.fma(centred, centred, total)

    return sweeps.sum_over(e, pixels, add)


def _apply(e, x, a, b, skip, y, plan):
    """y = silu(x · a + b) + skip"""
    mask = e.mask_first(plan.skips * e.lanes)

    @e.loop(plan.pixels)
    def pixel(i):
        value = functions.silu(e, e.fma(e.load(x.at(i)), a, b))
        e.store(value + e.load(skip.at(i), mask), y.at(i))


def _gradient_sums(e, g, x, mean, a, b, d, pixels):
    """d = g · silu'(x · a + b); gives Σ d and Σ d·(x − mean)."""
    total = e.variable(e.constant(0))
    product = e.variable(e.constant(0))

    @e.loop(pixels)
    def pixel(i):
        value = e.load(x.at(i))
        gradient = functions.silu_dx(e, e.load(g.at(i)), e.fma(value, a, b))
        e.store(gradient, d.at(i))
        total.set(total.get() + gradient)
        product.set(e.fma(gradient, value - mean, product.get()))

    return total.get(), product.get()


def _combine(e, d, x, a, slope, offset, pixels):
    """d ← d · a + x · slope + offset"""

    @e.loop(pixels)
    def pixel(i):
        moved = e.fma(e.load(x.at(i)), slope, offset)
        e.store(e.fma(e.load(d.at(i)), a, moved), d.at(i))


# --- bodies: the channels of one image ---


def channels_of(e, plan):
    """A decorator: runs the function for the first channel of each vector of channels."""
    return lambda body: e.loop(plan.channels // e.lanes)(lambda k: body(k * e.lanes))


def group_means(e, terms, share, plan, means, finish=lambda mean: mean):
    """means[group] = finish(share · Σ of the group's terms), of one term for each channel."""

    @e.loop(plan.groups)
    def group(k):
        total = e.variable(e.constant(0))
        first = terms + k * plan.per_group

        @e.loop(plan.per_group)
        def channel(c):
            total.set(total.get() + e.load_broadcast(first + c))

        e.store(finish(total.get() * share), means + k, e.mask_first(1))


def to_channels(e, of_groups, of_channels, groups, per_group):
    """Each group's number, to all its channels."""

    @e.loop(groups)
    def group(k):
        value = e.load_broadcast(of_groups + k)

        @e.loop(per_group)
        def channel(c):
            e.store(value, of_channels + k * per_group + c, e.mask_first(1))


def factors(e, mean, rstd, weight, bias, scale, shift, a, b, plan):
    """a and b, with which x · a + b is x normalised, weighted, scaled and shifted."""

    @channels_of(e, plan)
    def vector(c):
        scaled = e.constant(1) + e.load(scale + c, e.mask_first(plan.scales))
        factor = e.load(rstd + c) * e.load(weight + c) * scaled
        e.store(factor, a + c)
        offset = e.fma(-e.load(mean + c), factor, e.load(bias + c) * scaled)
        e.store(offset + e.load(shift + c, e.mask_first(plan.shifts)), b + c)


# --- bodies: all images; `share` is what one number counts in its group's mean ---


@kernel(
    *(numbers,) * 3, *(matrix,) * 2, *(numbers,) * 2, *(matrix,) * 2, numbers, number, number, Plan
)
def norm(e, x, weight, bias, scale, shift, skip, y, means, rstds, memory, share, eps, plan):
    sums, centre, a, b = (memory + plan.channels * k for k in range(4))
    groups = plan.groups, plan.per_group
    shape = plan.images, plan.pixels, plan.channels
    x, skip, y = (View.of(array, *shape) for array in (x, skip, y))
    means, rstds = (View(array, plan.groups) for array in (means, rstds))

    @e.loop(plan.images)
    def image(n):
        e.call(sweeps.clear, sums, plan.channels)
        sweeps.column_sums(e, x[n], sums, plan.pixels, plan.channels // e.lanes)
        group_means(e, sums, share, plan, means.at(n))
        e.call(to_channels, means.at(n), centre, *groups)

        @channels_of(e, plan)
        def squares(c):
            total = _sum_of_squares(e, x[n, :, c:], e.load(centre + c), plan.pixels)
            e.store(total, sums + c)

        inverse_root = lambda variance: e.constant(1) / e.sqrt(variance + eps)
        group_means(e, sums, share, plan, rstds.at(n), inverse_root)
        e.call(to_channels, rstds.at(n), a, *groups)
        own = scale + n * plan.scales, shift + n * plan.shifts
        factors(e, centre, a, weight, bias, *own, a, b, plan)

        @channels_of(e, plan)
        def apply(c):
            views = skip[n, :, c:], y[n, :, c:]
            _apply(e, x[n, :, c:], e.load(a + c), e.load(b + c), *views, plan)


@kernel(*(numbers,) * 4, *(matrix,) * 4, *(numbers,) * 3, *(matrix,) * 2, numbers, number, Plan)
def norm_gradients(
    e,
    g,
    x,
    weight,
    bias,
    scale,
    shift,
    means,
    rstds,
    dx,
    dweight,
    dbias,
    dscale,
    dshift,
    memory,
    share,
    plan,
):
    centre, rstd, a, b, h, normal_h, h_mean, normal_h_mean = (
        memory + plan.channels * k for k in range(8)
    )
    groups = plan.groups, plan.per_group
    shape = plan.images, plan.pixels, plan.channels
    g, x, dx = (View.of(array, *shape) for array in (g, x, dx))
    for total in dweight, dbias:
        e.call(sweeps.clear, total, plan.channels)

    @e.loop(plan.images)
    def image(n):
        e.call(to_channels, means + n * plan.groups, centre, *groups)
        e.call(to_channels, rstds + n * plan.groups, rstd, *groups)
        own = scale + n * plan.scales, shift + n * plan.shifts
        factors(e, centre, rstd, weight, bias, *own, a, b, plan)

        @channels_of(e, plan)
        def sums(c):
            mean, slope, offset = (e.load(array + c) for array in (centre, a, b))
            total, product = _gradient_sums(
                e, g[n, :, c:], x[n, :, c:], mean, slope, offset, dx[n, :, c:], plan.pixels
            )
            product = product * e.load(rstd + c)  # Σ d · x̂
            scaled = e.constant(1) + e.load(own[0] + c, e.mask_first(plan.scales))
            factor = e.load(weight + c) * scaled
            of_scale = e.fma(e.load(weight + c), product, e.load(bias + c) * total)
            e.store(of_scale, dscale + n * plan.channels + c)
            e.store(total, dshift + n * plan.channels + c)
            e.store(e.fma(scaled, total, e.load(dbias + c)), dbias + c)
            e.store(e.fma(scaled, product, e.load(dweight + c)), dweight + c)
            e.store(factor * total, h + c)
            e.store(factor * product, normal_h + c)

        for terms, mean in (h, h_mean), (normal_h, normal_h_mean):
            group_means(e, terms, share, plan, mean)
            e.call(to_channels, mean, terms, *groups)

        @channels_of(e, plan)
        def combine(c):
            r = e.load(rstd + c)
            slope = -e.load(normal_h + c) * r * r
            constant = e.fma(-e.load(centre + c), slope, -e.load(h + c) * r)
            _combine(e, dx[n, :, c:], x[n, :, c:], e.load(a + c), slope, constant, plan.pixels)


# --- the kernels of the table ---


@cache
def lanes_for(channels, dtype, most) -> int:
    """The widest vector that divides the channels, or 0: then the work is `generic`'s."""
    if dtype != np.float32:
        return 0
    return next((n for n in (16, 8, 4) if n <= most and channels % n == 0), 0)


@lru_cache(256)  # of shapes: a network asks for the same few again and again
def plan_of(shape, groups, scaled, shifted, skipped):
    """The plan, packed; and what one number counts in its group's mean."""
    images, *size, channels = shape
    pixels = int(np.prod(size))
    per_group = channels // groups
    scales = channels if scaled else 0
    shifts = channels if shifted else 0
    plan = Plan(images, pixels, channels, groups, per_group, scales, shifts, int(skipped))
    return packed(plan), 1 / (pixels * per_group)


def operands_of(x, weight, bias, scale, shift):
    """What both kernels take, as they take it."""
    none = np.empty((len(x), 0), np.float32)
    own = (none if array is None else contiguous(array) for array in (scale, shift))
    return contiguous(x).reshape(-1), contiguous(weight), contiguous(bias), *own


def group_norm_silu(x, weight, bias, scale, shift, skip, groups, eps):
    lanes = lanes_for(x.shape[-1], x.dtype, vector.lanes())
    if x.size == 0 or not lanes:
        return generic.group_norm_silu(x, weight, bias, scale, shift, skip, groups, eps)
    run_counts["group_norm_silu"] += 1
    y = np.empty(x.shape, np.float32)
    mean = np.empty((len(x), groups), np.float32)
    rstd = np.empty((len(x), groups), np.float32)
    operands = operands_of(x, weight, bias, scale, shift)
    skipped = operands[0] if skip is None else contiguous(skip).reshape(-1)
    plan, share = plan_of(x.shape, groups, scale is not None, shift is not None, skip is not None)
    memory = scratch(4 * x.shape[-1])
    norm(lanes)(*operands, skipped, y.reshape(-1), mean, rstd, memory, share, eps, plan)
    return y, (mean.reshape(-1, 1, groups, 1), rstd.reshape(-1, 1, groups, 1))


def group_norm_silu_grads(g, x, weight, bias, scale, shift, aux, groups):
    channels = x.shape[-1]
    lanes = lanes_for(channels, x.dtype, vector.lanes())
    if x.size == 0 or not lanes:
        return generic.group_norm_silu_grads(g, x, weight, bias, scale, shift, aux, groups)
    run_counts["group_norm_silu_grads"] += 1
    dx = np.empty(x.shape, np.float32)
    dweight = np.empty(channels, np.float32)
    dbias = np.empty(channels, np.float32)
    dscale, dshift = (np.empty((len(x), channels), np.float32) for _ in range(2))
    operands = operands_of(x, weight, bias, scale, shift)
    mean, rstd = (contiguous(a).reshape(-1, groups) for a in aux)
    plan, share = plan_of(x.shape, groups, scale is not None, shift is not None, False)
    norm_gradients(lanes)(
        contiguous(g).reshape(-1),
        *operands,
        mean,
        rstd,
        dx.reshape(-1),
        dweight,
        dbias,
        dscale,
        dshift,
        scratch(8 * channels),
        share,
        plan,
    )
    of_scale = None if scale is None else dscale
    of_shift = None if shift is None else dshift
    return dx, dweight, dbias, of_scale, of_shift
