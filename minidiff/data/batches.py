"""Batches of an epoch, and the split into training and validation data, each from a seed alone.

An epoch's order is drawn from `default_rng([seed, ORDER, epoch])`, so a run that goes on in the
middle of an epoch sees the batches that the unbroken run would have seen.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import checks
from .ahead import ahead
from .on_disk import OnDisk

# NumPy seeds [seed, k] and [seed, k, 0] alike. Training step k draws from the first, so a small tag
# here would give epoch 0 the draws of some step; these tags are beyond any step's number.
ORDER = int.from_bytes(b"orde", "big")
SPLIT = int.from_bytes(b"spli", "big")

Pair = tuple[np.ndarray | OnDisk, Any]  # samples; labels (n,), or None


def batch_count(n: int, size: int) -> int:
    """How many batches of `size` an epoch of n samples has, a smaller last one included."""
    return -(-n // checks.whole("size", size, 1))


def minibatches(
    arrays: Sequence[np.ndarray | OnDisk | None],
    size: int,
    seed: int | None = None,
    epoch: int = 0,
    start: int = 0,
) -> Iterator[tuple]:
    """The batches of one epoch: tuples of the same rows of all the arrays. None stays None.

    seed: None keeps the arrays' own order; else epoch `epoch` has an order of its own. start: the
    batch to begin with (0 = the first), for a run that is resumed. The last batch holds what is
    left: a mean over the epoch weighs each batch by its length. Pictures in files are read in a
    thread, beside what is done with the batches. ValueError for arrays of different lengths, or a
    `size` or `start` that cannot be.
    """
    for array in arrays:
        checks.plain("arrays", array)
    lengths = {len(array) for array in arrays if array is not None}
    if len(lengths) != 1:
        raise ValueError(
            f"arrays: given lengths {sorted(lengths)}, wanted one array or more, all of one length"
        )
    n = lengths.pop()
    checks.whole("start", start, 0, batch_count(n, size))
    order = np.arange(n) if seed is None else epoch_order(n, seed, epoch)
    # not `yield`: bad arguments raise here, and not at the first batch
    return rows_of(arrays, order[start * size :], size)


def rows_of(
    arrays: Sequence[np.ndarray | OnDisk | None], order: np.ndarray, size: int
) -> Iterator[tuple]:
    """The batches of these rows, in their order."""
    batches = (order[first : first + size] for first in range(0, len(order), size))
    found = (_rows(arrays, rows) for rows in batches)
    return ahead(found) if any(isinstance(array, OnDisk) for array in arrays) else found


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order (n,) in which epoch `epoch` goes through n samples."""
    stream = [checks.whole("seed", seed), ORDER, checks.whole("epoch", epoch)]
    return np.random.default_rng(stream).permutation(n)


def split_validation(
    samples: np.ndarray | OnDisk,
    labels: np.ndarray | None = None,
    fraction: float = 0.1,
    seed: int = 0,
) -> tuple[Pair, Pair]:
    """((training samples, labels), (validation samples, labels)), cut at random as `seed` says.

    samples (n, ..., channels): finite floats, or pictures in files, which stay there; labels (n,):
    integers from 1, or None. floor(fraction * n) samples, at least 1, are for validation.
    ValueError where one of the two sides would be empty.
    """
    if not isinstance(samples, OnDisk):
        checks.data_set("samples", samples)
    n = len(samples)
    if labels is not None:
        labels = checks.labels("labels", labels, n, low=1)
    checks.among("fraction", fraction, checks.Between(0, 1, "()"))
    if n < 2:
        raise ValueError(f"samples: given {n}, wanted 2 or more: one for each side")
    order = np.random.default_rng([checks.whole("seed", seed), SPLIT]).permutation(n)
    cut = n - max(1, int(fraction * n))
    return _part(samples, labels, order[:cut]), _part(samples, labels, order[cut:])


def _part(samples: np.ndarray | OnDisk, labels: np.ndarray | None, rows: np.ndarray) -> Pair:
    if isinstance(samples, OnDisk):
        return samples.take(rows), None if labels is None else labels[rows]
    return _rows([samples, labels], rows)  # type: ignore[return-value]


def _rows(arrays: Sequence[np.ndarray | OnDisk | None], rows: np.ndarray) -> tuple:
    """The same rows of all the arrays."""
    return tuple(None if array is None else array[rows] for array in arrays)
