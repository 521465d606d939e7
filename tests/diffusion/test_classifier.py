"""Guidance by a classifier's gradient: of the noise, and of DDPM's mean."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import TWO, final, unconditional

import minidiff.diffusion as D
from minidiff.diffusion import guidance as G

SCHEDULE = D.linear_schedule(100)
EXACT = TWO.denoiser(SCHEDULE)
LABELS = np.array([1, 2, 1, 2])
X = np.random.default_rng(0).standard_normal((4, 2))


def test_the_classifier_is_not_asked_at_scale_0():
    def never(x, t, condition):
        raise AssertionError

    np.testing.assert_array_equal(
        G.classifier(EXACT, never, 0.0)(X, 30, LABELS).x0, EXACT(X, 30, None).x0
    )


@given(st.floats(-2, 8), st.integers(1, 100), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_exact_classifier_is_classifier_free_guidance(scale, t, seed):
    x = np.random.default_rng(seed).standard_normal((4, 2))
    by_classifier = G.classifier(EXACT, TWO.log_prob(SCHEDULE), scale)(x, t, LABELS)
    free = G.classifier_free(EXACT, scale)(x, t, LABELS)
    np.testing.assert_allclose(by_classifier.noise, free.noise, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(by_classifier.x0, free.x0, rtol=1e-6, atol=1e-6)


def test_mean_shift_is_algorithm_1():
    log_prob = TWO.log_prob(SCHEDULE)
    ones = type("Ones", (), {"standard_normal": lambda _, size, dtype: np.zeros(size)})()
    null = unconditional(EXACT)
    for variance in ("small", "large", "learned"):
        plain, shifted = (
            next(
                D.samplers.ddpm(null, X, LABELS, [30, 29], ones, variance=variance, mean_shift=f)
            ).x
            for f in (None, G.gradient(log_prob, 3.0))
        )
        gradient = (
            TWO.denoiser(SCHEDULE)(X, 30, None).noise - EXACT(X, 30, LABELS).noise
        ) / math.sqrt(1 - SCHEDULE.alpha_bar[30])
        spread = {
            "small": D.posterior(SCHEDULE, X, X, 30)[1],
            "large": SCHEDULE.beta[30],
            "learned": np.exp(EXACT(X, 30, None).log_variance),
        }[variance]
        np.testing.assert_allclose(shifted - plain, 3.0 * spread * gradient, rtol=1e-6)
    by_noise = next(
        D.samplers.ddpm(G.classifier(EXACT, log_prob, 3.0), X, LABELS, [30, 29], ones)
    ).x
    beta = SCHEDULE.beta[30]
    small = D.posterior(SCHEDULE, X, X, 30)[1]
    by_mean = next(
        D.samplers.ddpm(null, X, LABELS, [30, 29], ones, mean_shift=G.gradient(log_prob, 3.0))
    ).x
    plain = next(D.samplers.ddpm(null, X, LABELS, [30, 29], ones)).x
    np.testing.assert_allclose(
        (by_noise - plain) / (by_mean - plain), beta / (math.sqrt(1 - beta) * small), rtol=1e-6
    )


def test_scales_0_and_1_sample_p_x_and_p_x_given_y():
    rng = np.random.default_rng(0)
    n = 3000
    for scale, label in ((0.0, 0), (1.0, 2)):
        denoise = G.classifier(EXACT, TWO.log_prob(SCHEDULE), scale)
        x = final(D.samplers.dpmpp_2m(denoise, rng.standard_normal((n, 2)), np.full(n, 2)))
        mean, covariance = TWO.mean_and_covariance(label)
        assert np.all(np.abs(x.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / n))
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.06)
