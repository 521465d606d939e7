"""Solutions of lesson 6's exercises."""

import numpy as np


def clipped(x, x0, noise, alpha, sigma):
    x0 = np.clip(x0, -1, 1)
    return x0, (x - alpha * x0) / sigma


def ddim_step(denoise, x, t, s):
    p = denoise(x, t)
    alpha, sigma = denoise.schedule.alpha_sigma(s)
    return alpha * p.x0 + sigma * p.noise


def ddpm_step(denoise, x, t, s, rng):
    p = denoise(x, t)
    alpha, sigma = denoise.schedule.alpha_sigma(t)
    next_alpha, next_sigma = denoise.schedule.alpha_sigma(s)
    new = next_sigma / sigma * np.sqrt(1 - (alpha / next_alpha) ** 2)
    kept = np.sqrt(next_sigma**2 - new**2)
    return next_alpha * p.x0 + kept * p.noise + new * rng.standard_normal(x.shape)


def half_log_snr(schedule, t):
    alpha, sigma = schedule.alpha_sigma(t)
    return np.log(alpha / sigma)


def two_m_step(schedule, x, t, s, guess, last):
    aim = guess
    if last is not None and s > 0:
        t0, earlier = last
        ahead = half_log_snr(schedule, s) - half_log_snr(schedule, t)
        behind = half_log_snr(schedule, t) - half_log_snr(schedule, t0)
        aim = guess + ahead / behind / 2 * (guess - earlier)
    alpha, sigma = schedule.alpha_sigma(t)
    next_alpha, next_sigma = schedule.alpha_sigma(s)
    return next_alpha * aim + next_sigma * (x - alpha * aim) / sigma
