"""Samplers that go back along the noising chain: x_s is drawn around x_0 and x_t, s < t."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from ...checks import Between
from ...kernels import Array
from ..forward_process import posterior
from ..per_sample import check_clean, exp, scaled, weighted_sum
from ..variance import VARIANCES, log_variance_of
from .walk import Step, Walk, sampler


@sampler(variance=VARIANCES)
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
        step_variance = exp(log_variance_of(p, variance, walk.schedule, t, s))

        # The mean, as if the predicted x_0 were the true one.
        mean, _ = posterior(walk.schedule, p.x0, x, t, s)
        if mean_shift is not None:
            scale = walk.schedule.norm(t) / walk.schedule.norm(s)  # of a gradient in x_s
            mean = mean + scale * step_variance * mean_shift(x, t, walk.condition)

        # Noise around it, but not in the result.
        x = mean if s == 0 else mean + step_variance**0.5 * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler(free_noise=True, eta=Between(0, 1))
def ddim(walk: Walk, x: Array, eta: float = 0.0) -> Iterator[Step]:
    """x_s = alpha_s x_0 + sqrt(sigma_s² - c²) noise' + c noise; noise' is the predicted one.

    c² = eta² times DDPM's small variance: eta 0 is deterministic, eta 1 over every t is DDPM.
    Source: Song et al. 2021, arXiv 2010.02502, eq. 12 and 16 (where c is sigma).
    """
    for t, s in pairwise(walk.times):
        alpha_t, sigma_t = walk.schedule.alpha_sigma(t)
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        p = walk.predict(x, t)

        # How much of sigma_s is new noise (eq. 16, of x / norm); above 1 by rounding only.
        c = 0.0
        if eta:
            norm_t = walk.schedule.norm(t)
            norm_s = walk.schedule.norm(s)
            a = min(1.0, (alpha_t / norm_t / (alpha_s / norm_s)) ** 2)
            share = eta * math.sqrt(1 - a) / (sigma_t / norm_t)
            c = sigma_s * min(1.0, share)

        # x_0 noised to time s: by the predicted noise, and by new noise (eq. 12).
        x = weighted_sum(alpha_s, p.x0, math.sqrt(sigma_s**2 - c**2), p.noise)
        if c > 0:
            x = x + c * walk.noise(x)
        yield Step(s, x, p.x0)


@sampler(free_noise=True)
def invert(walk: Walk, x: Array) -> Iterator[Step]:
    """DDIM upwards: from the image x at the last of the times to noise at the first.

    The noise is asked at x_s but for the time t > s, where sampling back will ask for it (so on a
    `Path` at the size that x_t has), never at t = 0; x_0 is then what this noise makes of
    x_s. Takes the falling times that sampling takes.
    Source: Song et al. 2021, arXiv 2010.02502, section 5.4; Dhariwal & Nichol 2021, arXiv
    2105.05233, appendix F.
    """
    if walk.times[-1] == 0:
        check_clean("x", x)
    for s, t in pairwise(reversed(walk.times)):
        alpha_s, sigma_s = walk.schedule.alpha_sigma(s)
        alpha_t, sigma_t = walk.schedule.alpha_sigma(t)
        norm_t = walk.schedule.norm(t)
        norm_s = walk.schedule.norm(s)
        p = walk.predict(scaled(norm_t / norm_s, x), t)
        x0 = (x - sigma_s * p.noise) / alpha_s
        x = weighted_sum(alpha_t, x0, sigma_t, p.noise)
        yield Step(t, x, x0)
