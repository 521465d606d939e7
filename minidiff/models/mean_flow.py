"""The UNet that is told two times: it gives the mean velocity between them."""

from typing import Any

import numpy as np

from .. import nn, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from .inputs import as_images, as_times
from .unet import TimeAndCondition, UNet

FASTEST = 10.0  # radians that the fastest wave goes through from t = 0 to T; a UNet's: T radians


class IntervalAndCondition(TimeAndCondition):
    """As `TimeAndCondition`, for two times (t, r): half of the waves are of t, half of t − r.

    They are slow: the network learns from its own derivative for the time, and that of a fast wave
    is large, whatever the network makes of it.
    """

    def _made_waves(self, size: int, timesteps: int) -> nn.SinusoidalEmbedding:
        return nn.SinusoidalEmbedding(size // 2)

    def waves_of(self, t: Any, batch: int, like: Array) -> Any:
        """Of the two times (t, r), each one for all or one for each: (batch, size)."""
        t, r = t
        end = as_times(t, batch, self.timesteps)
        start = as_times(r, batch, self.timesteps, "r")
        length = end - start
        _check_forward(length)
        to_radians = FASTEST / self.timesteps
        waves = [self.waves.on_host(time * to_radians, like) for time in (end, length)]
        has_derivative = any(isinstance(part, Tensor) for part in waves)
        return (ops if has_derivative else np).concatenate(waves, axis=-1)


def _check_forward(length: Any) -> None:
    """ValueError for an interval that ends before it begins."""
    lengths = length.numpy() if isinstance(length, Tensor) else length
    if np.any(lengths < 0):
        raise ValueError(f"r: given one {-lengths.min():g} above t, wanted at most t")


class MeanFlowUNet(UNet):
    """The mean velocity of images x between the time t, where they are, and an earlier time r.

    It is called as model(x, t, condition=None, r=None); r is t unless given, and then it gives the
    velocity at t, as a `UNet` does. From t to r on the way to data, x moves by -(t - r) / T times
    what it gives. Both times are in 0 … timesteps = T, whole or real, r at most t; the paper's are
    t / T. Its arguments and its parameters are those of `UNet`. `diffusion.mean_flow` trains it and
    draws by it. Source: Geng et al. 2025, arXiv 2505.13447.
    """

    _embedding_type = IntervalAndCondition

    def __call__(self, x: Tensor | Array, t: Any, condition: Any = None, r: Any = None) -> Tensor:
        x = as_images(x, self.config["channels"], self.enter.weight)
        times = (t, t if r is None else r)
        return self._predicted(x, self.embedding(times, condition, x.shape[0]))
