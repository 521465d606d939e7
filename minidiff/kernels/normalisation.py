"""Group norm, alone and with all that follows it, in plain array code: a part of `generic`.

Three kernels each: the values, the gradients of all operands, and the tangent of the result (Wu &
He 2018).
"""

import math

from . import namespace
from .activations import silu, silu_dx
from .sums import mean, total


def _grouped(x, groups):
    b, *size, c = x.shape
    return namespace(x).reshape(x, (b, math.prod(size), groups, c // groups))


def group_norm(x, weight, bias, groups, eps):
    """(y, aux): mean 0 and variance 1 in each group; aux = (mean, 1/σ), each (b, 1, groups, 1)."""
    xp = namespace(x)
    parts = _grouped(x, groups)
    middle = mean(parts, (1, 3), keepdims=True)
    centred = parts - middle
    rstd = 1 / xp.sqrt(mean(centred * centred, (1, 3), keepdims=True) + eps)
    return xp.reshape(centred * rstd, x.shape) * weight + bias, (middle, rstd)


def group_norm_grads(g, x, weight, bias, aux, groups):
    """(dx, dweight, dbias): dx = (h − mean(h) − x̂·mean(h·x̂)) / σ, x̂ normalised, h = g·weight."""
    xp = namespace(x)
    middle, rstd = aux
    normal = (_grouped(x, groups) - middle) * rstd
    h = _grouped(g * weight, groups)
    mean_h = mean(h, (1, 3), keepdims=True)
    mean_hx = mean(h * normal, (1, 3), keepdims=True)
    dx = rstd * (h - mean_h - normal * mean_hx)
    axes = tuple(range(x.ndim - 1))
    dweight = total(g * xp.reshape(normal, x.shape), axes)
    return xp.reshape(dx, x.shape), dweight, total(g, axes)


def _of_samples(vectors, x):
    """Vectors (b, channels), as they go with x (b, …, channels)."""
    return namespace(x).reshape(vectors, (len(vectors), *(1,) * (x.ndim - 2), vectors.shape[1]))


def _scaled_and_shifted(y, scale, shift):
    y = y if scale is None else y * (1 + _of_samples(scale, y))
    return y if shift is None else y + _of_samples(shift, y)


def group_norm_silu(x, weight, bias, scale, shift, skip, groups, eps):
    """(y, aux): silu(group_norm(x) · (1 + scale) + shift) + skip; scale, shift (b, channels)."""
    y, aux = group_norm(x, weight, bias, groups, eps)
    y = silu(_scaled_and_shifted(y, scale, shift))
    return y if skip is None else y + skip, aux


def group_norm_silu_grads(g, x, weight, bias, scale, shift, aux, groups):
    """(dx, dweight, dbias, dscale, dshift); the normalised input is computed again, not kept."""
    middle, rstd = aux
    y = namespace(x).reshape((_grouped(x, groups) - middle) * rstd, x.shape) * weight + bias
    g = silu_dx(g, _scaled_and_shifted(y, scale, shift))
    positions = tuple(range(1, x.ndim - 1))
    dscale = None if scale is None else total(g * y, positions)
    dshift = None if shift is None else total(g, positions)
    g = g if scale is None else g * (1 + _of_samples(scale, x))
    return *group_norm_grads(g, x, weight, bias, aux, groups), dscale, dshift


# --- tangents: of operands that do not move there is None ---
def _normalised_and_moved(dx, x, aux, groups):
    """x̂, and its tangent (ẋ − mean(ẋ) − x̂·mean(ẋ·x̂)) / σ."""
    xp = namespace(x)
    middle, rstd = (xp.reshape(part, (len(x), 1, groups, 1)) for part in aux)
    normal = (_grouped(x, groups) - middle) * rstd
    if dx is None:
        return xp.reshape(normal, x.shape), None
    moved = _grouped(dx, groups)
    mean_d = mean(moved, (1, 3), keepdims=True)
    mean_dx = mean(moved * normal, (1, 3), keepdims=True)
    moved = (moved - mean_d - normal * mean_dx) * rstd
    return xp.reshape(normal, x.shape), xp.reshape(moved, x.shape)


def _product_moves(a, da, b, db):
    """The tangent of a · b"""
    return _added(None if da is None else da * b, None if db is None else a * db)


def _added(a, b):
    if a is None or b is None:
        return b if a is None else a
    return a + b


def group_norm_tangent(dx, dweight, dbias, x, weight, aux, groups):
    """The tangent of x̂ · weight + bias."""
    normal, moved = _normalised_and_moved(dx, x, aux, groups)
    return _added(_product_moves(normal, moved, weight, dweight), dbias)


def group_norm_silu_tangent(
    dx, dweight, dbias, dscale, dshift, dskip, x, weight, bias, scale, shift, aux, groups
):
    """The tangent of silu(z) + skip, where z = (x̂ · weight + bias) · (1 + scale) + shift."""
    normal, moved = _normalised_and_moved(dx, x, aux, groups)
    y = normal * weight + bias
    dz = _added(_product_moves(normal, moved, weight, dweight), dbias)
    if scale is not None:
        factor = 1 + _of_samples(scale, x)
        dfactor = None if dscale is None else _of_samples(dscale, x)
        dz = _product_moves(y, dz, factor, dfactor)
    dz = _added(dz, None if dshift is None else _of_samples(dshift, x))
    if dz is None:
        return dskip
    return _added(silu_dx(dz, _scaled_and_shifted(y, scale, shift)), dskip)
