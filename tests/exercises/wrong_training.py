"""Typical wrong answers to lesson 7's exercises, each with words of the message that it gets."""

import numpy as np

from minidiff import ops


def loss(
    model,
    schedule,
    x0,
    rng,
    low=1,
    high=1,
    one_t=False,
    noise=None,
    target=lambda alpha, sigma, noise, x0: alpha * noise - sigma * x0,
    measure=lambda error: ops.mean(error**2),
):
    T = schedule.timesteps
    t = rng.integers(low, T + high, size=len(x0))
    t = np.full_like(t, t[0]) if one_t else t
    epsilon = rng.standard_normal(x0.shape) if noise is None else noise(rng, x0)
    alpha, sigma = schedule.alpha_sigma(t, x0)
    x_t = alpha * x0 + sigma * epsilon
    return measure(model(x_t, t, None) - target(alpha, sigma, epsilon, x0))


def noise_target(alpha, sigma, noise, x0):
    return noise


def minus_target(alpha, sigma, noise, x0):
    return sigma * x0 - alpha * noise


def plus_target(alpha, sigma, noise, x0):
    return alpha * noise + sigma * x0


def mixed_a_step_earlier(model, schedule, x0, rng):
    t = rng.integers(1, schedule.timesteps + 1, size=len(x0))
    epsilon = rng.standard_normal(x0.shape)
    alpha, sigma = schedule.alpha_sigma(np.maximum(t - 1, 0), x0)
    error = model(alpha * x0 + sigma * epsilon, t, None) - (alpha * epsilon - sigma * x0)
    return ops.mean(np.where(t[:, None] == 1, 0, 1) * error**2)


def in_place(average, weights, decay):
    for name in average:
        average[name] *= decay
        average[name] += (1 - decay) * weights[name]
    return average


def average_with(a, b):
    return lambda average, weights, decay: {
        name: a(decay) * average[name] + b(decay) * weights[name] for name in average
    }


def adam(
    x,
    g,
    m,
    v,
    k,
    lr=0.01,
    later=0,
    correct=True,
    sign=-1,
    root=True,
    square=True,
    kept=0.9,
    add=0.1,
    eps=1e-8,
):
    m = kept * m + add * g
    v = 0.999 * v + 0.001 * (g**2 if square else g)
    m_hat = m / (1 - 0.9 ** (k + later)) if correct else m
    v_hat = v / (1 - 0.999 ** (k + later)) if correct else v
    return x + sign * lr * m_hat / ((np.sqrt(v_hat) if root else v_hat) + eps), m, v


WRONG = {
    "training_loss": [
        (lambda *a: loss(*a, target=noise_target), "You asked for the noise"),
        (lambda *a: loss(*a, target=minus_target), "sign turned"),
        (lambda *a: loss(*a, target=plus_target), "a plus in v"),
        (lambda *a: loss(*a, low=0), "t = 0 was drawn"),
        (lambda *a: loss(*a, high=0), "T = 20 never comes"),
        (lambda *a: loss(*a, one_t=True), "the same t"),
        (mixed_a_step_earlier, "mixed at t − 1, and the network is told t"),
        (lambda *a: loss(*a, noise=lambda rng, x0: rng.random(x0.shape)), "standard normal"),
        (
            lambda *a: loss(*a, noise=lambda rng, x0: rng.standard_normal((len(x0), 1)) + 0 * x0),
            "a noise of its own",
        ),
        (lambda *a: loss(*a, measure=lambda error: ops.sum(error**2)), "That is the sum"),
        (lambda *a: loss(*a, measure=lambda error: ops.mean(abs(error))), "square it"),
        (lambda *a: loss(*a, measure=lambda error: error**2), "take the mean"),
        (lambda *a: float(loss(*a)), "nothing learns"),
        (lambda *a: 0.0, "was never asked"),
    ],
    "label_dropout": [
        (lambda labels, p, rng: np.where(rng.random(len(labels)) < p, labels, 0), "to be kept"),
        (lambda labels, p, rng: labels * (rng.random() >= p), "draw a number for each"),
        (lambda labels, p, rng: np.where(rng.random(len(labels)) < p, 1, labels), "yours changed"),
        (lambda labels, p, rng: labels[rng.random(len(labels)) >= p], "as many labels"),
    ],
    "guided_noise": [
        (lambda d, x, t, y, s: s * d(x, t, y).noise, "the null label's is missing"),
        (
            lambda d, x, t, y, s: (1 + s) * d(x, t, y).noise - s * d(x, t, None).noise,
            "w = s − 1",
        ),
        (
            lambda d, x, t, y, s: (1 - s) * d(x, t, y).noise + s * d(x, t, None).noise,
            "Label and null are exchanged",
        ),
        (
            lambda d, x, t, y, s: s * (d(x, t, y).noise - d(x, t, None).noise),
            "the difference alone",
        ),
    ],
    "guidance_interval": [
        (lambda t, scale, low, high: scale if low < t <= high else 0.0, "the null label alone"),
        (lambda t, scale, low, high: scale if low <= t <= high else 1.0, "low < t ≤ high"),
        (lambda t, scale, low, high: scale if low < t < high else 1.0, "low < t ≤ high"),
        (lambda t, scale, low, high: 1.0 if low < t <= high else scale, "turned round"),
    ],
    "ema_update": [
        (average_with(lambda d: 1 - d, lambda d: d), "The two are exchanged"),
        (average_with(lambda d: d, lambda d: 1), "grows without end"),
        (average_with(lambda d: d, lambda d: d), "1 − decay is missing"),
        (in_place, "It writes to the old average"),
    ],
    "adam_step": [
        (lambda *a: adam(*a, correct=False), "correct them"),
        (lambda *a: adam(*a, later=1), "the first step has k = 1"),
        (lambda *a: adam(*a, sign=1), "It goes uphill"),
        (lambda *a: adam(*a, root=False), "The root of v is missing"),
        (lambda *a: adam(*a, square=False), "of the squares"),
        (lambda *a: adam(*a, kept=0.1, add=0.9), "The shares are exchanged"),
        (lambda *a: adam(*a, eps=0), "keeps 0 / 0 away"),
        (lambda *a: adam(*a, add=1.0), "g counts with 1 − β1"),
        (lambda *a: adam(*a)[0], "It gives three arrays"),
    ],
}
