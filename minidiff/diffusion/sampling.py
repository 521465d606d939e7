"""From a denoiser to samples in one call, and what can be made of a sampler's steps."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .. import checks, first_guesses, messages
from ..kernels import Array, to_device, to_host
from ..nn import Module
from ..nn.module import home_of
from .grids import times
from .network import as_denoise
from .per_sample import Rng, are_seeds, as_condition, as_rng, draw_noise, scaled
from .prediction import Denoise
from .samplers import SAMPLERS, Step, invert
from .schedule import Schedule


def sample(
    denoise: Denoise | Module,
    condition: Any = None,
    n: int | None = None,
    shape: tuple[int, ...] | None = None,
    sampler: str | Callable = "ddim",
    steps: int = 25,
    rng: Rng | int | Sequence[int] = 0,
    device: str | None = None,
    spacing: str = "trailing",
    clip: Any = "images",
    dtype: Any = np.float32,
    **options: Any,
) -> Array:
    """Samples, (n, *shape), on the device asked for: by default where the network is.

    - `denoise`: a Denoise, or a network that `diffusion.loss` trained;
    - `condition`: labels (n,), vectors (n, d), one of either for n samples, or None with n;
    - `shape`: of one sample, by default the shape that the denoiser knows;
    - `sampler`: a name in `samplers.SAMPLERS` or a function like those, which takes the further
      options;
    - `steps`, `spacing`: of the times, as for `times`;
    - `rng`, `clip`: as for the samplers; a list of seeds also says how many samples.

    Raises TypeError for a plain function in place of a Denoise and for options that the sampler
    does not have, ValueError for unknown names, steps outside 1 … T, conditions that are not one
    per sample, a shape that nobody knows, and a first time whose alpha_bar is above 0.05;
    RuntimeError where samples become NaN or infinite.
    """
    return final(
        sample_steps(
            denoise,
            condition,
            n,
            shape,
            sampler,
            steps,
            rng,
            device,
            spacing,
            clip,
            dtype,
            **options,
        )
    )


def sample_steps(
    denoise: Denoise | Module,
    condition: Any = None,
    n: int | None = None,
    shape: tuple[int, ...] | None = None,
    sampler: str | Callable = "ddim",
    steps: int = 25,
    rng: Rng | int | Sequence[int] = 0,
    device: str | None = None,
    spacing: str = "trailing",
    clip: Any = "images",
    dtype: Any = np.float32,
    **options: Any,
) -> Iterator[Step]:
    """The steps of a sampler from pure noise; the arguments are those of `sample`."""
    denoise = as_denoise(denoise)
    function = as_sampler(sampler, options)
    shape = denoise.sample_shape if shape is None else shape
    if shape is None:
        raise ValueError(
            "shape: given None, wanted the shape of one sample, such as (28, 28, 1) for a digit or "
            "(2,) for a point: this denoiser does not know it"
        )
    if not isinstance(shape, tuple | list):
        raise TypeError(f"shape: given {shape!r}, wanted a tuple, such as (28, 28, 1) or (2,)")
    shape = tuple(checks.whole("shape", size) for size in shape)
    dtype = np.dtype(checks.among("dtype", np.dtype(dtype).name, ("float32", "float64")))
    _check_start(denoise.schedule, denoise.schedule.timesteps)
    grid = times(denoise.schedule, steps, spacing)
    _check_start(denoise.schedule, grid[0])
    n = checks.whole("n", _count(condition, rng) if n is None else n, 0)
    checks.growth("n, shape", (n, shape), 1, n * math.prod(shape))
    condition = as_condition(condition, n)
    if device is None:
        home = home_of(denoise.network)
        device = "cpu" if home is None else home.device
    if condition is not None and condition.dtype.kind == "f":
        condition = to_device(condition.astype(dtype), device)
    rng = as_rng(rng, n)
    noise = to_device(draw_noise(rng, np.empty((n, *shape), dtype)), device)
    x = scaled(denoise.schedule.norm(grid[0]), noise)
    return function(denoise, x, condition, grid, rng, clip, **options)


def as_sampler(sampler: str | Callable, options: dict[str, Any]) -> Callable:
    """The sampler of this name, or the function as it is, if it takes these options."""
    if callable(sampler) and inspect.unwrap(sampler) is inspect.unwrap(invert):
        raise ValueError("sampler: given invert, wanted one that goes from noise to data")
    messages.refuse_maker("sampler", sampler)
    if not callable(sampler):
        sampler = SAMPLERS[checks.among("sampler", sampler, SAMPLERS)]
    arguments = "denoise, x, condition, times, rng, clip"
    try:
        return checks.function_of("sampler", sampler, arguments, **options)
    except TypeError as error:
        other_word = first_guesses.misnamed("sample", options, first_guesses.SAMPLING)
        raise TypeError(f"{error}; {other_word}" if other_word else str(error)) from None


def _check_start(schedule: Schedule, start: float) -> None:
    """ValueError where much of the image is left at the time `start`: x is pure noise there."""
    left = float(schedule.alpha_bar_at(start))
    if left <= 0.05:
        return
    if start == schedule.timesteps:
        raise ValueError(
            f"denoise: given a schedule with alpha_bar_T = {left:.3g}, "
            "wanted at most 0.05: sampling starts from pure noise"
        )
    raise ValueError(
        f"spacing: given times that start at {start:g} of T = {schedule.timesteps}, where "
        f"alpha_bar = {left:.3g}, wanted at most 0.05, since sampling starts from pure noise: "
        "type spacing='trailing'"
    )


def _count(condition: Any, rng: Any) -> int:
    """How many samples: labels (n,) tell it, vectors (n, d), or a list of n seeds."""
    is_vector = getattr(condition, "dtype", np.dtype(int)).kind == "f"
    if np.ndim(condition) >= (2 if is_vector else 1):
        return len(condition)
    if are_seeds(rng):
        return len(rng)
    for_all = "" if condition is None else f" and one condition, {condition}, for all"
    raise ValueError(f"n: given None{for_all}, wanted how many samples: type n=10 for ten of them")


def final(steps: Iterable[Step]) -> Array:
    """The last x of a sampler. Raises TypeError for what holds no Step."""
    last = None
    for step in steps:
        last = step
    return _checked_step(last).x


def all_steps(steps: Iterable[Step]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything a sampler went through, on the host.

    Times (steps,), and x and the predicted x_0, each (steps, batch, ...). Raises TypeError for what
    holds no Step.
    """
    walked = [_checked_step(step) for step in steps] or [_checked_step(None)]
    t, x, x0 = zip(*((step.t, to_host(step.x), to_host(step.x0)) for step in walked), strict=True)
    return np.array(t), np.stack(x), np.stack(x0)


def _checked_step(step: Any) -> Step:
    if not isinstance(step, Step):
        given = "none" if step is None else type(step).__name__
        raise TypeError(
            f"steps: given {given} in it, wanted a Step or more: "
            "type diffusion.sample_steps(denoise, labels), or call a sampler"
        )
    return step
