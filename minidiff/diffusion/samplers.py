"""Samplers: from noise x_T down the times to an image x_0. Each is a generator of `Step`.

All have the signature (denoise, schedule, x, condition=None, times=None, rng=None, clip=None, ...):
x (batch, ...) at the first of the `times`, which fall (default: T, T-1, …, 0; see
`minidiff.diffusion.times`); rng, a NumPy Generator or anything with standard_normal(size, dtype),
for those that draw noise; `clip` says what is done to each predicted x_0: None, True for [-1, 1], a
number c for [-c, c], a pair, or a function of arrays such as `dynamic_threshold()`. The steps are
len(times) - 1. In the formulas a step goes from t to s < t; alpha = sqrt(alpha_bar), sigma = sqrt(1
- alpha_bar), lambda = log(alpha / sigma), h = lambda_s - lambda_t; EDM's sigma is our sigma /
alpha.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from ..kernels import Array
from .denoise import log_variance_of
from .process import blend, exp, posterior
from .walk import Between, Step, Walk, dynamic_threshold, sampler

# --- drawing x_s from a Gaussian around x_0 and x_t ---


@sampler(variance=("small", "large", "learned"))
def ddpm(
    walk: Walk, x: Array, variance: str = "small", mean_shift: Callable | None = None
) -> Iterator[Step]:
    """x_s = mean of q(x_s given x_t, x_0) + sqrt(variance) noise, no noise at the last step.

    `variance` is "small" (beta-tilde), "large" (beta = 1 - alpha_bar_t / alpha_bar_s, also on a
    sub-grid) or "learned" (the prediction's; on a sub-grid its place between the two others, Nichol
    & Dhariwal 2021, section 4). `mean_shift(x, t, condition)` times the variance is added to the
    mean: classifier guidance by `guidance.gradient` (Dhariwal & Nichol 2021, arXiv 2105.05233,
    algorithm 1). Source: Ho et al. 2020, arXiv 2006.11239, algorithm 2.
    """
    for t, s in pairwise(walk.times):
        p = walk.predict(x, t)
        mean, _ = posterior(walk.schedule, p.x0, x, t, s)
        spread = exp(log_variance_of(p, variance, walk.schedule, t, s))
        if mean_shift is not None:
            mean = mean + spread * mean_shift(x, t, walk.condition)
        x = mean if s == 0 else mean + spread**0.5 * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler(free_noise=True, eta=Between(0, 1))
def ddim(walk: Walk, x: Array, eta: float = 0.0) -> Iterator[Step]:
    """x_s = alpha_s x_0 + sqrt(sigma_s² - c²) noise' + c noise, c² = eta² times DDPM's small
    variance.

    noise' is the predicted one. eta 0 is deterministic, eta 1 over every t is DDPM.
    Source: Song et al. 2021, arXiv 2010.02502, eq. 12 and 16.
    """
    return _ddim(walk, x, eta)


@sampler(free_noise=True, eta=Between(0, math.inf))
def euler_ancestral(walk: Walk, x: Array, eta: float = 1.0) -> Iterator[Step]:
    """In y = x / alpha and r = sigma / alpha: Euler to r_down < r_s, then noise r_up back up, r_s²
    = r_down² + r_up².

    r_up = eta sqrt(r_s² (r_t² - r_s²) / r_t²), at most r_s. As y - r_t noise' = x_0, the step is
    y_s = x_0 + r_down noise' + r_up noise. That is DDIM's with c = alpha_s r_up, but here eta may
    be above 1. Source: k-diffusion's `sample_euler_ancestral`, after Song et al. 2021, arXiv
    2011.13456.
    """
    return _ddim(walk, x, eta)


def _ddim(walk: Walk, x: Array, eta: float) -> Iterator[Step]:
    """Both in one: 1 - r_s² / r_t² = (1 - alpha_t² / alpha_s²) / sigma_t², so alpha_s r_up is DDIM's c."""
    for t, s in pairwise(walk.times):
        p = walk.predict(x, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, (t, s))
        c = sigma_s * min(1.0, eta * math.sqrt(1 - (alpha_t / alpha_s) ** 2) / sigma_t)
        x = blend(alpha_s, p.x0, math.sqrt(sigma_s**2 - c**2), p.noise)
        if c > 0:
            x = x + c * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler(free_noise=True)
