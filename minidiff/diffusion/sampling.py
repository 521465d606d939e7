"""From a denoiser to samples in one call, and what can be made of a sampler's steps."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import checks
from ..kernels import Array, to_device, to_host
from .denoise import Denoise
from .process import Rng, as_condition, draw_noise
from .samplers import SAMPLERS
from .schedule import Schedule, times
from .walk import Step


def sample_steps(
    denoise: Denoise,
    schedule: Schedule,
    shape: tuple[int, ...] = (28, 28, 1),
    condition: Any = None,
    n: int | None = None,
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
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: given {sampler!r}, wanted one of {sorted(SAMPLERS)}")
    if schedule.alpha_bar[-1] > 0.05:
        raise ValueError(
            f"schedule: given alpha_bar_T = {schedule.alpha_bar[-1]:.3g}, wanted at most 0.05, pure noise"
        )
    if n is None and np.ndim(condition) < (
        2 if getattr(condition, "dtype", np.dtype(int)).kind == "f" else 1
    ):
        raise ValueError("n: given None, wanted how many samples: the condition does not tell")
    n = checks.whole("n", len(condition) if n is None else n, 0)
    condition = as_condition(condition, n)
    if condition is not None and condition.dtype.kind == "f":
        condition = to_device(condition.astype(dtype), device)
    rng = np.random.default_rng(rng) if isinstance(rng, (int, np.integer)) else rng
    x = to_device(draw_noise(rng, np.empty((n, *shape), dtype)), device)
    clip = len(shape) == 3 if isinstance(clip, str) and clip == "images" else clip
    grid = times(schedule, steps, spacing)
    return SAMPLERS[sampler](denoise, schedule, x, condition, grid, rng, clip, **options)


def sample(denoise: Denoise, schedule: Schedule, *args: Any, **options: Any) -> Array:
    """Samples, (n, *shape), on the device asked for.

    sample(denoise, schedule, shape=(28, 28, 1), condition=None, n=None, sampler="ddim", steps=25,
    rng=0, device="cpu", spacing="trailing", clip="images", dtype=np.float32, ...)

    `condition`: labels (n,), vectors (n, d), one of either for n samples, or None with n;
    `sampler`: a name in `samplers.SAMPLERS`, which takes the further options; `rng`: a seed or a
    Generator; `clip` as for the samplers, "images" clips to [-1, 1] where shape is (height, width,
    channels). Raises ValueError for unknown names, steps outside 1 … T, conditions that are not one
    per sample, and schedules whose alpha_bar_T is above 0.05.
    """
    return final(sample_steps(denoise, schedule, *args, **options))


def final(steps: Iterable[Step]) -> Array:
    """The last x of a sampler."""
    for step in steps:
        last = step
    return last.x


def all_steps(steps: Iterable[Step]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything a sampler went through, on the host: times (steps,), x and predicted x_0 (steps, batch, ...)."""
    t, x, x0 = zip(*((step.t, to_host(step.x), to_host(step.x0)) for step in steps), strict=True)
    return np.array(t), np.stack(x), np.stack(x0)
