"""What all samplers share: how they are called, what a step is, and what is asked at each time."""

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import checks
from ...kernels import Array, namespace, on_a_device
from ...nn import Module
from ..grids import falling_times
from ..network import as_denoise
from ..per_sample import Rng, RngOfSamples, as_condition, as_rng, check_samples, draw_noise
from ..prediction import Denoise, FreeNoise, Prediction, brief, noise_from_x0, one_by_one
from .clipping import as_clip


class Step(NamedTuple):
    """The time reached, x there, and the x_0 that was predicted on the way."""

    t: float
    x: Array
    x0: Array

    def __repr__(self) -> str:
        return f"Step({brief(**self._asdict())})"


class Walk:
    """One walk down the times: all that stays the same from step to step in a sampler's call."""

    def __init__(
        self,
        denoise: Denoise | Module,
        x: Array,
        condition: Any = None,
        times: Any = None,
        rng: Rng | int | Sequence[int] | None = None,
        clip: Any = "images",
        sampler: str = "",
        free_noise: bool = True,
    ):
        check_samples("x", x)
        self.denoise = as_denoise(denoise)
        self.schedule = self.denoise.schedule
        self.condition = as_condition(condition, len(x))
        self.times = falling_times(self.schedule, times)
        self.rng = as_rng(rng, len(x))
        self.clip = as_clip(clip, x)
        self.sampler = sampler
        self.free_noise = free_noise

    def predict(self, x: Array, t: float) -> Prediction:
        """The prediction at (x, t), its x_0 clipped and its noise derived anew from that.

        The noise of CFG++ does not follow from x_0: it is left alone, or CFG++ is refused.
        """
        with one_by_one(isinstance(self.rng, RngOfSamples)):
            prediction = self.denoise(x, np.full(x.shape[0], t), self.condition)
        is_free = isinstance(prediction, FreeNoise)
        if is_free and not self.free_noise:
            raise ValueError(
                "denoise: given CFG++, whose noise does not follow from its x_0; wanted another "
                "rule, or ddim, euler or euler_ancestral: "
                f"{self.sampler} steps by one of the two alone"
            )
        if self.clip is None:
            return prediction
        x0 = checks.gives("clip", self.clip(prediction.x0), x.shape, x.dtype)
        if is_free:
            return prediction._replace(x0=x0)
        return prediction._replace(x0=x0, noise=noise_from_x0(self.schedule, x, t, x0))

    def noise(self, x: Array) -> Array:
        """New standard normal noise like x."""
        return draw_noise(self.rng, x)


def _finite(steps: Iterator[Step], sampler: str) -> Iterator[Step]:
    """The steps; RuntimeError for the first whose x is not finite.

    On a device the error comes after the last step: to look at each would wait for it.
    """
    seen = []
    for step in steps:
        xp = namespace(step.x)
        is_finite = xp.all(xp.isfinite(step.x))
        if on_a_device(step.x):
            seen.append((step.t, is_finite))
        else:
            _check_finite(is_finite, sampler, step.t)
        yield step
    for t, is_finite in seen:
        _check_finite(is_finite, sampler, t)


def _check_finite(is_finite: Any, sampler: str, t: float) -> None:
    if not bool(is_finite):
        raise RuntimeError(
            f"{sampler}: given predictions that make NaN or infinity of x at t = {t:g}, "
            "wanted finite ones: type clip=1.5, say, to keep each predicted x_0 in "
            "[-1.5, 1.5], use more steps, or, for a network that predicts noise, train "
            "with predicts='v'"
        )


def sampler(free_noise: bool = False, **allowed: checks.Between | Collection) -> Callable:
    """Makes a public sampler of a generator function (walk: Walk, x, **options) -> Step, Step, …

    The call is checked at once, before the first step, and each step for NaN. `allowed` says for
    options which values they may have, and `free_noise` that the sampler uses x_0 and noise both,
    as CFG++ needs.
    """

    def make(function: Callable) -> Callable:
        called = function.__name__.lstrip("_")  # in errors

        @functools.wraps(function)
        def public(denoise, x, condition=None, times=None, rng=None, clip="images", **options):
            for name in allowed.keys() & options.keys():
                checks.among(name, options[name], allowed[name])
            walk = Walk(denoise, x, condition, times, rng, clip, called, free_noise)
            return _finite(function(walk, x, **options), called)

        shared = list(inspect.signature(public, follow_wrapped=False).parameters.values())[:-1]
        own = list(inspect.signature(function).parameters.values())[2:]
        public.__signature__ = inspect.Signature(shared + own)  # type: ignore[attr-defined]
        return public

    return make
