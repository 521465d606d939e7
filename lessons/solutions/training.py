"""Solutions of lesson 7's exercises."""

import numpy as np

from minidiff import ops


def training_loss(model, schedule, x0, rng):
    t = rng.integers(1, schedule.timesteps + 1, size=len(x0))
    noise = rng.standard_normal(x0.shape).astype(x0.dtype)
    alpha, sigma = schedule.alpha_sigma(t, x0)
    x_t = alpha * x0 + sigma * noise
    v = alpha * noise - sigma * x0
    return ops.mean((model(x_t, t, None) - v) ** 2)


def label_dropout(labels, probability, rng):
    hidden = rng.random(len(labels)) < probability
    return np.where(hidden, 0, labels)


def guided_noise(denoise, x, t, labels, scale):
    of_label = denoise(x, t, labels).noise
    of_null = denoise(x, t, None).noise
    return of_null + scale * (of_label - of_null)


def guidance_interval(t, scale, low, high):
    return scale if low < t <= high else 1.0


def ema_update(average, weights, decay):
    return {name: decay * a + (1 - decay) * weights[name] for name, a in average.items()}


def adam_step(x, g, m, v, k, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**k)
    v_hat = v / (1 - beta2**k)
    return x - lr * m_hat / (np.sqrt(v_hat) + eps), m, v
