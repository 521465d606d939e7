"""What a network says about x_t, in one form whatever it was trained to predict: x_0 and the noise.

Every sampler and every guidance rule works on the one signature `Denoise`: (x_t, t, condition) ->
Prediction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..autograd.tensor import Tensor
from ..autograd.threads import sharded
from ..kernels import Array
from ..nn import Module
from .process import as_condition, blend, per_sample, signal_and_noise
from .schedule import Schedule


class Prediction(NamedTuple):
    """The predicted x_0 and noise, with x_t = alpha x0 + sigma noise; each in x_t's shape and
    dtype.

    `log_variance` is the log of the predicted variance of x_{t-1} given x_t, elementwise, where
    there is one.
    """

    x0: Array
    noise: Array
    log_variance: Array | None = None


class FreeNoise(Prediction):
    """A prediction whose noise does not follow from its x0 (CFG++): it is left alone when x0 is clipped."""

    __slots__ = ()


# (x_t, t, condition); condition None is null
Denoise = Callable[[Array, Any, Array | None], Prediction]


@dataclass(frozen=True)
class Denoiser:
    """A `Denoise` that carries its schedule, which some guidance rules need."""

    function: Denoise
    schedule: Schedule

    def __call__(self, x: Array, t, condition: Array | None = None) -> Prediction:
        return self.function(x, t, condition)


def schedule_of(denoise: Denoise) -> Schedule:
    """The schedule that a Denoise carries. Raises TypeError for a plain function."""
    if not isinstance(denoise, Denoiser):
        raise TypeError(
            "denoise: given a plain function, wanted one with a schedule, such as Denoiser(f, schedule)"
        )
    return denoise.schedule


def noise_from_x0(schedule: Schedule, x: Array, t, x0: Array) -> Array:
    """noise = (x_t - alpha x_0) / sigma."""
    alpha, sigma = signal_and_noise(schedule, t, x)
    return (x - alpha * x0) / sigma


def x0_from_noise(schedule: Schedule, x: Array, t, noise: Array) -> Array:
    """x_0 = (x_t - sigma noise) / alpha. Raises ValueError where alpha_bar = 0: there x_t says nothing of x_0."""
    if np.any(schedule.alpha_bar_at(t) == 0):
        raise ValueError(
            f"t: given {t}, where alpha_bar = 0; wanted a time at which the noise tells x_0"
        )
    alpha, sigma = signal_and_noise(schedule, t, x)
    return blend(1 / alpha, x, -sigma / alpha, noise)


PREDICTS = ("noise", "x0", "v")


def as_prediction(predicts: str, schedule: Schedule, x: Array, t, output: Array) -> Prediction:
    """x_0 and the noise from a network's output; v = alpha noise - sigma x_0 (Salimans & Ho 2022, arXiv 2202.00512)."""
    if predicts == "noise":
        return Prediction(x0_from_noise(schedule, x, t, output), output)
    if predicts == "x0":
        return Prediction(output, noise_from_x0(schedule, x, t, output))
    alpha, sigma = signal_and_noise(schedule, t, x)
    return Prediction(blend(alpha, x, -sigma, output), blend(sigma, x, alpha, output))


def check_predicts(predicts: str, schedule: Schedule) -> None:
    """Raise ValueError for an unknown parameterisation, or one that the schedule rules out."""
    if predicts not in PREDICTS:
        raise ValueError(f"predicts: given {predicts!r}, wanted one of {PREDICTS}")
    if predicts == "noise" and schedule.alpha_bar[-1] == 0:
        raise ValueError(
            "predicts: given 'noise', wanted 'x0' or 'v': at alpha_bar_T = 0 the noise does not tell x_0"
        )


