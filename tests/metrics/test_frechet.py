"""The Fréchet distance against closed forms, and its value at infinite counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff.metrics import Moments, extrapolated_frechet, frechet_distance


def rows_with(mean, covariance, n=50, seed=0):
    """Rows whose sample mean and covariance are these, to rounding."""
    rows = np.random.default_rng(seed).standard_normal((n, len(mean)))
    rows -= rows.mean(axis=0)
    whitened = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T)).T)
    return whitened @ np.linalg.cholesky(covariance).T + mean


def test_commuting_gaussians():
    """Diagonal covariances: the distance is that of the means and of the standard deviations."""
    a = rows_with([0, 1, 2], np.diag([1.0, 4.0, 9.0]))
    b = rows_with([3, 1, 2], np.diag([16.0, 4.0, 1.0]), n=80, seed=1)
    of_means = 3**2
    of_deviations = (4 - 1) ** 2 + (2 - 2) ** 2 + (3 - 1) ** 2
    assert frechet_distance(a, b) == pytest.approx(of_means + of_deviations, rel=1e-10)


def test_covariances_that_do_not_commute():
    """In two dimensions, trace (AB)^1/2 = sqrt(trace AB + 2 sqrt(det AB))."""
    first = np.array([[2.0, 1.0], [1.0, 3.0]])
    second = np.array([[1.0, -0.5], [-0.5, 2.0]])
    product = first @ second
    expected = np.trace(first + second) - 2 * np.sqrt(
        np.trace(product) + 2 * np.sqrt(np.linalg.det(product))
    )
    distance = frechet_distance(rows_with([0, 0], first), rows_with([0, 0], second, seed=1))
    assert distance == pytest.approx(expected, rel=1e-10)


rows = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 12), st.just(4)), elements=st.floats(-100, 100, width=32)
)


@given(a=rows, b=rows)
@settings(deadline=None, max_examples=100)
def test_distance_is_real_not_negative_and_symmetric(a, b):
    """Also with fewer rows than features, and with features that never change (dead units)."""
    scale = 1 + np.abs(a).max() ** 2 + np.abs(b).max() ** 2
    assert frechet_distance(a, b) >= 0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), abs=1e-12 * scale)
    assert frechet_distance(a, a) <= 1e-12 * scale
    assert frechet_distance(a, a + 2) == pytest.approx(4 * 4, abs=1e-12 * scale)


def test_float32_rows_are_computed_in_float64():
    a, b = (rows_with([1000.0, 0.0], np.eye(2), seed=seed).astype(np.float32) for seed in (0, 1))
    assert frechet_distance(a, b) == frechet_distance(a.astype(np.float64), b.astype(np.float64))


@pytest.mark.parametrize(
    "a, b, message",
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "a, b: given 3 and 4 features"),
        (np.zeros(5), np.zeros((5, 1)), r"a: given shape \(5,\), wanted \(n, d\)"),
        (
            np.zeros((5, 3)),
            np.zeros((1, 3)),
            r"b: given shape \(1, 3\), wanted \(n, d\): 2 feature rows or more",
        ),
        (np.zeros((5, 0)), np.zeros((5, 0)), r"a: given shape \(5, 0\)"),
        (
            np.zeros((5, 3)),
            np.full((5, 3), np.nan),
            "b: given NaN or infinity in 15 of 15 values",
        ),
    ],
)
def test_bad_rows(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


@given(rows)
@settings(deadline=None, max_examples=50)
def test_moments_stand_for_their_rows(a):
    b = np.linspace(-1, 1, 20).reshape(5, 4)
    assert frechet_distance(Moments(a), b) == frechet_distance(a, b)
    assert frechet_distance(b, Moments(a)) == frechet_distance(b, a)


def test_moments_of_one_row_are_refused():
    one = Moments(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="b: given Moments of 1 rows, wanted 2 or more"):
        frechet_distance(np.zeros((2, 3)), one)


def biased_by(n, shift=0.1, features=8):
    """Distances of n drawn rows to a real Gaussian that is known, 100 times, and the true one."""
    rng = np.random.default_rng(n)
    real = rows_with(np.zeros(features), np.eye(features), n=500)
    sets = [rng.standard_normal((n, features)) + shift for _ in range(100)]
    return real, sets, features * shift**2


def test_extrapolation_takes_the_bias_of_small_counts_away():
    """The real rows have exactly mean 0 and variance 1, so all the bias is the drawn ones'."""
    real, sets, truth = biased_by(400)
    plain = np.array([frechet_distance(real, drawn) for drawn in sets])
    extrapolated = np.array([extrapolated_frechet(real, drawn, rng=0) for drawn in sets])
    error = extrapolated.std(ddof=1) / np.sqrt(len(sets))
    assert plain.mean() - truth > 5 * error, "nothing to take away"
    assert abs(extrapolated.mean() - truth) < 4 * error
    assert error < 0.01


def test_extrapolation_is_the_seeds_and_takes_moments():
    real, (drawn, *_), _ = biased_by(60)
    first = extrapolated_frechet(real, drawn, 3)
    assert first == extrapolated_frechet(Moments(real), drawn, np.random.default_rng(3))
    assert first != extrapolated_frechet(real, drawn, 4)
    assert type(first) is float


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"real": np.zeros((1, 2))}, ValueError, "real: given shape"),
        ({"drawn": np.zeros((19, 2))}, ValueError, r"drawn: given shape \(19, 2\), .*: 20 feature"),
        ({"drawn": np.zeros((20, 3))}, ValueError, "real, drawn: given 2 and 3 features"),
        ({"points": 1}, ValueError, "points: given 1, wanted an integer from 2"),
        ({"rng": None}, TypeError, "rng: given None, wanted a seed"),
    ],
)
def test_what_cannot_be_extrapolated_is_named(change, error, message):
    given = {"real": np.zeros((9, 2)), "drawn": np.zeros((20, 2)), "rng": 0} | change
    with pytest.raises(error, match=message):
        extrapolated_frechet(**given)
