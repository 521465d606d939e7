"""Typical wrong answers to lesson 6's exercises, each with words of the message that it gets."""

import numpy as np


def clip(x, x0, noise, alpha, sigma, low=-1.0, noise_of=None):
    inside = np.clip(x0, low, 1)
    if noise_of is None:
        return inside, (x - alpha * inside) / sigma
    return inside, noise_of(x, inside, noise)


def ddim(denoise, x, t, s, asked_at=None, at=None, with_x=False, sign=1):
    p = denoise(x, t if asked_at is None else asked_at(t, s))
    alpha, sigma = denoise.schedule.alpha_sigma(s if at is None else at(t, s))
    return alpha * p.x0 + sign * sigma * (x if with_x else p.noise)


def ask_twice(denoise, x, t, s):
    alpha, sigma = denoise.schedule.alpha_sigma(s)
    return alpha * denoise(x, t).x0 + sigma * denoise(x, t).noise


def ddpm(denoise, x, t, s, rng, new=None, kept=None, shape=None, last=None):
    p = denoise(x, t)
    alpha, sigma = denoise.schedule.alpha_sigma(t)
    next_alpha, next_sigma = denoise.schedule.alpha_sigma(s)
    fresh = next_sigma / sigma * np.sqrt(1 - (alpha / next_alpha) ** 2)
    old = np.sqrt(next_sigma**2 - fresh**2) if kept is None else kept(next_sigma)
    fresh = fresh if new is None else new(fresh)
    fresh = last if last and s == 0 else fresh
    draw = rng.standard_normal(x.shape if shape is None else shape(x))
    return next_alpha * p.x0 + old * p.noise + fresh * draw


def half_log_snr(schedule, t):
    alpha, sigma = schedule.alpha_sigma(t)
    return np.log(alpha / sigma) if sigma else np.inf


def two_m(schedule, x, t, s, guess, last, share=lambda ahead, behind: ahead / behind / 2, end=True):
    aim = guess
    if last is not None and (s > 0 or not end):
        ahead = half_log_snr(schedule, s) - half_log_snr(schedule, t)
        behind = half_log_snr(schedule, t) - half_log_snr(schedule, last[0])
        aim = guess + share(ahead, behind) * (guess - last[1])
    alpha, sigma = schedule.alpha_sigma(t)
    next_alpha, next_sigma = schedule.alpha_sigma(s)
    return next_alpha * aim + next_sigma * (x - alpha * aim) / sigma


def in_t(schedule, x, t, s, guess, last):
    share = (t - s) / (last[0] - t) / 2 if last else 0
    return two_m(schedule, x, t, s, guess, last, lambda ahead, behind: share)


WRONG = {
    "clipped": [
        (lambda *a: clip(*a, noise_of=lambda x, x0, noise: noise), "derive it anew"),
        (lambda *a: clip(*a, noise_of=lambda x, x0, noise: np.clip(noise, -1, 1)), "clipped, too"),
        (lambda *a: clip(*a, low=0.0), "data lies in −1 … 1"),
        (lambda x, x0, noise, alpha, sigma: (x0, noise), "It is not clipped"),
        (lambda *a: clip(*a)[0], "It gives two arrays"),
    ],
    "ddim_step": [
        (lambda *a: ddim(*a, at=lambda t, s: t), "It has not moved"),
        (lambda *a: ddim(*a, at=lambda t, s: max(s - 1, 0)), "It is off by one"),
        (lambda *a: ddim(*a, at=lambda t, s: s + 1), "off by one: that is the point of s + 1"),
        (lambda *a: ddim(*a, with_x=True), "goes with the predicted noise"),
        (lambda *a: ddim(*a, asked_at=lambda t, s: t - 1), "x is a point of the time t"),
        (lambda *a: ddim(*a, sign=-1), "The noise is subtracted"),
        (lambda denoise, x, t, s: denoise(x, t).x0, "It jumps to x0"),
        (ask_twice, "wanted once a step"),
    ],
    "ddpm_step": [
        (lambda *a: ddpm(*a, new=lambda new: 0.0), "There is no new noise"),
        (lambda *a: ddpm(*a, kept=lambda sigma: sigma), "all of the old noise was kept"),
        (lambda *a: ddpm(*a, kept=lambda sigma: 0.0), "a part of it is kept"),
        (lambda *a: ddpm(*a, new=lambda new: new**2), "not the variance"),
        (lambda *a: ddpm(*a, new=lambda new: 9 * new, kept=lambda sigma: np.nan), "NaN in it"),
        (lambda *a: ddpm(*a, shape=lambda x: (len(x), 1)), "draw it in x's shape"),
        (lambda *a: ddpm(*a, last=0.05), "at s = 0 there is none"),
    ],
    "two_m_step": [
        (lambda *a: two_m(*a, share=lambda ahead, behind: 0), "is not used"),
        (lambda *a: two_m(*a, share=lambda ahead, behind: -ahead / behind / 2), "sign is turned"),
        (lambda *a: two_m(*a, share=lambda ahead, behind: ahead / behind), "half is missing"),
        (lambda *a: two_m(*a, share=lambda ahead, behind: behind / ahead / 2), "are exchanged"),
        (lambda *a: two_m(*a, end=False), "infinite there"),
        (in_t, "measure them in λ"),
    ],
}
