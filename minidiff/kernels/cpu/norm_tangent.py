"""Forward mode through group norm, scaled and shifted, swish, and a skip added: one kernel.

With h = x·a + b as in `norm`, a first pass sums ẋ and ẋ·(x − mean) in registers. The sums give two
means of each group, and a second pass makes the tangent silu'(h) · ḣ of what is still in the cache,
where ḣ = ẋ · a + x · slope + offset.
"""

import numpy as np

from .. import generic
from . import functions, vector
from .compiled import contiguous, kernel, matrix, number, numbers, scratch
from .counters import run_counts
from .norm import (
    Plan,
    channels_of,
    factors,
    group_means,
    lanes_for,
    operands_of,
    plan_of,
    to_channels,
)
from .views import View


def _tangent_sums(e, dx, x, mean, pixels):
    """Σ ẋ and Σ ẋ·(x − mean)"""
    total = e.variable(e.constant(0))
    product = e.variable(e.constant(0))

    @e.loop(pixels)
    def pixel(i):
        moved = e.load(dx.at(i))
        total.set(total.get() + moved)
        product.set(e.fma(moved, e.load(x.at(i)) - mean, product.get()))

    return total.get(), product.get()


def _apply_tangent(e, dx, x, a, b, slope, offset, skip, y, plan):
    """y = silu'(x · a + b) · (ẋ · a + x · slope + offset) + skip"""
    mask = e.mask_first(plan.skips * e.lanes)

    @e.loop(plan.pixels)
    def pixel(i):
        value = e.load(x.at(i))
        moved = e.fma(e.load(dx.at(i)), a, e.fma(value, slope, offset))
        tangent = functions.silu_dx(e, moved, e.fma(value, a, b))
        e.store(tangent + e.load(skip.at(i), mask), y.at(i))


@kernel(*(numbers,) * 4, *(matrix,) * 4, *(numbers,) * 2, *(matrix,) * 2, numbers, number, Plan)
def norm_tangent(
    e,
    dx,
    x,
    weight,
    bias,
    scale,
    shift,
    of_normal,
    added,
    skip,
    y,
    means,
    rstds,
    memory,
    share,
    plan,
):
    """z = x̂·w + c has the tangent (tangent of x̂)·w + x̂·of_normal + added."""
    centre, rstd, a, b, h, normal_h, h_mean, normal_h_mean = (
        memory + plan.channels * k for k in range(8)
    )
    groups = plan.groups, plan.per_group
    shape = plan.images, plan.pixels, plan.channels
    dx, x, skip, y = (View.of(array, *shape) for array in (dx, x, skip, y))

    @e.loop(plan.images)
    def image(n):
        e.call(to_channels, means + n * plan.groups, centre, *groups)
        e.call(to_channels, rstds + n * plan.groups, rstd, *groups)
        own = scale + n * plan.scales, shift + n * plan.shifts
        factors(e, centre, rstd, weight, bias, *own, a, b, plan)

        @channels_of(e, plan)
        def sums(c):
            mean = e.load(centre + c)
            total, product = _tangent_sums(e, dx[n, :, c:], x[n, :, c:], mean, plan.pixels)
            e.store(total, h + c)
            e.store(product * e.load(rstd + c), normal_h + c)  # Σ ẋ · x̂

        for terms, mean in (h, h_mean), (normal_h, normal_h_mean):
            group_means(e, terms, share, plan, mean)
            e.call(to_channels, mean, terms, *groups)

        @channels_of(e, plan)
        def apply(c):
            factor = e.load(a + c)
            moved = e.load(of_normal + n * plan.channels + c) - factor * e.load(normal_h + c)
            slope = moved * e.load(rstd + c)
            constant = e.load(added + n * plan.channels + c) - factor * e.load(h + c)
            offset = e.fma(-e.load(centre + c), slope, constant)
            images = dx[n, :, c:], x[n, :, c:]
            vectors = factor, e.load(b + c), slope, offset
            _apply_tangent(e, *images, *vectors, skip[n, :, c:], y[n, :, c:], plan)


# --- the kernel of the table ---


def group_norm_silu_tangent(
    dx, dweight, dbias, dscale, dshift, dskip, x, weight, bias, scale, shift, aux, groups
):
    channels = x.shape[-1]
    lanes = lanes_for(channels, x.dtype, vector.lanes())
    if x.size == 0 or not lanes:
        return generic.group_norm_silu_tangent(
            dx, dweight, dbias, dscale, dshift, dskip, x, weight, bias, scale, shift, aux, groups
        )
    run_counts["group_norm_silu_tangent"] += 1
    of_normal, added = (np.zeros((len(x), channels), np.float32) for _ in range(2))
    for total, own, operand in (of_normal, dweight, weight), (added, dbias, bias):
        if own is not None:
            total += own if scale is None else own * (1 + scale)
        if dscale is not None:
            total += operand * dscale
    if dshift is not None:
        added += dshift
    y = np.empty(x.shape, np.float32)
    operands = operands_of(x, weight, bias, scale, shift)
    moved = np.zeros(x.size, np.float32) if dx is None else contiguous(dx).reshape(-1)
    skipped = moved if dskip is None else contiguous(dskip).reshape(-1)
    mean, rstd = (contiguous(a).reshape(-1, groups) for a in aux)
    plan, share = plan_of(x.shape, groups, scale is not None, shift is not None, dskip is not None)
    norm_tangent(lanes)(
        moved,
        *operands,
        of_normal,
        added,
        skipped,
        y.reshape(-1),
        mean,
        rstd,
        scratch(8 * channels),
        share,
        plan,
    )
    return y
