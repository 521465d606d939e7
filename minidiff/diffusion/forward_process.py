"""The forward process q: adding noise to data, and one step back of it when both ends are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..kernels import Array
from .per_sample import Rng, as_rng, check_samples, column, draw_noise, weighted_sum
from .schedule import Schedule


def q_sample(
    schedule: Schedule,
    x0: Array,
    t,
    noise: Array | None = None,
    rng: Rng | int | Sequence[int] | None = None,
) -> Array:
    """x_t = alpha x_0 + sigma noise; the noise is given or drawn.

    That is sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise, unless the schedule is a `Path`.

    Shapes: x0 and noise (batch, ...), t a number or (batch,) in 0 … T; gives x0's shape and dtype.
    Raises ValueError for a wrong shape or time, TypeError for another dtype of the noise. Source:
    Ho et al. 2020, arXiv 2006.11239, eq. 4.
    """
    if noise is None:
        check_samples("x0", x0)
        noise = draw_noise(as_rng(rng, len(x0)), x0)
    checks.plain("x0", x0)
    checks.plain("noise", noise)
    checks.same_shape_and_dtype("noise", noise, "x0", x0)
    alpha, sigma = schedule.alpha_sigma(t, x0)
    return weighted_sum(alpha, x0, sigma, noise)


def posterior(schedule: Schedule, x0: Array, x_t: Array, t, s=None) -> tuple[Array, Any]:
    """Mean and variance of q(x_s given x_t, x_0), a Gaussian; s = t - 1 unless given.

    With a = alpha_bar_t / alpha_bar_s and beta = 1 - a:

        mean = (sqrt(alpha_bar_s) beta x_0 + sqrt(a) (1 - alpha_bar_s) x_t) / (1 - alpha_bar_t)
        variance = beta (1 - alpha_bar_s) / (1 - alpha_bar_t)

    On a `Path` this holds for x / norm (`Schedule.norm`), and the variance for norm_s² times it.
    The variance is a float, or an array that broadcasts against the mean. Raises ValueError for a
    wrong shape, or unless 0 <= s < t <= T. Source: Ho et al. 2020, arXiv 2006.11239, eq. 6-7.
    """
    checks.same_shape_and_dtype("x_t", x_t, "x0", x0)
    t = checks.on_host("t", t)
    s = t - 1 if s is None else checks.on_host("s", s)
    if np.any(s < 0) or np.any(s >= t):
        raise ValueError(
            f"t: given t = {t} and s = {s}, wanted 0 <= s < t <= T = {schedule.timesteps}"
        )
    alpha_bar_t = schedule.alpha_bar_at(t)
    alpha_bar_s = schedule.alpha_bar_at(s)
    a = alpha_bar_t / alpha_bar_s
    beta = 1 - a
    norm_t = schedule.norm(t)
    norm_s = schedule.norm(s)
    of_x0 = column(norm_s * (np.sqrt(alpha_bar_s) * beta / (1 - alpha_bar_t)), x0)
    of_x_t = column(norm_s / norm_t * (np.sqrt(a) * (1 - alpha_bar_s) / (1 - alpha_bar_t)), x0)
    mean = weighted_sum(of_x0, x0, of_x_t, x_t)
    return mean, column(norm_s**2 * (beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)), x0)
