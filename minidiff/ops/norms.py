"""Normalisation: subtract a mean, divide by a standard deviation; x is (batch, …, channels).

    x̂ = (x − mean(x)) / √(var(x) + eps),    y = x̂ · weight + bias

The norms differ in what the mean and the variance are taken over:

    group       a group of channels at all positions of a sample
    instance    one channel at all positions of a sample
    layer       all channels at one position
    batch       one channel at all positions of all samples

Each is composed of means, so its derivative comes by itself. Only the group norm, which the UNet
uses, has a kernel of its own, and one with the swish after it; `reference` is the composed form.
"""

import math
from functools import lru_cache
from typing import Any

from ..checks import whole
from ..kernels import call
from ..tape.primitive import Primitive
from .elementwise import as_floats, silu
from .reductions import mean
from .shapes import reshape


def _plain_group_norm(x, weight, bias, groups, eps):
    batch, *positions, channels = x.shape
    parts = reshape(x, shape=(batch, math.prod(positions), groups, channels // groups))
    normalised = reshape(layer_norm(parts, axis=(1, 3), eps=eps), shape=x.shape)
    return _scale_and_shift(normalised, weight, bias)


def _plain_group_norm_silu(x, weight, bias, scale, shift, skip, groups, eps):
    batch, *positions, channels = x.shape
    of_samples = (batch, *(1 for _ in positions), channels)
    y = _plain_group_norm(x, weight, bias, groups, eps)
    if scale is not None:
        y = y * (1 + reshape(scale, shape=of_samples))
    if shift is not None:
        y = y + reshape(shift, shape=of_samples)
    y = silu(y)
    return y if skip is None else y + skip


def _group_norm_silu_rule(g, x, weight, bias, scale, shift, aux, groups):
    """(dx, dweight, dbias, dscale, dshift, dskip); what goes around gets the gradient as it is."""
    return *call("group_norm_silu_grads", g, x, weight, bias, scale, shift, aux, groups=groups), g


def _group_norm_silu_forward(tangents, x, weight, bias, scale, shift, aux, groups):
    operands = x, weight, bias, scale, shift
    return call("group_norm_silu_tangent", *tangents, *operands, aux, groups=groups)


# What the kernels hand on (aux) are the mean and 1/σ of each group.
# fmt: off
_group_norm = Primitive("group_norm", "x weight bias * groups eps", wants_floats=True,
                        joint=lambda g, x, weight, bias, aux, groups:
                        call("group_norm_grads", g, x, weight, bias, aux, groups=groups),
                        forward=lambda tangents, x, weight, aux, groups:
                        call("group_norm_tangent", *tangents, x, weight, aux, groups=groups),
                        reference=_plain_group_norm)
_group_norm_silu = Primitive("group_norm_silu",
                             "x weight bias scale shift skip * groups eps",
                             wants_floats=True,
                             joint=_group_norm_silu_rule,
                             forward=_group_norm_silu_forward,
                             reference=_plain_group_norm_silu)
# fmt: on


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Each sample's groups of channels at mean 0 and variance 1, then · weight + bias.

    weight and bias are (channels,) (Wu & He 2018). Raises ValueError if `groups` does
    not divide the channels, or if the shapes do not fit.
    """
    _check_shapes("group_norm", x.shape, groups, weight.shape, bias.shape)
    return _group_norm(x, weight, bias, groups=groups, eps=eps)


def group_norm_silu(
    x: Any,
    groups: int,
    weight: Any,
    bias: Any,
    scale: Any = None,
    shift: Any = None,
    skip: Any = None,
    eps: float = 1e-5,
) -> Any:
    """silu(group_norm(x) · (1 + scale) + shift) + skip in one pass.

    scale and shift (batch, channels) are the same for all of a sample's pixels (Perez et al. 2018,
    arXiv 1709.07871). skip, like x, is what goes around the layers that end here. Each may be
    None. Raises ValueError as `group_norm` does.
    """
    own_shapes = (None if part is None else part.shape for part in (scale, shift, skip))
    _check_shapes("group_norm_silu", x.shape, groups, weight.shape, bias.shape, *own_shapes)
    return _group_norm_silu(x, weight, bias, scale, shift, skip, groups=groups, eps=eps)


def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, eps: float = 1e-5
) -> Any:
    """Mean 0 and variance 1 over `axis` (an int or a tuple), then · weight + bias.

    weight and bias are broadcast to x (Ba et al. 2016).
    """
    x, weight, bias = as_floats(x, weight, bias)
    centred = x - mean(x, axis=axis, keepdims=True)
    variance = mean(centred * centred, axis=axis, keepdims=True)
    return _scale_and_shift(centred / (variance + eps) ** 0.5, weight, bias)


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Mean 0 and variance 1 for each sample and channel, then · weight + bias.

    weight and bias are (channels,) (Ulyanov et al. 2016).
    """
    positions = tuple(range(1, len(x.shape) - 1))
    return layer_norm(x, weight, bias, positions, eps)


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """Each channel by the mean and variance given, or by its own in this batch if there are none.

    All four arrays are (channels,) (Ioffe & Szegedy 2015).
    """
    if running_mean is None:
        all_but_channels = tuple(range(len(x.shape) - 1))
        return layer_norm(x, weight, bias, all_but_channels, eps)
    arrays = as_floats(x, running_mean, running_var, weight, bias)
    x, running_mean, running_var, weight, bias = arrays
    return _scale_and_shift((x - running_mean) / (running_var + eps) ** 0.5, weight, bias)


def rms_norm(x: Any, weight: Any = None, axis: Any = -1, eps: float = 1e-5) -> Any:
    """x over the root of its mean square along `axis`, then · weight (Zhang & Sennrich 2019)."""
    x, weight = as_floats(x, weight)
    mean_square = mean(x * x, axis=axis, keepdims=True)
    return _scale_and_shift(x / (mean_square + eps) ** 0.5, weight, None)


def _scale_and_shift(x, weight, bias):
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@lru_cache(1024)  # a network asks about the same few shapes again and again
def _check_shapes(operation, x, groups, weight, bias, scale=None, shift=None, skip=None):
    if len(x) < 2:
        raise ValueError(f"{operation}: given x {x}, wanted (batch, …, channels)")
    channels = x[-1]
    whole("groups", groups)
    if groups < 1 or channels % groups:
        raise ValueError(
            f"groups: given {groups}, wanted a divisor of the {channels} channels of x {x}"
        )
    for name, shape in (("weight", weight), ("bias", bias)):
        if shape != (channels,):
            raise ValueError(
                f"{operation}: given {name} {shape}, wanted ({channels},), one per channel of x {x}"
            )
    for name, shape in (("scale", scale), ("shift", shift)):
        if shape not in (None, (x[0], channels)):
            raise ValueError(
                f"{operation}: given {name} {shape}, wanted ({x[0]}, {channels}), "
                "(batch, channels) of x"
            )
    if skip not in (None, x):
        raise ValueError(f"{operation}: given skip {skip}, wanted {x}, the shape of x")
