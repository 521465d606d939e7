"""Lesson 5, noise: q_sample, posterior_mean, score_from_x0, v_target, cosine_schedule."""

from collections.abc import Callable

import numpy as np

from .. import diffusion
from ..diffusion.exact import GaussianMixture
from .declared import exercise
from .evidence import PromiseError, agree, array_of, unchanged


@exercise(
    hint="alpha_bar[t] is an array (n,): one number for each sample. Give it axes of length 1 "
    "until it has as many as x0, and then take the roots."
)
def q_sample(q_sample: Callable) -> None:
    rng = np.random.default_rng(0)
    alpha_bar = diffusion.cosine_schedule(50).alpha_bar
    for shape in ((4, 4), (6, 2), (5, 4, 4, 1)):
        x0 = rng.standard_normal(shape)
        noise = rng.standard_normal(shape)
        t = rng.integers(2, 49, len(x0))
        column = (len(x0), *[1] * (len(shape) - 1))

        def mixed(a: np.ndarray, x0=x0, noise=noise, column=column) -> np.ndarray:
            a = a.reshape(column)
            return np.sqrt(a) * x0 + np.sqrt(1 - a) * noise

        a = alpha_bar[t]
        suspects = {
            "alpha and sigma are the square roots of alpha_bar and 1 − alpha_bar.": (
                a.reshape(column) * x0 + (1 - a).reshape(column) * noise
            ),
            "sigma is the root of 1 − alpha_bar, not 1 − alpha.": (
                np.sqrt(a).reshape(column) * x0 + (1 - np.sqrt(a)).reshape(column) * noise
            ),
            "t is off by one: that is the mix of t − 1. alpha_bar[0] is that of t = 0.": (
                mixed(alpha_bar[t - 1])
            ),
            "t is off by one: that is the mix of t + 1.": mixed(alpha_bar[t + 1]),
            "alpha and sigma are exchanged.": mixed(1 - a),
            "All samples were mixed as the first one: each has its own t.": (
                mixed(np.full(len(t), a[0]))
            ),
        }
        if shape == (4, 4):
            along = "alpha went along the wrong axis: each sample has one, so make it a column."
            suspects[along] = np.sqrt(a) * x0 + np.sqrt(1 - a) * noise
        promise = "x_t = alpha x0 + sigma noise, for each sample with its own t."
        agree(unchanged(q_sample, x0, t, noise, alpha_bar), mixed(a), promise, suspects)


@exercise(
    hint="Each island's share of x is weight · exp(−|x − αm|² / 2v) / v, with v = α²s² + σ², "
    "divided by the sum of all. Take logarithms, and subtract the largest before exp."
)
def posterior_mean(posterior_mean: Callable) -> None:
    rng = np.random.default_rng(0)
    means = np.array([[-1.2, 0.9], [-0.6, -0.9], [1.0, 0.3]])
    stds = np.array([0.2, 0.6, 0.3])
    weights = np.array([0.6, 0.1, 0.3])
    schedule = diffusion.cosine_schedule(100)
    for t in (20, 60, 90):
        alpha, sigma = schedule.alpha_sigma(t)
        x = alpha * means[rng.integers(3, size=8)] + sigma * rng.standard_normal((8, 2))
        want = GaussianMixture(means, stds, weights).denoiser(schedule)(x, t).x0
        equal = GaussianMixture(means, stds).denoiser(schedule)(x, t).x0
        v = alpha**2 * stds**2 + sigma**2
        flat = GaussianMixture(means, stds, weights * v).denoiser(schedule)(x, t).x0
        offset = x[:, None, :] - alpha * means
        guesses = means + (alpha * stds**2 / v)[:, None] * offset
        density = weights / v * np.exp(-np.sum(offset**2, axis=2) / (2 * v))
        share = density / density.sum(axis=1, keepdims=True)
        suspects = {
            "The weights of the islands are missing.": equal,
            "A wide island is thin: its density is divided by v (in the plane).": flat,
            "That is the mean of the guesses: each counts by its island's share.": (
                guesses.mean(axis=1)
            ),
            "That is the mean of the islands' centres: each island has a guess of its own, which "
            "moves with x.": np.sum(share[:, :, None] * means, axis=1),
            "The shares are to sum to 1.": np.sum(density[:, :, None] * guesses, axis=1),
            "That is the guess of the most probable island alone.": (
                guesses[np.arange(8), np.argmax(share, axis=1)]
            ),
        }
        got = unchanged(posterior_mean, x, alpha, sigma, means, stds, weights)
        agree(got, want, f"At t = {t} it is the mean of x0, given x.", suspects, 1e-7)
    alpha, sigma = schedule.alpha_sigma(20)
    x = np.array([[0.0, 0.0], [100.0, 100.0]])
    promise = "It also holds far out, at (100, 100)."
    got = array_of(posterior_mean(x, alpha, sigma, means, stds, weights), promise)
    if np.isnan(got).any():
        raise PromiseError(
            f"{promise} It is NaN there: all densities are 0, and 0 / 0 is no share. Subtract the "
            f"largest logarithm before you take exp, each point its own."
        )
    want = GaussianMixture(means, stds, weights).denoiser(schedule)(x, 20).x0
    agree(got, want, promise, tolerance=1e-7)


