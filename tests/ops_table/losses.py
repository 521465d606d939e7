"""Losses. The references are textbook formulas, row by row."""

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, shapes

from .elementwise import sigmoid
from .layers import softmax
from .row import Op

REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def reduced(losses, reduction):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


@st.composite
def pairs(draw):
    """(x, y) of one shape."""
    shape = draw(shapes(min_side=1))
    return draw(arrays(shape)), draw(arrays(shape))


@st.composite
def with_probabilities(draw):
    """(x, y, reduction), where y lies in (0, 1)."""
    x, y = draw(pairs())
    return x, sigmoid(y), draw(REDUCTIONS)


@st.composite
def huber_arguments(draw):
    return *draw(pairs()), draw(st.sampled_from([0.5, 1.0])), draw(REDUCTIONS)


def huber_loss(x, y, delta, reduction):
    d = np.abs(x - y)
    return reduced(np.where(d <= delta, 0.5 * d**2, delta * (d - 0.5 * delta)), reduction)


def binary_cross_entropy(x, y, reduction):
    p = sigmoid(x)
    return reduced(-y * np.log(p) - (1 - y) * np.log(1 - p), reduction)


@st.composite
def labelled(draw):
    """(logits, labels) of matrices."""
    n, classes = (draw(st.integers(1, 4)) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return draw(arrays((n, classes))), rng.integers(0, classes, n)


@st.composite
def labelled_in_full(draw):
    """All arguments of cross_entropy; the first row is never ignored."""
    rows = draw(st.sampled_from([(3,), (1,), (2, 2)]))
    logits = draw(arrays((*rows, draw(st.integers(1, 4)))))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    labels = rng.integers(0, logits.shape[-1], rows)
    if draw(st.booleans()):
        labels[1:] = -1
    weight = draw(st.none() | arrays(logits.shape[-1:], low=0.5, high=2))
    return logits, labels, -1, draw(st.sampled_from([0.0, 0.2])), draw(REDUCTIONS), weight


def cross_entropy(logits, labels, ignore_index=-100, smoothing=0.0, reduction="mean", weight=None):
    losses = np.zeros(labels.shape)
    weight = np.ones(logits.shape[-1]) if weight is None else weight
    for row in np.ndindex(labels.shape):
        log_p = np.log(softmax(logits[row])) * weight
        if labels[row] != ignore_index:
            losses[row] = -(1 - smoothing) * log_p[labels[row]] - smoothing * log_p.mean()
    if reduction == "mean":
        return losses.sum() / weight[labels[labels != ignore_index]].sum()
    return reduced(losses, reduction)


def cross_entropy_of_probabilities(logits, labels, smoothing, reduction, weight):
    labels = (1 - smoothing) * labels + smoothing / logits.shape[-1]
    return reduced(-np.sum(weight * labels * np.log(softmax(logits)), -1), reduction)


@st.composite
def with_soft_labels(draw):
    """(logits, probabilities, label_smoothing, reduction, weight)"""
    logits, _ = draw(labelled())
    labels = softmax(draw(arrays(logits.shape)))
    weight = draw(arrays(logits.shape[-1:], low=0.5, high=2))
    return logits, labels, draw(st.sampled_from([0.0, 0.2])), draw(REDUCTIONS), weight


three = np.ones(3)
apart = (three, np.ones((3, 1)))
out_of_range = (np.ones((2, 3)), np.array([0, 3]))


def errors(name):
    """What a loss of x and y refuses."""
    return [
        (apart, ValueError, rf"{name}: given x \(3,\) and y \(3, 1\), wanted one shape"),
        ((three, three, "median"), ValueError, "reduction: given 'median', wanted one of 'mean'"),
    ]


ROWS = [
    Op(
        "mse_loss",
        ops.mse_loss,
        lambda x, y: np.sum((x - y) ** 2) / x.size,
        pairs(),
        errors("mse_loss"),
    ),
    Op(
        "huber_loss",
        ops.huber_loss,
        huber_loss,
        huber_arguments(),
        [
            (apart, ValueError, r"huber_loss: given x \(3,\) and y \(3, 1\)"),
            ((three, three, 1.0, "median"), ValueError, "reduction: given 'median'"),
        ],
    ),
    Op(
        "binary_cross_entropy_with_logits",
        ops.binary_cross_entropy_with_logits,
        binary_cross_entropy,
        with_probabilities(),
        errors("binary_cross_entropy_with_logits"),
    ),
    Op(
        "kl_div",
        ops.kl_div,
        lambda x, y, reduction: reduced(y * (np.log(y) - x), reduction),
        with_probabilities(),
        errors("kl_div"),
    ),
    Op(
        "cross_entropy",
        ops.cross_entropy,
        cross_entropy,
        labelled(),
        [
            (out_of_range, IndexError, "labels: given 3, wanted integers in 0 … 2"),
            (
                (np.ones((2, 3)), np.array([0])),
                ValueError,
                r"labels: given int64 \(1,\) for logits \(2, 3\), wanted integers \(2,\)",
            ),
        ],
    ),
    Op(
        "cross_entropy (in full)",
        ops.cross_entropy,
        cross_entropy,
        labelled_in_full(),
        [
            (out_of_range, IndexError, "labels: given 3, wanted integers in 0 … 2"),
            (
                (np.ones((2, 3)), np.array([0, 1]), -1, 0.0, "mean", np.ones(2)),
                ValueError,
                r"weight: given shape \(2,\), wanted \(3,\), one for each class",
            ),
        ],
    ),
    Op(
        "nll_loss",
        ops.nll_loss,
        lambda log_p, labels, ignored, reduction, weight: cross_entropy(
            log_p, labels, ignored, 0.0, reduction, weight
        ),
        labelled_in_full().map(
            lambda row: (np.log(softmax(row[0])), row[1], row[2], row[4], row[5])
        ),
        [(out_of_range, IndexError, "labels: given 3, wanted integers in 0 … 2")],
    ),
    Op(
        "cross_entropy (of probabilities)",
        lambda logits, labels, smoothing, reduction, weight: ops.cross_entropy(
            logits, labels, -100, smoothing, reduction, weight
        ),
        cross_entropy_of_probabilities,
        with_soft_labels(),
        [
            (
                (np.ones((2, 3)), np.ones(2), 0.0, "mean", None),
                ValueError,
                r"given logits \(2, 3\) and labels float64 \(2,\), wanted probabilities",
            )
        ],
    ),
]
