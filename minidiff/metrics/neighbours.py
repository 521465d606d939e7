"""Where drawn rows lie among real ones: nearest neighbours, and balls that reach to them.

Distances are taken in blocks, so memory does not grow with the square of the counts.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .. import checks
from .inputs import feature_rows, same_width

_BLOCK = 2**22  # distances at a time
_COLUMNS = 4096  # of them in one row at most, where a row's smallest is all that is wanted


class Manifold(NamedTuple):
    """Precision and recall, 0 to 1; density, of 1 for equal distributions; coverage, 0 to 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: np.ndarray, drawn: np.ndarray, k: int = 5) -> Manifold:
    """How well feature rows drawn (m, d) lie where real (n, d) lie, and real where drawn.

    Around each row is a closed ball that reaches to its k-th nearest neighbour of its own set.

    - precision: the share of drawn rows that are in a ball of a real one: they look real;
    - recall: the share of real rows that are in a ball of a drawn one: they can be drawn;
    - density: in how many balls of real rows a drawn one is, over k: unlike precision it is not
      fooled by the wide balls of real outliers;
    - coverage: the share of balls of real rows that have a drawn row in them: unlike recall it is
      not fooled by drawn outliers.

    For equal distributions the expected density is 1, and the expected coverage about 1 − (n / (n +
    m))^k, 0.97 for k = 5 and n = m. Memory is that of the rows in float64 and some 100 MiB.

    Raises ValueError for rows that are not finite or not (n > k, d) with the same d. Sources:
    Kynkäänniemi et al., "Improved precision and recall metric" (2019, arXiv 1904.06991), eq. 1–2;
    Naeem et al., "Reliable fidelity and diversity metrics" (2020, arXiv 2002.09797), eq. 3–4.
    """
    checks.whole("k", k, 1)
    real = feature_rows("real", real, least=k + 1)
    drawn = feature_rows("drawn", drawn, least=k + 1)
    same_width(real=real.shape[1], drawn=drawn.shape[1])
    radius_of_real = _radii(real, k)
    radius_of_drawn = _radii(drawn, k)
    balls_around = np.zeros(len(drawn), int)  # of real rows, for each drawn one
    is_drawable = np.zeros(len(real), bool)
    is_covered = np.zeros(len(real), bool)
    for rows, squared in _squared_distances(real, drawn):
        in_ball_of_real = squared <= radius_of_real[rows, None]
        balls_around += in_ball_of_real.sum(axis=0)
        is_covered[rows] = in_ball_of_real.any(axis=1)
        is_drawable[rows] = (squared <= radius_of_drawn).any(axis=1)
    return Manifold(
        precision=float(np.mean(balls_around > 0)),
        recall=float(np.mean(is_drawable)),
        density=float(np.mean(balls_around) / k),
        coverage=float(np.mean(is_covered)),
    )


def nearest(queries: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Euclidean distance (n,) of each query to its nearest row, and that row's index (n,).

    queries (n, d) and rows (m, d). A distance of 0 is a copy: drawn images against the training
    images show what was copied, training images against drawn ones what was forgotten.

    Raises ValueError for rows that are not finite or not (m ≥ 1, d) with the same d.
    """
    queries = feature_rows("queries", queries)
    rows = feature_rows("rows", rows)
    same_width(queries=queries.shape[1], rows=rows.shape[1])
    distance = np.full(len(queries), np.inf)
    index = np.zeros(len(queries), int)
    for start in range(0, len(rows), _COLUMNS):
        some = rows[start : start + _COLUMNS]
        for block, squared in _squared_distances(queries, some):
            closest = squared.argmin(axis=1)
            # without the rounding of `_squared_distances`, so that a copy has 0
            exact = np.linalg.norm(queries[block] - some[closest], axis=1)
            is_nearer = exact < distance[block]
            index[block] = np.where(is_nearer, start + closest, index[block])
            distance[block] = np.minimum(exact, distance[block])
    return distance, index


def _radii(rows: np.ndarray, k: int) -> np.ndarray:
    """The squared distance (n,) of each row to its k-th nearest other row."""
    radii = np.empty(len(rows))
    for block, squared in _squared_distances(rows, rows):
        own = np.arange(len(rows))[block]
        squared[np.arange(len(own)), own] = np.inf
        radii[block] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return radii


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows of a, their squared distances to all of b), block by block."""
    squares_of_b = np.sum(b**2, axis=1)
    height = max(1, _BLOCK // len(b))
    for start in range(0, len(a), height):
        rows = slice(start, start + height)
        squared = a[rows] @ b.T
        squared *= -2
        squared += np.sum(a[rows] ** 2, axis=1)[:, None]
        squared += squares_of_b
        np.maximum(squared, 0, out=squared)
        yield rows, squared
