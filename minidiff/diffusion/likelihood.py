"""How likely a model makes data: the variational bound in bits per dimension, term by term.

Source: Ho et al. 2020, arXiv 2006.11239, eq. 5. The functions of Gaussians take arrays or Tensors,
so that the loss of a learned variance is made of the same terms; a log-variance may be a float.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import checks, ops
from ..kernels import Array, to_host
from ..nn import Module
from .forward_process import posterior, q_sample
from .per_sample import Rng, check_clean, column, exp
from .prediction import Denoise
from .samplers.walk import Walk
from .schedule import Schedule
from .variance import VARIANCES, log_variance_of, log_variance_range


class BitsPerDim(NamedTuple):
    """In bits per dimension: `total` (batch,), `prior` (batch,) and `terms` (T, batch).

    terms[t - 1] is the term of time t.
    """

    total: np.ndarray
    prior: np.ndarray
    terms: np.ndarray

    def __repr__(self) -> str:
        T, batch = self.terms.shape
        return f"BitsPerDim(total = {self.total.mean():.4g} on average, T = {T}, batch = {batch})"


def bits_per_dim(
    denoise: Denoise | Module,
    x0: Array,
    rng: Rng | int | Sequence[int],
    condition: Any = None,
    variance: str = "small",
    discretised: bool | None = None,
    clip: Any = "images",
) -> BitsPerDim:
    """The variational bound on -log2 p(x_0) per dimension, of data x0 (batch, ...).

        total = KL(q(x_T given x_0), N(0, I))
                + sum_t KL(q(x_{t-1} given x_t, x_0), p(x_{t-1} given x_t))

    The last term, t = 1, is -log2 p(x_0 given x_1). Each t = T … 1 takes one draw of noise and one
    pass. `variance` is p's: "small" (at t = 1 the one of t = 2 stands in for 0), "large" or
    "learned" (the prediction's). With `discretised`, x_0 holds 8-bit images scaled to [-1, 1] and
    the last term is the probability of each pixel's bin, otherwise a density; it is so for images
    (batch, height, width, channels), unless given, and not for points. `clip` as for the
    samplers.
    """
    checks.among("variance", variance, VARIANCES)
    check_clean("x0", x0)
    walk = Walk(denoise, x0, condition, rng=rng, clip=clip)
    schedule = walk.schedule
    discretised = x0.ndim == 4 if discretised is None else discretised
    alpha_bar = float(schedule.alpha_bar[-1])
    prior = _bits(normal_kl(math.sqrt(alpha_bar) * x0, math.log1p(-alpha_bar), 0.0, 0.0))
    terms = np.empty((schedule.timesteps, x0.shape[0]))
    for t, s in pairwise(walk.times):
        x_t = q_sample(schedule, x0, t, walk.noise(x0))
        p = walk.predict(x_t, t)
        mean, _ = posterior(schedule, p.x0, x_t, t)
        log_variance = log_variance_of(p, variance, schedule, t, s)
        terms[int(s)] = _bits(step_nats(schedule, x0, x_t, t, mean, log_variance, discretised))
    # sample by sample: the order of a sum down the columns changes with the batch
    total = prior + np.ascontiguousarray(terms.T).sum(axis=1)
    return BitsPerDim(total, prior, terms)


def step_nats(
    schedule: Schedule, x0: Array, x_t: Array, t, mean, log_variance, discretised: bool
) -> Any:
    """One step's term of the bound, elementwise: for t = 1 -log p(x_0), for others the KL.

    t is a number or (batch,); mean and log_variance are p's.
    """
    true_mean, _ = posterior(schedule, x0, x_t, t)
    true_log_variance, _ = log_variance_range(schedule, t)
    kl = normal_kl(true_mean, column(true_log_variance, x0), mean, log_variance)
    nll = (discretised_nll if discretised else gaussian_nll)(x0, mean, log_variance)
    is_last = column((np.asarray(t) == 1).astype(np.float64), x0)
    return nll * is_last + kl * (1 - is_last)


def normal_kl(mean1, log_variance1, mean2, log_variance2) -> Any:
    """KL(N(mean1, variance1), N(mean2, variance2)) in nats, elementwise."""
    rise = log_variance2 - log_variance1
    return 0.5 * (rise + exp(-rise) - 1 + exp(-log_variance2) * (mean1 - mean2) ** 2)


def gaussian_nll(x, mean, log_variance) -> Any:
    """-log N(x; mean, variance) in nats, elementwise."""
    return 0.5 * (exp(-log_variance) * (x - mean) ** 2 + log_variance + math.log(2 * math.pi))


def discretised_nll(x: Array, mean, log_variance) -> Any:
    """-log of the probability that N(mean, variance) gives x's bin, in nats, elementwise.

    x is one of 256 values from -1 to 1, 2/255 apart; the outermost bins reach to infinity.
    Probabilities count as 1e-12 at least. Source: Ho et al. 2020, arXiv 2006.11239, eq. 13.
    """
    highest = (x > 0.999).astype(x.dtype)
    lowest = (x < -0.999).astype(x.dtype)
    scale = exp(-0.5 * log_variance) * math.sqrt(0.5)
    below_upper = 0.5 * (1 + ops.erf(scale * (x - mean + 1 / 255)))
    below_lower = 0.5 * (1 + ops.erf(scale * (x - mean - 1 / 255)))
    probability = below_upper * (1 - highest) + highest - below_lower * (1 - lowest)
    return -ops.log(ops.maximum(probability, 1e-12))


def _bits(nats: Array) -> np.ndarray:
    """The mean over each sample, (batch,), in bits."""
    return to_host(nats).reshape(len(nats), -1).mean(axis=1, dtype=np.float64) / math.log(2)
