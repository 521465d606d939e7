"""The bootstrap's standard errors against those in closed form."""

import numpy as np
import pytest

from minidiff.metrics import standard_error


def test_the_error_of_a_mean():
    x = np.random.default_rng(0).standard_normal(400)
    error = standard_error(np.mean, x, rng=0, rounds=2000)
    assert error == pytest.approx(x.std() / np.sqrt(400), rel=0.07)


def test_each_argument_is_drawn_from_on_its_own():
    """Variances of independent means add; of paired ones, these would cancel."""
    x = np.random.default_rng(0).standard_normal(300)
    error = standard_error(lambda a, b: a.mean() - b.mean(), x, x, rng=0, rounds=2000)
    assert error == pytest.approx(np.sqrt(2) * x.std() / np.sqrt(300), rel=0.07)


def test_rows_stay_whole_and_a_statistic_may_be_an_array():
    rows = np.stack([np.arange(50.0), -np.arange(50.0)], axis=1)
    errors = standard_error(lambda r: (r.sum(axis=1).mean(), r.mean(), *r.mean(0)), rows, rng=1)
    assert errors.shape == (4,)
    assert errors[0] == errors[1] == 0
    assert errors[2] == pytest.approx(errors[3])
    assert errors[2] > 0


def test_lengths_are_kept_and_the_seed_makes_the_draws():
    lengths = set()
    values = []

    def statistic(a, b):
        lengths.add((len(a), len(b)))
        values.append(a.mean() + b.mean())
        return values[-1]

    a = np.arange(7.0)
    b = np.arange(5.0)
    first = standard_error(statistic, a, b, rng=2, rounds=3)
    assert lengths == {(7, 5)}
    assert first == pytest.approx(np.sqrt(np.sum((values - np.mean(values)) ** 2) / 2))
    assert first == standard_error(statistic, a, b, rng=np.random.default_rng(2), rounds=3)
    assert first != standard_error(statistic, a, b, rng=3, rounds=3)


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ((), {}, TypeError, "rows: given none, wanted one array or more"),
        (([1.0],), {}, ValueError, r"rows\[0\]: given list, wanted an array \(n, …\), n ≥ 1"),
        ((np.ones(3), np.ones(0)), {}, ValueError, r"rows\[1\]: given \(0,\), wanted an array"),
        ((np.ones(3),), {"rounds": 1}, ValueError, "rounds: given 1, wanted an integer from 2"),
        ((np.ones(3),), {"rng": None}, TypeError, "rng: given None, wanted a seed"),
    ],
)
def test_what_cannot_be_resampled_is_named(rows, options, error, message):
    with pytest.raises(error, match=message):
        standard_error(np.mean, *rows, **{"rng": 0} | options)


def test_a_statistic_is_a_function():
    with pytest.raises(TypeError, match="statistic: given int, wanted a function"):
        standard_error(3, np.ones(2), rng=0)
