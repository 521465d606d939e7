"""What all samplers share: checking the call, asking the denoiser, clipping its x_0."""

import functools
import inspect
from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...kernels import Array
from ..conditions import as_condition
from ..denoise import Denoise, FreeNoise, Prediction
from ..process import Rng, check_data, draw_noise
from ..schedule import Schedule, check_times
from ..thresholds import as_clip, clipped


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
    """One run of a sampler: everything in its call that does not change from step to step."""

    def __init__(self, name, free_noise, denoise, schedule, x, condition, times, rng, clip):
        check_data(x, "x")
        self.name, self.free_noise = name, free_noise
        self.denoise: Denoise = denoise
        self.schedule: Schedule = schedule
        self.condition = as_condition(condition, x.shape[0])
        self.times = check_times(schedule, times)
        self.rng, self.clip = rng, as_clip(clip)

    def predict(self, x: Array, t: float) -> Prediction:
        """The prediction at (x, t), its x_0 clipped and its noise derived anew from that."""
        t_each = np.full(x.shape[0], t)
        prediction = self.denoise(x, t_each, self.condition)
        if isinstance(prediction, FreeNoise) and not self.free_noise:
            raise ValueError(
                f"denoise: given CFG++, whose noise does not follow from its x_0, wanted another rule: {self.name} "
                "steps by one of the two alone; use ddim, euler, euler_ancestral or invert"
            )
        return clipped(prediction, self.schedule, x, t, self.clip)

    def noise(self, x: Array) -> Array:
        return draw_noise(self.rng, x)


def sampler(function: Callable | None = None, *, free_noise: bool = False, **wanted: Container) -> Callable:
    """Make a public sampler of a generator function (walk: Walk, x, **options) -> Step, Step, …

    The call is checked at once, before the first step. `free_noise` says that the sampler uses x_0 and noise both, as
    CFG++ needs; `wanted` says for options which values they may have.
    """
    if function is None:
        return lambda function: sampler(function, free_noise=free_noise, **wanted)

    @functools.wraps(function)
    def public(
        denoise: Denoise,
        schedule: Schedule,
        x: Array,
        condition: Any = None,
        times: Any = None,
        rng: Rng | None = None,
        clip: Any = None,
        **options: Any,
    ) -> Iterator[Step]:
        for name in wanted.keys() & options.keys():
            if options[name] not in wanted[name]:
                raise ValueError(f"{name}: given {options[name]!r}, wanted {wanted[name]}")
        walk = Walk(function.__name__, free_noise, denoise, schedule, x, condition, times, rng, clip)
        return function(walk, x, **options)

    shown = list(inspect.signature(public, follow_wrapped=False).parameters.values())[:-1]
    own = list(inspect.signature(function).parameters.values())[2:]
    public.__signature__ = inspect.Signature(shown + own)  # type: ignore[attr-defined]
    return public
