"""Exercises of lesson 7, training a denoiser.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises training
"""

import numpy as np

from minidiff import ops


def training_loss(model, schedule, x0, rng):
    """The loss of a network on clean samples x0 (n, …): one number that can be gone back from.

    Draw a time t from 1 … T for each sample (schedule.timesteps is T) and noise, and mix them:
    schedule.alpha_sigma(t, x0) gives alpha and sigma as columns, one number for each sample. Ask
    model(x_t, t, None) for v = alpha noise − sigma x0. The loss is the mean squared error.

    `rng` draws: rng.integers(low, high, size), which leaves `high` out, and rng.standard_normal.
    What the model gives is a Tensor, and so is the loss.
    """
    raise NotImplementedError


def label_dropout(labels, probability, rng):
    """The labels (n,), each of which is hidden with this probability: it becomes 0, the null label.

    Each has its own luck. The array that is given stays what it is. rng.random(n) draws n numbers
    between 0 and 1.

    >>> label_dropout(np.array([3, 1, 2]), 1.0, np.random.default_rng(0))
    array([0, 0, 0])
    """
    raise NotImplementedError


def guided_noise(denoise, x, t, labels, scale):
    """The noise by classifier-free guidance: from the null label's, `scale` times the way to the
    label's.

    denoise(x, t, labels).noise is the noise for labels (n,), and denoise(x, t, None).noise that for
    the null label. At scale 0 it is the null label's, at 1 the label's own, at 3 far beyond it.
    """
    raise NotImplementedError


def guidance_interval(t, scale, low, high):
    """The scale of guidance at time t: `scale` where low < t ≤ high, and no guidance elsewhere.

    What is the scale of no guidance?

    >>> guidance_interval(50, 3.0, 30, 80)
    3.0
    """
    raise NotImplementedError


def ema_update(average, weights, decay):
    """The running mean of the weights after one more step: a new dict, name -> array.

    `average` and `weights` are such dicts, with the same names, and stay what they are. Of the
    average the share `decay` is kept; the rest comes from the weights.

    >>> ema_update({"b": np.array([10.0])}, {"b": np.array([0.0])}, 0.9)
    {'b': array([9.])}
    """
    raise NotImplementedError


def adam_step(x, g, m, v, k, lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8):
    """One step of Adam (Kingma and Ba 2015): the new x, m and v.

    x (n,) are weights, g their gradient, m and v the decaying means of gradients and of their
    squares (before this step; 0 at first), and k the number of this step: 1 for the first. m keeps
    the share beta1 and v the share beta2. Since they began at 0 they are too small at first, and
    are divided by 1 − beta1^k and 1 − beta2^k before they are used: call the results m̂ and v̂ (m
    and v are handed on as they are). x goes down by lr · m̂ / (√v̂ + eps).

    >>> x, m, v = adam_step(np.array([1.0]), np.array([5.0]), np.zeros(1), np.zeros(1), 1)
    >>> x.round(6)  # the first step has the length lr, whatever g is
    array([0.99])
    """
    raise NotImplementedError
