"""Group norm with shift, swish (silu) and a skip added, in registers: forward and all gradients.

An image is pixels × channels; a vector of channels goes down all pixels with its sums in registers:

            c0 … c15   c16 … c31              1. Σ x down each column of vectors; joined to the mean of each group
    pixel 0    |          |                   2. Σ (x − mean)² likewise: two passes, nothing cancels
    pixel 1    |          |                   3. y = silu(x · a + b) + skip, a = weight / σ, b = bias + shift − mean · a
      …        ↓          ↓

Backward, with h = x·a + b: d = g · silu'(h) is written to dx while Σ d and Σ d·(x − mean) run in registers; they give
dweight, dbias, dshift and the group's two means, with which dx = d · a + x · c + b' in a last pass over what is cached.
"""

from functools import cache

import numba
import numpy as np

from .. import generic
from . import functions, tiles
from .compiled import contiguous, for_lanes, inlined, matrix, numbers, unbound
from .ran import ran
from .vector import lanes

column_sums = squares = apply = gradient_sums = affine = unbound  # bound by `compiled`
LANES = 0
_cube = numba.float32[:, :, ::1]


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


def _affine(e, d, x, a, c, b, pixels, step):
    """d ← d · a + x · c + b"""
    scale, slope, offset = e.load(a), e.load(c), e.load(b)

    @e.loop(pixels)
    def _(i):
        place = d + i * step
        e.store(e.fma(e.load(place), scale, e.fma(e.load(x + i * step), slope, offset)), place)


# --- the loops ---


