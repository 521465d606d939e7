"""Normalisation over channels, samples or both; x is (batch, …, channels)."""

import math
from functools import lru_cache
from typing import Any

from ..kernels import call
from ..tape.primitive import Primitive
from .elementwise import silu
from .reductions import mean
from .shapes import reshape


def _plain_group_norm(x, weight, bias, groups, eps):
    parts = reshape(x, shape=(x.shape[0], math.prod(x.shape[1:-1]), groups, x.shape[-1] // groups))
    return _scaled(reshape(layer_norm(parts, axis=(1, 3), eps=eps), shape=x.shape), weight, bias)


def _plain_group_norm_silu(x, weight, bias, shift, skip, groups, eps):
    y = _plain_group_norm(x, weight, bias, groups, eps)
    each = shift is not None and (shift.shape[0], *(1,) * (len(x.shape) - 2), shift.shape[1])
    y = silu(y + reshape(shift, shape=each) if each else y)
    return y if skip is None else y + skip


def _group_norm_silu_rule(g, x, weight, bias, shift, aux, groups):
    return *call("group_norm_silu_grads", g, x, weight, bias, shift, aux, groups=groups), g


_group_norm = Primitive(
    "group_norm", "x weight bias * groups eps", reference=_plain_group_norm,
    joint=lambda g, x, weight, bias, aux, groups: call("group_norm_grads", g, x, weight, bias, aux, groups=groups),
)  # fmt: skip
_group_norm_silu = Primitive("group_norm_silu", "x weight bias shift skip * groups eps",
                             joint=_group_norm_silu_rule,
                             reference=_plain_group_norm_silu)  # fmt: skip


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Each sample's groups of channels brought to mean 0 and variance 1, then · weight + bias (Wu &
    He 2018).

    weight, bias (channels,). Raises ValueError if `groups` does not divide the channels.
    """
    _check(x.shape, groups, weight.shape, bias.shape)
    return _group_norm(x, weight, bias, groups=groups, eps=eps)


def group_norm_silu(
    x: Any,
    groups: int,
    weight: Any,
    bias: Any,
    shift: Any = None,
    skip: Any = None,
    eps: float = 1e-5,
) -> Any:
    """silu(group_norm(x) + shift) + skip in one pass.

    shift (batch, channels) is the same for all of a sample's pixels; skip, like x, is what goes
    around the layers that end here. Both may be None.
    """
    _check(
        x.shape,
        groups,
        weight.shape,
        bias.shape,
        *(part if part is None else part.shape for part in (shift, skip)),
    )
    return _group_norm_silu(x, weight, bias, shift, skip, groups=groups, eps=eps)


def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, eps: float = 1e-5
) -> Any:
    """Mean 0 and variance 1 over `axis` (an int or a tuple), then · weight + bias (Ba et al. 2016)."""
    centred = x - mean(x, axis=axis, keepdims=True)
    return _scaled(
        centred / (mean(centred * centred, axis=axis, keepdims=True) + eps) ** 0.5, weight, bias
    )


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Mean 0 and variance 1 for each sample and channel, then · weight + bias (Ulyanov et al.

    2016).
    """
    return layer_norm(x, weight, bias, tuple(range(1, len(x.shape) - 1)), eps)


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """Each channel by the given mean and variance, or else its own in this batch (Ioffe & Szegedy 2015)."""
    if running_mean is None:
        return layer_norm(x, weight, bias, tuple(range(len(x.shape) - 1)), eps)
    return _scaled((x - running_mean) / (running_var + eps) ** 0.5, weight, bias)


def rms_norm(x: Any, weight: Any = None, axis: Any = -1, eps: float = 1e-5) -> Any:
    """x over the root of its mean square along `axis`, then · weight (Zhang & Sennrich 2019)."""
    return _scaled(x / (mean(x * x, axis=axis, keepdims=True) + eps) ** 0.5, weight, None)


def _scaled(x, weight, bias):
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


@lru_cache(1024)
def _check(x, groups, weight, bias, shift=None, skip=None):
    """Of shapes: a network asks for the same few again and again."""
    c = x[-1]
    if groups < 1 or c % groups or weight != (c,) or bias != (c,):
        raise ValueError(
            f"group_norm: groups={groups} must divide the {c} channels of x {x}, and weight and bias be "
            f"({c},); got {weight} and {bias}"
        )
    if shift not in (None, (x[0], c)) or skip not in (None, x):
        raise ValueError(
            f"group_norm_silu: shift must be (batch, channels) of x {x}, and skip like x; got {shift} and "
            f"{skip}"
        )
