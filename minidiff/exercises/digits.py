"""Lesson 8, digits: frechet_distance, recognised."""

from collections.abc import Callable

import numpy as np

from .. import metrics
from .declared import exercise
from .evidence import PromiseError, agree, unchanged


@exercise(
    hint="np.cov(a.T) has n − 1 below the line. np.linalg.eigvals(C_a @ C_b) are ≥ 0 up to "
    "rounding: take .real and np.maximum(…, 0) before the root."
)
def frechet_distance(frechet_distance: Callable) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((40, 4)) @ rng.standard_normal((4, 4))
    b = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 4)) + 1
    shift = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    C_a = np.cov(a.T)
    C_b = np.cov(b.T)
    shared = np.sum(np.sqrt(np.maximum(np.linalg.eigvals(C_a @ C_b).real, 0)))
    spread = np.trace(C_a) + np.trace(C_b) - 2 * shared
    of_n_a = C_a * 39 / 40
    of_n_b = C_b * 29 / 30
    shared_of_n = np.sum(np.sqrt(np.maximum(np.linalg.eigvals(of_n_a @ of_n_b).real, 0)))
    spread_of_n = np.trace(of_n_a) + np.trace(of_n_b) - 2 * shared_of_n
    want = metrics.frechet_distance(a, b)
    suspects = {
        "The distance of the means is missing.": spread,
        "That is the distance of the means alone.": shift,
        "The means' distance is to be squared.": np.sqrt(shift) + spread,
        "That is its root: the distance is given squared.": np.sqrt(want),
        "The covariances have n below the line, wanted n − 1.": shift + spread_of_n,
        "The shared part counts twice.": shift + spread + shared,
        "The root of the product C_a C_b is missing.": (
            shift + np.trace(C_a) + np.trace(C_b) - 2 * np.trace(C_a @ C_b)
        ),
        "The root is that of a matrix, not of its elements.": (
            shift + np.trace(C_a) + np.trace(C_b) - 2 * np.trace(np.sqrt(np.abs(C_a @ C_b)))
        ),
    }
    promise = "It is the squared Fréchet distance of two Gaussians."
    agree(unchanged(frechet_distance, a, b), want, promise, suspects, 1e-7)
    same = float(frechet_distance(a, a.copy()))
    if not abs(same) < 1e-6:
        raise PromiseError(f"A set has the distance 0 from itself. It is {same:.4g}.")
    moved = "A set that is moved by (2, 0, 0, 0) has the squared distance 4."
    agree(frechet_distance(a, a + np.array([2.0, 0, 0, 0])), 4.0, moved, tolerance=1e-6)


@exercise(
    hint="The largest of a row of scores says which digit is seen; the digit d has the label d + 1."
)
def recognised(recognised: Callable) -> None:
    scores = np.random.default_rng(5).standard_normal((10, 10))
    seen = np.argmax(scores, axis=1)
    labels = seen + 1
    labels[[1, 4]] = (seen[[1, 4]] + 2) % 10 + 1  # these are seen as another digit
    labels[7] = seen[7]
    promise = "Seven of ten digits are recognised."
    off_by_one = np.mean(seen == labels)
    wrong_axis = np.mean(np.argmax(scores, axis=0) + 1 == labels)
    suspects = {
        "Scores count digits from 0, and labels from 1: the digit 0 has the label 1.": off_by_one,
        "The largest score is looked for among images, not among digits: axis=1.": wrong_axis,
        "That is the share of those that are wrong.": 0.3,
        "That is how many: divide by all.": 7,
        "It is in per cent, wanted a share of 1.": 70,
    }
    agree(unchanged(recognised, scores, labels), 0.7, promise, suspects)
