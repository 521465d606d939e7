"""The exact denoisers, against definitions that share nothing with them."""

import tracemalloc

import numpy as np
import pytest
from worlds import TWO

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import exact
from minidiff.diffusion.exact import FiniteData, GaussianMixture

SCHEDULE = D.linear_schedule(100)


@pytest.mark.parametrize("condition", [None, 1, 2])
def test_posterior_mean_and_variance_against_integration(condition):
    """On a fine grid of x_0: p(x_0 given x_t) ∝ p(x_0) N(x_t; alpha x_0, sigma²)."""
    mixture = GaussianMixture([[-0.5], [0.3], [0.9]], [0.1, 0.2, 0.05], [1, 2, 3], labels=[1, 2, 1])
    x = np.array([[-0.4], [0.6]])
    grid = np.linspace(-4, 4, 20001)
    keep = [k for k in range(3) if condition is None or mixture.labels[k] == condition]
    density = sum(
        mixture.weights[k]
        / mixture.stds[k]
        * np.exp(-0.5 * ((grid - mixture.means[k]) / mixture.stds[k]) ** 2)
        for k in keep
    )
    for t in (1, 30, 100):
        alpha, sigma = SCHEDULE.alpha_sigma(t)
        weight = density * np.exp(-0.5 * ((x - alpha * grid) / sigma) ** 2)
        weight /= weight.sum(axis=1, keepdims=True)
        mean = (weight * grid).sum(axis=1, keepdims=True)
        spread = (weight * (grid - mean) ** 2).sum(axis=1, keepdims=True)
        p = mixture.denoiser(SCHEDULE)(
            x, t, None if condition is None else np.array([condition] * 2)
        )
        np.testing.assert_allclose(p.x0, mean, rtol=1e-6)
        np.testing.assert_allclose(alpha * p.x0 + sigma * p.noise, x, rtol=1e-9)
        before = SCHEDULE.alpha_bar[t - 1]
        factor = np.sqrt(before) * SCHEDULE.beta[t] / sigma**2
        least = SCHEDULE.beta[t] * (1 - before) / sigma**2
        np.testing.assert_allclose(np.exp(p.log_variance), least + factor**2 * spread, rtol=1e-5)


def test_finite_data_is_a_softmax_over_the_points():
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2, 2, 1))
    x = np.random.default_rng(1).standard_normal((3, 2, 2, 1))
    alpha, sigma = SCHEDULE.alpha_sigma(40)
    distance = ((x[:, None] - alpha * points) ** 2).sum(axis=(2, 3, 4))
    share = np.exp(-0.5 * distance / sigma**2)
    share /= share.sum(axis=1, keepdims=True)
    p = FiniteData(points).denoiser(SCHEDULE)(x, 40, None)
    np.testing.assert_allclose(p.x0, np.einsum("bk,khwc->bhwc", share, points), rtol=1e-9)
    sampled = FiniteData(points).sample(20, np.random.default_rng(2), 3)
    np.testing.assert_array_equal(sampled, np.broadcast_to(points[2], (20, 2, 2, 1)))


def test_samples_have_the_stated_moments():
    rng = np.random.default_rng(0)
    n = 40_000
    for label in (0, 1, 2):
        x = TWO.sample(n, rng, label)
        mean, covariance = TWO.mean_and_covariance(label)
        assert np.all(np.abs(x.mean(axis=0) - mean) < 4 * np.sqrt(np.diag(covariance) / n))
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.01)


def test_labels_and_times_one_by_one_equal_the_batch():
    x = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    t = np.array([1, 20, 50, 100])
    labels = np.array([0, 1, 2, 1])
    whole = TWO.denoiser(SCHEDULE)(x, t, labels)
    for i in range(4):
        one = TWO.denoiser(SCHEDULE)(x[i : i + 1], int(t[i]), labels[i : i + 1])
        for a, b in zip(whole, one, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a[i : i + 1], b, rtol=1e-5)


