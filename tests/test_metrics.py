"""Fréchet distance and classification report against closed forms and against plain counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff import Tensor
from minidiff.metrics import accuracy, classification_report, frechet_distance, predict


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


labels = arrays.arrays(np.int64, st.shared(st.integers(1, 40), key="n"), elements=st.integers(1, 5))


@given(labels=labels, predicted=labels)
@settings(deadline=None, max_examples=100)
def test_report_counts(labels, predicted):
    report = classification_report(labels, predicted)
    pairs = list(zip(labels.tolist(), predicted.tolist()))
    assert report.classes.tolist() == sorted(set(labels) | set(predicted))
    for c, precision, recall, f1, support in zip(
        report.classes, report.precision, report.recall, report.f1, report.support
    ):
        hits = sum(pair == (c, c) for pair in pairs)
        predictions = sum(p == c for _, p in pairs)
        members = sum(label == c for label, _ in pairs)
        assert precision == (hits / predictions if predictions else 0)
        assert recall == (hits / members if members else 0)
        assert support == members
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall) if hits else 0)
    assert report.accuracy == accuracy(labels, predicted)
    assert report.accuracy == sum(label == p for label, p in pairs) / len(pairs)
    assert report.macro == (report.precision.mean(), report.recall.mean(), report.f1.mean())


def test_report_reads_as_a_table():
    text = str(classification_report(np.array([1, 1, 2, 10]), np.array([1, 2, 2, 10])))
    assert text.splitlines() == [
        "   class  precision   recall       F1  support",
        "       1      1.000    0.500    0.667        2",
        "       2      0.500    1.000    0.667        1",
        "      10      1.000    1.000    1.000        1",
        " average      0.833    0.833    0.778        4",
        "accuracy 75.0%",
    ]


@pytest.mark.parametrize(
    "labels, predicted, message",
    [
        (np.array([1, 2]), np.array([1]), "given 2 and 1, wanted as many"),
        (np.array([1.0]), np.array([1]), "labels: given float64"),
        (np.array([1]), np.array([[1]]), r"predicted: given int64 of shape \(1, 1\)"),
        (np.array([], int), np.array([], int), r"labels: given int64 of shape \(0,\)"),
    ],
)
def test_bad_labels(labels, predicted, message):
    with pytest.raises(ValueError, match=message):
        classification_report(labels, predicted)


@given(st.integers(0, 7), st.integers(1, 4), st.booleans())
def test_predictions_are_the_largest_logits_whatever_the_chunks(n, chunk, as_tensors):
    images = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
    seen = []

    def classifier(rows):
        seen.append(len(rows))
        return Tensor(rows) if as_tensors else rows

    np.testing.assert_array_equal(predict(classifier, images, chunk), images.argmax(axis=1))
    assert sum(seen) == n
    assert max(seen, default=0) <= chunk


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, np.zeros((2, 3))), TypeError, "classifier: given int, wanted a function"),
        ((len, [[1.0]]), TypeError, "images: given list, wanted an array"),
        ((len, np.zeros((2, 3)), 0), ValueError, "chunk: given 0, wanted an integer of at least 1"),
        ((len, np.zeros((2, 3))), ValueError, r"classifier: given logits of shape \(\), wanted"),
    ],
)
def test_what_cannot_be_predicted_with_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        predict(*arguments)
