"""Streamed means and covariances against NumPy's of all rows at once, however they are cut."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff.metrics import Moments

rows = arrays.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(2, 20), st.integers(1, 5)),
    elements=st.floats(-1000, 1000, width=32),
)


def assert_moments(moments, rows):
    rows = rows.astype(np.float64)
    scale = 1 + np.abs(rows).max()
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=0, atol=1e-13 * scale)
    expected = np.cov(rows, rowvar=False, ddof=1).reshape(moments.covariance.shape)
    np.testing.assert_allclose(moments.covariance, expected, rtol=0, atol=1e-12 * scale**2)
    np.testing.assert_array_equal(moments.root.T @ moments.root, moments.covariance)


@given(rows, st.data())
@settings(deadline=None, max_examples=100)
def test_any_cutting_gives_the_same(rows, data):
    cuts = data.draw(st.lists(st.integers(1, len(rows) - 1), unique=True).map(sorted))
    pieces = np.split(rows, cuts)
    streamed = Moments()
    for piece in pieces:
        streamed.add(piece)
    assert_moments(streamed, rows)
    assert_moments(sum(map(Moments, pieces), Moments()), rows)
    assert len(streamed.root) <= rows.shape[1]


@given(rows)
@settings(deadline=None, max_examples=50)
def test_a_sum_leaves_its_parts_alone(rows):
    first = Moments(rows[:1])
    second = Moments(rows[1:])
    total = first + pickle.loads(pickle.dumps(second))  # as from another process
    total.add(rows)
    assert (first.count, second.count) == (1, len(rows) - 1)
    np.testing.assert_array_equal(first.mean, rows[0])
    assert_moments(total, np.concatenate([rows, rows]))


def test_a_mean_far_from_zero_keeps_its_covariance():
    """Sums of squares would have lost every digit: 1e9² is beyond 1 by more than 16 places."""
    noise = np.random.default_rng(0).standard_normal((1000, 3))
    moments = Moments()
    for piece in np.split(noise + 1e9, 10):
        moments.add(piece)
    np.testing.assert_allclose(moments.covariance, np.cov(noise.T), rtol=0, atol=1e-6)


def test_memory_does_not_grow_with_the_count():
    moments = Moments()
    for seed in range(50):
        moments.add(np.random.default_rng(seed).standard_normal((100, 4)))
    assert moments.count == 5000
    assert all(value.size <= 16 for value in vars(moments).values() if hasattr(value, "size"))
    assert repr(moments) == "Moments(5000 rows of 4 features)"


def add_other_features(moments):
    moments.add(np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda m: m.add(np.zeros(3)), ValueError, r"rows: given shape \(3,\), wanted \(n, d\)"),
        (lambda m: m.add(np.zeros((0, 3))), ValueError, r"rows: given shape \(0, 3\)"),
        (lambda m: m.add([[np.nan, 0, 0]]), ValueError, "rows: given NaN or infinity"),
        (add_other_features, ValueError, "Moments, rows: given 3 and 4 features"),
        (lambda m: m + 1, TypeError, "other: given int, wanted Moments"),
        (lambda m: m.covariance, ValueError, "Moments: given 1 rows, wanted 2 or more"),
        (lambda m: Moments().mean, ValueError, "Moments: given 0 rows, wanted 1 or more"),
    ],
)
def test_what_cannot_be_is_named(use, error, message):
    with pytest.raises(error, match=message):
        use(Moments(np.zeros((1, 3))))
