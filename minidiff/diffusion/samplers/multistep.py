"""Samplers that solve the linear part exactly, and extrapolate x_0 from earlier steps.

With lambda = log(alpha / sigma), h = lambda_s - lambda_t, and x_0(lambda) the predictions on the
way from t to s (Lu et al. 2022, arXiv 2211.01095, prop. 4.1):

    x_s = (sigma_s / sigma_t) x_t + sigma_s ∫ e^lambda x_0(lambda) d lambda

x_0 constant gives alpha_s (1 - e^-h) x_0 for the integral's term, order 1; the others take the
change of x_0 since the last steps into account. h is infinite in a step from alpha = 0 or to t = 0.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ...checks import Between
from ...kernels import Array
from ..per_sample import weighted_sum
from .walk import Step, Walk, sampler


@sampler()
def dpmpp_1(walk: Walk, x: Array) -> Iterator[Step]:
    """DPM-Solver++ of order 1: x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - e^-h) x_0.

    That is DDIM with eta = 0. Source: Lu et al. 2022, arXiv 2211.01095, eq. 9 and appendix.
    """
    for t, s in pairwise(walk.times):
        _, sigma_t = walk.schedule.alpha_sigma(t)
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        h = walk.schedule.half_log_snr(s) - walk.schedule.half_log_snr(t)
        x0 = walk.predict(x, t).x0
        x = weighted_sum(sigma_s / sigma_t, x, -alpha_s * math.expm1(-h), x0)
        yield Step(s, x, x0)


@sampler()
def dpmpp_2m(walk: Walk, x: Array) -> Iterator[Step]:
    """DPM-Solver++(2M): order 1's step with D = x_0 + (x_0 - x_0') h / (2 h') in place of x_0.

    x_0' and h' are those of the step before. The first step, and one that ends in t = 0, take D =
    x_0. Source: Lu et al. 2022, arXiv 2211.01095, algorithm 2.
    """
    last_x0 = None
    last_h = 0.0
    for t, s in pairwise(walk.times):
        _, sigma_t = walk.schedule.alpha_sigma(t)
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        h = walk.schedule.half_log_snr(s) - walk.schedule.half_log_snr(t)
        x0 = walk.predict(x, t).x0

        # x_0 in the middle of the step, on the line through the last two.
        D = x0
        if last_x0 is not None and s > 0:
            D = x0 + (0.5 * h / last_h) * (x0 - last_x0)

        x = weighted_sum(sigma_s / sigma_t, x, -alpha_s * math.expm1(-h), D)
        last_x0 = x0
        last_h = h
        yield Step(s, x, x0)


@sampler(eta=Between(0))
def dpmpp_2m_sde(walk: Walk, x: Array, eta: float = 1.0) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M), in which noise is added; eta 0 is 2M, and D is as there.

        x_s = (sigma_s / sigma_t) e^(-eta h) x_t + alpha_s (1 - e^-(1 + eta) h) D + noise

    The noise has the standard deviation sigma_s sqrt(1 - e^(-2 eta h)). Source: Lu et al. 2022,
    arXiv 2211.01095, eq. 18 (eta = 1); the form in eta is k-diffusion's.
    """
    last_x0 = None
    last_h = 0.0
    for t, s in pairwise(walk.times):
        _, sigma_t = walk.schedule.alpha_sigma(t)
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        h = walk.schedule.half_log_snr(s) - walk.schedule.half_log_snr(t)
        x0 = walk.predict(x, t).x0

        # x_0 in the middle of the step, on the line through the last two.
        D = x0
        if last_x0 is not None and s > 0:
            D = x0 + (0.5 * h / last_h) * (x0 - last_x0)

        # 2M's step, with more of x_t forgotten, and new noise in its place.
        eta_h = eta * h if eta else 0.0  # h may be infinite
        kept = sigma_s / sigma_t * math.exp(-eta_h)
        x = weighted_sum(kept, x, -alpha_s * math.expm1(-h - eta_h), D)
        if eta_h and s > 0:
            x = x + sigma_s * math.sqrt(-math.expm1(-2 * eta_h)) * walk.noise(x)

        last_x0 = x0
        last_h = h
        yield Step(s, x, x0)


class Earlier(NamedTuple):
    """A prediction of x_0, and the lambda at which it was made."""

    log_snr: float
    x0: Array


@sampler(order=(1, 2, 3))
def unipc(walk: Walk, x: Array, order: int = 2, lower_order_final: bool = True) -> Iterator[Step]:
    """UniPC: a predictor from the last `order` predictions of x_0 (1, 2 or 3), then a corrector.

        x_s = (sigma_s / sigma_t) x_t - alpha_s expm1(-h) (x_0 + sum_i a_i (x_0^i - x_0) / r_i)

    The x_0^i are the earlier predictions, in the corrector also the one at s, and r_i = (lambda_i -
    lambda_t) / h. The a_i match the exact solution's expansion in h. The prediction at s is made at
    the uncorrected x_s and serves both, so there is one pass a step. The order of convergence is
    `order` + 1, but 2 where, as usual, the last steps are of lower order down to 1; a step to t = 0
    is always of the first. Source: Zhao et al. 2023, arXiv 2302.04867, algorithms 5-8 (multistep,
    data prediction, B_2(h) = e^h - 1).
    """
    steps = len(walk.times) - 1
    past: list[Earlier] = []  # the newest last
    step_order = 0
    start = x
    for i, (t, s) in enumerate(pairwise(walk.times)):
        arrived = Earlier(walk.schedule.half_log_snr(t), walk.predict(x, t).x0)

        # Correct the last step, from `start` to t, by the prediction that was made here.
        if past:
            x = _unipc_step(walk, start, past[-step_order:], walk.times[i - 1], t, arrived)
        past = [*past[-2:], arrived]

        # Predict the next one, by as many predictions as there are and as the end allows.
        finite = sum(math.isfinite(log_snr) for log_snr, _ in past)
        step_order = min(order, finite)
        if lower_order_final:
            step_order = min(step_order, steps - i)
        elif s == 0:
            step_order = 1
        step_order = max(step_order, 1)
        start = x
        x = _unipc_step(walk, x, past[-step_order:], t, s, None)
        yield Step(s, x, arrived.x0)


def _unipc_step(
    walk: Walk, x: Array, past: list[Earlier], t: float, s: float, arrived: Earlier | None
) -> Array:
    """x_s from x_t: the predictor, or, with the prediction that arrived at s, the corrector."""
    _, sigma_t = walk.schedule.alpha_sigma(t)
    alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
    log_snr_t, x0 = past[-1]
    h = walk.schedule.half_log_snr(s) - log_snr_t

    others = past[-2::-1]
    r = [(other.log_snr - log_snr_t) / h for other in others]
    if arrived is not None:
        others = [*others, arrived]
        r = [*r, 1.0]

    D = x0
    for a_i, r_i, other in zip(_unipc_weights(r, h), r, others):
        D = D + (a_i / r_i) * (other.x0 - x0)
    return weighted_sum(sigma_s / sigma_t, x, -alpha_s * math.expm1(-h), D)


def _unipc_weights(r: list[float], h: float) -> list[float]:
    """The a_i with sum_i a_i r_i^(n-1) = n! h phi_{n+1}(-h) / expm1(-h) for n = 1 … len(r).

    A lone one is 1/2.
    """
    if len(r) < 2:
        return [0.5] * len(r)
    right = []
    h_phi = math.expm1(-h) / -h - 1
    factorial = 1
    for n in range(1, len(r) + 1):
        right.append(h_phi * factorial / math.expm1(-h))
        factorial *= n + 1
        h_phi = h_phi / -h - 1 / factorial
    return np.linalg.solve(np.vander(r, increasing=True).T, right).tolist()
