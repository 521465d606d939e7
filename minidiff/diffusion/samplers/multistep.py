"""Solvers that use the exact solution of the linear part in lambda, and earlier predictions of x_0 for the rest.

x_s = (sigma_s / sigma_t) x_t + sigma_s ∫ e^lambda x_0(lambda) d lambda, from lambda_t to lambda_s
(Lu et al. 2022, arXiv 2211.01095, prop. 4.1).
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ...kernels import Array
from .common import Between, Step, Walk, sampler


@sampler
def dpmpp_1(walk: Walk, x: Array) -> Iterator[Step]:
    """DPM-Solver++ of order 1: x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - e^-h) x_0, which is DDIM with eta = 0.

    Source: Lu et al. 2022, arXiv 2211.01095, eq. 9 and appendix.
    """
    return _dpmpp(walk, x, order=1, eta=0.0)


@sampler
def dpmpp_2m(walk: Walk, x: Array) -> Iterator[Step]:
    """DPM-Solver++(2M): order 1's step with D = x_0 + (x_0 - x_0') / (2r) for x_0; x_0' and h' are the step's before.

    r = h' / h; the first step and one that ends in t = 0 take D = x_0.
    Source: Lu et al. 2022, arXiv 2211.01095, algorithm 2.
    """
    return _dpmpp(walk, x, order=2, eta=0.0)


@sampler(eta=Between(0, math.inf))
def dpmpp_2m_sde(walk: Walk, x: Array, eta: float = 1.0) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M): x_s = (sigma_s / sigma_t) e^(-eta h) x_t + alpha_s (1 - e^-(1 + eta) h) D + noise.

    The noise has the standard deviation sigma_s sqrt(1 - e^(-2 eta h)); eta 0 is 2M. D as in 2M.
    Source: Lu et al. 2022, arXiv 2211.01095, eq. 18 (eta = 1); the form in eta is k-diffusion's.
    """
    return _dpmpp(walk, x, order=2, eta=eta)


def _dpmpp(walk: Walk, x: Array, order: int, eta: float) -> Iterator[Step]:
    before = None
    for t, s in pairwise(walk.times):
        x0 = walk.predict(x, t).x0
        (_, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, (t, s))
        h = walk.schedule.half_log_snr(s) - walk.schedule.half_log_snr(t)
        D = x0
        if order == 2 and before is not None and s > 0:
            last_x0, last_h = before
            D = x0 + (0.5 * h / last_h) * (x0 - last_x0)
        before = x0, h
        churn = eta * h if eta else 0.0  # h may be infinite
        x = sigma_s / sigma_t * math.exp(-churn) * x - alpha_s * math.expm1(-h - churn) * D
        if churn and s > 0:
            x = x + sigma_s * math.sqrt(-math.expm1(-2 * churn)) * walk.noise(x)
        yield Step(s, x, x0)


@sampler(order=(1, 2, 3))
def unipc(walk: Walk, x: Array, order: int = 2, lower_order_final: bool = True) -> Iterator[Step]:
    """UniPC: a predictor from the last `order` predictions of x_0 (1, 2 or 3), corrected by the next one.

    x_s = (sigma_s / sigma_t) x_t - alpha_s expm1(-h) (x_0 + sum_i a_i (x_0^i - x_0) / r_i), r_i = (lambda_i - lambda_t)
    / h for the earlier predictions x_0^i, in the corrector also for the one at s. The a_i match the exact solution's
    expansion in h. The prediction at s is made at the uncorrected x_s and serves both: one pass a step. The order
    of convergence is `order` + 1, but 2 where, as usual, the last steps are of lower order down to 1; a step to t = 0
    is always of the first.
    Source: Zhao et al. 2023, arXiv 2302.04867, algorithms 5-8 (multistep, data prediction, B_2(h) = e^h - 1).
    """
    past: list[tuple[float, Array]] = []  # (lambda, x_0), the newest last
    steps, start, used = len(walk.times) - 1, x, 0
    for i, (t, s) in enumerate(pairwise(walk.times)):
        lambda_t, x0 = walk.schedule.half_log_snr(t), walk.predict(x, t).x0
        if past:
            x = _unipc_step(walk, start, past[-used:], (walk.times[i - 1], t), (lambda_t, x0))
        past = [*past[-2:], (lambda_t, x0)]
        finite = [entry for entry in past if np.isfinite(entry[0])]
        most = steps - i if lower_order_final else order if s > 0 else 1
        used = max(1, min(order, len(finite), most))
        start, x = x, _unipc_step(walk, x, past[-used:], (t, s), None)
        yield Step(s, x, x0)


def _unipc_step(walk: Walk, x: Array, past: list, span: tuple[float, float], arrived: tuple | None) -> Array:
    """The predictor, or with the prediction that `arrived` at the end of the span, the corrector."""
    (_, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, span)
    (lambda_t, x0), earlier = past[-1], past[-2::-1]
    lambda_s = walk.schedule.half_log_snr(span[1])
    h = lambda_s - lambda_t
    others = [*earlier, arrived] if arrived else earlier
    r = [(at - lambda_t) / h for at, _ in earlier] + ([1.0] if arrived else [])
    move = x0
    for a, ratio, (_, other) in zip(_unipc_weights(r, h), r, others, strict=True):
        move = move + (a / ratio) * (other - x0)
    return sigma_s / sigma_t * x - alpha_s * math.expm1(-h) * move


def _unipc_weights(r: list[float], h: float) -> list[float]:
    """The a_i for which sum_i a_i r_i^(n-1) = n! h phi_{n+1}(-h) / expm1(-h) for n = 1 … len(r); 1/2 for a lone r."""
    if len(r) < 2:
        return [0.5] * len(r)
    right, h_phi, factorial = [], math.expm1(-h) / -h - 1, 1
    for n in range(1, len(r) + 1):
        right.append(h_phi * factorial / math.expm1(-h))
        factorial *= n + 1
        h_phi = h_phi / -h - 1 / factorial
    return np.linalg.solve(np.vander(r, increasing=True).T, right).tolist()