def test_classifier_and_its_gradient_through_our_tape():
    x = np.random.default_rng(0).standard_normal((5, 2))
    labels = np.array([1, 2, 1, 2, 2])
    log_prob = TWO.log_prob(SCHEDULE)
    total = sum(np.exp(log_prob(x, 30, np.full(5, y))) for y in (1, 2))
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    slope = md.grad(lambda x: md.ops.sum(log_prob(x, 30, labels)))(x)
    wanted = np.empty_like(x)
    for i in range(2):
        up = x.copy()
        down = x.copy()
        up[:, i] += 1e-5
        down[:, i] -= 1e-5
        wanted[:, i] = (log_prob(up, 30, labels) - log_prob(down, 30, labels)) / 2e-5
    np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("condition", [None, np.array([1, 2, 1, 0])])
@pytest.mark.parametrize("size", [1, 8, 24, 1000])
def test_components_in_blocks_are_one_mixture(monkeypatch, size, condition):
    """Also where a block holds none of the class that is asked for."""
    mixture = GaussianMixture(
        np.random.default_rng(0).uniform(-1, 1, (9, 2)),
        np.repeat([0.0, 0.1, 0.3], 3),
        labels=np.repeat([1, 2, 1], 3),
    )
    x = np.random.default_rng(1).standard_normal((4, 2))
    whole = mixture.denoiser(SCHEDULE)(x, 30, condition)
    log_prob = mixture.log_prob(SCHEDULE)(x, 30, np.array([1, 2, 1, 2]))
    monkeypatch.setattr(exact, "_BLOCK", size)
    for part, wanted in zip(mixture.denoiser(SCHEDULE)(x, 30, condition), whole):
        np.testing.assert_allclose(part, wanted, rtol=1e-12)
    in_blocks = mixture.log_prob(SCHEDULE)(x, 30, np.array([1, 2, 1, 2]))
    np.testing.assert_allclose(in_blocks, log_prob, rtol=1e-12)


def test_many_points_take_little_memory():
    points = np.random.default_rng(0).uniform(-1, 1, (1000, 28, 28, 1))
    data = FiniteData(points)
    denoise = data.denoiser(SCHEDULE)
    x = points[:20] + 0.01
    tracemalloc.start()
    denoise(x, 3, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pairs = 8 * x.size * len(points)  # bytes
    assert peak < pairs


def test_errors():
    x = np.zeros((2, 2))
    denoise = TWO.denoiser(SCHEDULE)
    nothing = GaussianMixture([[0.0, 0.0], [1.0, 1.0]], weights=[1, 0])
    denoise_none = nothing.denoiser(SCHEDULE)
    for call, words in [
        (lambda: denoise(x, 0, None), "t: given 0"),
        (lambda: denoise(x, 101, None), "t: given"),
        (lambda: denoise(x, 5, np.array([1, 3])), "condition: given"),
        (lambda: denoise(x, 5, np.array([1, -1])), "condition: given"),
        (lambda: denoise(x, 5, np.array([1])), "condition: given shape"),
        (lambda: denoise(np.zeros((2, 3)), 5, None), "x: given shape"),
        (lambda: GaussianMixture([1.0, 2.0]), "means: given shape"),
        (lambda: GaussianMixture([[np.nan]]), "means: given shape"),
        (lambda: GaussianMixture([[1.0]], -1), "stds: given"),
        (lambda: GaussianMixture([[1.0]], 1, [1, 2]), "weights: given"),
        (lambda: GaussianMixture([[1.0]], weights=0.0), "weights: given 0.0"),
        (lambda: denoise_none(x, 5, 2), r"wanted labels among \[1\]"),  # a class that has no weight
        (lambda: nothing.sample(3, np.random.default_rng(0), 2), r"wanted labels among \[1\]"),
        (lambda: GaussianMixture([[1.0]], labels=[0]), "labels: given"),
        (
            lambda: GaussianMixture([[1.0], [2.0]], labels=[1, 3]).sample(
                3, np.random.default_rng(0), 2
            ),
            "wanted labels",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
