"""What models are given, checked before anything is computed.

Times and labels are host values; they are looked at there, and move to the device once. So does an
array x of the host.
"""

from typing import Any

import numpy as np

from .. import checks, kernels, ops
from ..autograd.tensor import Tensor
from ..kernels import Array


def as_x(x: Any, shape: str, channels: int, weight: Tensor) -> Tensor | Array:
    """x on the device of the model, if it is an array or Tensor that fits; else this raises.

    Its shape is like "(batch, height, width, 1)", its dtype and its device are the weights'; an
    array on the host is moved.
    """
    if not isinstance(x, Tensor) and not hasattr(x, "dtype"):
        raise TypeError(
            f"x: given {type(x).__name__}, wanted an array or a Tensor of shape {shape}"
        )
    if len(x.shape) != shape.count(",") + 1 or x.shape[-1] != channels:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted {shape}")
    if x.dtype != weight.dtype:
        raise TypeError(
            f"x: given {x.dtype}, wanted {weight.dtype}, as the model's weights: "
            f"type x.astype({str(weight.dtype)!r})"
        )
    device = x.device if isinstance(x, Tensor) else kernels.backend_of(x).device
    if device != weight.device:
        if isinstance(x, np.ndarray):
            return kernels.from_host(x, weight.data)
        raise ValueError(
            f"x: given an array on {device!r}, wanted one on {weight.device!r}, where the model is"
        )
    return x


def as_images(x: Any, channels: int, weight: Tensor) -> Tensor | Array:
    """Images (batch, height, width, channels) with pixels, on the model's device; see `as_x`."""
    x = as_x(x, f"(batch, height, width, {channels})", channels, weight)
    if not x.shape[1] or not x.shape[2]:
        raise ValueError(f"x: given images of {x.shape[1]} × {x.shape[2]}, wanted a pixel or more")
    return x


def as_digits(x: Any, weight: Tensor) -> Tensor | Array:
    """Digits (batch, 28, 28, 1) on the device of the model; raises as `as_x` does."""
    return as_sized(x, (28, 28, 1), weight)


def as_sized(x: Any, shape: tuple[int, int, int], weight: Tensor) -> Tensor | Array:
    """Images (batch, *shape) on the device of the model; raises as `as_x` does."""
    height, width, channels = shape
    x = as_x(x, f"(batch, {height}, {width}, {channels})", channels, weight)
    if x.shape[1:3] != (height, width):
        raise ValueError(
            f"x: given images of {x.shape[1]} × {x.shape[2]}, wanted {height} × {width}"
        )
    return x


def as_times(t: Any, batch: int, timesteps: int, name: str = "t") -> Any:
    """A time for all samples, or one for each, in 0 … timesteps, as (batch,).

    A Tensor of floats stays one, so that there may be a derivative for the time.
    """
    if isinstance(t, Tensor) and t.dtype.kind == "f":
        checks.times(name, t.numpy(), timesteps, batch)
        return ops.broadcast_to(t, shape=(batch,))
    times = checks.times(name, t, timesteps, batch)
    return times if times.ndim else np.full(batch, times)


def as_labels(condition: Any, batch: int, classes: int | None) -> np.ndarray | None:
    """Labels (batch,) in 0 … classes, on the host; None is the null label 0 for all.

    Where `classes` is None the model is unconditional: it takes None only, and gets None.
    """
    if classes is None:
        if condition is not None:
            raise ValueError(
                f"condition: given {type(condition).__name__}, wanted None: "
                "this model is unconditional"
            )
        return None
    if condition is None:
        condition = np.zeros(batch, np.int64)
    return checks.labels("condition", condition, batch, high=classes)


def as_vectors(condition: Any, batch: int, dim: int, like: Tensor) -> Any:
    """Vectors (batch, dim) of the dtype of `like`; None is the null vector 0."""
    if condition is None:
        condition = np.zeros((batch, dim), like.dtype)
    elif not hasattr(condition, "dtype"):
        condition = np.asarray(condition, like.dtype)
    if tuple(condition.shape) != (batch, dim):
        raise ValueError(
            f"condition: given shape {tuple(condition.shape)}, wanted ({batch}, {dim}): "
            "one vector per sample"
        )
    if condition.dtype != like.dtype:
        raise TypeError(
            f"condition: given {condition.dtype}, wanted {like.dtype}, as the model's weights"
        )
    return condition


def moved(like: Tensor, *values: Any) -> list:
    """Host values on the device of `like`, by one copy of all; other values as they are."""
    return kernels.from_host_together(values, like.data)
