"""Paths from data to noise that need not preserve the variance.

    x_t = alpha_t x_0 + sigma_t noise    with any alpha and sigma whose ratio falls

The best known is the straight one, alpha = 1 - t/T and sigma = t/T, of flow matching and rectified
flows. Along it x_t moves at the velocity noise - x_0.

What links all paths: with the norm sqrt(alpha² + sigma²), x_t / norm is a point of the
variance-preserving path that has the same log-SNR. So the tables beta and alpha_bar of a `Path` are
those of that one, and whatever is written for it holds on every path, in x_t / norm. Most samplers
are written in alpha and sigma, and take both as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import checks
from .schedule import MOST_TIMES, Schedule


@dataclass(frozen=True, eq=False, repr=False)
class Path(Schedule):
    """A schedule of two tables, `alpha` and `sigma`, (T + 1,) each, for t = 0 … T.

    They begin with alpha[0] = 1 and sigma[0] = 0, and alpha / sigma falls at every step, at most to
    0. Between two whole times both are interpolated, on a line. `alpha_bar` is alpha² / (alpha² +
    sigma²), and `beta` belongs to that. Raises ValueError for other tables, TypeError for what
    holds no real numbers.
    """

    alpha: np.ndarray
    sigma: np.ndarray
    beta: np.ndarray = field(init=False)

    def __post_init__(self):
        alpha = _table("alpha", self.alpha, 1.0)
        sigma = _table("sigma", self.sigma, 0.0)
        if len(alpha) != len(sigma):
            raise ValueError(f"sigma: given {len(sigma)} numbers, wanted {len(alpha)}, as of alpha")
        falls = alpha[1:] * sigma[:-1] < alpha[:-1] * sigma[1:]
        if not (np.all(falls) and np.all(alpha >= 0)):
            t = int(np.argmin(falls & (alpha[1:] >= 0))) + 1
            raise ValueError(
                f"alpha: given alpha[{t}] = {alpha[t]:g} and sigma[{t}] = {sigma[t]:g}, wanted "
                "alpha / sigma to fall at every step, to no less than 0"
            )
        alpha_bar = alpha**2 / (alpha**2 + sigma**2)
        beta = np.append(0.0, 1 - alpha_bar[1:] / alpha_bar[:-1])
        tables = {"alpha": alpha, "sigma": sigma, "alpha_bar": alpha_bar, "beta": beta}
        for name, table in tables.items():
            table.setflags(write=False)
            object.__setattr__(self, name, table)

    def __repr__(self) -> str:
        last = self.timesteps
        middle = last // 2
        return (
            f"Path(T = {last}, alpha[{middle}] = {self.alpha[middle]:.3g}, "
            f"sigma[{middle}] = {self.sigma[middle]:.3g}, alpha[{last}] = {self.alpha[last]:.3g}, "
            f"sigma[{last}] = {self.sigma[last]:.3g})"
        )

    @property
    def is_straight(self) -> bool:
        """Whether alpha + sigma = 1: x_t goes from x_0 to the noise on a straight line."""
        return np.allclose(self.alpha + self.sigma, 1, rtol=0, atol=1e-9)

    def tables(self) -> dict[str, np.ndarray]:
        """What the path is made of, by name: the arguments that make it again."""
        return {"alpha": self.alpha, "sigma": self.sigma}

    def norm(self, t: Any) -> Any:
        """sqrt(alpha² + sigma²) at times t, whole or real, of any shape; float64 (host).

        Raises ValueError outside 0 … T.
        """
        return np.hypot(*self._alpha_sigma(checks.times("t", t, self.timesteps)))

    def alpha_bar_at(self, t: Any) -> np.ndarray:
        """alpha² / (alpha² + sigma²) at times t, whole or real, of any shape; float64 (host).

        Raises ValueError outside 0 … T.
        """
        alpha, sigma = self._alpha_sigma(checks.times("t", t, self.timesteps))
        return alpha**2 / (alpha**2 + sigma**2)

    def half_log_snr(self, t: float) -> float:
        """log(alpha / sigma) of one time: infinite at t = 0, minus infinite where alpha = 0."""
        alpha, sigma = self._alpha_sigma(checks.times("t", t, self.timesteps))
        with np.errstate(divide="ignore"):
            return float(np.log(alpha) - np.log(sigma))

    def time_of(self, log_snr: Any) -> np.ndarray:
        """The real times with these log-SNRs; T for those below all."""
        half = np.maximum(0.5 * np.asarray(log_snr, np.float64), self.half_log_snr(self.timesteps))
        # two numbers whose ratio is alpha / sigma, neither of them too large
        cosine = np.exp(np.minimum(half, 0))
        sine = np.exp(np.minimum(-half, 0))
        angles = np.arctan2(self.sigma, self.alpha)
        low = np.searchsorted(angles, np.arctan2(sine, cosine), side="right") - 1
        low = np.clip(low, 0, self.timesteps - 1)
        # on the way from `low` to the next time: alpha sine = sigma cosine
        missing = self.alpha[low] * sine - self.sigma[low] * cosine
        slope = np.diff(self.sigma)[low] * cosine - np.diff(self.alpha)[low] * sine
        return low + np.clip(missing / slope, 0, 1)

    def _alpha_sigma(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if t.dtype.kind != "f":
            return self.alpha[t], self.sigma[t]
        whole = np.arange(self.timesteps + 1)
        return np.interp(t, whole, self.alpha), np.interp(t, whole, self.sigma)


def _table(name: str, values: Any, first: float) -> np.ndarray:
    checks.plain(name, values)
    table = checks.on_host(name, values)
    if table.dtype.kind not in "iuf":
        raise TypeError(f"{name}: given {table.dtype}, wanted real numbers")
    if table.ndim != 1 or len(table) < 2:
        raise ValueError(f"{name}: given shape {table.shape}, wanted (T + 1,) with T >= 1")
    if table[0] != first:
        raise ValueError(f"{name}: given {name}[0] = {table[0]:g}, wanted {first:g}, for t = 0")
    if not np.all(np.isfinite(table)):
        raise ValueError(f"{name}: given NaN or infinity, wanted finite numbers")
    return table.astype(np.float64)


def straight_schedule(timesteps: int, shift: float = 1.0) -> Path:
    """The straight path from data to noise: alpha = 1 - t/T, sigma = t/T.

    It is what flow matching and rectified flows are trained on, with "velocity"; as at t = T there
    is nothing but noise, a network cannot predict noise. With a `shift` s there is more noise at
    all times between: sigma = s u / (1 + (s - 1) u) for u = t/T, and alpha = 1 - sigma. Larger
    images want a larger shift. Source: Lipman et al. 2023, arXiv 2210.02747, eq. 22 with sigma_min
    = 0; Liu et al. 2023, arXiv 2209.03003, eq. 1; the shift: Esser et al. 2024, arXiv 2403.03206,
    eq. 23.
    """
    u = np.arange(checks.whole("timesteps", timesteps, 1, MOST_TIMES) + 1) / timesteps
    checks.among("shift", shift, checks.Between(0, ends="(]"))
    return Path((1 - u) / (1 - u + shift * u), shifted(u, shift))


def shifted(u: np.ndarray, shift: float) -> np.ndarray:
    """s u / (1 + (s - 1) u): logit u grows by log s, and 0 and 1 stay."""
    return shift * u / (1 - u + shift * u)


def schedule_of(tables: Mapping[str, Any]) -> Schedule:
    """The schedule that these `tables` are of; raises TypeError for other names."""
    kind = Path if "alpha" in tables else Schedule
    return kind(**tables)
