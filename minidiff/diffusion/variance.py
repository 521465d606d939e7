"""The variance of a step back, x_s given x_t: small, large, or learned between the two."""

from typing import Any

import numpy as np

from ..kernels import Array
from .per_sample import columns
from .prediction import Prediction
from .schedule import Schedule

VARIANCES = ("small", "large", "learned")


def log_variance_range(schedule: Schedule, t, s=None) -> tuple[np.ndarray, np.ndarray]:
    """log of the smallest and the largest sensible variance of x_s given x_t: beta-tilde and beta.

    s = t - 1 unless given. beta-tilde is 0 where s = 0; there its value for the step from 2 to 1
    stands in (Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.1).
    """
    t = np.asarray(t)
    s = np.maximum(t - 1, 0) if s is None else np.asarray(s)
    second = min(2, schedule.timesteps)
    alpha_bar_t = schedule.alpha_bar_at(np.where(s == 0, np.maximum(t, second), t))
    alpha_bar_s = schedule.alpha_bar_at(np.where(s == 0, second - 1, s))
    small = (1 - alpha_bar_t / alpha_bar_s) * (1 - alpha_bar_s) / (1 - alpha_bar_t)
    large = 1 - schedule.alpha_bar_at(t) / schedule.alpha_bar_at(s)
    of_path = 2 * np.log(schedule.norm(s))  # x_s is norm times as large there
    return np.log(np.maximum(small, 1e-20)) + of_path, np.log(large) + of_path


def log_variance_between(schedule: Schedule, x: Array, t, position: Any) -> Any:
    """The log-variance at a position between its bounds: -1 is beta-tilde, 1 is beta.

    `position` is an array or a Tensor like x; in between the log-variance is linear in it. Source:
    Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15.
    """
    low, high = columns(log_variance_range(schedule, t), x)
    return (position + 1) * (0.5 * (high - low)) + low


def log_variance_of(p: Prediction, variance: str, schedule: Schedule, t: float, s: float) -> Any:
    """The log of the variance of x_s given x_t: "small", "large" (floats), or "learned".

    The learned one is the prediction's own, for s = t - 1; for another s it keeps its place between
    the two others (Nichol & Dhariwal 2021, arXiv 2102.09672, section 4).
    """
    small, large = map(float, log_variance_range(schedule, t, s))
    if variance == "small":
        return small
    if variance == "large":
        return large
    if p.log_variance is None:
        raise ValueError(
            "variance: given 'learned', but the denoiser predicts none; wanted 'small' or 'large'"
        )
    low, high = map(float, log_variance_range(schedule, t))
    return (p.log_variance - low) * ((large - small) / (high - low)) + small
