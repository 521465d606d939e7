"""Samplers: from noise x_T down the times to an image x_0. Each is a generator of `Step`.

All have the signature (denoise, schedule, x, condition=None, times=None, rng=None, clip=None, ...): x (batch, ...) at
the first of the `times`, which fall (default: T, T-1, …, 0; see `minidiff.diffusion.times`); rng, a NumPy Generator or
anything with standard_normal(size, dtype), for those that draw noise; `clip` says what is done to each predicted x_0:
None, True for [-1, 1], a number c for [-c, c], a pair, or a function of arrays such as `dynamic_threshold()`. The
steps are len(times) - 1. In the formulas a step goes from t to s < t; alpha = sqrt(alpha_bar), sigma =
sqrt(1 - alpha_bar), lambda = log(alpha / sigma), h = lambda_s - lambda_t; EDM's sigma is our sigma / alpha.
"""

from ..thresholds import dynamic_threshold
from .common import Step, sampler
from .markov import ddim, ddpm, euler_ancestral, invert
from .multistep import dpmpp_1, dpmpp_2m, dpmpp_2m_sde, unipc
from .ode import edm, euler, heun

SAMPLERS = {
    f.__name__: f for f in (ddpm, ddim, euler, euler_ancestral, heun, edm, dpmpp_1, dpmpp_2m, dpmpp_2m_sde, unipc)
}

__all__ = ["SAMPLERS", "Step", "dynamic_threshold", "invert", "sampler", *SAMPLERS]
