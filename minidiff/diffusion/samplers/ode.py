"""Solvers of the probability-flow ODE in y = x / alpha against r = sigma / alpha, where it reads dy/dr = noise'(y, r).

Source: Karras et al. 2022, arXiv 2206.00364, eq. 4 and table 1; r is their sigma, and y their x.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from ...kernels import Array
from .common import Between, Step, Walk, sampler


@sampler(free_noise=True)
def euler(walk: Walk, x: Array) -> Iterator[Step]:
    """y_s = y_t + (r_s - r_t) noise', which is x_0 + r_s noise': DDIM with eta = 0, first order."""
    for t, s in pairwise(walk.times):
        x, x0 = _euler_step(walk, x, t, s)
        yield Step(s, x, x0)


@sampler
def heun(walk: Walk, x: Array) -> Iterator[Step]:
    """y_s = y_t + (r_s - r_t) (noise' + noise'') / 2, noise'' asked at Euler's y_s: second order, two passes a step.

    Steps from r = ∞ and to r = 0 are Euler's. Source: Karras et al. 2022, algorithm 1.
    """
    for t, s in pairwise(walk.times):
        x, x0 = _heun_step(walk, x, t, s)
        yield Step(s, x, x0)


@sampler(s_churn=Between(0, math.inf))
def edm(
    walk: Walk,
    x: Array,
    s_churn: float = 40.0,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Heun's steps, each after a little new noise: r_t is raised to (1 + g) r_t where s_min <= r_t <= s_max.

    g = min(s_churn / steps, sqrt(2) - 1), never beyond the schedule's noisiest time; s_noise scales the new noise.
    s_churn = 0 is `heun`. Source: Karras et al. 2022, algorithm 2.
    """
    g = min(s_churn / (len(walk.times) - 1), math.sqrt(2) - 1)
    top = walk.schedule.half_log_snr(walk.schedule.timesteps)
    for t, s in pairwise(walk.times):
        alpha, sigma = walk.schedule.alpha_sigma(t)
        log_r = -walk.schedule.half_log_snr(t)
        raised = min(log_r + math.log1p(g), -top)
        if log_r < raised and s_min <= sigma / alpha <= s_max:
            t = float(walk.schedule.time_of(-2 * raised))
            new_alpha, _ = walk.schedule.alpha_sigma(t)
            added = math.sqrt(math.exp(2 * raised) - math.exp(2 * log_r))
            x = new_alpha * (x / alpha + added * s_noise * walk.noise(x))
        x, x0 = _heun_step(walk, x, t, s)
        yield Step(s, x, x0)


def _euler_step(walk: Walk, x: Array, t: float, s: float) -> tuple[Array, Array]:
    p = walk.predict(x, t)
    alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
    return alpha_s * p.x0 + sigma_s * p.noise, p.x0


def _heun_step(walk: Walk, x: Array, t: float, s: float) -> tuple[Array, Array]:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, (t, s))
    if alpha_t == 0 or sigma_s == 0:
        return _euler_step(walk, x, t, s)
    p = walk.predict(x, t)
    y, step = x / alpha_t, sigma_s / alpha_s - sigma_t / alpha_t
    q = walk.predict(alpha_s * (y + step * p.noise), s)
    return alpha_s * (y + 0.5 * step * (p.noise + q.noise)), p.x0