@inlined
def scale_and_offset(mean, rstd, weight, bias, shift, a, b):
    """y = x · a + b is the normalised, weighted, shifted x."""
    per_group = len(weight) // len(mean)
    for k in range(len(weight)):
        a[k] = rstd[k // per_group] * weight[k]
        b[k] = bias[k] - mean[k // per_group] * a[k] + (shift[k] if len(shift) else np.float32(0))


@for_lanes(
    (_cube, numbers, numbers, matrix, numbers, _cube, matrix, matrix, numba.float64),
    column_sums=(tiles.column_sums, 2),
    squares=(_squares, 3),
    apply=(_apply, 5),
)
def norm(x, weight, bias, shift, skip, y, means, rstds, eps):
    """x and y as (images, pixels, channels); shift (images, channels) or (images, 0); skip may be empty."""
    (count, pixels, channels), groups = x.shape, means.shape[1]
    per_group, share = channels // groups, np.float32(groups / (pixels * channels))
    work = np.empty((3, channels), np.float32)
    sums, a, b = work[0], work[1], work[2]
    x_flat, y_flat, skips = x.reshape(x.size), y.reshape(y.size), min(1, skip.size)
    skip = skip if skips else x_flat  # what is read, and left out
    for n in range(count):
        first = n * pixels * channels
        mean, rstd = means[n], rstds[n]
        sums[:] = 0
        column_sums(x_flat, first, sums, 0, pixels, channels, channels // LANES)
        for group in range(groups):
            part = slice(group * per_group, (group + 1) * per_group)
            mean[group] = sums[part].sum() * share
            a[part] = mean[group]
        for k in range(0, channels, LANES):
            squares(x_flat, first + k, a, k, sums, k, pixels, channels)
        for group in range(groups):
            variance = sums[group * per_group : (group + 1) * per_group].sum() * share
            rstd[group] = 1 / np.sqrt(variance + np.float32(eps))
        scale_and_offset(mean, rstd, weight, bias, shift[n], a, b)
        for k in range(0, channels, LANES):
            at = first + k
            apply(x_flat, at, a, k, b, k, skip, at, y_flat, at, pixels, channels, skips)


@for_lanes(
    (_cube, _cube, numbers, numbers, matrix, matrix, matrix, _cube, numbers, numbers, matrix),
    gradient_sums=(_gradient_sums, 8),
    affine=(_affine, 5),
)
def norm_gradients(g, x, weight, bias, shift, means, rstds, dx, dweight, dbias, dshift):
    (count, pixels, channels), groups = x.shape, means.shape[1]
    per_group, share = channels // groups, np.float32(groups / (pixels * channels))
    work = np.empty((4, channels), np.float32)
    a, b, slope, products = work[0], work[1], work[2], work[3]
    g_flat, x_flat, dx_flat = g.reshape(g.size), x.reshape(x.size), dx.reshape(dx.size)
    dweight[:], dbias[:] = 0, 0
    for n in range(count):
        first = n * pixels * channels
        mean, rstd, sums = means[n], rstds[n], dshift[n]
        scale_and_offset(mean, rstd, weight, bias, shift[n], a, b)
        for k in range(channels):
            slope[k] = mean[k // per_group]
        for k in range(0, channels, LANES):
            at = first + k
            gradient_sums(
                g_flat, at, x_flat, at, slope, k, a, k, b, k, dx_flat, at, sums, k, products, k, pixels, channels
            )  # fmt: skip
        for group in range(groups):
            h = normal_h = np.float32(0)
            for k in range(group * per_group, (group + 1) * per_group):
                products[k] *= rstd[group]  # Σ d · x̂
                dweight[k] += products[k]
                dbias[k] += sums[k]
                h += weight[k] * sums[k] * share
                normal_h += weight[k] * products[k] * share
            for k in range(group * per_group, (group + 1) * per_group):
                slope[k] = -normal_h * rstd[group] * rstd[group]
                b[k] = -h * rstd[group] - mean[group] * slope[k]
        for k in range(0, channels, LANES):
            affine(dx_flat, first + k, x_flat, first + k, a, k, slope, k, b, k, pixels, channels)


# --- the wrappers ---


@cache
def _lanes(channels, dtype, most) -> int:
    """The widest vector that divides the channels, or 0: then the work is `generic`'s."""
    return next((n for n in (16, 8, 4) if n <= most and channels % n == 0 and dtype == np.float32), 0)


def _given(x, weight, bias, shift):
    """What both loops take, as they take it."""
    shift = np.empty((len(x), 0), np.float32) if shift is None else contiguous(shift)
    return contiguous(x).reshape(len(x), -1, x.shape[-1]), contiguous(weight), contiguous(bias), shift


def group_norm_silu(x, weight, bias, shift, skip, groups, eps):
    if x.size == 0 or not (width := _lanes(x.shape[-1], x.dtype, lanes())):
        return generic.group_norm_silu(x, weight, bias, shift, skip, groups, eps)
    ran["group_norm_silu"] += 1
    given = _given(x, weight, bias, shift)
    skip = np.empty(0, np.float32) if skip is None else contiguous(skip).reshape(-1)
    y, mean, rstd = (np.empty(shape, np.float32) for shape in (x.shape, (len(x), groups), (len(x), groups)))
    norm(width)(*given, skip, y.reshape(given[0].shape), mean, rstd, eps)
    return y, (mean.reshape(-1, 1, groups, 1), rstd.reshape(-1, 1, groups, 1))


def group_norm_silu_grads(g, x, weight, bias, shift, aux, groups):
    if x.size == 0 or not (width := _lanes(x.shape[-1], x.dtype, lanes())):
        return generic.group_norm_silu_grads(g, x, weight, bias, shift, aux, groups)
    ran["group_norm_silu_grads"] += 1
    given, g, (mean, rstd) = _given(x, weight, bias, shift), contiguous(g), (contiguous(a) for a in aux)
    shape, channels = given[0].shape, x.shape[-1]
    dx, dweight, dbias = np.empty(x.shape, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32)
    dshift, stats = np.empty((len(x), channels), np.float32), (mean.reshape(-1, groups), rstd.reshape(-1, groups))
    norm_gradients(width)(g.reshape(shape), *given, *stats, dx.reshape(shape), dweight, dbias, dshift)
    return dx, dweight, dbias, None if shift is None else dshift
