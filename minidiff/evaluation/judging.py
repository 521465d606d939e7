"""How images are judged: by classifiers, against test images, and beside training images.

What is asked of drawn images is asked of as many training images, too: real data is the floor.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import metrics
from ..data.scaling import from_pixels
from ..nn import Module
from .cells import Cell
from .drawing import CHUNK, fingerprint, wanted

KEPT = 10_000  # as many as there are test images; figures of single rows look at no more
ASKED = 2_000  # images whose nearest training image is looked for
TRAINING_AT_ONCE = 10_000  # training images that it is looked for among: 60 MiB
PAIRS = 10  # the nearest of all, which are shown
KERNEL_SIZE = 1000
DIGITS = 6  # significant ones: another number of threads may change those behind


class Court:
    """The judges, the real images that they know, and what they say of others.

    - `judges`: classifiers, which also give `features`, by their names; the first one counts most;
    - `names`: of the classes;
    - `real`: gives the images and labels of "train" and of "test". It is called when they are first
      needed: a process that only draws needs none.
    """

    def __init__(
        self,
        judges: Mapping[str, Module],
        names: Sequence[str],
        real: Callable[[str], tuple[np.ndarray, np.ndarray]],
    ):
        self.judges = judges
        self.names = names
        self.real = real

    @cached_property
    def fingerprint(self) -> str:
        both = "".join(fingerprint(judge) for judge in self.judges.values())
        return hashlib.sha256(both.encode()).hexdigest()[:8]

    @cached_property
    def training(self) -> tuple[np.ndarray, np.ndarray]:
        return self.real("train")

    @cached_property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self.real("test")

    @cached_property
    def accuracy(self) -> dict[str, float]:
        """The share of test images that each judge reads right: nothing drawn can do better."""
        images, labels = self.test
        classes = labels - 1
        return {
            name: metrics.accuracy(classes, metrics.predict(judge, images))
            for name, judge in self.judges.items()
        }

    @cached_property
    def test_rows(self) -> dict[str, np.ndarray]:
        return {
            name: metrics.features(judge.features, self.test[0])
            for name, judge in self.judges.items()
        }

    @cached_property
    def test_distances(self) -> np.ndarray:
        return self.nearest(self.test[0][:ASKED])[0]

    def nearest(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distance of each image to the nearest training image, in pixels, and its index."""
        rows = self.training[0].reshape(len(self.training[0]), -1)
        queries = images.reshape(len(images), -1)
        distance = np.full(len(images), np.inf)
        index = np.zeros(len(images), int)
        for start in range(0, len(rows), TRAINING_AT_ONCE):
            near, where = metrics.nearest(queries, rows[start : start + TRAINING_AT_ONCE])
            nearer = near < distance
            distance[nearer] = near[nearer]
            index[nearer] = where[nearer] + start
        return distance, index

    # --- cells ---

    def cell(self, path: Path, chunks: list[Cell], count: int, has_labels: bool) -> Cell:
        """The figures of drawn images."""

        def make() -> bytes:
            classes = wanted(0, count, len(self.names)) if has_labels else None
            batches = (from_pixels(chunk.read().pixels) for chunk in chunks)
            drawn, first = self.figures(batches, classes)
            return as_json(drawn | self.copies(first))

        return Cell(path / f"figures-{count}-{self.fingerprint}.json", make, from_json, chunks)

    def floor_cell(self, path: Path, count: int) -> Cell:
        """The figures of as many training images, chosen by chance."""

        def make() -> bytes:
            images, labels = self.training
            chosen = np.random.default_rng(0).permutation(len(images))[:count]
            batches = (images[chosen[i : i + CHUNK]] for i in range(0, len(chosen), CHUNK))
            return as_json(self.figures(batches, labels[chosen] - 1)[0])

        return Cell(path / f"figures-{count}-{self.fingerprint}.json", make, from_json)

    # --- figures ---

    def figures(
        self, batches: Iterable[np.ndarray], classes: np.ndarray | None
    ) -> tuple[dict, np.ndarray]:
        """What each judge says of images, wanted to be of these classes; and the first images.

        The images are taken batch by batch, and no more than the first KEPT rows of features stay.
        """
        seen = {name: Seen(judge, len(self.names)) for name, judge in self.judges.items()}
        first: list[np.ndarray] = []
        for images in batches:
            for each in seen.values():
                each.look(images)
            if sum(map(len, first)) < ASKED:
                first.append(images)
        said = {
            name: each.read(classes) | each.compared(self.test_rows[name])
            for name, each in seen.items()
        }
        return {"judges": said}, np.concatenate(first)[:ASKED]

    def copies(self, images: np.ndarray) -> dict:
        """How near images are to training images, measured by how near test images are.

        Of test images one half is nearer than their median, and 1 % are "very near".
        """
        distance, index = self.nearest(images)
        median, very_near = np.quantile(self.test_distances, [0.5, 0.01])
        closest = np.argsort(distance, kind="stable")[:PAIRS]
        return {
            "nearest": {
                "distance": np.median(distance),
                "distance_of_test_images": median,
                "nearer": np.mean(distance < median),
                "very_near": np.mean(distance < very_near),
                "closest": [
                    {"drawn": i, "training": index[i], "distance": distance[i]} for i in closest
                ],
            }
        }