def invert(walk: Walk, x: Array) -> Iterator[Step]:
    """DDIM walked upwards, from the image x at the last of the times to noise at the first: x_t
    from x_s, s < t.

    The noise is asked at x_s but for the time t, where sampling back will ask for it, so never at t
    = 0; x_0 is then what this noise makes of x_s. Takes the falling times that sampling takes.
    Source: Song et al. 2021, arXiv 2010.02502, section 5.4; Dhariwal & Nichol 2021, arXiv
    2105.05233, appendix F.
    """
    for s, t in pairwise(reversed(walk.times)):
        p = walk.predict(x, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, (t, s))
        x0 = (x - sigma_s * p.noise) / alpha_s
        x = blend(alpha_t, x0, sigma_t, p.noise)
        yield Step(t, x, x0)


# --- the probability-flow ODE in y = x / alpha against r = sigma / alpha: dy/dr = noise'(y, r) ---
# Karras et al. 2022, arXiv 2206.00364, eq. 4 and table 1; r is their sigma, and y their x.


@sampler(free_noise=True)
def euler(walk: Walk, x: Array) -> Iterator[Step]:
    """y_s = y_t + (r_s - r_t) noise', which is x_0 + r_s noise': DDIM with eta = 0, first order."""
    return _ddim(walk, x, eta=0.0)


@sampler()
def heun(walk: Walk, x: Array) -> Iterator[Step]:
    """y_s = y_t + (r_s - r_t) (noise' + noise'') / 2, noise'' asked at Euler's y_s: second order,
    two passes a step.

    Steps from r = ∞ and to r = 0 are Euler's. Source: Karras et al. 2022, algorithm 1.
    """
    return _churned_heun(walk, x)


