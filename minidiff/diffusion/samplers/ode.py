"""Samplers that solve an ODE, and two that add noise on the way.

In y = x / alpha and r = sigma / alpha, x_t = alpha x_0 + sigma noise is y = x_0 + r noise, and the
probability-flow ODE reads

    dy/dr = noise'(y, r)

where noise' is the predicted noise (Karras et al. 2022, arXiv 2206.00364, eq. 4 and table 1; r is
their sigma, y their x). The steps below are written in x = alpha y, since r is infinite where
alpha = 0.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from ...checks import Between
from ...kernels import Array
from ..per_sample import weighted_sum
from .walk import Step, Walk, sampler


@sampler(free_noise=True)
def euler(walk: Walk, x: Array) -> Iterator[Step]:
    """y_s = y_t + (r_s - r_t) noise', first order.

    As y_t - r_t noise' = x_0, that is y_s = x_0 + r_s noise', DDIM with eta = 0.
    """
    for t, s in pairwise(walk.times):
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        p = walk.predict(x, t)
        x = weighted_sum(alpha_s, p.x0, sigma_s, p.noise)
        yield Step(s, x, p.x0)


@sampler(free_noise=True, eta=Between(0))
def euler_ancestral(walk: Walk, x: Array, eta: float = 1.0) -> Iterator[Step]:
    """Euler down to r_down < r_s, then new noise back up to r_s: r_s² = r_down² + r_up².

    r_up = eta r_s sqrt(1 - (r_s / r_t)²), at most r_s. With eta at most 1 this is DDIM. Source:
    k-diffusion's `sample_euler_ancestral`, after Song et al. 2021, arXiv 2011.13456.
    """
    for t, s in pairwise(walk.times):
        alpha_t, sigma_t = walk.schedule.alpha_sigma(t)
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        p = walk.predict(x, t)

        # How much of the noise at s is new. The ratio is r_s / r_t, also where alpha_t is 0.
        r_s = sigma_s / alpha_s
        ratio = (sigma_s * alpha_t) / (alpha_s * sigma_t)
        r_up = r_s * min(1.0, eta * math.sqrt(1 - ratio**2))
        r_down = math.sqrt(r_s**2 - r_up**2)

        # Euler's step, then the new noise.
        x = weighted_sum(alpha_s, p.x0, alpha_s * r_down, p.noise)
        if r_up > 0:
            x = x + alpha_s * r_up * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler()
def heun(walk: Walk, x: Array) -> Iterator[Step]:
    """y_s = y_t + (r_s - r_t) (noise' + noise'') / 2, second order, two passes a step.

    noise'' is asked at Euler's y_s. Steps from r = ∞ and to r = 0 are Euler's, and so are those
    with r_t > 8 r_s: see `_heun_step`. Source: Karras et al. 2022, arXiv 2206.00364, algorithm 1.
    """
    for t, s in pairwise(walk.times):
        x, x0 = _heun_step(walk, x, t, s)
        yield Step(s, x, x0)


# Heun's longest step, as r_t / r_s.
LONGEST = 8.0


def _heun_step(walk: Walk, x: Array, t: float, s: float) -> tuple[Array, Array]:
    """x_s, and the x_0 predicted at x_t.

    Heun's y_s is Euler's plus (r_t / r_s - 1) / 2 times the change of x_0 on the way. In a long
    step this throws y_s far beyond all data (the first of 25 even steps on a cosine schedule has
    the factor 63), so there Euler's y_s stays.
    """
    alpha_t, sigma_t = walk.schedule.alpha_sigma(t)
    alpha_s, sigma_s = walk.schedule.alpha_sigma(s)

    # Euler's step.
    p = walk.predict(x, t)
    x_s = weighted_sum(alpha_s, p.x0, sigma_s, p.noise)

    # r_t > LONGEST r_s, also where one of them is infinite or 0.
    if sigma_t * alpha_s > LONGEST * sigma_s * alpha_t:
        return x_s, p.x0

    # Once more from x_t, by the mean of the slopes at both ends.
    slopes = p.noise + walk.predict(x_s, s).noise
    half_step = 0.5 * (sigma_s - alpha_s * sigma_t / alpha_t)
    return weighted_sum(alpha_s / alpha_t, x, half_step, slopes), p.x0


@sampler(s_churn=Between(0))
def edm(
    walk: Walk,
    x: Array,
    s_churn: float = 40.0,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Heun's steps, each after a little new noise: where s_min <= r_t <= s_max.

    The noise raises r_t to (1 + gamma) r_t, gamma = min(s_churn / steps, sqrt(2) - 1), but never
    beyond the schedule's noisiest time; s_noise scales it. s_churn = 0 is `heun`. Source: Karras et
    al. 2022, arXiv 2206.00364, algorithm 2.
    """
    schedule = walk.schedule
    gamma = min(s_churn / (len(walk.times) - 1), math.sqrt(2) - 1)
    log_r_max = -schedule.half_log_snr(schedule.timesteps)
    for t, s in pairwise(walk.times):
        alpha_t, sigma_t = schedule.alpha_sigma(t)

        # Where new noise is added, go up from r_t to r_hat = (1 + gamma) r_t, and t with it.
        log_r = -schedule.half_log_snr(t)
        log_r_hat = min(log_r + math.log1p(gamma), log_r_max)
        if log_r < log_r_hat and s_min <= sigma_t / alpha_t <= s_max:
            added = math.sqrt(math.exp(2 * log_r_hat) - math.exp(2 * log_r))
            y_hat = x / alpha_t + added * s_noise * walk.noise(x)
            t = float(schedule.time_of(-2 * log_r_hat))
            alpha_hat, _ = schedule.alpha_sigma(t)
            x = alpha_hat * y_hat

        x, x0 = _heun_step(walk, x, t, s)
        yield Step(s, x, x0)
