"""What a network sees and reads in drawn samples, and how often it is what was asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .. import checks
from ..autograd.tensor import as_tensor, no_grad


def predict(classifier: Callable, images: np.ndarray, chunk: int = 250) -> np.ndarray:
    """The class, counted from 0, that a classifier gives each image: that of its largest logit.

    `classifier` maps images (m, …) to logits (m, classes); it is called with `chunk` of `images`
    (n, …) at a time. The result is (n,), integers on the host.
    """
    logits = _chunks_of("classifier", classifier, images, chunk, "(m, classes)")
    return np.concatenate([np.zeros(0, int), *(rows.argmax(axis=1) for rows in logits)])


def features(network: Callable, images: np.ndarray, chunk: int = 250) -> np.ndarray:
    """The features of images (n, …) by a network such as `lenet.features`, (n, width).

    `network` maps images (m, …) to features (m, width); it is called with `chunk` of them at a
    time, without a tape. The result is on the host.
    """
    if not len(images):
        raise ValueError("images: given none, wanted at least one")
    return np.concatenate(list(_chunks_of("network", network, images, chunk, "(m, width)")))


def _chunks_of(
    name: str, function: Callable, images: np.ndarray, chunk: int, shape: str
) -> Iterator[np.ndarray]:
    """What a function gives for one chunk of images after another, in rows."""
    if not callable(function):
        raise TypeError(f"{name}: given {type(function).__name__}, wanted a function")
    if not isinstance(images, np.ndarray) or not images.ndim:
        checks.on_host("images", images)
        raise TypeError(f"images: given {type(images).__name__}, wanted an array (n, …)")
    checks.whole("chunk", chunk, 1)
    for i in range(0, len(images), chunk):
        with no_grad():
            rows = as_tensor(function(images[i : i + chunk])).numpy()
        if rows.ndim != 2:
            raise ValueError(f"{name}: given one that gives shape {rows.shape}, wanted {shape}")
        yield rows


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The share, 0 to 1, of `predicted` (n,) that equals `labels` (n,).

    Where `labels` are the classes that samples were drawn for, and `predicted` is what a classifier
    takes them for, this is the accuracy of the sampling.
    """
    labels, predicted = _pair(labels, predicted)
    return float(np.mean(labels == predicted))


@dataclass(frozen=True)
class Report:
    """Precision, recall and F1 of each class; arrays (classes,), in the order of `classes`.

    `support` is how many samples have the class as their label. A class that was never predicted
    has precision 0, one that is nobody's label has recall 0. `print(report)` shows a table.
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
    """How `predicted` (n,) agrees with `labels` (n,), for each class that occurs in either.

    Where `labels` are the classes that samples were drawn for, `recall` is the agreement by class,
    of `support` samples each.

    Raises ValueError unless both are integers, of one length of at least 1.
    """
    labels, predicted = _pair(labels, predicted)
    classes = np.union1d(labels, predicted)
    is_label = labels == classes[:, None]  # (classes, n)
    is_predicted = predicted == classes[:, None]
    hits = np.sum(is_label & is_predicted, axis=1)
    support = np.sum(is_label, axis=1)
    predictions = np.sum(is_predicted, axis=1)
    return Report(
        classes=classes,
        precision=hits / np.maximum(predictions, 1),
        recall=hits / np.maximum(support, 1),
        f1=2 * hits / (support + predictions),
        support=support,
        accuracy=accuracy(labels, predicted),
    )


def _pair(labels: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    checks.plain("labels", labels)
    checks.plain("predicted", predicted)
    labels = checks.on_host("labels", labels)
    predicted = checks.on_host("predicted", predicted)
    for name, array in (("labels", labels), ("predicted", predicted)):
        if array.dtype.kind not in "iu" or array.ndim != 1 or len(array) == 0:
            raise ValueError(
                f"{name}: given {array.dtype} of shape {array.shape}, wanted integers (n,), n ≥ 1"
            )
    if len(labels) != len(predicted):
        raise ValueError(
            f"labels, predicted: given {len(labels)} and {len(predicted)}, wanted as many of both"
        )
    return labels, predicted
