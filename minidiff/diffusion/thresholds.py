"""What is done to a predicted x_0 that leaves the data's range: the samplers' argument `clip`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels import Array, namespace
from .denoise import FreeNoise, Prediction, noise_from_x0
from .schedule import Schedule

Clip = Callable[[Array], Array]


def as_clip(clip: Any) -> Clip | None:
    """None (or False) for nothing, True for [-1, 1], a number c for [-c, c], a pair (low, high), or a function.

    Raises ValueError for anything else.
    """
    if clip is None or clip is False:
        return None
    if callable(clip):
        return clip
    ends = np.asarray(1.0 if clip is True else clip)
    numbers = ends.dtype.kind in "iuf" and ends.shape in ((), (2,))
    low, high = np.broadcast_to(ends, 2) * ((-1, 1) if ends.ndim == 0 else (1, 1)) if numbers else (0, 0)
    if not low < high:
        raise ValueError(f"clip: given {clip!r}, wanted None, True, a number > 0, a pair low < high, or a function")
    return lambda x0: namespace(x0).clip(x0, float(low), float(high))


def dynamic_threshold(share: float = 0.995) -> Clip:
    """A `clip`: x_0 is clipped to [-c, c] and divided by c, the quantile `share` of its |x_0| per sample, at least 1.

    Source: Saharia et al. 2022 (Imagen), arXiv 2205.11487, section 2.3.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: given {share}, wanted a quantile in (0, 1]")

    def clip(x0: Array) -> Array:
        xp, axes = namespace(x0), tuple(range(1, x0.ndim))
        c = xp.maximum(xp.quantile(xp.abs(x0), share, axis=axes, keepdims=True), 1.0).astype(x0.dtype)
        return xp.clip(x0, -c, c) / c

    return clip


def clipped(prediction: Prediction, schedule: Schedule, x: Array, t, clip: Clip | None) -> Prediction:
    """The prediction with its x_0 clipped and the noise derived anew from that (but for CFG++, which keeps its own)."""
    if clip is None:
        return prediction
    x0 = clip(prediction.x0)
    if isinstance(prediction, FreeNoise):
        return prediction._replace(x0=x0)
    return prediction._replace(x0=x0, noise=noise_from_x0(schedule, x, t, x0))
