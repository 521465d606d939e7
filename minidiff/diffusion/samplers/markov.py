"""Samplers that draw x_s from a Gaussian around x_0 and x_t: DDPM, DDIM and what is written like them."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from ...kernels import Array, namespace
from ..denoise import variance_range
from ..process import posterior
from .common import Between, Step, Walk, sampler


@sampler(variance=("small", "large", "learned"))
def ddpm(walk: Walk, x: Array, variance: str = "small", mean_shift: Callable | None = None) -> Iterator[Step]:
    """x_s = mean of q(x_s given x_t, x_0) + sqrt(variance) noise, no noise at the last step.

    `variance` is "small" (beta-tilde), "large" (beta = 1 - alpha_bar_t / alpha_bar_s, also on a sub-grid) or
    "learned" (the prediction's; on a sub-grid its place between the two others, Nichol & Dhariwal 2021, section 4).
    `mean_shift(x, t, condition)` times the variance is added to the mean: classifier guidance by
    `guidance.gradient` (Dhariwal & Nichol 2021, arXiv 2105.05233, algorithm 1).
    Source: Ho et al. 2020, arXiv 2006.11239, algorithm 2.
    """
    for t, s in pairwise(walk.times):
        p = walk.predict(x, t)
        mean, spread = posterior(walk.schedule, p.x0, x, t, s)
        if variance == "large":
            spread = 1 - float(walk.schedule.alpha_bar_at(t) / walk.schedule.alpha_bar_at(s))
        elif variance == "learned":
            spread = namespace(x).exp(_log_variance(walk, p.log_variance, t, s))
        if mean_shift is not None:
            mean = mean + spread * mean_shift(x, t, walk.condition)
        x = mean if s == 0 else mean + spread**0.5 * walk.noise(x)
        yield Step(s, x, p.x0)


def _log_variance(walk: Walk, log_variance: Array | None, t: float, s: float) -> Array:
    if log_variance is None:
        raise ValueError("variance: given 'learned', but the denoiser predicts none; wanted 'small' or 'large'")
    if s == t - 1:
        return log_variance
    (low, high), (new_low, new_high) = (map(float, variance_range(walk.schedule, t, to)) for to in (max(t - 1, 0), s))
    return new_low + (log_variance - low) * ((new_high - new_low) / (high - low))


@sampler(free_noise=True, eta=Between(0, 1))
def ddim(walk: Walk, x: Array, eta: float = 0.0) -> Iterator[Step]:
    """x_s = alpha_s x_0 + sqrt(sigma_s² - c²) noise' + c noise, c² = eta² times DDPM's small variance.

    noise' is the predicted one. eta 0 is deterministic, eta 1 over every t is DDPM.
    Source: Song et al. 2021, arXiv 2010.02502, eq. 12 and 16.
    """
    for t, s in pairwise(walk.times):
        p = walk.predict(x, t)
        now, before = (float(walk.schedule.alpha_bar_at(time)) for time in (t, s))
        c2 = eta**2 * (1 - before) / (1 - now) * (1 - now / before)
        x = math.sqrt(before) * p.x0 + math.sqrt(1 - before - c2) * p.noise
        if c2 > 0:
            x = x + math.sqrt(c2) * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler(free_noise=True, eta=Between(0, math.inf))
def euler_ancestral(walk: Walk, x: Array, eta: float = 1.0) -> Iterator[Step]:
    """In y = x / alpha and r = sigma / alpha: Euler to r_down < r_s, then noise r_up back up, r_s² = r_down² + r_up².

    r_up = eta sqrt(r_s² (r_t² - r_s²) / r_t²), at most r_s. As y - r_t noise' = x_0, the step is
    y_s = x_0 + r_down noise' + r_up noise. With eta 1 this is DDIM with eta 1.
    Source: k-diffusion's `sample_euler_ancestral`, after Song et al. 2021, arXiv 2011.13456.
    """
    for t, s in pairwise(walk.times):
        p = walk.predict(x, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, (t, s))
        kept = (sigma_s * alpha_t / (alpha_s * sigma_t)) ** 2  # r_s² / r_t²
        up = min(sigma_s, eta * sigma_s * math.sqrt(1 - kept))
        x = alpha_s * p.x0 + math.sqrt(sigma_s**2 - up**2) * p.noise
        if up > 0:
            x = x + up * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler(free_noise=True)
def invert(walk: Walk, x: Array) -> Iterator[Step]:
    """DDIM walked upwards, from the image x at the last of the times to noise at the first: x_t from x_s, s < t.

    The noise is asked at x_s but for the time t, where sampling back will ask for it, so never at t = 0; x_0 is then
    what this noise makes of x_s. Takes the falling times that sampling takes. Source: Song et al. 2021, arXiv
    2010.02502, section 5.4; Dhariwal & Nichol 2021, arXiv 2105.05233, appendix F.
    """
    for s, t in pairwise(reversed(walk.times)):
        p = walk.predict(x, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = map(walk.schedule.alpha_sigma, (t, s))
        x0 = (x - sigma_s * p.noise) / alpha_s
        x = alpha_t * x0 + sigma_t * p.noise
        yield Step(t, x, x0)
