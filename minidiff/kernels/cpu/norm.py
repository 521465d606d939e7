"""Group norm with shift, swish (silu) and a skip added, in registers: forward and all gradients.

An image is pixels × channels; a vector of channels goes down all pixels with its sums in registers:

            c0 … c15   c16 … c31              1. Σ x down each column of vectors; joined to the mean of each group
    pixel 0    |          |                   2. Σ (x − mean)² likewise: two passes, nothing cancels
    pixel 1    |          |                   3. y = silu(x · a + b) + skip, a = weight / σ, b = bias + shift − mean · a
      …        ↓          ↓

Backward, with h = x·a + b: d = g · silu'(h) is written to dx while Σ d and Σ d·(x − mean) run in
registers; they give dweight, dbias, dshift and the group's two means, with which dx = d · a + x · c
+ b' in a last pass over what is cached.
"""

from functools import cache, partial

import numpy as np

from .. import generic
from . import functions, tiles
from .compiled import contiguous, kernel, matrix, number, numbers, scratch
from .ran import ran
from .vector import lanes

# --- bodies: one vector of channels down all pixels (`step` numbers apart) ---


def _squares(e, x, mean, out, pixels, step):
    """out = Σ (x − mean)²"""
    centre = e.load(mean)

    def add(total, pixel):
        d = e.load(x + pixel * step) - centre
        return e.fma(d, d, total)

    e.store(functions.summed(e, pixels, add), out)


def _apply(e, x, a, b, skip, y, pixels, step, skips):
    """y = silu(x · a + b), + skip if `skips` is 1"""
    scale, offset, some = e.load(a), e.load(b), e.first(skips * e.lanes)

    @e.loop(pixels)
    def _(i):
        value = functions.silu(e, e.fma(e.load(x + i * step), scale, offset))
        e.store(value + e.load(skip + i * step, some), y + i * step)


def _gradient_sums(e, g, x, mean, a, b, d, sums, products, pixels, step):
    """d = g · silu'(x·a + b); sums = Σ d, products = Σ d·(x − mean)"""
    centre, scale, offset = e.load(mean), e.load(a), e.load(b)
    total, product = e.variable(e.constant(0)), e.variable(e.constant(0))

    @e.loop(pixels)
    def _(i):
        value = e.load(x + i * step)
        gradient = functions.silu_dx(e, e.load(g + i * step), e.fma(value, scale, offset))
        e.store(gradient, d + i * step)
        total.set(total.get() + gradient)
        product.set(e.fma(gradient, value - centre, product.get()))

    e.store(total.get(), sums)
    e.store(product.get(), products)


def _affine(e, d, x, scale, slope, offset, pixels, step):
    """d ← d · scale + x · slope + offset, with three vectors of channels"""

    @e.loop(pixels)
    def _(i):
        place = d + i * step
        e.store(e.fma(e.load(place), scale, e.fma(e.load(x + i * step), slope, offset)), place)


# --- bodies: the channels of one image; there are channels or no `shifts` ---


