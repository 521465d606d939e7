"""What the output of a network means: which schedule it was trained on, and what it predicts.

Weights are of no use without it, so a model keeps it: `loss` notes it on the model, `save` and
`load` carry it along, `denoiser` reads it, and nobody types it twice.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import checks, first_guesses
from ..kernels import Array
from .paths import Path
from .per_sample import weighted_sum
from .prediction import Denoise
from .schedule import Schedule, check_schedule

PREDICTS = ("noise", "x0", "v")  # on any path; "velocity" on the straight one


@dataclass(frozen=True)
class Parameterization:
    """A schedule, and what a network trained on it predicts of x_t = alpha x_0 + sigma noise.

    `predicts` is one of

    - "noise", "x0";
    - "v": alpha noise - sigma x_0 (Salimans & Ho 2022, arXiv 2202.00512); on a `Path` this divided
      by sqrt(alpha² + sigma²), so that its size does not depend on the path;
    - "velocity": noise - x_0, which is dx_t / dsigma where alpha + sigma = 1: on a
      `straight_schedule`, and nowhere else (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023,
      arXiv 2209.03003).

    With `learned_variance` the network's last axis is twice x's: the second half
    places the variance between beta-tilde and beta (Nichol & Dhariwal 2021, arXiv 2102.09672, eq.
    15). `sample_shape` is the shape of one of the samples that it was trained on, where that is
    known; it counts for nothing in a comparison. Raises ValueError for another name, for predicting
    noise where alpha_bar_T = 0, and the velocity where alpha + sigma is not 1.
    """

    schedule: Schedule
    predicts: str = "noise"
    learned_variance: bool = False
    sample_shape: tuple[int, ...] | None = field(default=None, compare=False)

    def __post_init__(self):
        check_schedule(self.schedule)
        if isinstance(self.predicts, str) and self.predicts in first_guesses.PREDICTED:
            word = first_guesses.PREDICTED[self.predicts]
            raise ValueError(f"predicts: given {self.predicts!r}, wanted {word!r}, as it is called")
        checks.among("predicts", self.predicts, (*PREDICTS, "velocity"))
        if self.predicts == "velocity" and not self.schedule.is_straight:
            raise ValueError(
                "predicts: given 'velocity', wanted 'v': noise - x_0 is the velocity where alpha + "
                "sigma = 1, as in diffusion.straight_schedule(1000)"
            )
        if self.predicts == "noise" and self.schedule.alpha_bar[-1] == 0:
            others = "'velocity', 'x0' or 'v'" if self.schedule.is_straight else "'x0' or 'v'"
            raise ValueError(
                f"predicts: given 'noise', wanted {others}: "
                "at alpha_bar_T = 0 the noise does not tell x_0"
            )
        if self.sample_shape is not None:
            sizes = tuple(checks.whole("sample_shape", size) for size in self.sample_shape)
            object.__setattr__(self, "sample_shape", sizes)

    def target(self, x0: Array, noise: Array, alpha: Any, sigma: Any) -> Array:
        """What the network is to give for x_t = alpha x0 + sigma noise."""
        if self.predicts == "noise":
            return noise
        if self.predicts == "x0":
            return x0
        if self.predicts == "velocity":
            return noise - x0
        alpha, sigma, _ = self._normalised(alpha, sigma)
        return weighted_sum(alpha, noise, -sigma, x0)

    def x0_and_noise(self, x: Array, alpha: Any, sigma: Any, output: Array) -> tuple[Array, Array]:
        """The predicted x_0 and noise of x_t, from what the network gave."""
        if self.predicts == "noise":
            return weighted_sum(1 / alpha, x, -sigma / alpha, output), output
        if self.predicts == "x0":
            return output, (x - alpha * output) / sigma
        if self.predicts == "velocity":
            return x - sigma * output, x + alpha * output
        alpha, sigma, x = self._normalised(alpha, sigma, x)
        x0 = weighted_sum(alpha, x, -sigma, output)
        noise = weighted_sum(sigma, x, alpha, output)
        return x0, noise

    def _normalised(self, alpha: Any, sigma: Any, x: Any = 0.0) -> tuple[Any, Any, Any]:
        """All three over sqrt(alpha² + sigma²), where that is not 1: see `Schedule.norm`."""
        if not isinstance(self.schedule, Path):
            return alpha, sigma, x
        norm = (alpha**2 + sigma**2) ** 0.5
        return alpha / norm, sigma / norm, x / norm

    def split(self, output: Any, x: Array) -> tuple[Any, Any]:
        """A network's output (array or Tensor) as its prediction and the variance's position.

        The position is None where none is learned. Raises ValueError for another shape than x's, or
        than x's with twice its channels where the variance is learned.
        """
        channels = x.shape[-1]
        shape = (*x.shape[:-1], 2 * channels) if self.learned_variance else x.shape
        if output.shape != shape:
            why = "twice the channels of x" if self.learned_variance else "the shape of x"
            raise ValueError(
                f"model: given an output of shape {output.shape}, wanted {shape}, {why}"
            )
        if not self.learned_variance:
            return output, None
        return output[..., :channels], output[..., channels:]


def parameterization_of(
    model: Any,
    schedule: Schedule | None = None,
    predicts: str | None = None,
    learned_variance: bool | None = None,
    sample_shape: tuple[int, ...] | None = None,
) -> Parameterization:
    """The model's own parameterisation, or, where it has none, a new one of the arguments.

    Where neither knows the shape of a sample, the model's `sample_shape` tells it, if there is one.
    Raises ValueError for an argument that differs from the model's own, for no schedule at all, and
    for a schedule of another T than the model's `timesteps`.
    """
    own = getattr(model, "parameterization", None)
    if sample_shape is None:
        sample_shape = getattr(model, "sample_shape", None)
    if own is None:
        made = _from_arguments(model, schedule, predicts, learned_variance)
        return replace(made, sample_shape=sample_shape)
    arguments = {
        "schedule": schedule,
        "predicts": predicts,
        "learned_variance": learned_variance,
    }
    for name, argument in arguments.items():
        kept = getattr(own, name)
        if argument is not None and argument != kept:
            raise ValueError(f"{name}: given {argument!r}, wanted the model's own, {kept!r}")
    if own.sample_shape is None and sample_shape is not None:
        return replace(own, sample_shape=sample_shape)
    return own


def _from_arguments(model, schedule, predicts, learned_variance) -> Parameterization:
    """What the arguments say, where the model says nothing."""
    if isinstance(model, Denoise):
        raise TypeError("model: given a Denoise, wanted a network: a Denoise is used as it is")
    checks.function_of("model", model, "x, t, condition")
    if schedule is None:
        raise ValueError(
            "schedule: given None, wanted a Schedule: this model was not trained by diffusion.loss "
            "and keeps none; type diffusion.denoiser(model, schedule)"
        )
    predicts = "noise" if predicts is None else predicts
    made = Parameterization(schedule, predicts, bool(learned_variance))
    timesteps = getattr(model, "timesteps", None)
    if timesteps not in (None, schedule.timesteps):
        raise ValueError(
            f"schedule: given T = {schedule.timesteps}, wanted T = {timesteps}, "
            "the model's `timesteps`"
        )
    alpha_bar = getattr(model, "alpha_bar", None)
    if alpha_bar is not None and not np.allclose(alpha_bar, schedule.alpha_bar, atol=1e-6):
        raise ValueError(
            "schedule: given another than the model's own, wanted the one whose `alpha_bar` the "
            "model was made of"
        )
    # A model that has an alpha_bar scales what it is given and what it gives, for one of two.
    is_for_velocity = getattr(model, "predicts", None) == "velocity"
    is_on_a_path = isinstance(schedule, Path) or is_for_velocity
    if alpha_bar is not None and is_on_a_path and not (is_for_velocity and predicts == "velocity"):
        wanted = "the velocity" if is_for_velocity else "a schedule that preserves the variance"
        raise ValueError(
            f"predicts: given {predicts!r} on {schedule}, wanted {wanted}, which the model is made "
            f"for: on a straight path type {type(model).__name__}(alpha_bar, predicts='velocity')"
        )
    return made
