"""Errors for data that cannot be trained on, said before the training instead of by a loss of NaN."""

import numpy as np


def check_samples(samples: np.ndarray, name: str = "samples") -> None:
    """Raise unless `samples` is a float array (n, ..., channels) with n >= 1 and finite values."""
    if not isinstance(samples, np.ndarray) or samples.dtype not in (np.float32, np.float64):
        found = getattr(samples, "dtype", type(samples).__name__)
        raise TypeError(f"{name}: found {found}, wanted a float32 or float64 NumPy array")
    if samples.ndim < 2 or samples.size == 0:
        raise ValueError(
            f"{name}: found shape {samples.shape}, wanted (n, ..., channels) with at least one value"
        )
    finite = np.isfinite(samples)
    if not finite.all():
        first = tuple(int(i) for i in np.argwhere(~finite)[0])
        bad = f"{finite.size - int(finite.sum())} of {finite.size} values that are NaN or infinite"
        raise ValueError(
            f"{name}: found {bad}, the first ({samples[first]}) at {first}; wanted finite values"
        )


def check_labels(labels: np.ndarray, n: int) -> None:
    """Raise unless `labels` is (n,) integers from 1; 0 is the null condition and labels no sample."""
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        found = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"labels: found {found}, wanted a NumPy array of integers")
    if labels.shape != (n,):
        raise ValueError(f"labels: found shape {labels.shape}, wanted ({n},): one label per sample")
    if labels.min(initial=1) < 1:
        raise ValueError(
            f"labels: found values from {labels.min()}, wanted 1 or more (0 is the null condition)"
        )
