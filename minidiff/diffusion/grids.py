"""Grids of timesteps: the times that a sampler goes through, from high to low."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from .paths import shifted
from .schedule import Schedule, log_snr_of


def times(
    schedule: Schedule,
    steps: int,
    spacing: str = "trailing",
    start: float | None = None,
    shift: float = 1.0,
) -> np.ndarray:
    """The `steps` + 1 falling times of a sampler, ending in 0; integers where all are whole.

    `spacing` is one of `SPACINGS`:

    - "trailing": k T / steps, rounded (Lin et al. 2024, 2305.08891, table 2);
    - "leading": 1 + k (T // steps), which ends one step early: it does not start at T;
    - "linspace": T … 1 evenly, rounded;
    - "quadratic": even in sqrt(t) (Song et al. 2021, 2010.02502, D.2);
    - "karras": even in (sigma/alpha)^(1/7) (Karras et al. 2022, 2206.00364, eq. 5);
    - "log_snr": even in log-SNR (Lu et al. 2022, 2206.00927).

    These two, where alpha_bar = 0 at the start, are even from the time 1 below it.

    All but "leading" start at `start`, by default T; there it takes T's place above. From an early
    start there may be more steps than whole times: "trailing" and "linspace" are then both start …
    1 evenly, not rounded. With a `shift` s, u = t / start becomes s u / (1 + (s - 1) u), not
    rounded either: s > 1 gives more of the steps to much noise (Esser et al. 2024, 2403.03206, eq.
    23). A network that was trained on a shifted schedule needs none here. Raises ValueError for
    steps outside 1 … T, and where the times would not fall.
    """
    last = schedule.timesteps
    start = last if start is None else start
    checks.among("start", start, checks.Between(0, last, "(]"))
    steps = checks.whole("steps", steps, 1, last)
    checks.among("spacing", spacing, SPACINGS)
    grid = np.append(SPACINGS[spacing](schedule, steps, start), 0)
    checks.among("shift", shift, checks.Between(0, ends="(]"))
    if shift != 1:
        grid[:-1] = np.maximum(start * shifted(grid[:-1] / start, shift), 1)
    if spacing != "leading":
        grid[0] = start  # in spite of rounding
    if not np.all(grid[1:] < grid[:-1]):
        raise ValueError(
            f"steps: given {steps} from start {start:g} with spacing {spacing!r}, wanted fewer: "
            "no two times may be the same"
        )
    return grid.astype(np.int64) if np.all(grid == np.rint(grid)) else grid


def _even_in(value: Callable, inverse: Callable) -> Callable:
    """A grid of times from start to 1, evenly spaced in value(alpha_bar of the time).

    Where alpha_bar is 0 at the start, its value is not finite: then the start comes before a grid
    from the time 1 below it.
    """

    def grid(schedule: Schedule, steps: int, start: float) -> np.ndarray:
        if steps == 1:
            return np.array([start])
        before = []
        if schedule.alpha_bar_at(start) == 0:
            before = [start]
            start = start - 1
        ends = schedule.alpha_bar_at(np.array([start, 1.0]))
        high, low = value(ends)
        inner = np.linspace(high, low, steps - len(before))
        return np.append(before, schedule.time_of(inverse(inner)))

    return grid


def _linspace(schedule: Schedule, steps: int, start: float) -> np.ndarray:
    grid = np.linspace(start, 1, steps)
    return grid if steps > start else np.round(grid)


def _trailing(schedule: Schedule, steps: int, start: float) -> np.ndarray:
    if steps > start:  # no time below 1: a network has seen none
        return _linspace(schedule, steps, start)
    return np.round(np.arange(steps, 0, -1) * start / steps)


SPACINGS: dict[str, Callable] = {
    "trailing": _trailing,
    "leading": lambda schedule, steps, start: 1 + np.arange(steps - 1, -1, -1) * (start // steps),
    "linspace": _linspace,
    "quadratic": lambda schedule, steps, start: np.linspace(math.sqrt(start), 1, steps) ** 2,
    "karras": _even_in(
        lambda alpha_bar: np.exp(log_snr_of(alpha_bar) / -14), lambda root: -14 * np.log(root)
    ),
    "log_snr": _even_in(log_snr_of, lambda log_snr: log_snr),
}


def falling_times(schedule: Schedule, grid: Any) -> list[float]:
    """The grid as Python numbers; None stands for T, T - 1, …, 0.

    Raises ValueError unless there are two or more, strictly falling, within T … 0.
    """
    if grid is None:
        return list(range(schedule.timesteps, -1, -1))
    checks.plain("times", grid)
    array = np.asarray(grid)
    if array.ndim != 1 or len(array) < 2 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"times: given {array.dtype} of shape {array.shape}, "
            "wanted two or more numbers in a row"
        )
    falling = np.all(array[1:] < array[:-1])
    if not (falling and array[0] <= schedule.timesteps and array[-1] >= 0):
        shown = np.array2string(array, threshold=8)
        raise ValueError(
            f"times: given {shown}, wanted strictly falling times within {schedule.timesteps} … 0"
        )
    return array.tolist()
