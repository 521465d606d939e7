"""From a denoiser to samples in one call, and what can be made of a sampler's steps."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..kernels import Array, to_device, to_host
from .grids import times
from .per_sample import Rng, as_condition, as_rng, draw_noise
from .prediction import Denoise, check_denoise
from .samplers import SAMPLERS, Step


def sample(
    denoise: Denoise,
    condition: Any = None,
    n: int | None = None,
    shape: tuple[int, ...] | None = None,
    sampler: str = "ddim",
    steps: int = 25,
    rng: Rng | int = 0,
    device: str = "cpu",
    spacing: str = "trailing",
    clip: Any = "images",
    dtype: Any = np.float32,
    **options: Any,
) -> Array:
    """Samples, (n, *shape), on the device asked for.

    - `condition`: labels (n,), vectors (n, d), one of either for n samples, or None with n;
    - `shape`: of one sample, by default (28, 28, 1), a digit's;
    - `sampler`: a name in `samplers.SAMPLERS`, which takes the further options;
    - `steps`, `spacing`: of the times, as for `times`;
    - `rng`: a seed or a Generator;
    - `clip`: as for the samplers; "images" clips to [-1, 1] where shape is (height, width,
      channels).

    Raises TypeError for a plain function or a network in place of a Denoise, ValueError for unknown
    names, steps outside 1 … T, conditions that are not one per sample, and a schedule whose
    alpha_bar_T is above 0.05.
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
    denoise: Denoise,
    condition: Any = None,
    n: int | None = None,
    shape: tuple[int, ...] | None = None,
    sampler: str = "ddim",
    steps: int = 25,
    rng: Rng | int = 0,
    device: str = "cpu",
    spacing: str = "trailing",
    clip: Any = "images",
    dtype: Any = np.float32,
    **options: Any,
) -> Iterator[Step]:
    """The steps of a sampler from pure noise; the arguments are those of `sample`."""
    check_denoise(denoise)
    checks.among("sampler", sampler, SAMPLERS)
    schedule = denoise.schedule
    last = schedule.alpha_bar[-1]
    if last > 0.05:
        raise ValueError(
            f"denoise: given a schedule with alpha_bar_T = {last:.3g}, "
            "wanted at most 0.05: sampling starts from pure noise"
        )
    if n is None and not _is_one_per_sample(condition):
        raise ValueError("n: given None, wanted how many samples: the condition does not tell")
    n = checks.whole("n", len(condition) if n is None else n, 0)
    condition = as_condition(condition, n)
    if condition is not None and condition.dtype.kind == "f":
        condition = to_device(condition.astype(dtype), device)
    rng = as_rng(rng)
    shape = (28, 28, 1) if shape is None else shape
    x = to_device(draw_noise(rng, np.empty((n, *shape), dtype)), device)
    if isinstance(clip, str) and clip == "images":
        clip = len(shape) == 3
    grid = times(schedule, steps, spacing)
    return SAMPLERS[sampler](denoise, x, condition, grid, rng, clip, **options)


def _is_one_per_sample(condition: Any) -> bool:
    """Whether the condition tells how many samples there are: labels (n,) or vectors (n, d)."""
    is_vector = getattr(condition, "dtype", np.dtype(int)).kind == "f"
    return np.ndim(condition) >= (2 if is_vector else 1)


def final(steps: Iterable[Step]) -> Array:
    """The last x of a sampler."""
    for step in steps:
        last = step
    return last.x


def all_steps(steps: Iterable[Step]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything a sampler went through, on the host.

    Times (steps,), and x and the predicted x_0, each (steps, batch, ...).
    """
    t, x, x0 = zip(*((step.t, to_host(step.x), to_host(step.x0)) for step in steps), strict=True)
    return np.array(t), np.stack(x), np.stack(x0)
