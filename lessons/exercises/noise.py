"""Exercises of lesson 5, noise, and what a denoiser knows.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises noise

x_t = alpha x0 + sigma noise, with alpha² + sigma² = 1 and alpha_bar = alpha².
"""

import numpy as np


def q_sample(x0, t, noise, alpha_bar):
    """x_t: each sample of x0 mixed with its noise, each at its own time.

    x0 and noise have one shape: the samples first, then anything: (n, 2), (n, 28, 28, 1). t (n,)
    are whole numbers; alpha_bar (T + 1,) is a table, alpha_bar[0] = 1 that of the time 0.

    >>> alpha_bar = np.array([1.0, 0.64, 0.0])
    >>> q_sample(np.full((3, 1), 10.0), np.array([0, 1, 2]), np.ones((3, 1)), alpha_bar).ravel()
    array([10. ,  8.6,  1. ])
    """
    raise NotImplementedError


def posterior_mean(x, alpha, sigma, means, stds, weights):
    """x̂0: the mean of the clean points that x may come from, for islands in the plane.

    x (n, 2) are noisy points. Island k is a Gaussian of centre means[k] and width stds[k], and
    holds the share weights[k] of the data: means (islands, 2), stds and weights (islands,). The
    lesson's islands had one width and equal weights. The density of a Gaussian in the plane of
    variance v around c is

        exp(−|x − c|² / 2v) / (2 π v)

    It is to work far away from all islands, too.

    >>> one = np.array([[2.0, 0.0]])
    >>> posterior_mean(np.array([[3.0, 0.0]]), 0.6, 0.8, one, np.zeros(1), np.ones(1))
    array([[2., 0.]])
    """
    raise NotImplementedError


def score_from_x0(x, x0, alpha, sigma):
    """The score ∇ log p(x) of noisy data, from the best guess `x0` of what x was.

    x and x0 have one shape; alpha and sigma are numbers.

    >>> score_from_x0(np.array([1.0]), np.array([0.0]), 0.6, 0.8).round(4)
    array([-1.5625])
    """
    raise NotImplementedError


def v_target(x0, noise, alpha, sigma):
    """v, which a network is asked for: from it and x_t one finds x0 = alpha x_t − sigma v.

    x0 and noise have one shape; alpha and sigma are numbers.

    >>> v_target(np.array([10.0]), np.array([1.0]), 0.6, 0.8)
    array([-7.4])
    """
    raise NotImplementedError


def cosine_schedule(T):
    """alpha_bar (T + 1,) for the times 0 … T, by the formula of Nichol and Dhariwal (2021):

        alpha_bar_t = f(t) / f(0),    f(t) = cos²((t / T + s) / (1 + s) · π / 2),    s = 0.008

    >>> cosine_schedule(4).round(3)
    array([1.   , 0.847, 0.494, 0.144, 0.   ])
    """
    raise NotImplementedError
