"""How far drawn features are from real ones in their first three moments, without bias."""

import math
from typing import NamedTuple

import numpy as np

from .. import checks
from .inputs import MOST_REPEATS, feature_rows, same_width


class KernelDistance(NamedTuple):
    """The squared distance, around 0 for equal distributions, and its standard error."""

    value: float
    standard_error: float


def kernel_distance(
    a: np.ndarray,
    b: np.ndarray,
    rng: int | np.random.Generator,
    subsets: int = 50,
    size: int = 1000,
) -> KernelDistance:
    """The squared maximum mean discrepancy of feature rows a (n, d), b (m, d): «KID», unbiased.

    mean k(a, a′) + mean k(b, b′) − 2 mean k(a, b) over pairs of different rows, with the cubic
    kernel k(x, y) = (x·y / d + 1)³: a mean over `subsets` draws of `size` rows of each, without
    replacement. It has the same expectation for any counts, 0 for equal distributions, and may be
    below.

    The draws share rows, as soon as all of them together have more than there are. So the error has
    two parts: s²/subsets, where s is the deviation among the draws, and s²·size/(n − size), with
    the smaller of n and m, for the rows being a sample themselves.

    Raises ValueError for rows that are not finite or not (n ≥ 2 size, d) with the same d, for fewer
    than 2 subsets, or a size below 2. Source: Bińkowski et al., "Demystifying MMD GANs" (2018,
    arXiv 1801.01401), section 4; Gretton et al. 2012, eq. 3.
    """
    a = feature_rows("a", a)
    b = feature_rows("b", b)
    same_width(a=a.shape[1], b=b.shape[1])
    rng = checks.generator("rng", rng)
    checks.whole("subsets", subsets, 2, MOST_REPEATS)
    fewest = min(len(a), len(b))
    if checks.whole("size", size, 2) > fewest // 2:
        raise ValueError(
            f"size: given {size} of {len(a)} and {len(b)} rows, wanted at most half of either"
        )
    values = [
        _unbiased(rng.choice(a, size, replace=False), rng.choice(b, size, replace=False))
        for _ in range(subsets)
    ]
    of_draws = 1 / subsets
    of_rows = size / (fewest - size)
    error = np.std(values, ddof=1) * math.sqrt(of_draws + of_rows)
    return KernelDistance(float(np.mean(values)), float(error))


def _unbiased(a: np.ndarray, b: np.ndarray) -> float:
    """The U-statistic of rows a (n, d) and b (n, d)."""
    return float(_mean_of_pairs(a) + _mean_of_pairs(b) - 2 * _kernel(a, b).mean())


def _mean_of_pairs(rows: np.ndarray) -> float:
    """The kernel's mean over the pairs of different rows."""
    n = len(rows)
    kernel = _kernel(rows, rows)
    return (kernel.sum() - kernel.trace()) / (n * (n - 1))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    base = a @ b.T / a.shape[1] + 1
    return base * base * base  # `base**3` takes ten times as long
