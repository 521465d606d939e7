"""How much of the image is left at each timestep: the noise schedule, and the grids of timesteps
that samplers walk.

Timesteps run t = 0 … T with alpha_bar[0] = 1: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t)
noise. Below, alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar), and log-SNR = log(alpha_bar / (1
- alpha_bar)). A time may be real: between two whole ones the log-SNR is interpolated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .. import checks


@dataclass(frozen=True, eq=False)
class Schedule:
    """A table of float64 for t = 0 … T, cast to the data's dtype where it is used.

    `beta` has T + 1 entries with beta[0] = 0, the others in (0, 1); the last may be 1
    (`zero_terminal_snr`). `alpha_bar` has T + 1 entries: the running product of 1 - beta. Raises
    ValueError for any other beta.
    """

    beta: np.ndarray
    alpha_bar: np.ndarray = field(init=False)

    def __post_init__(self):
        beta = np.array(self.beta, np.float64)
        if beta.ndim != 1 or len(beta) < 2 or beta[0] != 0:
            raise ValueError(
                f"beta: given shape {beta.shape}, wanted (T + 1,) with T >= 1 and beta[0] = 0"
            )
        bad = ~((beta[1:] > 0) & (beta[1:] < 1))
        bad[-1] &= beta[-1] != 1
        if bad.any():
            t = int(np.argmax(bad)) + 1
            raise ValueError(
                f"beta: given beta[{t}] = {beta[t]:g}, wanted 0 < beta < 1 (only beta[T] may be 1)"
            )
        alpha_bar = np.cumprod(1 - beta)
        for name, table in (("beta", beta), ("alpha_bar", alpha_bar)):
            table.setflags(write=False)
            object.__setattr__(self, name, table)

    @property
    def timesteps(self) -> int:
        """T, the number of steps from data to noise."""
        return len(self.beta) - 1

    def alpha_bar_at(self, t) -> np.ndarray:
        """alpha_bar at times t, whole or real, of any shape; float64 (host).

        Raises ValueError outside 0 … T.
        """
        t = np.asarray(t)
        if t.dtype.kind not in "iuf":
            raise TypeError(f"t: given {t.dtype}, wanted integers or floats on the host")
        # written so that NaN fails too
        if t.size and not (t.min() >= 0 and t.max() <= self.timesteps):
            raise ValueError(
                f"t: given values from {t.min()} to {t.max()}, wanted 0 to T = {self.timesteps}"
            )
        if t.dtype.kind != "f":
            return self.alpha_bar[t]
        low, high = np.floor(t).astype(np.int64), np.ceil(t).astype(np.int64)
        part, left, right = t - low, self.alpha_bar[low], self.alpha_bar[high]
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = 1 / (1 + np.exp(-(1 - part) * _log_snr(left) - part * _log_snr(right)))
        # beside alpha_bar = 1 and 0 the log-SNR is infinite: there the angle atan(sigma / alpha) is
        # interpolated
        ends = np.cos((1 - part) * _angle(left) + part * _angle(right)) ** 2
        between = np.where((left < 1) & (right > 0), middle, ends)
        return np.where(part == 0, left, between)

    def alpha_sigma(self, t: float) -> tuple[float, float]:
        """(sqrt(alpha_bar_t), sqrt(1 - alpha_bar_t)) of one time, as Python floats."""
        alpha_bar = float(self.alpha_bar_at(t))
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    def half_log_snr(self, t: float) -> float:
        """log(alpha / sigma) of one time: infinite at t = 0, and minus infinite where alpha_bar = 0."""
        return 0.5 * float(_log_snr(self.alpha_bar_at(t)))

    def time_of(self, log_snr) -> np.ndarray:
        """The real times with these log-SNRs: the inverse of the interpolation in `alpha_bar_at`."""
        log_snr, table = np.asarray(log_snr, np.float64), _log_snr(self.alpha_bar)
        inner = np.flatnonzero(np.isfinite(table))
        middle = np.interp(-log_snr, -table[inner], inner)
        ends = np.interp(
            np.arctan(np.exp(-0.5 * log_snr)), _angle(self.alpha_bar), np.arange(len(table))
        )
        return np.where((log_snr > table[inner[0]]) | (log_snr < table[inner[-1]]), ends, middle)


def _log_snr(alpha_bar):
    with np.errstate(divide="ignore"):
        return np.log(alpha_bar) - np.log1p(-alpha_bar)


def _angle(alpha_bar):
    return np.arctan2(np.sqrt(1 - alpha_bar), np.sqrt(alpha_bar))


def linear_schedule(timesteps: int) -> Schedule:
    """beta from 1e-4 to 0.02, both scaled by 1000 / T (Ho et al. 2020, arXiv 2006.11239, section
    4).

    Raises ValueError for T <= 20, where beta would reach 1.
    """
    scale = 1000 / checks.whole("timesteps", timesteps, 1)
    if 0.02 * scale >= 1:
        raise ValueError(
            f"timesteps: given {timesteps}, wanted more than 20: the last beta, 20 / T, must be below 1"
        )
    return _from_betas(np.linspace(1e-4 * scale, 0.02 * scale, timesteps))


def cosine_schedule(timesteps: int, s: float = 0.008) -> Schedule:
    """alpha_bar_t = f(t) / f(0), f(t) = cos²((t/T + s) / (1 + s) · π/2), beta at most 0.999.

    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17.
    """
    u = np.arange(checks.whole("timesteps", timesteps, 1) + 1) / timesteps
    return _from_alpha_bar(np.cos((u + s) / (1 + s) * math.pi / 2) ** 2)


def sigmoid_schedule(
    timesteps: int, start: float = -3.0, end: float = 3.0, tau: float = 1.0
) -> Schedule:
    """alpha_bar_t falls as a sigmoid of (start + t/T (end - start)) / tau, scaled to go from 1 to
    0; beta <= 0.999.

    Source: Jabri et al. 2022, arXiv 2212.11972, algorithm 1 (which calls alpha_bar gamma).
    """
    u = np.arange(checks.whole("timesteps", timesteps, 1) + 1) / timesteps
    falling = 1 / (1 + np.exp((start + u * (end - start)) / tau))
    return _from_alpha_bar((falling - falling[-1]) / (falling[0] - falling[-1]))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule with sqrt(alpha_bar) shifted and scaled so that it ends in 0 and alpha_bar_1
    stays.

    A network that predicts noise cannot be used with it: at T its prediction says nothing of x_0.
    Source: Lin et al. 2024, arXiv 2305.08891, algorithm 1. Raises ValueError for T = 1.
    """
    checks.whole("schedule.timesteps", schedule.timesteps, 2)
    root = np.sqrt(schedule.alpha_bar[1:])
    alpha_bar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return _from_betas(1 - alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]]))


