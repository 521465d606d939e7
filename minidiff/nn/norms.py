"""Normalisations as layers; channels are the last axis.

`ops/norms.py` says what they compute.
"""

from functools import partial
from typing import Any

import numpy as np

from .. import checks, ops
from ..autograd.tensor import Tensor, as_tensor, no_grad
from ..kernels import Array
from ..ops.elementwise import as_floats
from ..tape.tape import in_turn
from .layers import parameter
from .module import Module


class GroupNorm(Module):
    """Groups of channels brought to mean 0 and variance 1 in each sample, then scaled and shifted.

    The scale starts as 1, the shift as 0. Raises ValueError if `groups` does not divide the
    channels. Source: Wu & He 2018, arXiv 1803.08494.
    """

    def __init__(self, groups: int, channels: int):
        checks.whole("groups", groups, 1)
        checks.sizes(channels=channels)
        if channels % groups:
            raise ValueError(
                f"channels: given {channels}, wanted a multiple of the {groups} groups"
            )
        self.groups = groups
        self.weight = parameter(np.ones(channels))
        self.bias = parameter(np.zeros(channels))

    def __call__(self, x: Any) -> Tensor:
        return ops.group_norm(x, self.groups, self.weight, self.bias)


class GroupNormSilu(GroupNorm):
    """silu(group_norm(x) · (1 + scale) + shift) + skip as one operation.

    `scale` and `shift` (batch, channels) are the same for all pixels, `skip` is like x; each may be
    left out.
    """

    def __call__(self, x: Any, scale: Any = None, shift: Any = None, skip: Any = None) -> Tensor:
        return ops.group_norm_silu(x, self.groups, self.weight, self.bias, scale, shift, skip)


class LayerNorm(Module):
    """The last axes at mean 0 and variance 1, then scaled and shifted.

    `shape` is that of the last axes, or the length of the last one. The scale starts as 1, the
    shift as 0. Source: Ba et al. 2016, arXiv 1607.06450.
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5):
        shape = _sizes("shape", shape)
        self.axes = tuple(range(-len(shape), 0))
        self.eps = checks.among("eps", eps, checks.Between(0, ends="[)"))
        self.weight = parameter(np.ones(shape))
        self.bias = parameter(np.zeros(shape))

    def __call__(self, x: Any) -> Tensor:
        _check_last_axes(self, x)
        return ops.layer_norm(x, self.weight, self.bias, self.axes, self.eps)


class RMSNorm(Module):
    """The last axes over the root of their mean square, then scaled; see `LayerNorm`.

    Source: Zhang & Sennrich 2019, arXiv 1910.07467.
    """

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5):
        shape = _sizes("shape", shape)
        self.axes = tuple(range(-len(shape), 0))
        self.eps = checks.among("eps", eps, checks.Between(0, ends="[)"))
        self.weight = parameter(np.ones(shape))

    def __call__(self, x: Any) -> Tensor:
        _check_last_axes(self, x)
        return ops.rms_norm(x, self.weight, self.axes, self.eps)


class BatchNorm2d(Module):
    """Each channel at mean 0 and variance 1 over all images of the batch, then scaled and shifted.

    x is (batch, height, width, channels). In training the mean and the variance are the batch's
    own, and the buffers `running_mean` and `running_var` move towards them by the share `momentum`
    (the variance with n − 1 in its denominator). After `eval()` the buffers take their place.

    Inside `sharded`, and so in `diffusion.loss`, every piece is normalised by its own mean and
    variance ("ghost batch normalization", Hoffer et al. 2017, arXiv 1705.08741), and the buffers
    follow the pieces in their order.

    Raises ValueError for another number of axes or channels, and in training for one number a
    channel, which has no variance. Source: Ioffe & Szegedy 2015, arXiv 1502.03167.
    """

    shapes = {4: "(batch, height, width, channels)"}
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1):
        checks.sizes(channels=channels)
        self.eps = checks.among("eps", eps, checks.Between(0, ends="[)"))
        self.momentum = checks.among("momentum", momentum, checks.Between(0, 1))
        self.weight = parameter(np.ones(channels))
        self.bias = parameter(np.zeros(channels))
        self.register_buffer("running_mean", np.zeros(channels, np.float32))
        self.register_buffer("running_var", np.ones(channels, np.float32))

    def __call__(self, x: Any) -> Tensor:
        if len(x.shape) not in self.shapes or x.shape[-1:] != self.weight.shape:
            wanted = " or ".join(self.shapes.values())
            raise ValueError(
                f"x: given shape {tuple(x.shape)}, wanted {wanted} with {self.weight.size} channels"
            )
        x, _ = as_floats(x, self.weight)
        if self.training:
            mean, var = self._of_batch(x)
        else:
            dtype = self.weight.dtype  # the buffers' may be another one, which is not trained
            mean = self.running_mean.astype(dtype)
            var = self.running_var.astype(dtype)
        return ops.batch_norm(x, mean, var, self.weight, self.bias, self.eps)

    def _of_batch(self, x: Any) -> tuple[Any, Any]:
        """The batch's own mean and variance, which the buffers move towards."""
        axes = tuple(range(len(x.shape) - 1))
        count = x.size // x.shape[-1]
        if count < 2:
            raise ValueError(
                f"x: given shape {tuple(x.shape)}, wanted at least 2 numbers a channel in "
                f"training; type model.eval() to draw with it"
            )
        mean = ops.mean(x, axis=axes)
        var = ops.var(x, axis=axes)
        unbiased = as_tensor(var).data * (count / (count - 1))
        in_turn(partial(self._move_towards, as_tensor(mean).data, unbiased))
        return mean, var

    def _move_towards(self, mean: Array, var: Array) -> None:
        with no_grad():
            for name, of_batch in ("running_mean", mean), ("running_var", var):
                running = getattr(self, name)
                towards = ops.astype(of_batch, running.dtype) - running
                setattr(self, name, running + towards * self.momentum)


class BatchNorm1d(BatchNorm2d):
    """`BatchNorm2d` for rows x (batch, channels) and sequences (batch, positions, channels)."""

    shapes = {2: "(batch, channels)", 3: "(batch, positions, channels)"}


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    """One size, or several, as a tuple; ValueError unless all are integers of at least 1."""
    shape = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not shape:
        raise ValueError(f"{name}: given {value!r}, wanted at least one size")
    return checks.sizes(**{f"{name}[{i}]": size for i, size in enumerate(shape)})


def _check_last_axes(layer: Any, x: Any) -> None:
    shape = layer.weight.shape
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted (…, {str(shape)[1:-1]})")