def variance_range(schedule: Schedule, t, s=None) -> tuple[np.ndarray, np.ndarray]:
    """log of the smallest and largest sensible variance of x_s given x_t: beta-tilde and beta; s =
    t - 1 unless given.

    beta-tilde is 0 where s = 0; there its value for the step from 2 to 1 stands in (Nichol &
    Dhariwal 2021, 3.1).
    """
    t = np.asarray(t)
    s = np.maximum(t - 1, 0) if s is None else np.asarray(s)
    second = min(2, schedule.timesteps)
    now = schedule.alpha_bar_at(np.where(s == 0, np.maximum(t, second), t))
    before = schedule.alpha_bar_at(np.where(s == 0, second - 1, s))
    small = (1 - now / before) * (1 - before) / (1 - now)
    large = 1 - schedule.alpha_bar_at(t) / schedule.alpha_bar_at(s)
    return np.log(np.maximum(small, 1e-20)), np.log(large)


def log_variance_of(p: Prediction, variance: str, schedule: Schedule, t: float, s: float) -> Any:
    """The log of the variance of x_s given x_t: "small", "large" (floats), or "learned", the
    prediction's own.

    A learned one is for s = t - 1; for another s it keeps its place between the two others
    (2102.09672, section 4).
    """
    small, large = map(float, variance_range(schedule, t, s))
    if variance != "learned":
        return small if variance == "small" else large
    if p.log_variance is None:
        raise ValueError(
            "variance: given 'learned', but the denoiser predicts none; wanted 'small' or 'large'"
        )
    low, high = map(float, variance_range(schedule, t))
    return (p.log_variance - low) * ((large - small) / (high - low)) + small


def split_output(output: Any, x: Array, learned_variance: bool) -> tuple[Any, Any]:
    """What a network gave (array or Tensor) as the prediction and the variance's place, or None
    where none is learned.

    Raises ValueError for another shape than x's, or twice its channels with a learned variance.
    """
    channels = x.shape[-1]
    wanted = (*x.shape[:-1], channels * (1 + learned_variance))
    if output.shape != wanted:
        why = "the shape of x" + ", with twice its channels for the variance" * learned_variance
        raise ValueError(f"model: gave shape {output.shape}, wanted {wanted}, {why}")
    return (output[..., :channels], output[..., channels:]) if learned_variance else (output, None)


def log_variance_at(schedule: Schedule, x: Array, t, place: Any) -> Any:
    """The log-variance at `place`, an array or a Tensor like x: -1 is beta-tilde, 1 is beta (2102.09672, eq. 15)."""
    low, high = (per_sample(bound, x) for bound in variance_range(schedule, t))
    return (place + 1) * (0.5 * (high - low)) + low


def denoiser(
    model: Callable, schedule: Schedule, predicts: str = "noise", learned_variance: bool = False
) -> Denoise:
    """The Denoise of a network: run in eval mode without a tape, its mode restored afterwards;
    arrays out.

    `model(x, t, condition)` is a Module or any function on arrays; t is (batch,) on the host; what
    it gives is cast to x's dtype. `predicts` is "noise", "x0" or "v", what it was trained for (see
    `loss`). With `learned_variance` its last axis is twice x's: the second half places the variance
    between beta-tilde and beta (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15). Raises
    ValueError for an unknown parameterisation, noise prediction where alpha_bar_T = 0, an output of
    another shape, and from the model itself for labels and times out of its range.
    """
    check_predicts(predicts, schedule)

    def denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        signal_and_noise(schedule, t, x)  # a wrong t is refused here, before the model sees it
        output = _evaluated(
            model, x, np.broadcast_to(t, x.shape[:1]), as_condition(condition, x.shape[0])
        )
        output = (output.data if isinstance(output, Tensor) else output).astype(x.dtype, copy=False)
        output, place = split_output(output, x, learned_variance)
        log_variance = log_variance_at(schedule, x, t, place) if learned_variance else None
        return as_prediction(predicts, schedule, x, t, output)._replace(log_variance=log_variance)

    return Denoiser(denoise, schedule)


def _evaluated(model: Callable, *inputs: Any) -> Any:
    """The model's output: a Module's in eval mode, without a tape, in pieces of the batch on all threads."""
    if not isinstance(model, Module):
        return model(*inputs)
    with model.evaluating():
        return sharded(model)(*inputs)
