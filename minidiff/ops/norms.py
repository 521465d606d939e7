"""Normalisation over channels, samples or both; x is (batch, …, channels)."""

from functools import lru_cache
from typing import Any

from ..autograd.primitive import Primitive
from ..kernels import call
from .elementwise import silu
from .products import matmul
from .reductions import mean
from .shapes import reshape


def _plain_group_norm(x, weight, bias, groups, eps):
    parts = reshape(x, shape=(x.shape[0], -1, groups, x.shape[-1] // groups))
    return _scaled(reshape(layer_norm(parts, axis=(1, 3), eps=eps), shape=x.shape), weight, bias)


def _plain_group_norm_silu(x, weight, bias, e, v, c, skip, groups, eps):
    y = _plain_group_norm(x, weight, bias, groups, eps)
    y = y if e is None else y + reshape(matmul(e, v) + c, shape=(e.shape[0], *(1,) * (len(x.shape) - 2), c.shape[0]))
    return silu(y) if skip is None else silu(y) + skip


def _group_norm_silu_rule(g, x, weight, bias, e, v, c, aux, groups):
    return *call("group_norm_silu_grads", g, x, weight, bias, e, v, c, aux, groups=groups), g


_group_norm = Primitive(
    "group_norm", "x weight bias * groups eps", reference=_plain_group_norm,
    joint=lambda g, x, weight, bias, aux, groups: call("group_norm_grads", g, x, weight, bias, aux, groups=groups),
)  # fmt: skip
_group_norm_silu = Primitive("group_norm_silu", "x weight bias e v c skip * groups eps",
                             joint=_group_norm_silu_rule,
                             reference=_plain_group_norm_silu)  # fmt: skip


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Each sample's groups of channels brought to mean 0 and variance 1, then · weight + bias (Wu & He 2018).

    weight, bias (channels,). Raises ValueError if `groups` does not divide the channels.
    """
    _check(x.shape, groups, weight.shape, bias.shape)
    return _group_norm(x, weight, bias, groups=groups, eps=eps)


def group_norm_silu(x: Any, groups: int, weight: Any, bias: Any, e: Any = None, v: Any = None, c: Any = None,
                    skip: Any = None, eps: float = 1e-5) -> Any:  # fmt: skip
    """silu(group_norm(x) + e @ v + c) + skip: an embedding e shifts each sample's channels, all its pixels alike.

    e (batch, dim), v (dim, channels) and c (channels,) may be None together. skip, like x, is what goes around the
    layers that end here; it may be None. Raises ValueError if the shapes do not fit.
    """
    shapes = [None if part is None else part.shape for part in (e, v, c, skip)]
    _check(x.shape, groups, weight.shape, bias.shape, *shapes)
    return _group_norm_silu(x, weight, bias, e, v, c, skip, groups=groups, eps=eps)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, eps: float = 1e-5) -> Any:
    """Mean 0 and variance 1 over `axis` (an int or a tuple), then · weight + bias (Ba et al. 2016)."""
    centred = x - mean(x, axis=axis, keepdims=True)
    return _scaled(centred / (mean(centred * centred, axis=axis, keepdims=True) + eps) ** 0.5, weight, bias)


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Mean 0 and variance 1 for each sample and channel, then · weight + bias (Ulyanov et al. 2016)."""
    return layer_norm(x, weight, bias, tuple(range(1, len(x.shape) - 1)), eps)


def batch_norm(x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Any:  # fmt: skip
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
def _check(x, groups, weight, bias, e=None, v=None, c=None, skip=None):
    """Of shapes: a network asks for the same few again and again."""
    n = x[-1]
    if groups < 1 or n % groups or weight != (n,) or bias != (n,):
        raise ValueError(f"group_norm: groups={groups} must divide the {n} channels of x {x}, and weight and bias be "
                         f"({n},); got {weight} and {bias}")  # fmt: skip
    shifts = (e, v, c) == (None,) * 3 or (e and len(e) == 2 and (e[0], v, c) == (x[0], (e[1], n), (n,)))
    if not shifts or skip not in (None, x):
        raise ValueError(f"group_norm_silu: x {x} wants e ({x[0]}, dim), v (dim, {n}) and c ({n},), or none of them, "
                         f"and skip like x; got {e}, {v}, {c} and {skip}")  # fmt: skip
