"""What all samplers share: how they are called, what a step is, and the clipping of a predicted x_0."""

import functools
import inspect
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import numpy as np

from ..kernels import Array, namespace
from .denoise import Denoise, Denoiser, FreeNoise, Prediction, noise_from_x0
from .process import as_condition, check_data, draw_noise
from .schedule import Schedule, check_times

Clip = Callable[[Array], Array]


class Between(NamedTuple):
    """The numbers from low to high, as a container."""

    low: float
    high: float

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high

    def __repr__(self) -> str:
        return f"a number from {self.low} to {self.high}"


class Step(NamedTuple):
    """The time reached, x there, and the x_0 that was predicted on the way."""

    t: float
    x: Array
    x0: Array


class Walk:
    """One walk along a denoiser: everything in the call of a sampler that does not change from step to step."""

    def __init__(
        self, name, free_noise, denoise: Denoise, schedule: Schedule, x, condition, times, rng, clip
    ):
        own = denoise.schedule if isinstance(denoise, Denoiser) else schedule
        if not np.array_equal(own.alpha_bar, schedule.alpha_bar):
            raise ValueError(
                f"schedule: given one of T = {schedule.timesteps}, wanted the denoiser's own, of T = "
                f"{own.timesteps}: their alpha_bar differ"
            )
        self.name, self.free_noise, self.denoise, self.schedule = (
            name,
            free_noise,
            denoise,
            schedule,
        )
        self.condition = as_condition(condition, x.shape[0])
        self.times, self.rng, self.clip = check_times(schedule, times), rng, as_clip(clip)

    def predict(self, x: Array, t: float) -> Prediction:
        """The prediction at (x, t), its x_0 clipped and its noise derived anew from that (CFG++'s is left alone)."""
        prediction = self.denoise(x, np.full(x.shape[0], t), self.condition)
        free = isinstance(prediction, FreeNoise)
        if free and not self.free_noise:
            asked = f"wanted another rule, or ddim, euler or euler_ancestral: {self.name} steps by one of the two alone"
            raise ValueError(
                f"denoise: given CFG++, whose noise does not follow from its x_0; {asked}"
            )
        if self.clip is None:
            return prediction
        x0 = self.clip(prediction.x0)
        noise = prediction.noise if free else noise_from_x0(self.schedule, x, t, x0)
        return prediction._replace(x0=x0, noise=noise)

    def noise(self, x: Array) -> Array:
        return draw_noise(self.rng, x)


def sampler(free_noise: bool = False, **wanted: Container) -> Callable:
    """Makes a public sampler of a generator function (walk: Walk, x, **options) -> Step, Step, …

    The call is checked at once, before the first step. `free_noise` says that the sampler uses x_0
    and noise both, as CFG++ needs; `wanted` says for options which values they may have.
    """

    def make(function: Callable) -> Callable:
        @functools.wraps(function)
        def public(
            denoise, schedule, x, condition=None, times=None, rng=None, clip=None, **options
        ):
            for name in wanted.keys() & options.keys():
                if options[name] not in wanted[name]:
                    raise ValueError(f"{name}: given {options[name]!r}, wanted {wanted[name]}")
            check_data(x, "x")
            walk = Walk(
                function.__name__, free_noise, denoise, schedule, x, condition, times, rng, clip
            )
            return function(walk, x, **options)

        shown = list(inspect.signature(public, follow_wrapped=False).parameters.values())[:-1]
        own = list(inspect.signature(function).parameters.values())[2:]
        public.__signature__ = inspect.Signature(shown + own)  # type: ignore[attr-defined]
        return public

    return make


# --- the samplers' argument `clip` ---


def as_clip(clip: Any) -> Clip | None:
    """None (or False) for nothing, True for [-1, 1], a number c for [-c, c], a pair (low, high), or
    a function.

    Raises ValueError for anything else.
    """
    if clip is None or clip is False or callable(clip):
        return clip if callable(clip) else None
    ends = np.asarray(1.0 if clip is True else clip)
    numbers = ends.dtype.kind in "iuf" and ends.shape in ((), (2,))
    low, high = (
        np.broadcast_to(ends, 2) * ((-1, 1) if ends.ndim == 0 else (1, 1)) if numbers else (0, 0)
    )
    if not low < high:
        raise ValueError(
            f"clip: given {clip!r}, wanted None, True, a number > 0, a pair low < high, or a function"
        )
    return lambda x0: namespace(x0).clip(x0, float(low), float(high))


def dynamic_threshold(share: float = 0.995) -> Clip:
    """A `clip`: x_0 is clipped to [-c, c] and divided by c, the quantile `share` of its |x_0| per
    sample, at least 1.

    Source: Saharia et al. 2022 (Imagen), arXiv 2205.11487, section 2.3.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: given {share}, wanted a quantile in (0, 1]")

    def clip(x0: Array) -> Array:
        xp, axes = namespace(x0), tuple(range(1, x0.ndim))
        c = xp.maximum(xp.quantile(xp.abs(x0), share, axis=axes, keepdims=True), 1.0).astype(
            x0.dtype
        )
        return xp.clip(x0, -c, c) / c

    return clip
