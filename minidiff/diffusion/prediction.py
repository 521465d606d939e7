"""What a denoiser says about x_t: the x_0 and the noise that x_t is made of.

Every sampler and every guidance rule works on one kind of function, `Denoise`:

    (x_t, t, condition) -> Prediction(x0, noise)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..kernels import Array
from .per_sample import weighted_sum
from .schedule import Schedule


class Prediction(NamedTuple):
    """The predicted x_0 and noise of x_t = alpha x0 + sigma noise, in x_t's shape and dtype.

    `log_variance` is the log of the predicted variance of x_{t-1} given x_t, elementwise, where
    there is one.
    """

    x0: Array
    noise: Array
    log_variance: Array | None = None


class FreeNoise(Prediction):
    """A prediction whose noise does not follow from its x0 (CFG++): clipping x0 leaves it alone."""

    __slots__ = ()


@dataclass(frozen=True)
class Denoise:
    """A function (x_t, t, condition) -> Prediction, with the schedule that t and x_t belong to.

    x_t is (batch, ...); t one host number or (batch,), in 0 … T; the condition None (null), labels
    (batch,) on the host, or vectors (batch, d). `denoiser` makes one of a network,
    `exact.GaussianMixture` needs none, and a plain function becomes one by Denoise(function,
    schedule).
    """

    function: Callable[[Array, Any, Any], Prediction]
    schedule: Schedule

    def __call__(self, x: Array, t: Any, condition: Any = None) -> Prediction:
        return self.function(x, t, condition)


def check_denoise(denoise: Any, name: str = "denoise") -> None:
    """Raise TypeError, saying what to type, for anything but a Denoise."""
    if not isinstance(denoise, Denoise):
        raise TypeError(
            f"{name}: given {type(denoise).__name__}, wanted a Denoise: "
            "type diffusion.denoiser(model) for a network, "
            "diffusion.Denoise(function, schedule) for a plain function"
        )


def noise_from_x0(schedule: Schedule, x: Array, t: Any, x0: Array) -> Array:
    """noise = (x_t - alpha x_0) / sigma."""
    alpha, sigma = schedule.alpha_sigma(t, x)
    return (x - alpha * x0) / sigma


def x0_from_noise(schedule: Schedule, x: Array, t: Any, noise: Array) -> Array:
    """x_0 = (x_t - sigma noise) / alpha.

    Raises ValueError where alpha_bar = 0: there x_t says nothing of x_0.
    """
    if np.any(schedule.alpha_bar_at(t) == 0):
        raise ValueError(
            f"t: given {t}, where alpha_bar = 0; wanted a time at which the noise tells x_0"
        )
    alpha, sigma = schedule.alpha_sigma(t, x)
    return weighted_sum(1 / alpha, x, -sigma / alpha, noise)