@sampler(s_churn=Between(0, math.inf))
def edm(
    walk: Walk,
    x: Array,
    s_churn: float = 40.0,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Heun's steps, each after a little new noise: r_t is raised to (1 + g) r_t where s_min <= r_t
    <= s_max.

    g = min(s_churn / steps, sqrt(2) - 1), never beyond the schedule's noisiest time; s_noise scales
    the new noise. s_churn = 0 is `heun`. Source: Karras et al. 2022, algorithm 2.
    """
    return _churned_heun(walk, x, s_churn, s_min, s_max, s_noise)


def _churned_heun(
    walk: Walk, x: Array, s_churn=0.0, s_min=0.0, s_max=math.inf, s_noise=1.0
) -> Iterator[Step]:
    """`edm`, in x rather than y; without churn it is `heun`.

    `after` is Euler's step first, then Heun's.
    """
    g = min(s_churn / (len(walk.times) - 1), math.sqrt(2) - 1)
    top = walk.schedule.half_log_snr(walk.schedule.timesteps)
    for t, s in pairwise(walk.times):
        alpha, sigma = walk.schedule.alpha_sigma(t)
        log_r = -walk.schedule.half_log_snr(t)
        raised = min(log_r + math.log1p(g), -top)
        if log_r < raised and s_min <= sigma / alpha <= s_max:
            t = float(walk.schedule.time_of(-2 * raised))
            added = math.sqrt(math.exp(2 * raised) - math.exp(2 * log_r))
            before, (alpha, sigma) = alpha, walk.schedule.alpha_sigma(t)
            x = alpha * (x / before + added * s_noise * walk.noise(x))
        p, (alpha_s, sigma_s) = walk.predict(x, t), walk.schedule.alpha_sigma(s)
        after = blend(alpha_s, p.x0, sigma_s, p.noise)
        if alpha > 0 and sigma_s > 0:
            slopes = p.noise + walk.predict(after, s).noise
            after = blend(alpha_s / alpha, x, 0.5 * (sigma_s - alpha_s * sigma / alpha), slopes)
        x = after
        yield Step(s, x, p.x0)


# --- the linear part solved exactly in lambda, earlier predictions of x_0 used for the rest ---
# x_s = (sigma_s / sigma_t) x_t + sigma_s ∫ e^lambda x_0(lambda) d lambda, from lambda_t to lambda_s
# (Lu et al. 2022, arXiv 2211.01095, prop. 4.1).


@sampler()
def dpmpp_1(walk: Walk, x: Array) -> Iterator[Step]:
    """DPM-Solver++ of order 1: x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - e^-h) x_0, which is
    DDIM with eta = 0.

    Source: Lu et al. 2022, arXiv 2211.01095, eq. 9 and appendix.
    """
    return _dpmpp(walk, x, order=1, eta=0.0)


@sampler()
def dpmpp_2m(walk: Walk, x: Array) -> Iterator[Step]:
    """DPM-Solver++(2M): order 1's step with D = x_0 + (x_0 - x_0') / (2r) for x_0; x_0' and h' are
    the step's before.

    r = h' / h; the first step and one that ends in t = 0 take D = x_0.
    Source: Lu et al. 2022, arXiv 2211.01095, algorithm 2.
    """
    return _dpmpp(walk, x, order=2, eta=0.0)


@sampler(eta=Between(0, math.inf))
def dpmpp_2m_sde(walk: Walk, x: Array, eta: float = 1.0) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M): x_s = (sigma_s / sigma_t) e^(-eta h) x_t + alpha_s (1 - e^-(1 + eta) h)
    D + noise.

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
        x = blend(sigma_s / sigma_t * math.exp(-churn), x, -alpha_s * math.expm1(-h - churn), D)
        if churn and s > 0:
            x = x + sigma_s * math.sqrt(-math.expm1(-2 * churn)) * walk.noise(x)
        yield Step(s, x, x0)


@sampler(order=(1, 2, 3))
def unipc(walk: Walk, x: Array, order: int = 2, lower_order_final: bool = True) -> Iterator[Step]:
    """UniPC: a predictor from the last `order` predictions of x_0 (1, 2 or 3), corrected by the
    next one.

    x_s = (sigma_s / sigma_t) x_t - alpha_s expm1(-h) (x_0 + sum_i a_i (x_0^i - x_0) / r_i), r_i =
    (lambda_i - lambda_t) / h for the earlier predictions x_0^i, in the corrector also for the one
    at s. The a_i match the exact solution's expansion in h. The prediction at s is made at the
    uncorrected x_s and serves both: one pass a step. The order of convergence is `order` + 1, but 2
    where, as usual, the last steps are of lower order down to 1; a step to t = 0 is always of the
    first. Source: Zhao et al. 2023, arXiv 2302.04867, algorithms 5-8 (multistep, data prediction,
    B_2(h) = e^h - 1).
    """
    past: list[tuple[float, Array]] = []  # (lambda, x_0), the newest last
    steps, start, used = len(walk.times) - 1, x, 0
    for i, (t, s) in enumerate(pairwise(walk.times)):
        lambda_t, x0 = walk.schedule.half_log_snr(t), walk.predict(x, t).x0
        if past:
            x = _unipc_step(walk, start, past[-used:], (walk.times[i - 1], t), (lambda_t, x0))
        past = [*past[-2:], (lambda_t, x0)]
        most = steps - i if lower_order_final else order if s > 0 else 1
        used = max(1, min(order, most, sum(math.isfinite(at) for at, _ in past)))
        start, x = x, _unipc_step(walk, x, past[-used:], (t, s), None)
        yield Step(s, x, x0)


def _unipc_step(
    walk: Walk, x: Array, past: list, span: tuple[float, float], arrived: tuple | None
) -> Array:
    """The predictor, or with the prediction that `arrived` at the end of the span, the corrector."""
    (_, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, span)
    (lambda_t, x0), earlier = past[-1], past[-2::-1]
    h = walk.schedule.half_log_snr(span[1]) - lambda_t
    others = [*earlier, arrived] if arrived else earlier
    r = [(at - lambda_t) / h for at, _ in earlier] + ([1.0] if arrived else [])
    move = sum(
        ((a / at) * (other - x0) for a, at, (_, other) in zip(_unipc_weights(r, h), r, others)),
        start=x0,
    )
    return blend(sigma_s / sigma_t, x, -alpha_s * math.expm1(-h), move)


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


_ALL = ddpm, ddim, euler, euler_ancestral, heun, edm, dpmpp_1, dpmpp_2m, dpmpp_2m_sde, unipc
SAMPLERS = {f.__name__: f for f in _ALL}
__all__ = ["SAMPLERS", "Step", "dynamic_threshold", "invert", "sampler", *SAMPLERS]
