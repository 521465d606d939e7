"""Figures for drawn samples: the Fréchet distance of their features, and how well a classifier's answers agree."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import checks
from .autograd.tensor import no_grad


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The squared Fréchet distance between Gaussians fitted to two sets of feature rows, (n, d) and
    (m, d).

    |mean_a - mean_b|^2 + trace(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2), computed in float64, C with n - 1 in its
    denominator. With features of LeNet this is the Fréchet LeNet distance, in units of that LeNet. Few rows bias it
    upwards: compare equal counts only, and with the figure of two sets of real data.

    The roots of the eigenvalues of C_a^1/2 C_b C_a^1/2 are the singular values of R_a R_b^T, where
    C = R^T R. So they are never negative or complex, whatever the rounding, and exchanging a and b
    changes nothing.

    ValueError for rows that are not finite or not (n >= 2, d) with the same d. Source: Dowson,
    Landau (1982); Heusel et al., "GANs trained by a two time-scale update rule" (2017), eq. 6.
    """
    (mean_a, root_a), (mean_b, root_b) = _mean_and_root(a, "a"), _mean_and_root(b, "b")
    if len(mean_a) != len(mean_b):
        raise ValueError(
            f"a, b: found {len(mean_a)} and {len(mean_b)} features per row, wanted the same number"
        )
    shift = np.sum((mean_a - mean_b) ** 2)
    spread = (
        np.sum(root_a**2) + np.sum(root_b**2) - 2 * np.linalg.norm(root_a @ root_b.T, ord="nuc")
    )
    return float(shift + max(spread, 0.0))


def _mean_and_root(rows: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows' mean (d,) and a root R (min(n, d), d) of their covariance R^T R."""
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] < 1:
        raise ValueError(f"{name}: found shape {rows.shape}, wanted (n, d): 2 feature rows or more")
    checks.data_set(name, rows)
    mean = rows.mean(axis=0)
    return mean, np.linalg.qr(rows - mean, mode="r") / np.sqrt(len(rows) - 1)


def predict(classifier: Callable, images: np.ndarray, chunk: int = 250) -> np.ndarray:
    """The class, counted from 0, that a classifier gives each of `images` (n, ...): the largest of its logits."""
    with no_grad():
        logits = [classifier(images[i : i + chunk]).numpy() for i in range(0, len(images), chunk)]
    return np.concatenate(logits).argmax(axis=1)


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The share, 0 to 1, of `predicted` (n,) that equals `labels` (n,).

    With the wanted labels of drawn samples and a classifier's answers to them, this is their
    agreement.
    """
    labels, predicted = _pair(labels, predicted)
    return float(np.mean(labels == predicted))


@dataclass(frozen=True)
class Report:
    """Precision, recall and F1 of each class; arrays (classes,), in the order of `classes`.

    support: how many samples have the class as their label. Where a class was never predicted its
    precision is 0, where it is nobody's label its recall is 0. `print(report)` shows a table.
    """

    classes: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    accuracy: float

    @property
    def macro(self) -> tuple[float, float, float]:
        """Precision, recall and F1, each averaged over the classes without weights."""
        return float(self.precision.mean()), float(self.recall.mean()), float(self.f1.mean())

    def __str__(self) -> str:
        rows = [*zip(self.classes, self.precision, self.recall, self.f1, self.support)]
        rows.append(("average", *self.macro, self.support.sum()))
        head = f"{'class':>8}{'precision':>11}{'recall':>9}{'F1':>9}{'support':>9}"
        lines = [
            f"{name:>8}{p:>11.3f}{r:>9.3f}{f1:>9.3f}{count:>9}" for name, p, r, f1, count in rows
        ]
        return "\n".join([head, *lines, f"accuracy {self.accuracy:.1%}"])


def classification_report(labels: np.ndarray, predicted: np.ndarray) -> Report:
    """How `predicted` (n,) agrees with `labels` (n,), both integers, for each class that occurs in either."""
    labels, predicted = _pair(labels, predicted)
    classes = np.union1d(labels, predicted)
    held, answered = labels == classes[:, None], predicted == classes[:, None]  # (classes, n)
    hits, support, answers = (np.sum(which, axis=1) for which in (held & answered, held, answered))
    precision, recall = hits / np.maximum(answers, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / (support + answers)
    return Report(classes, precision, recall, f1, support, accuracy(labels, predicted))


def _pair(labels: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    for name, array in (("labels", labels), ("predicted", predicted)):
        if array.dtype.kind not in "iu" or array.ndim != 1 or len(array) == 0:
            raise ValueError(
                f"{name}: found {array.dtype} of shape {array.shape}, wanted integers (n,), n >= 1"
            )
    if len(labels) != len(predicted):
        raise ValueError(
            f"labels, predicted: found {len(labels)} and {len(predicted)} of them, wanted as many"
        )
    return labels, predicted
