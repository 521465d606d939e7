"""Conditions: None is the null condition; labels (batch,) on the host, 0 null; or vectors (batch, d), zeros null."""

from typing import Any

import numpy as np

from ..kernels import Array, from_host, namespace


def as_condition(condition: Any, batch: int, name: str = "condition") -> Array | None:
    """The condition with one row per sample: one label or one vector (d,) of floats is repeated; None stays None.

    Raises TypeError for what is neither labels nor vectors, ValueError for a negative label or another batch size.
    """
    if condition is None:
        return None
    if not hasattr(condition, "dtype"):
        condition = np.asarray(condition)
    if condition.dtype.kind not in "iuf":
        raise TypeError(f"{name}: given {condition.dtype}, wanted None, integer labels or float vectors")
    single = 0 if condition.dtype.kind in "iu" else 1
    if condition.ndim == single:
        condition = namespace(condition).broadcast_to(condition, (batch, *condition.shape))
    if condition.ndim != single + 1 or condition.shape[0] != batch:
        wanted = f"({batch},)" if single == 0 else f"({batch}, d)"
        raise ValueError(f"{name}: given shape {condition.shape}, wanted {wanted}: one per sample")
    if single == 0 and condition.min(initial=0) < 0:
        raise ValueError(f"{name}: given a label {condition.min()}, wanted 0 (null) or more")
    return condition


def label_dropout(condition: Array, prob_uncond: float, rng: np.random.Generator) -> Array:
    """The condition with each row made null with probability `prob_uncond` (Ho & Salimans 2022, algorithm 1).

    So one network learns p(x given y) and p(x). Raises ValueError for a probability outside 0 … 1.
    """
    if not 0 <= prob_uncond <= 1:
        raise ValueError(f"prob_uncond: given {prob_uncond}, wanted a probability from 0 to 1")
    keep = rng.random(condition.shape[0]) >= prob_uncond
    column = keep.astype(condition.dtype).reshape(-1, *[1] * (condition.ndim - 1))
    return condition * from_host(column, condition)
