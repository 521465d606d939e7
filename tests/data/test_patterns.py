"""The 2D patterns against their equations, and the scaling: fitted once, undone exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff.data import Scaling, moons, s_curve, spiral

PATTERNS = [spiral, s_curve, moons]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(n=st.integers(0, 50), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_points_follow_from_the_generator(pattern, n, seed):
    points = pattern(n, np.random.default_rng(seed))
    assert points.shape == (n, 2) and points.dtype == np.float32
    np.testing.assert_array_equal(points, pattern(n, np.random.default_rng(seed)))


def test_spiral_equation():
    x, y = spiral(5000, np.random.default_rng(0)).astype(float).T
    t = np.hypot(x, y)
    np.testing.assert_allclose([x, y], [t * np.cos(t), t * np.sin(t)], atol=1e-4)
    assert 1.5 * np.pi < t.min() < 1.51 * np.pi and 4.49 * np.pi < t.max() < 4.5 * np.pi


def test_s_curve_equation():
    x, y = s_curve(5000, np.random.default_rng(0)).astype(float).T
    # two circles that touch at the origin
    np.testing.assert_allclose(x**2 + (np.abs(y) - 1) ** 2, 1, atol=1e-5)
    assert y.min() < -1.99 and y.max() > 1.99
    inside = (np.abs(y) > 1e-3) & (np.abs(y) < 0.999)
    assert np.all(x[inside] * y[inside] < 0), "an S leaves a quarter of each circle open"


def test_moons_equation():
    points = moons(5001, np.random.default_rng(0)).astype(float)
    outer = points[:2500]
    inner = points[2500:]
    np.testing.assert_allclose(np.hypot(*outer.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(inner - [1, 0.5]).T), 1, atol=1e-6)
    assert outer[:, 1].min() >= 0 and inner[:, 1].max() <= 0.5


@pytest.mark.parametrize("n", [-1, 2.5, True, "3"])
def test_bad_count(n):
    with pytest.raises(ValueError, match="n: given"):
        spiral(n, np.random.default_rng(0))


def samples(dtype):
    width = 32 if dtype == np.float32 else 64
    shapes = arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5)
    return arrays.arrays(dtype, shapes, elements=st.floats(-1000, 1000, width=width))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_scaling_fills_the_interval_and_has_an_inverse(dtype, data):
    x = data.draw(samples(dtype))
    axes = tuple(range(x.ndim - 1))
    if np.any(np.ptp(x.astype(float), axis=axes) < 1e-3):
        x = np.concatenate([x - 1, x + 1])
    scaling = Scaling.fit(x)
    y = scaling.apply(x)
    assert y.dtype == x.dtype and scaling.inverse(y).dtype == x.dtype
    np.testing.assert_array_equal(y.min(axis=axes), -1)
    np.testing.assert_array_equal(y.max(axis=axes), 1)
    np.testing.assert_allclose(
        scaling.inverse(y), x, rtol=1e-5, atol=1e-3 if dtype == np.float32 else 1e-11
    )


def test_each_coordinate_has_its_own_scale_and_new_data_keeps_it():
    train = np.array([[0.0, 10.0], [2.0, 30.0]])
    new = np.array([[1.0, 40.0]])
    scaling = Scaling.fit(train)
    np.testing.assert_array_equal(scaling.apply(train), [[-1, -1], [1, 1]])
    np.testing.assert_array_equal(scaling.apply(new), [[0, 2]])
    np.testing.assert_array_equal(scaling.inverse(np.array([[0.0, 2.0]])), new)


def test_scaling_refuses_what_it_cannot_scale():
    with pytest.raises(ValueError, match=r"wanted .* low < high"):
        Scaling.fit(np.ones((4, 2), np.float32))
    with pytest.raises(
        ValueError, match=r"samples: given NaN or infinity in 1 of 4 values.*\(1, 0\)"
    ):
        Scaling.fit(np.array([[0, 1], [np.nan, 2]], np.float32))
    with pytest.raises(
        ValueError, match=r"samples: given shape \(3, 1\).*wanted floats \(..., 2\)"
    ):
        Scaling(np.zeros(2), np.ones(2)).apply(np.zeros((3, 1)))


def test_a_seed_is_the_generator_of_it():
    for pattern in (spiral, s_curve, moons):
        np.testing.assert_array_equal(pattern(9, 3), pattern(9, np.random.default_rng(3)))
        with pytest.raises(TypeError, match="rng: given None, wanted a seed such as 0"):
            pattern(9, None)
