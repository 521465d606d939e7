"""The forward process and its posterior."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff as md
import minidiff.diffusion as D

SCHEDULE = D.cosine_schedule(50)
shapes = st.tuples(st.integers(1, 4), *[st.integers(1, 3)] * 3) | st.tuples(
    st.integers(1, 4), st.just(2)
)
# so large that it is done in one pass
shapes |= st.tuples(st.integers(11, 13), st.just(28), st.just(28), st.just(1))


@given(shapes, st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40, deadline=None)
def test_q_sample(shape, dtype, seed, each):
    rng = np.random.default_rng(seed)
    x0, noise = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    t = rng.integers(0, 51, size=shape[0]) if each else int(rng.integers(0, 51))
    x = D.q_sample(SCHEDULE, x0, t, noise)
    column = np.reshape(SCHEDULE.alpha_bar[t], (-1,) + (1,) * (len(shape) - 1))
    assert x.dtype == dtype and x.shape == shape
    np.testing.assert_allclose(
        x, np.sqrt(column) * x0 + np.sqrt(1 - column) * noise, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(D.q_sample(SCHEDULE, x0, 0, noise), x0)
    drawn = D.q_sample(SCHEDULE, x0, t, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(
        drawn, D.q_sample(SCHEDULE, x0, t, np.random.default_rng(5).standard_normal(shape, dtype))
    )


@given(st.integers(1, 50), st.data())
@settings(max_examples=40, deadline=None)
def test_posterior_is_bayes_rule(t, data):
    """Multiply the Gaussians q(x_s given x_0) and q(x_t given x_s), and complete the square."""
    s = data.draw(st.integers(0, t - 1))
    rng = np.random.default_rng(t)
    x0, x_t = rng.standard_normal((2, 3, 2))
    mean, variance = D.posterior(SCHEDULE, x0, x_t, t, s)
    if s == 0:
        np.testing.assert_allclose(mean, x0, atol=1e-12)
        assert variance == 0
        return
    before = SCHEDULE.alpha_bar[s]
    now = SCHEDULE.alpha_bar[t]
    a = now / before
    precision = 1 / (1 - before) + a / (1 - a)
    np.testing.assert_allclose(variance, 1 / precision, rtol=1e-9)
    wanted = (np.sqrt(before) * x0 / (1 - before) + np.sqrt(a) * x_t / (1 - a)) / precision
    np.testing.assert_allclose(mean, wanted, rtol=1e-9, atol=1e-12)


def test_posterior_of_one_step_is_the_default_and_takes_a_time_for_each():
    x0, x_t = np.random.default_rng(0).standard_normal((2, 3, 4, 4, 1)).astype(np.float32)
    mean, variance = D.posterior(SCHEDULE, x0, x_t, np.array([1, 7, 50]))
    assert mean.dtype == variance.dtype == np.float32 and variance.shape == (3, 1, 1, 1)
    for i, t in enumerate((1, 7, 50)):
        one_mean, one_variance = D.posterior(SCHEDULE, x0[i : i + 1], x_t[i : i + 1], t, t - 1)
        np.testing.assert_allclose(mean[i : i + 1], one_mean, rtol=1e-6)
        np.testing.assert_allclose(variance[i], one_variance, rtol=1e-6)


@given(shapes, st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_noise_is_added_to_tensors_too(shape, t):
    x0, noise = np.random.default_rng(t).standard_normal((2, *shape))
    leaf = md.Tensor(x0, requires_grad=True)
    x = D.q_sample(SCHEDULE, leaf, t, noise)
    x.sum().backward()
    np.testing.assert_allclose(x.data, D.q_sample(SCHEDULE, x0, t, noise), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        leaf.grad, np.full(shape, np.sqrt(SCHEDULE.alpha_bar[t])), rtol=1e-12
    )


def test_errors():
    x = np.zeros((3, 2))
    for call, error, words in [
        (lambda: D.q_sample(SCHEDULE, x, 3, np.zeros((2, 2))), ValueError, "noise: given shape"),
        (
            lambda: D.q_sample(SCHEDULE, x, 3, np.zeros((3, 2), np.float32)),
            TypeError,
            "noise: given float32",
        ),
        (lambda: D.q_sample(SCHEDULE, x, 3), ValueError, "rng: given None"),
        (lambda: D.q_sample(SCHEDULE, x, 51, x), ValueError, "t: given"),
        (lambda: D.q_sample(SCHEDULE, x, np.array([1, 2]), x), ValueError, "t: given shape"),
        (lambda: D.posterior(SCHEDULE, x, x, 0), ValueError, "t: given"),
        (lambda: D.posterior(SCHEDULE, x, x, 5, 5), ValueError, "s = 5, wanted 0 <= s < t"),
        (lambda: D.posterior(SCHEDULE, x, x, 51), ValueError, "t: given"),
        (lambda: D.posterior(SCHEDULE, x, x[:2], 5), ValueError, "x_t: given shape"),
    ]:
        with pytest.raises(error, match=words):
            call()
