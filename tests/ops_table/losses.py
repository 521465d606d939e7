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
    return logits, labels, -1, draw(st.sampled_from([0.0, 0.2])), draw(REDUCTIONS)


def cross_entropy(logits, labels, ignore_index=-100, smoothing=0.0, reduction="mean"):
    losses = np.zeros(labels.shape)
    for row in np.ndindex(labels.shape):
        log_p = np.log(softmax(logits[row]))
        if labels[row] != ignore_index:
            losses[row] = -(1 - smoothing) * log_p[labels[row]] - smoothing * log_p.mean()
    if reduction == "mean":
        return losses.sum() / (labels != ignore_index).sum()
    return reduced(losses, reduction)


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
                r"cross_entropy: given logits \(2, 3\) and labels \(1,\)",
            ),
        ],
    ),
    Op(
        "cross_entropy (in full)",
        ops.cross_entropy,
        cross_entropy,
        labelled_in_full(),
        [(out_of_range, IndexError, "labels: given 3, wanted integers in 0 … 2")],
    ),
]
