"""Exercises of lesson 6, samplers.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises samplers

`denoise(x, t)` gives a prediction p with p.x0 and p.noise, and `denoise.schedule.alpha_sigma(t)`
the pair (alpha, sigma) of a time. Steps go from a time t to a cleaner one, s < t. At s = 0 there is
no noise: alpha = 1 and sigma = 0.
"""

import numpy as np


def clipped(x, x0, noise, alpha, sigma):
    """The prediction (x0, noise), its x0 clipped to −1 … 1: gives both, as a pair.

    Data lies in −1 … 1, and a predicted x0 may lie outside. x = alpha x0 + sigma noise holds for
    what is given, and is to hold for what you give.

    >>> x0, noise = clipped(np.array([3.0]), np.array([2.0]), np.array([2.25]), 0.6, 0.8)
    >>> x0, noise.round(6)
    (array([1.]), array([3.]))
    """
    raise NotImplementedError


def ddim_step(denoise, x, t, s):
    """x at time s, from x (n, 2) at time t: a step of DDIM, which asks the denoiser once.

    With x0 and noise as predicted, x_s would be their mix with the factors of s.

    >>> from minidiff import diffusion
    >>> two = diffusion.exact.FiniteData(np.array([[1.0, 2.0]]))  # all data is one point
    >>> denoise = two.denoiser(diffusion.cosine_schedule(100))
    >>> ddim_step(denoise, np.array([[3.0, 3.0]]), 60, 0)
    array([[1., 2.]])
    """
    raise NotImplementedError


def ddpm_step(denoise, x, t, s, rng):
    """x at time s, from x (n, 2) at time t: a step of DDPM, with new noise of `rng`.

    x_s is to be drawn from the Gaussian that it follows if x0 is what the denoiser says. Of the
    noise at s, whose deviation is sigma_s, a part is new. The deviation of the new part is

        sigma_s / sigma_t · √(1 − (alpha_t / alpha_s)²)

    and the rest is the predicted noise, so much of it that the variances sum to sigma_s².
    rng.standard_normal(x.shape) draws.
    """
    raise NotImplementedError


def two_m_step(schedule, x, t, s, guess, last):
    """x at time s, from x (n, 2) at time t: a step of DPM-Solver++ 2M.

    `guess` is the denoiser's x0 at (x, t). `last` is None in the first step, and later the pair
    (t0, earlier): the time before, t0 > t, and the guess that was made there. What is ahead of this
    step and what is behind it is measured in λ = log(alpha / sigma). The straight line through both
    guesses says what the guess will be in the middle of the step, and the step goes as DDIM's by
    that. A step to s = 0, where λ is infinite, and the first one go by `guess` alone.
    """
    raise NotImplementedError
