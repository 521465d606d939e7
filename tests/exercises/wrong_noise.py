"""Typical wrong answers to lesson 5's exercises, each with words of the message that it gets."""

import numpy as np


def column(a, x0):
    return a.reshape(-1, *[1] * (x0.ndim - 1))


def mixed(x0, a, noise):
    return np.sqrt(column(a, x0)) * x0 + np.sqrt(1 - column(a, x0)) * noise


def without_roots(x0, t, noise, alpha_bar):
    a = column(alpha_bar[t], x0)
    return a * x0 + (1 - a) * noise


def one_minus_alpha(x0, t, noise, alpha_bar):
    alpha = column(np.sqrt(alpha_bar[t]), x0)
    return alpha * x0 + (1 - alpha) * noise


def without_column(x0, t, noise, alpha_bar):
    return np.sqrt(alpha_bar[t]) * x0 + np.sqrt(1 - alpha_bar[t]) * noise


def mean_of_islands(
    x, alpha, sigma, means, stds, weights, weigh=True, thin=True, norm=True, guess=True
):
    v = alpha**2 * stds**2 + sigma**2
    offset = x[:, None, :] - alpha * means
    density = np.exp(-np.sum(offset**2, axis=2) / (2 * v))
    density = density * weights if weigh else density
    density = density / v if thin else density
    share = density / density.sum(axis=1, keepdims=True) if norm else density
    guesses = means + (alpha * stds**2 / v)[:, None] * offset if guess else means
    return np.sum(share[:, :, None] * guesses, axis=1)


def mean_of_guesses(x, alpha, sigma, means, stds, weights):
    v = alpha**2 * stds**2 + sigma**2
    return np.mean(means + (alpha * stds**2 / v)[:, None] * (x[:, None, :] - alpha * means), axis=1)


def cosine(T, s=0.008, power=2):
    return np.cos((np.arange(T + 1) / T + s) / (1 + s) * np.pi / 2) ** power


def one_largest_for_all(x, alpha, sigma, means, stds, weights):
    v = alpha**2 * stds**2 + sigma**2
    offset = x[:, None, :] - alpha * means
    log_density = np.log(weights / v) - np.sum(offset**2, axis=2) / (2 * v)
    density = np.exp(log_density - log_density.max())
    share = density / density.sum(axis=1, keepdims=True)
    return np.sum(share[:, :, None] * (means + (alpha * stds**2 / v)[:, None] * offset), axis=1)


WRONG = {
    "q_sample": [
        (without_column, "along the wrong axis"),
        (without_roots, "are the square roots"),
        (one_minus_alpha, "not 1 − alpha"),
        (
            lambda x0, t, noise, a: mixed(x0, a[t - 1], noise),
            "t is off by one: that is the mix of t − 1",
        ),
        (
            lambda x0, t, noise, a: mixed(x0, a[t + 1], noise),
            "t is off by one: that is the mix of t + 1",
        ),
        (lambda x0, t, noise, a: mixed(x0, 1 - a[t], noise), "alpha and sigma are exchanged"),
    ],
    "posterior_mean": [
        (lambda *a: mean_of_islands(*a, weigh=False), "weights of the islands are missing"),
        (lambda *a: mean_of_islands(*a, thin=False), "divided by v"),
        (lambda *a: mean_of_islands(*a, norm=False), "sum to 1"),
        (lambda *a: mean_of_islands(*a, guess=False), "a guess of its own"),
        (mean_of_guesses, "counts by its island's share"),
        (mean_of_islands, "Subtract the largest logarithm"),
        (one_largest_for_all, "each point its own"),
    ],
    "score_from_x0": [
        (lambda x, x0, alpha, sigma: (x - alpha * x0) / sigma**2, "points to where data is"),
        (lambda x, x0, alpha, sigma: (alpha * x0 - x) / sigma, "divide by sigma once more"),
        (lambda x, x0, alpha, sigma: (x0 - x) / sigma**2, "x0 is scaled by alpha"),
        (lambda x, x0, alpha, sigma: (x - alpha * x0) / sigma, "That is the noise"),
    ],
    "v_target": [
        (lambda x0, noise, alpha, sigma: sigma * x0 - alpha * noise, "sign is turned"),
        (lambda x0, noise, alpha, sigma: alpha * x0 + sigma * noise, "That is x_t"),
        (lambda x0, noise, alpha, sigma: sigma * noise - alpha * x0, "exchanged"),
        (lambda x0, noise, alpha, sigma: alpha * noise + sigma * x0, "a plus where a minus"),
        (lambda x0, noise, alpha, sigma: noise, "at t = 0 only"),
    ],
    "cosine_schedule": [
        (lambda T: (cosine(T) / cosine(T)[0])[1:], "for 0, where all is data"),
        (lambda T: cosine(T), "divide by f(0)"),
        (lambda T: cosine(T, power=1) / cosine(T, power=1)[0], "to be squared"),
        (lambda T: cosine(T, s=0), "s = 0.008 is missing"),
        (lambda T: 1 - cosine(T) / cosine(T)[0], "It grows"),
    ],
}
