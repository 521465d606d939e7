"""Mean and covariance of any number of rows, which come in pieces and are not kept."""

import math
from typing import Any

import numpy as np

from .inputs import feature_rows, same_width


class Moments:
    """The mean and the covariance of feature rows, added in pieces of any size.

    In place of the rows there is a root R (at most d, d) of their scatter matrix RᵀR = Σ (x − mean)
    (x − mean)ᵀ, in float64: d² numbers, whatever the count. A sum of two scatters has as its root
    that of both roots stacked, so no digits are lost by squaring, and no variance is negative.
    `a + b` are the Moments of both sets of rows, such as those of two processes.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979), eq. 2.1, with its sum of squares as a QR decomposition of roots.
    """

    def __init__(self, rows: np.ndarray | None = None):
        self.count = 0
        self._mean = np.zeros(0)
        self._root: Any = np.zeros((0, 0))
        if rows is not None:
            self.add(rows)

    def __repr__(self) -> str:
        return f"Moments({self.count} rows of {len(self._mean)} features)"

    def add(self, rows: np.ndarray) -> None:
        """Take in rows (n, d), n ≥ 1, finite.

        Raises ValueError for others, or where earlier rows had another d.
        """
        rows = feature_rows("rows", rows)
        mean = rows.mean(axis=0)
        self._take(len(rows), mean, rows - mean)

    def __add__(self, other: "Moments") -> "Moments":
        if not isinstance(other, Moments):
            raise TypeError(f"other: given {type(other).__name__}, wanted Moments")
        total = Moments()
        for part in (self, other):
            if part.count:
                total._take(part.count, part._mean, part._root)
        return total

    def _take(self, count: int, mean: np.ndarray, root: np.ndarray) -> None:
        """Take in `count` rows of this mean (d,), whose scatter has this root (any number, d)."""
        if self.count == 0:
            self._mean = np.zeros_like(mean)
            self._root = np.zeros((0, len(mean)))
        same_width(Moments=len(self._mean), rows=len(mean))
        total = self.count + count
        shift = mean - self._mean
        between = math.sqrt(self.count * count / total) * shift
        stacked = np.concatenate([self._root, root, between[None]])
        self._root = np.linalg.qr(stacked, mode="r")
        self._mean = self._mean + shift * (count / total)
        self.count = total

    @property
    def mean(self) -> np.ndarray:
        """(d,). Raises ValueError where there are no rows yet."""
        self._wants(1)
        return self._mean

    @property
    def root(self) -> np.ndarray:
        """R (at most d, d) of the covariance RᵀR. Raises ValueError for fewer than 2 rows."""
        self._wants(2)
        return self._root / math.sqrt(self.count - 1)

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), with count − 1 in its denominator. Raises ValueError for fewer than 2 rows."""
        root = self.root
        return root.T @ root

    def _wants(self, least: int) -> None:
        if self.count < least:
            raise ValueError(f"Moments: given {self.count} rows, wanted {least} or more")


def moments_of(name: str, value: Any) -> Moments:
    """Moments as they are, or those of rows (n, d); ValueError for fewer than 2 rows."""
    if not isinstance(value, Moments):
        return Moments(feature_rows(name, value, least=2))
    if value.count < 2:
        raise ValueError(f"{name}: given Moments of {value.count} rows, wanted 2 or more")
    return value