@exercise(hint="First the noise, (x − alpha x0) / sigma; the score is minus the noise over sigma.")
def score_from_x0(score_from_x0: Callable) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 2))
    for alpha, sigma in ((0.8, 0.6), (0.28, 0.96)):
        # One Gaussian of mean m and deviation s: its score is known without any denoiser.
        m = np.array([0.5, -1.0])
        s = 0.3
        v = alpha**2 * s**2 + sigma**2
        x0 = m + alpha * s**2 / v * (x - alpha * m)
        want = (alpha * m - x) / v
        suspects = {
            "The sign is turned: the score points to where data is, the noise away from it.": -want,
            "That is minus the noise: divide by sigma once more.": want * sigma,
            "That is the noise.": -want * sigma,
            "x0 is scaled by alpha in x.": (x0 - x) / sigma**2,
            "That is x0 − x / alpha, over sigma²: x − alpha x0 is what is left of x.": (
                (x0 - x / alpha) / sigma**2
            ),
        }
        promise = "For one Gaussian the score is (alpha m − x) / v."
        agree(unchanged(score_from_x0, x, x0, alpha, sigma), want, promise, suspects)


@exercise(hint="v = alpha · noise − sigma · x0.")
def v_target(v_target: Callable) -> None:
    rng = np.random.default_rng(0)
    x0 = rng.standard_normal((5, 2))
    noise = rng.standard_normal((5, 2))
    for alpha, sigma in ((0.8, 0.6), (0.28, 0.96)):
        v = unchanged(v_target, x0, noise, alpha, sigma)
        x_t = alpha * x0 + sigma * noise
        suspects = {
            "The sign is turned: the noise counts positive.": sigma * x0 - alpha * noise,
            "That is x_t. v goes at a right angle to it: a minus.": x_t,
            "alpha and sigma are exchanged: alpha goes with the noise.": sigma * noise - alpha * x0,
            "There is a plus where a minus belongs.": alpha * noise + sigma * x0,
            "That is the noise: it is what v is at t = 0 only.": noise,
        }
        agree(v, alpha * noise - sigma * x0, "v = alpha · noise − sigma · x0.", suspects)
        promise = "From v and x_t one finds x0 again: alpha x_t − sigma v."
        agree(alpha * x_t - sigma * v, x0, promise)


@exercise(hint="f(t) = cos²((t / T + s) / (1 + s) · π / 2) for t = 0 … T; then divide all by f(0).")
def cosine_schedule(cosine_schedule: Callable) -> None:
    for T in (10, 100):
        promise = f"For T = {T} there is an alpha_bar for each time."
        got = array_of(cosine_schedule(T), promise)
        if got.shape == (T,):
            raise PromiseError(
                f"{promise} It has {T}, wanted {T + 1}: for 0, where all is data, to {T}."
            )
        if got.shape != (T + 1,):
            raise PromiseError(f"{promise} It has the shape {got.shape}, wanted ({T + 1},).")
        t = np.arange(T + 1) / T
        angle = (t + 0.008) / 1.008 * np.pi / 2
        want = np.cos(angle) ** 2 / np.cos(angle[0]) ** 2
        suspects = {
            "The cosine is to be squared.": np.cos(angle) / np.cos(angle[0]),
            "It does not begin with 1: divide by f(0).": np.cos(angle) ** 2,
            "That is alpha: alpha_bar is its square.": np.cos(angle) / np.cos(angle[0]),
            "s = 0.008 is missing.": np.cos(t * np.pi / 2) ** 2,
            "It grows: alpha_bar is what is left of the data.": 1 - want,
            "It lies the other way round: time 0 is data.": want[::-1],
        }
        agree(got, want, "alpha_bar follows the cosine, squared.", suspects, 1e-9)
        agree(got[:-1], diffusion.cosine_schedule(T).alpha_bar[:-1], "It is minidiff's.")
