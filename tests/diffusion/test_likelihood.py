"""Bits per dimension, against the entropy of Gaussian data and closed-form sums."""

import math

import numpy as np
import pytest

import minidiff.diffusion as D
from minidiff.diffusion import likelihood as K
from minidiff.diffusion.exact import GaussianMixture
from minidiff.diffusion.variance import log_variance_range

SCHEDULE = D.linear_schedule(1000)
MEAN = 0.3
STD = 0.5
EXACT = GaussianMixture([[MEAN]], STD).denoiser(SCHEDULE)
X0 = MEAN + STD * np.array([[1.0], [1.0], [-1.0], [-1.0]])


class FourPoints:
    """With X0 these points have the first and second moments of two independent Gaussians.

    The terms are quadratic in x_0 and the noise, so their mean over the four is the exact
    expectation.
    """

    def standard_normal(self, size, dtype):
        return np.array([[1.0], [-1.0], [1.0], [-1.0]], dtype)


def total(variance):
    return D.bits_per_dim(EXACT, X0, FourPoints(), variance=variance, discretised=False)


def test_the_optimal_variance_gives_the_entropy():
    """Nothing is lost but the distance of q(x_T), which is not quite N(0, 1), from N(0, 1)."""
    bits = total("learned")
    a = SCHEDULE.alpha_bar[-1]
    entropy = 0.5 * math.log2(2 * math.pi * math.e * STD**2)
    lost = K.normal_kl(math.sqrt(a) * MEAN, math.log(a * STD**2 + 1 - a), 0.0, 0.0) / math.log(2)
    assert abs(bits.total.mean() - entropy - lost) < 1e-9 and lost < 3e-6
    assert bits.prior.shape == bits.total.shape == (4,) and bits.terms.shape == (1000, 4)
    np.testing.assert_allclose(bits.total, bits.prior + bits.terms.sum(axis=0))


@pytest.mark.parametrize("variance", ["small", "large"])
def test_fixed_variances_match_their_closed_form_and_are_never_below(variance):
    bits = total(variance)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * STD**2)
    assert bits.total.mean() > entropy
    a = SCHEDULE.alpha_bar
    # Var[x_0 given x_t], the mean squared error of x_0
    spread = STD**2 * (1 - a) / (a * STD**2 + 1 - a)
    for t in (1, 2, 10, 500, 1000):
        factor = a[t - 1] * (SCHEDULE.beta[t] / (1 - a[t])) ** 2
        true = SCHEDULE.beta[t] * (1 - a[t - 1]) / (1 - a[t])
        used = math.exp(log_variance_range(SCHEDULE, t)[0 if variance == "small" else 1])
        if t == 1:
            wanted = 0.5 * (math.log(2 * math.pi * used) + spread[1] / used)
        else:
            wanted = 0.5 * (math.log(used / true) + (true + factor * spread[t]) / used - 1)
        np.testing.assert_allclose(bits.terms[t - 1].mean(), wanted / math.log(2), rtol=1e-8)
    every = range(1, 1001)
    optimal = total("learned").terms.mean(axis=1)
    assert np.all(bits.terms.mean(axis=1)[[t - 1 for t in every]] >= optimal - 1e-12)


def test_discretised_likelihood():
    values = np.linspace(-1, 1, 256)
    for mean, std in ((0.1, 0.05), (-0.98, 0.01), (0.5, 1.0), (0.0, 1e-3)):
        p = np.exp(-K.discretised_nll(values, np.full(256, mean), np.full(256, 2 * math.log(std))))
        np.testing.assert_allclose(p.sum(), 1, atol=1e-8)  # 256 bins of at least 1e-12
        wanted = [
            0.5
            * (
                math.erf((v + 1 / 255 - mean) / std / 2**0.5)
                - math.erf((v - 1 / 255 - mean) / std / 2**0.5)
            )
            for v in values[1:-1]
        ]
        np.testing.assert_allclose(p[1:-1], np.maximum(wanted, 1e-12), rtol=1e-6, atol=1e-15)


def test_8_bit_images_of_one_value():
    schedule = D.linear_schedule(100)
    image = np.full((1, 4, 4, 1), 2 * 100 / 255 - 1)
    denoise = D.exact.FiniteData(image).denoiser(schedule)
    x0 = np.repeat(image, 3, axis=0)
    bits = D.bits_per_dim(denoise, x0, rng=np.random.default_rng(0))
    assert np.all(bits.terms[1:] < 1e-9) and np.all(bits.prior < 1e-4)
    std = math.exp(0.5 * log_variance_range(schedule, 1)[0])
    np.testing.assert_allclose(
        bits.terms[0], -math.log2(math.erf(1 / 255 / std / math.sqrt(2))), rtol=1e-6
    )
    other = D.bits_per_dim(denoise, x0 + 2 * 40 / 255, rng=np.random.default_rng(0), clip=True)
    assert np.all(other.total > 20)


def test_images_are_discrete_and_points_are_not():
    """A point's density has no bins; images are 8-bit, unless told."""
    points = EXACT, X0
    images = (
        D.exact.GaussianMixture(np.zeros((1, 2, 2, 1))).denoiser(D.linear_schedule(30)),
        np.full((3, 2, 2, 1), -0.5),
    )
    for (denoise, x0), discretised in ((points, False), (images, True)):
        bits = D.bits_per_dim(denoise, x0, 0)
        told = D.bits_per_dim(denoise, x0, 0, discretised=discretised)
        other = D.bits_per_dim(denoise, x0, 0, discretised=not discretised)
        np.testing.assert_array_equal(bits.total, told.total)
        assert np.all(bits.total != other.total)
        assert len(repr(bits)) < 100


def test_gaussian_formulas():
    rng = np.random.default_rng(0)
    x = np.linspace(-12, 12, 100_001)
    for m1, m2, v1, v2 in rng.uniform(0.3, 1.5, (5, 4)):
        p, q = (np.exp(-K.gaussian_nll(x, m, math.log(v))) for m, v in ((m1, v1), (m2, v2)))
        np.testing.assert_allclose(p.sum() * (x[1] - x[0]), 1, rtol=1e-9)
        np.testing.assert_allclose(
            K.normal_kl(m1, math.log(v1), m2, math.log(v2)),
            np.sum(p * np.log(p / q)) * (x[1] - x[0]),
            rtol=1e-6,
        )


def test_errors():
    plain = D.Denoise(lambda x, t, c: D.Prediction(x, x), SCHEDULE)
    for call, error, words in [
        (
            lambda: D.bits_per_dim(EXACT, X0, FourPoints(), variance="best"),
            ValueError,
            "variance: given 'best'",
        ),
        (lambda: D.bits_per_dim(EXACT, X0, None), ValueError, "rng: given None"),
        (
            lambda: D.bits_per_dim(EXACT, X0 * np.nan, rng=FourPoints()),
            ValueError,
            "x0: given NaN",
        ),
        (
            lambda: D.bits_per_dim(plain, X0, rng=FourPoints(), variance="learned"),
            ValueError,
            "predicts none",
        ),
        (
            lambda: D.bits_per_dim(plain, X0, FourPoints(), [1, 2]),
            ValueError,
            "condition: given shape",
        ),
    ]:
        with pytest.raises(error, match=words):
            call()
