"""Batches of an epoch, and the split into training and validation data: both follow from a seed
alone.

An epoch's order is drawn from `default_rng([seed, ORDER, epoch])`, so a run that goes on in the
middle of an epoch sees the batches that the unbroken run would have seen.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from minidiff.data.checks import check_labels, check_samples

# NumPy seeds [seed, k] and [seed, k, 0] alike. Training step k draws from the first, so a small tag
# here would give epoch 0 the draws of some step; these tags are beyond any step's number.
ORDER = int.from_bytes(b"orde", "big")
SPLIT = int.from_bytes(b"spli", "big")

Pair = tuple[np.ndarray, np.ndarray | None]


def batch_count(n: int, size: int) -> int:
    """How many batches an epoch of n samples has, a smaller last one included.

    ValueError for a `size` below 1.
    """
    if size < 1:
        raise ValueError(f"size: found {size}, wanted 1 or more samples in a batch")
    return -(-n // size)


def minibatches(
    arrays: Sequence[np.ndarray | None],
    size: int,
    seed: int | None = None,
    epoch: int = 0,
    start: int = 0,
) -> Iterator[tuple]:
    """The batches of one epoch, as tuples of rows, in step, of all the arrays; None stays None (no
    labels).

    seed: None keeps the arrays' own order; else epoch `epoch` has an order of its own. start: the
    batch to begin with (0 = the first), for a run that is resumed. The last batch holds what is
    left: a mean over the epoch weighs each batch by its length. ValueError for arrays of different
    lengths, or a `size` or `start` that cannot be.
    """
    lengths = {len(array) for array in arrays if array is not None}
    if len(lengths) != 1:
        raise ValueError(
            f"arrays: found lengths {sorted(lengths)}, wanted one array or more, all of one length"
        )
    n = lengths.pop()
    if not 0 <= start <= batch_count(n, size):
        raise ValueError(
            f"start: found {start}, wanted 0 to {batch_count(n, size)}, the batches of {n} samples"
        )
    order = (
        np.arange(n) if seed is None else np.random.default_rng([seed, ORDER, epoch]).permutation(n)
    )
    batches = (order[first : first + size] for first in range(start * size, n, size))
    # not `yield`: bad arguments raise here, and not at the first batch
    return (tuple(None if array is None else array[rows] for array in arrays) for rows in batches)


def split_validation(
    samples: np.ndarray, labels: np.ndarray | None = None, fraction: float = 0.1, seed: int = 0
) -> tuple[Pair, Pair]:
    """((training samples, labels), (validation samples, labels)), cut at random as `seed` says;
    labels may be None.

    samples (n, ..., channels): finite floats; labels (n,): integers from 1. floor(fraction * n)
    samples, at least 1, are for validation. ValueError where one of the two sides would be empty.
    """
    check_samples(samples)
    n = len(samples)
    if labels is not None:
        check_labels(labels, n)
    if not 0 < fraction < 1 or n < 2:
        raise ValueError(
            f"fraction: found {fraction} of {n} samples, wanted between 0 and 1, of 2 samples or more"
        )
    order = np.random.default_rng([seed, SPLIT]).permutation(n)
    cut = n - max(1, int(fraction * n))
    training, validation = (
        (samples[i], None if labels is None else labels[i]) for i in (order[:cut], order[cut:])
    )
    return training, validation