class Seen:
    """What one judge sees in images that come in batches."""

    def __init__(self, judge: Module, count: int):
        self.judge = judge
        self.count = count  # of classes
        self.moments = metrics.Moments()
        self.rows: list[np.ndarray] = []
        self.classes: list[np.ndarray] = []

    def look(self, images: np.ndarray) -> None:
        rows = metrics.features(self.judge.features, images)
        self.moments.add(rows)
        self.classes.append(metrics.predict(self.judge, images))
        left = KEPT - sum(map(len, self.rows))
        if left > 0:
            self.rows.append(rows[:left])

    def read(self, classes: np.ndarray | None) -> dict:
        """Agreement with the classes that were wanted, if any were; the share of each class."""
        read = np.concatenate(self.classes)
        shares = np.bincount(read, minlength=self.count) / len(read)
        if classes is None:
            return {"shares": shares}
        agrees = read == classes
        share = agrees.mean()
        hits = np.bincount(classes[agrees], minlength=self.count)
        return {
            "agreement": share,
            "agreement_error": math.sqrt(share * (1 - share) / len(read)),
            "by_class": hits / np.maximum(np.bincount(classes, minlength=self.count), 1),
            "shares": shares,
        }

    def compared(self, real: np.ndarray) -> dict:
        """Distances to the rows of real images, and where these lie."""
        rows = np.concatenate(self.rows)
        of_real = metrics.Moments(real)
        distance_of = lambda rows: metrics.frechet_distance(of_real, rows)
        error = metrics.standard_error(distance_of, rows, rng=0)
        size = min(KERNEL_SIZE, len(rows) // 2, len(real) // 2)
        kernel = metrics.kernel_distance(real, rows, rng=0, size=size)
        lie = metrics.manifold(real, rows)
        return {
            "frechet": distance_of(self.moments),
            "frechet_error": error * math.sqrt(len(rows) / self.moments.count),
            "frechet_at_infinity": metrics.extrapolated_frechet(of_real, rows, rng=0),
            "kernel": kernel.value,
            "kernel_error": kernel.standard_error,
            "precision": lie.precision,
            "recall": lie.recall,
            "density": lie.density,
            "coverage": lie.coverage,
        }


def as_json(figures: dict) -> bytes:
    """A file of figures, with their checksum."""
    plain = _plain(figures)
    return json.dumps({"figures": plain, "sha256": _sha256(plain)}, indent=1).encode()


def from_json(content: bytes) -> dict:
    """The figures in a file. ValueError where it is damaged."""
    try:
        document = json.loads(content)
        figures = document["figures"]
        is_sound = document["sha256"] == _sha256(figures)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"damaged: {error!r}") from None
    if not is_sound:
        raise ValueError("damaged: its checksum is another one")
    return figures


def _sha256(figures: dict) -> str:
    return hashlib.sha256(json.dumps(figures).encode()).hexdigest()


def _plain(value):
    """With NumPy's numbers as Python's, rounded to DIGITS."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}")
    return int(value) if isinstance(value, np.integer) else value
