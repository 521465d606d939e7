"""The samplers' argument `clip`: what is done to each predicted x_0."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks, messages
from ...kernels import Array, namespace

Clip = Callable[[Array], Array]


def as_clip(clip: Any, x: Array) -> Clip | None:
    """The function that `clip` asks for, or None for nothing.

    `clip` is "images" for [-1, 1] where x is (batch, height, width, channels) and nothing where it
    is of another shape, None (or False) for nothing, True for [-1, 1], a number c for [-c, c], a
    pair (low, high), or a function of arrays. Raises ValueError for anything else.
    """
    if isinstance(clip, str) and clip == "images":
        clip = x.ndim == 4
    if clip is None or clip is False:
        return None
    if callable(clip):
        messages.refuse_maker("clip", clip)
        return clip
    ends = np.asarray(1.0 if clip is True else clip)
    if ends.dtype.kind in "iuf" and ends.ndim == 0:
        ends = ends * np.array([-1, 1])
    if ends.dtype.kind not in "iuf" or ends.shape != (2,) or not ends[0] < ends[1]:
        raise ValueError(
            f"clip: given {clip!r}, "
            "wanted 'images', None, True, a number > 0, a pair low < high, or a function"
        )
    low, high = map(float, ends)
    return lambda x0: namespace(x0).clip(x0, low, high)


def dynamic_threshold(share: float = 0.995) -> Clip:
    """A `clip` that follows the values: to [-c, c], then divided by c.

    c is the quantile `share` of each sample's |x_0|, at least 1. Source: Saharia et al. 2022
    (Imagen), arXiv 2205.11487, section 2.3.
    """
    checks.among("share", share, checks.Between(0, 1, "(]"))

    def clip(x0: Array) -> Array:
        xp = namespace(x0)
        axes = tuple(range(1, x0.ndim))
        quantile = xp.quantile(xp.abs(x0), share, axis=axes, keepdims=True)
        c = xp.maximum(quantile, 1.0).astype(x0.dtype)
        return xp.clip(x0, -c, c) / c

    return clip
