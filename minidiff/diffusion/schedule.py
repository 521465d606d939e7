"""The noise schedule: how much of the image is left at each timestep.

Timesteps run t = 0 … T, from data to noise, with alpha_bar[0] = 1:

    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise

Below, alpha = sqrt(alpha_bar), sigma = sqrt(1 - alpha_bar), and log-SNR = log(alpha² / sigma²). A
time may be real: between two whole ones the log-SNR is interpolated.

Such a schedule preserves the variance: alpha² + sigma² = 1. `paths` has those that do not.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import checks, first_guesses
from ..kernels import Array
from .per_sample import columns

# More timesteps than that are a slip: a thousand are common.
MOST_TIMES = 10**6


@dataclass(frozen=True, eq=False, repr=False)
class Schedule:
    """A table of float64 for t = 0 … T, cast to the data's dtype where it is used.

    `beta` has T + 1 entries with beta[0] = 0, the others in (0, 1); the last may be 1
    (`zero_terminal_snr`). So have the others: `alpha_bar`, the running product of 1 - beta, and
    `alpha` and `sigma`, the roots of alpha_bar and of 1 - alpha_bar. Two schedules are equal where
    their betas are, but for rounding: another processor's cosine may differ in the last bit. Raises
    ValueError for any other beta.
    """

    beta: np.ndarray
    alpha_bar: np.ndarray = field(init=False)
    alpha: np.ndarray = field(init=False)
    sigma: np.ndarray = field(init=False)

    def __post_init__(self):
        checks.plain("beta", self.beta)
        beta = np.array(self.beta, np.float64)
        if beta.ndim != 1 or len(beta) < 2 or beta[0] != 0:
            raise ValueError(
                f"beta: given shape {beta.shape}, wanted (T + 1,) with T >= 1 and beta[0] = 0"
            )
        wrong = ~((beta[1:] > 0) & (beta[1:] < 1))
        wrong[-1] &= beta[-1] != 1
        if wrong.any():
            t = int(np.argmax(wrong)) + 1
            raise ValueError(
                f"beta: given beta[{t}] = {beta[t]:g}, wanted 0 < beta < 1 (only beta[T] may be 1)"
            )
        alpha_bar = np.cumprod(1 - beta)
        alpha = np.sqrt(alpha_bar)
        sigma = np.sqrt(1 - alpha_bar)
        tables = {"beta": beta, "alpha_bar": alpha_bar, "alpha": alpha, "sigma": sigma}
        for name, table in tables.items():
            table.setflags(write=False)
            object.__setattr__(self, name, table)

    @classmethod
    def from_alpha_bar(cls, alpha_bar: Any) -> "Schedule":
        """The schedule of a table (T + 1,) that falls from alpha_bar[0] = 1.

        Raises ValueError for any other table, TypeError for what holds no real numbers.
        """
        checks.plain("alpha_bar", alpha_bar)
        table = checks.on_host("alpha_bar", alpha_bar)
        if table.dtype.kind not in "iuf":
            raise TypeError(f"alpha_bar: given {table.dtype}, wanted real numbers")
        if table.ndim != 1 or len(table) < 2:
            raise ValueError(f"alpha_bar: given shape {table.shape}, wanted (T + 1,) with T >= 1")
        if table[0] != 1:
            raise ValueError(
                f"alpha_bar: given alpha_bar[0] = {table[0]:g}, wanted 1, for t = 0: where the "
                "table begins at t = 1, type np.concatenate([[1.0], alpha_bar])"
            )
        if not (np.all(np.diff(table) < 0) and table[-1] >= 0):
            raise ValueError(
                f"alpha_bar: given {table}, wanted numbers that fall at every step, from 1 to no "
                "less than 0"
            )
        table = table.astype(np.float64)
        return _from_betas(1 - table[1:] / table[:-1])

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if type(other) is not type(self) or other.timesteps != self.timesteps:
            return False
        pairs = zip(self.tables().values(), other.tables().values())
        return all(np.allclose(mine, theirs, rtol=1e-9, atol=0) for mine, theirs in pairs)

    def __hash__(self) -> int:
        return hash(self.timesteps)

    def __getattr__(self, name: str):
        raise first_guesses.unknown("Schedule", name)

    def __reduce__(self):
        """Copies and pickles are made anew from the tables, so that they are read-only too."""
        return type(self), tuple(self.tables().values())

    def __repr__(self) -> str:
        last = self.timesteps
        middle = last // 2
        return (
            f"Schedule(T = {last}, alpha_bar[{middle}] = {self.alpha_bar[middle]:.3g}, "
            f"alpha_bar[{last}] = {self.alpha_bar[last]:.3g})"
        )

    @property
    def timesteps(self) -> int:
        """T, the number of steps from data to noise."""
        return len(self.beta) - 1

    @property
    def is_straight(self) -> bool:
        """Whether alpha + sigma = 1: x_t goes from x_0 to the noise on a straight line."""
        return False

    def tables(self) -> dict[str, np.ndarray]:
        """What the schedule is made of, by name: the arguments that make it again."""
        return {"beta": self.beta}

    def norm(self, t: Any) -> Any:
        """sqrt(alpha² + sigma²) at times t, float64 (host): 1 here, as the variance is preserved.

        On any path x_t / norm is a point of the variance-preserving one of the same log-SNR.
        """
        return 1.0

    def alpha_bar_at(self, t) -> np.ndarray:
        """alpha_bar at times t, whole or real, of any shape; float64 (host).

        Raises ValueError outside 0 … T.
        """
        t = checks.times("t", t, self.timesteps)
        if t.dtype.kind != "f":
            return self.alpha_bar[t]
        low = np.floor(t).astype(np.int64)
        high = np.ceil(t).astype(np.int64)
        share = t - low
        left = self.alpha_bar[low]
        right = self.alpha_bar[high]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_snr = (1 - share) * log_snr_of(left) + share * log_snr_of(right)
            middle = 1 / (1 + np.exp(-log_snr))
        # beside alpha_bar = 1 and 0 the log-SNR is infinite: there the angle is interpolated
        angle = (1 - share) * _angle(left) + share * _angle(right)
        finite = (left < 1) & (right > 0)
        between = np.where(finite, middle, np.cos(angle) ** 2)
        return np.where(share == 0, left, between)

    def alpha_sigma(self, t: Any, x: Array | None = None) -> tuple[Any, Any]:
        """(alpha_t, sigma_t) of one time, as Python floats.

        For times (batch,) give the samples x, too: then they are columns that multiply x. Raises
        ValueError outside 0 … T, and for times without samples.
        """
        t = checks.times("t", t, self.timesteps)
        alpha, sigma = self._alpha_sigma(t)
        if t.ndim == 0:
            return float(alpha), float(sigma)
        if x is None:
            raise ValueError(
                "x: given None, wanted the samples that these times are of: type "
                "alpha_sigma(t, x), or alpha_sigma of one time"
            )
        alpha, sigma = columns([alpha, sigma], x)
        return alpha, sigma

    def _alpha_sigma(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """alpha and sigma at times that have been checked, of any shape; float64."""
        if t.dtype.kind != "f":
            return self.alpha[t], self.sigma[t]
        alpha_bar = self.alpha_bar_at(t)
        return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)

    def half_log_snr(self, t: float) -> float:
        """log(alpha / sigma) of one time: infinite at t = 0, minus infinite where alpha = 0."""
        return 0.5 * float(log_snr_of(self.alpha_bar_at(t)))

    def time_of(self, log_snr) -> np.ndarray:
        """The real times with these log-SNRs: `alpha_bar_at`, turned around."""
        log_snr = np.asarray(log_snr, np.float64)
        table = log_snr_of(self.alpha_bar)
        finite = np.flatnonzero(np.isfinite(table))
        middle = np.interp(-log_snr, -table[finite], finite)
        # beyond the finite log-SNRs the angle was interpolated
        angle = np.arctan(np.exp(-0.5 * log_snr))
        ends = np.interp(angle, _angle(self.alpha_bar), np.arange(len(table)))
        beyond = (log_snr > table[finite[0]]) | (log_snr < table[finite[-1]])
        return np.where(beyond, ends, middle)


def check_schedule(schedule: Any) -> None:
    """Raise TypeError, saying what to type, for anything but a Schedule."""
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"schedule: given {type(schedule).__name__}, wanted a Schedule, "
            "such as diffusion.cosine_schedule(100)"
        )


def log_snr_of(alpha_bar):
    """log(alpha_bar / (1 - alpha_bar)), which is infinite at 1 and at 0."""
    with np.errstate(divide="ignore"):
        return np.log(alpha_bar) - np.log1p(-alpha_bar)


def _angle(alpha_bar):
    """atan(sigma / alpha): 0 for data, pi / 2 for noise."""
    return np.arctan2(np.sqrt(1 - alpha_bar), np.sqrt(alpha_bar))


def linear_schedule(timesteps: int) -> Schedule:
    """beta from 1e-4 to 0.02, both scaled by 1000 / T.

    Source: Ho et al. 2020, arXiv 2006.11239, section 4. Raises ValueError for T <= 20, where beta
    would reach 1.
    """
    scale = 1000 / checks.whole("timesteps", timesteps, 1, MOST_TIMES)
    if 0.02 * scale >= 1:
        raise ValueError(
            f"timesteps: given {timesteps}, wanted more than 20: "
            "the last beta, 20 / T, must be below 1"
        )
    return _from_betas(np.linspace(1e-4 * scale, 0.02 * scale, timesteps))


def cosine_schedule(timesteps: int, s: float = 0.008) -> Schedule:
    """alpha_bar_t = f(t) / f(0), f(t) = cos²((t/T + s) / (1 + s) · π/2), beta at most 0.999.

    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 17.
    """
    u = np.arange(checks.whole("timesteps", timesteps, 1, MOST_TIMES) + 1) / timesteps
    checks.among("s", s, checks.Between(0))
    return _with_beta_below_1(np.cos((u + s) / (1 + s) * math.pi / 2) ** 2)


def sigmoid_schedule(
    timesteps: int, start: float = -3.0, end: float = 3.0, tau: float = 1.0
) -> Schedule:
    """alpha_bar_t falls as a sigmoid of (start + t/T (end - start)) / tau, beta at most 0.999.

    It is scaled to go from 1 to 0. Source: Jabri et al. 2022, arXiv 2212.11972, algorithm 1 (which
    calls alpha_bar gamma).
    """
    u = np.arange(checks.whole("timesteps", timesteps, 1, MOST_TIMES) + 1) / timesteps
    checks.among("tau", tau, checks.Between(0, ends="(]"))
    checks.among("end", end, checks.Between(start, ends="(]"))
    falling = 1 / (1 + np.exp((start + u * (end - start)) / tau))
    return _with_beta_below_1((falling - falling[-1]) / (falling[0] - falling[-1]))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule with sqrt(alpha_bar) shifted and scaled: it ends in 0, and alpha_bar_1 stays.

    A network that predicts noise cannot be used with it: at T its prediction says nothing of x_0.
    Source: Lin et al. 2024, arXiv 2305.08891, algorithm 1. Raises ValueError for T = 1.
    """
    checks.whole("schedule.timesteps", schedule.timesteps, 2)
    root = np.sqrt(schedule.alpha_bar[1:])
    alpha_bar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return _from_betas(1 - alpha_bar / np.concatenate([[1.0], alpha_bar[:-1]]))


def _from_betas(beta: np.ndarray) -> Schedule:
    return Schedule(np.concatenate([[0.0], beta]))


def _with_beta_below_1(alpha_bar: np.ndarray) -> Schedule:
    return _from_betas(np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999))