def _vectors(e, channels, do):
    """do(first channel) for each vector of channels."""
    e.loop(channels // e.lanes)(lambda c: do(c * e.lanes))


def _means(e, terms, share, finish, to, groups, per_group):
    """to[group] = finish(`share` times the sum of the group's terms)."""

    @e.loop(groups)
    def _(group):
        total, first = e.variable(e.constant(0)), terms + group * per_group
        e.loop(per_group)(lambda k: total.set(total.get() + e.splat(first + k)))
        e.store(finish(total.get() * share), to + group, e.first(1))


def _spread(e, numbers, to, groups, per_group):
    """Each group's number, to all its channels."""

    @e.loop(groups)
    def _(group):
        number, first = e.splat(numbers + group), to + group * per_group
        e.loop(per_group)(lambda k: e.store(number, first + k, e.first(1)))


def _scale_and_offset(e, mean, rstd, weight, bias, shift, a, b, channels, shifts):
    """y = x · a + b is the normalised, weighted, shifted x."""

    @partial(_vectors, e, channels)
    def _(k):
        scale = e.load(rstd + k) * e.load(weight + k)
        offset = e.fma(-e.load(mean + k), scale, e.load(bias + k))
        e.store(scale, a + k)
        e.store(offset + e.load(shift + k, e.first(shifts)), b + k)


# --- bodies: all images; `share`: of one number in its group's mean ---


@kernel(*(numbers,) * 3, matrix, numbers, numbers, matrix, matrix, numbers, number, number)
def norm(
    e,
    x,
    weight,
    bias,
    shift,
    skip,
    y,
    means,
    rstds,
    memory,
    share,
    eps,
    images,
    pixels,
    channels,
    groups,
    shifts,
    skips,
):
    """`shifts`: channels, or 0 where shift is (images, 0); `skips`: 1, or 0 where skip stands for nothing."""
    sums, centre, a, b = (memory + channels * k for k in range(4))
    per_group = channels // groups

    @e.loop(images)
    def _(n):
        at, mean, rstd, moved = (
            n * pixels * channels,
            means + n * groups,
            rstds + n * groups,
            shift + n * shifts,
        )
        e.call(tiles.cleared, sums, channels)
        tiles.column_sums(e, x + at, sums, pixels, channels, channels // e.lanes)
        _means(e, sums, share, lambda mean: mean, mean, groups, per_group)
        e.call(_spread, mean, centre, groups, per_group)
        _vectors(
            e, channels, lambda k: _squares(e, x + at + k, centre + k, sums + k, pixels, channels)
        )
        _means(
            e,
            sums,
            share,
            lambda variance: e.constant(1) / e.sqrt(variance + eps),
            rstd,
            groups,
            per_group,
        )
        e.call(_spread, rstd, a, groups, per_group)
        _scale_and_offset(e, centre, a, weight, bias, moved, a, b, channels, shifts)

        @partial(_vectors, e, channels)
        def _(k):
            _apply(e, x + at + k, a + k, b + k, skip + at + k, y + at + k, pixels, channels, skips)


@kernel(*(numbers,) * 4, matrix, *(numbers,) * 5, matrix, numbers, number)
def norm_gradients(
    e,
    g,
    x,
    weight,
    bias,
    shift,
    means,
    rstds,
    dx,
    dweight,
    dbias,
    dshift,
    memory,
    share,
    images,
    pixels,
    channels,
    groups,
    shifts,
):
    centre, scale, a, b, products, h, normal_h, h_mean, normal_h_mean = (
        memory + channels * k for k in range(9)
    )
    per_group = channels // groups
    for total in dweight, dbias:
        e.call(tiles.cleared, total, channels)

    @e.loop(images)
    def _(n):
        at, sums, moved = n * pixels * channels, dshift + n * channels, shift + n * shifts
        e.call(_spread, means + n * groups, centre, groups, per_group)
        e.call(_spread, rstds + n * groups, scale, groups, per_group)
        _scale_and_offset(e, centre, scale, weight, bias, moved, a, b, channels, shifts)

        @partial(_vectors, e, channels)
        def _(k):
            given = g + at + k, x + at + k, centre + k, a + k, b + k
            _gradient_sums(e, *given, dx + at + k, sums + k, products + k, pixels, channels)
            total, product, factor = (
                e.load(sums + k),
                e.load(products + k) * e.load(scale + k),
                e.load(weight + k),
            )
            e.store(e.load(dbias + k) + total, dbias + k)
            e.store(e.load(dweight + k) + product, dweight + k)  # Σ d · x̂
            e.store(factor * total, h + k)
            e.store(factor * product, normal_h + k)

        for terms, mean in (h, h_mean), (normal_h, normal_h_mean):
            _means(e, terms, share, lambda mean: mean, mean, groups, per_group)
            e.call(_spread, mean, terms, groups, per_group)

        @partial(_vectors, e, channels)
        def _(k):
            rstd = e.load(scale + k)
            slope = -e.load(normal_h + k) * rstd * rstd
            offset = e.fma(-e.load(centre + k), slope, -e.load(h + k) * rstd)
            _affine(e, dx + at + k, x + at + k, e.load(a + k), slope, offset, pixels, channels)


# --- the wrappers ---


@cache
def _lanes(channels, dtype, most) -> int:
    """The widest vector that divides the channels, or 0: then the work is `generic`'s."""
    return next(
        (n for n in (16, 8, 4) if n <= most and channels % n == 0 and dtype == np.float32), 0
    )


def _given(x, weight, bias, shift, groups):
    """What both kernels take: arrays, the share of one number of x in its group's mean, whole numbers."""
    shift = np.empty((len(x), 0), np.float32) if shift is None else contiguous(shift)
    arrays = contiguous(x).reshape(-1), contiguous(weight), contiguous(bias), shift
    channels, size = x.shape[-1], x.size // len(x)
    return arrays, groups / size, (len(x), size // channels, channels, groups, shift.shape[1])


def group_norm_silu(x, weight, bias, shift, skip, groups, eps):
    if x.size == 0 or not (width := _lanes(x.shape[-1], x.dtype, lanes())):
        return generic.group_norm_silu(x, weight, bias, shift, skip, groups, eps)
    ran["group_norm_silu"] += 1
    given, share, sizes = _given(x, weight, bias, shift, groups)
    y, mean, rstd = (
        np.empty(shape, np.float32) for shape in (x.shape, (len(x), groups), (len(x), groups))
    )
    given += (given[0] if skip is None else contiguous(skip).reshape(-1), y.reshape(-1), mean, rstd)
    norm(width)(*given, scratch(4 * x.shape[-1]), share, eps, *sizes, int(skip is not None))
    return y, (mean.reshape(-1, 1, groups, 1), rstd.reshape(-1, 1, groups, 1))


def group_norm_silu_grads(g, x, weight, bias, shift, aux, groups):
    if x.size == 0 or not (width := _lanes(x.shape[-1], x.dtype, lanes())):
        return generic.group_norm_silu_grads(g, x, weight, bias, shift, aux, groups)
    ran["group_norm_silu_grads"] += 1
    (given, share, sizes), channels = _given(x, weight, bias, shift, groups), x.shape[-1]
    dx, dweight, dbias = (np.empty(shape, np.float32) for shape in (x.shape, channels, channels))
    dshift, (mean, rstd) = (
        np.empty((len(x), channels), np.float32),
        (contiguous(a).reshape(-1) for a in aux),
    )
    made = dx.reshape(-1), dweight, dbias, dshift, scratch(9 * channels)
    norm_gradients(width)(contiguous(g).reshape(-1), *given, mean, rstd, *made, share, *sizes)
    return dx, dweight, dbias, None if shift is None else dshift
