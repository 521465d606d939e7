"""Precision, recall, density, coverage and nearest rows against loops over all distances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff.metrics import manifold, nearest, neighbours


def whole_rows(least):
    """Rows of small integers: their distances are exact, and many are ties."""
    shape = st.tuples(st.integers(least, 12), st.just(2))
    return arrays.arrays(np.float64, shape, elements=st.integers(-4, 4).map(float))


def squared(x, y):
    return sum((x - y) ** 2)


def radius(rows, i, k):
    others = [squared(rows[i], rows[j]) for j in range(len(rows)) if j != i]
    return sorted(others)[k - 1]


def looped(real, drawn, k):
    """The four figures, one pair of rows at a time."""
    radii = [radius(real, i, k) for i in range(len(real))]
    drawn_radii = [radius(drawn, j, k) for j in range(len(drawn))]
    in_real = [[squared(x, y) <= r for y in drawn] for x, r in zip(real, radii)]
    in_drawn = [[squared(x, y) <= r for y, r in zip(drawn, drawn_radii)] for x in real]
    precision = np.mean([any(balls) for balls in zip(*in_real)])
    recall = np.mean([any(balls) for balls in in_drawn])
    density = np.sum(in_real) / (k * len(drawn))
    coverage = np.mean([any(inside) for inside in in_real])
    return precision, recall, density, coverage


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 25)
    monkeypatch.setattr(neighbours, "_COLUMNS", 5)


@given(whole_rows(4), whole_rows(4), st.integers(1, 3))
@settings(deadline=None, max_examples=100)
def test_manifold_is_that_of_loops(real, drawn, k):
    assert manifold(real, drawn, k) == pytest.approx(looped(real, drawn, k), rel=1e-12)


@given(whole_rows(1), whole_rows(1))
@settings(deadline=None, max_examples=100)
def test_nearest_is_that_of_loops(queries, rows):
    distance, index = nearest(queries, rows)
    for query, d, i in zip(queries, distance, index):
        all_distances = [squared(query, row) for row in rows]
        assert i == np.argmin(all_distances), "the first of equal ones"
        assert d == pytest.approx(np.sqrt(min(all_distances)), rel=1e-15)


def cloud(n, at=0.0, scale=1.0, seed=0, features=3):
    return np.random.default_rng(seed).standard_normal((n, features)) * scale + at


def test_what_the_figures_say_of_clouds():
    real = cloud(200)
    assert manifold(real, cloud(200, at=100)) == (0, 0, 0, 0)
    same = manifold(real, real)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    copies = manifold(real, np.repeat(real[:1], 200, axis=0))  # one row, again and again
    assert copies.precision == 1
    assert copies.recall <= 0.01 and copies.coverage < 0.1
    narrow = manifold(real, cloud(200, scale=0.3, seed=1))
    assert narrow.precision > 0.95 and narrow.recall < 0.3
    wide = manifold(real, cloud(200, scale=3, seed=1))
    assert wide.precision < 0.5 and wide.recall > 0.9


def test_equal_distributions_have_density_1_and_the_coverage_of_the_paper():
    """Naeem et al. 2020, lemma 2: coverage is expected to be 1 − Π (n − i) / (n + m − i)."""
    n = 40
    m = 60
    k = 3
    figures = [manifold(cloud(n, seed=s), cloud(m, seed=1000 + s), k) for s in range(200)]
    means = np.mean(figures, axis=0)
    errors = np.std(figures, axis=0) / np.sqrt(len(figures))
    missed = np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)])
    assert means[2] == pytest.approx(1, abs=4 * errors[2])
    assert means[3] == pytest.approx(1 - missed, abs=4 * errors[3])


def test_a_copy_has_distance_0():
    """Also where rounding would not give 0 for |x|² − 2 x·x + |x|²."""
    rows = cloud(30, at=1e4, features=20).astype(np.float32)
    distance, index = nearest(rows[::-1], rows)
    np.testing.assert_array_equal(distance, 0)
    np.testing.assert_array_equal(index, np.arange(30)[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k: given 0, wanted an integer of at least 1"),
        ({"k": 9}, r"real: given shape \(9, 2\), wanted \(n, d\): 10 feature rows or more"),
        ({"drawn": np.zeros((3, 2))}, r"drawn: given shape \(3, 2\), wanted"),
        ({"drawn": np.zeros((9, 3))}, "real, drawn: given 2 and 3 features"),
        ({"real": np.full((9, 2), np.nan)}, "real: given NaN or infinity"),
    ],
)
def test_what_has_no_manifold_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        manifold(**{"real": np.zeros((9, 2)), "drawn": np.zeros((9, 2))} | change)


@pytest.mark.parametrize(
    ("queries", "rows", "message"),
    [
        (np.zeros((2, 3)), np.zeros((0, 3)), r"rows: given shape \(0, 3\), wanted \(n, d\)"),
        (np.zeros((2, 3)), np.zeros((2, 4)), "queries, rows: given 3 and 4 features"),
        (np.zeros((2, 3, 1)), np.zeros((2, 3)), r"queries: given shape \(2, 3, 1\), wanted"),
    ],
)
def test_what_has_no_neighbours_is_named(queries, rows, message):
    with pytest.raises(ValueError, match=message):
        nearest(queries, rows)
