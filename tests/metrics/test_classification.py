"""Predictions and the classification report against plain counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff import Tensor
from minidiff.metrics import accuracy, classification_report, features, predict

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
        ((len, np.zeros((2, 3))), ValueError, r"given one that gives shape \(\), wanted"),
    ],
)
def test_what_cannot_be_predicted_with_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        predict(*arguments)


def test_features_come_in_chunks_and_in_their_order():
    images = np.arange(24.0).reshape(6, 2, 2)
    sizes = []

    def network(part):
        sizes.append(len(part))
        return part.reshape(len(part), -1)

    np.testing.assert_array_equal(features(network, images, chunk=4), images.reshape(6, 4))
    assert sizes == [4, 2]


def test_features_that_cannot_be_are_refused():
    images = np.zeros((2, 4))
    with pytest.raises(TypeError, match="network: given str, wanted a function"):
        features("lenet", images)
    with pytest.raises(ValueError, match=r"network: given one that gives shape \(2,\), wanted"):
        features(lambda x: x[:, 0], images)
    with pytest.raises(ValueError, match="images: given none, wanted at least one"):
        features(lambda x: x, images[:0])
