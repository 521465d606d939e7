"""What models are given, checked before anything is computed: errors name the argument, what came,
what was wanted.

Times and labels are host values; the checks look at them there, and they move to the device once.
"""

from typing import Any

import numpy as np

from .. import kernels
from ..autograd.tensor import Tensor
from ..kernels import Array


def check_x(x: Any, shape: str, channels: int, weight: Tensor) -> None:
    """Raise unless x is an array or Tensor of a shape such as "(batch, height, width, 1)", with the weights' dtype."""
    if not isinstance(x, Tensor) and not hasattr(x, "dtype"):
        raise TypeError(
            f"x: given {type(x).__name__}, wanted an array or a Tensor of shape {shape}"
        )
    if len(x.shape) != shape.count(",") + 1 or x.shape[-1] != channels:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted {shape}")
    if x.dtype != weight.dtype:
        raise TypeError(f"x: given {x.dtype}, wanted {weight.dtype}, as the model's weights")
    device = x.device if isinstance(x, Tensor) else kernels.backend_of(x).device
    if device != weight.device:
        raise ValueError(
            f"x: given an array on {device!r}, wanted one on {weight.device!r}, where the model is"
        )


def as_times(t: Any, batch: int, timesteps: int) -> np.ndarray:
    """A time for all samples, or one for each, as (batch,). Raises unless all lie in 0 … timesteps."""
    times = np.asarray(t)
    if times.dtype.kind not in "iuf":
        raise TypeError(f"t: given {times.dtype}, wanted integers or floats")
    if times.shape not in ((), (batch,)):
        raise ValueError(
            f"t: given shape {times.shape}, wanted one time, or ({batch},): one for each sample of x"
        )
    # written so that NaN fails too
    if times.size and not (times.min() >= 0 and times.max() <= timesteps):
        raise ValueError(f"t: given {times.min()} … {times.max()}, wanted times in 0 … {timesteps}")
    return times if times.ndim else np.full(batch, times)


def as_labels(condition: Any, batch: int, classes: int | None, like: Tensor) -> Array | None:
    """Labels (batch,) on the device of `like`; None is the null label 0 for all. Raises unless all
    are 0 … classes.

    Where `classes` is None the model is unconditional: it takes None only, and gets None.
    """
    if classes is None:
        if condition is not None:
            raise ValueError(
                f"condition: given {type(condition).__name__}, wanted None: this model is unconditional"
            )
        return None
    labels = np.zeros(batch, np.int64) if condition is None else np.asarray(condition)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"condition: given {labels.dtype}, wanted integer labels, 0 (null) … {classes}"
        )
    if labels.shape != (batch,):
        raise ValueError(
            f"condition: given shape {labels.shape}, wanted ({batch},): one label for each sample of x"
        )
    if batch and not (labels.min() >= 0 and labels.max() <= classes):
        raise ValueError(
            f"condition: given {labels.min()} … {labels.max()}, wanted labels in 0 (null) … {classes}"
        )
    return kernels.from_host(labels, like.data)


def as_vectors(condition: Any, batch: int, dim: int, like: Tensor) -> Any:
    """Embedding vectors (batch, dim) on the device of `like`, with its dtype; None is the null vector 0 for all."""
    if condition is None:
        return kernels.from_host(np.zeros((batch, dim), like.dtype), like.data)
    vectors = condition if hasattr(condition, "dtype") else np.asarray(condition, dtype=like.dtype)
    if tuple(vectors.shape) != (batch, dim):
        raise ValueError(
            f"condition: given shape {tuple(vectors.shape)}, wanted ({batch}, {dim}): "
            f"one vector for each sample of x"
        )
    if vectors.dtype != like.dtype:
        raise TypeError(
            f"condition: given {vectors.dtype}, wanted {like.dtype}, as the model's weights"
        )
    return kernels.from_host(vectors, like.data) if isinstance(vectors, np.ndarray) else vectors