def _from_betas(beta: np.ndarray) -> Schedule:
    return Schedule(np.concatenate([[0.0], beta]))


def _from_alpha_bar(alpha_bar: np.ndarray) -> Schedule:
    return _from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999))


# --- grids: the times a sampler walks, from high to low ---


def times(
    schedule: Schedule, steps: int, spacing: str = "trailing", start: float | None = None
) -> np.ndarray:
    """The `steps` + 1 decreasing times of a sampler, ending in 0; integers where the spacing gives
    whole times.

    `spacing` is one of `SPACINGS`: "trailing" (k T / steps, rounded), "leading" (1 + k (T //
    steps): ends one step early, so it does not start at T), "linspace" (1 … T evenly, rounded),
    "quadratic" (even in sqrt(t)), "karras" (even in (sigma/alpha)^(1/7)), "log_snr" (even in
    log-SNR). All but "leading" start at `start`, by default T. Sources: Lin et al. 2024
    (2305.08891, table 2); Song et al. 2021 (2010.02502, D.2); Karras et al. 2022 (2206.00364, eq.
    5); Lu et al. 2022 (2206.00927). Raises ValueError for steps outside 1 … start.
    """
    top = schedule.timesteps if start is None else start
    if not 0 < top <= schedule.timesteps:
        raise ValueError(
            f"start: given {start}, wanted a time in 0 < start <= T = {schedule.timesteps}"
        )
    steps = checks.whole("steps", steps, 1, top)
    if spacing not in SPACINGS:
        raise ValueError(f"spacing: given {spacing!r}, wanted one of {sorted(SPACINGS)}")
    grid = np.append(SPACINGS[spacing](schedule, steps, top), 0)
    if spacing != "leading":
        grid[0] = top  # in spite of rounding
    return grid.astype(np.int64) if np.all(grid == np.rint(grid)) else grid


def _even_in(value: Callable, inverse: Callable) -> Callable:
    """A grid of times from top to 1, evenly spaced in value(alpha_bar of the time)."""

    def grid(schedule: Schedule, steps: int, top: float) -> np.ndarray:
        high, low = value(schedule.alpha_bar_at(np.array([top, 1.0])))
        if not np.isfinite(high):
            raise ValueError(
                "spacing: this one needs a finite log-SNR at its first time, and alpha_bar is 0 there"
            )
        return schedule.time_of(inverse(np.linspace(high, low, steps)))

    return grid


SPACINGS: dict[str, Callable] = {
    "trailing": lambda schedule, steps, top: np.round(np.arange(steps, 0, -1) * top / steps),
    "leading": lambda schedule, steps, top: 1 + np.arange(steps - 1, -1, -1) * (top // steps),
    "linspace": lambda schedule, steps, top: np.round(np.linspace(top, 1, steps)),
    "quadratic": lambda schedule, steps, top: np.linspace(math.sqrt(top), 1, steps) ** 2,
    "karras": _even_in(
        lambda alpha_bar: np.exp(_log_snr(alpha_bar) / -14), lambda root: -14 * np.log(root)
    ),
    "log_snr": _even_in(_log_snr, lambda log_snr: log_snr),
}


def check_times(schedule: Schedule, grid) -> list[float]:
    """The times as Python numbers; ValueError unless there are two or more, strictly falling, within T … 0."""
    if grid is None:
        return list(range(schedule.timesteps, -1, -1))
    array = np.asarray(grid)
    if array.ndim != 1 or len(array) < 2 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"times: given {array.dtype} of shape {array.shape}, wanted two or more numbers in a row"
        )
    if not (array[0] <= schedule.timesteps and array[-1] >= 0 and np.all(array[1:] < array[:-1])):
        given = np.array2string(array, threshold=8)
        raise ValueError(
            f"times: given {given}, wanted strictly falling times within {schedule.timesteps} … 0"
        )
    return array.tolist()
