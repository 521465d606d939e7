"""The kernel distance against sums over pairs, and against its expectation in closed form."""

import numpy as np
import pytest

from minidiff.metrics import kernel_distance


def kernel(x, y):
    return (x @ y / len(x) + 1) ** 3


def pair_by_pair(a, b):
    """Gretton et al. 2012, eq. 3, as it is written."""
    n = len(a)
    m = len(b)
    within_a = sum(kernel(a[i], a[j]) for i in range(n) for j in range(n) if i != j)
    within_b = sum(kernel(b[i], b[j]) for i in range(m) for j in range(m) if i != j)
    between = sum(kernel(x, y) for x in a for y in b)
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)


def test_it_is_the_sum_over_pairs():
    """Every row is one of two, so each subset of 2 of 4 rows is one of few, all tried here."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 3))
    b = rng.standard_normal((4, 3)) + 1
    pairs = [[i, j] for i in range(4) for j in range(i)]
    exact = np.mean([[pair_by_pair(a[i], b[j]) for i in pairs] for j in pairs])
    assert exact == pytest.approx(pair_by_pair(a, b), rel=1e-12), "a mean of U-statistics is one"
    drawn = kernel_distance(a, b, rng=0, subsets=3000, size=2)
    deviation = np.std([[pair_by_pair(a[i], b[j]) for i in pairs] for j in pairs])
    assert drawn.value == pytest.approx(exact, abs=4 * deviation / np.sqrt(3000))


def sets(n, shift, count, features=5):
    rng = np.random.default_rng(count)
    for _ in range(count):
        yield rng.standard_normal((n, features)), rng.standard_normal((n, features)) + shift


def test_equal_distributions_have_distance_0_within_the_error():
    results = [kernel_distance(a, b, 0, subsets=20, size=50) for a, b in sets(200, 0.0, 100)]
    values = np.array([result.value for result in results])
    errors = np.array([result.standard_error for result in results])
    assert abs(values.mean()) < 3 * values.std() / 10, "biased"
    assert (values < 0).any()
    assert np.mean(np.abs(values) < 2 * errors) > 0.9


def test_a_shift_has_its_distance_in_closed_form():
    """In one dimension, with x ~ N(0, 1) and y ~ N(s, 1), (xy + 1)³ has known moments.

    The distance is Σ over powers p of binomial(3, p) (E xᵖ − E yᵖ)².
    """
    s = 0.7
    of_x = np.array([1, 0, 1, 0])
    of_y = np.array([1, s, 1 + s**2, 3 * s + s**3])
    expected = np.sum(np.array([1, 3, 3, 1]) * (of_x - of_y) ** 2)
    results = [
        kernel_distance(a, b, 0, subsets=20, size=100) for a, b in sets(400, s, 100, features=1)
    ]
    values = np.array([result.value for result in results])
    errors = np.array([result.standard_error for result in results])
    assert values.mean() == pytest.approx(expected, abs=3 * values.std() / 10)
    # also where subsets share most of their rows, it says by how much a result is off
    assert 0.7 < errors.mean() / values.std(ddof=1) < 1.4


def test_the_seed_makes_the_draws():
    ((a, b),) = sets(20, 0.0, 1)
    first = kernel_distance(a, b, 3, subsets=4, size=5)
    assert first == kernel_distance(a, b, np.random.default_rng(3), subsets=4, size=5)
    assert first != kernel_distance(a, b, 4, subsets=4, size=5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"size": 6}, ValueError, "size: given 6 of 10 and 20 rows, wanted at most half"),
        ({"size": 1}, ValueError, "size: given 1, wanted an integer of at least 2"),
        ({"subsets": 1}, ValueError, "subsets: given 1, wanted an integer from 2"),
        ({"a": np.zeros((10, 3))}, ValueError, "a, b: given 3 and 2 features a row"),
        ({"b": np.full((10, 2), np.inf)}, ValueError, "b: given NaN or infinity in 20 of 20"),
        ({"rng": 1.5}, TypeError, "rng: given float, wanted a seed"),
    ],
)
def test_what_cannot_be_compared_is_named(change, error, message):
    given = {"a": np.zeros((10, 2)), "b": np.zeros((20, 2)), "rng": 0, "size": 5} | change
    with pytest.raises(error, match=message):
        kernel_distance(**given)
