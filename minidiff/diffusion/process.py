"""The forward process q: adding noise to data, and the posterior of one step back given both ends.

Images are (batch, height, width, channels), points (batch, 2); any shape with the batch first will
do. Times are host values: one number for all samples, or (batch,). Coefficients are float64 on the
host and cast to the data's dtype. A condition is None, the null condition; labels (batch,) on the
host, 0 null; or vectors (batch, d), zeros null.
"""

import math
from typing import Any, Protocol

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from ..kernels import Array, call, from_host, namespace
from .schedule import Schedule

SMALL = 1 << 13  # numbers: up to here a pass more costs less than finding the kernel


def exp(value: Any) -> Any:
    """e^value of a float, an array or a Tensor."""
    return math.exp(value) if isinstance(value, float) else ops.exp(value)


class Rng(Protocol):
    """What draws noise: a NumPy Generator, or anything with its `standard_normal(size, dtype)`."""

    def standard_normal(self, size: Any, dtype: Any) -> Any: ...


def draw_noise(rng: Any, like: Array) -> Array:
    """Standard normal noise of `like`'s shape and dtype, drawn on the host and moved to where `like` is."""
    if not hasattr(rng, "standard_normal"):
        raise ValueError(
            f"rng: given {rng!r}, wanted a NumPy Generator: noise has to be drawn here"
        )
    return from_host(np.asarray(rng.standard_normal(like.shape, like.dtype), like.dtype), like)


def check_data(x: Array, name: str) -> None:
    """Raise TypeError or ValueError unless x is a finite float array with the batch first."""
    if getattr(x, "dtype", None) not in (np.float32, np.float64):
        raise TypeError(
            f"{name}: given {getattr(x, 'dtype', type(x).__name__)}, wanted a float32 or float64 array"
        )
    if x.ndim < 1:
        raise ValueError(f"{name}: given shape {x.shape}, wanted (batch, ...)")
    xp = namespace(x)
    if not bool(xp.all(xp.isfinite(x))):
        raise ValueError(f"{name}: given NaN or infinite values, wanted finite ones")


def per_sample(values, x: Array) -> Any:
    """Coefficients for the samples of x: one number becomes a Python float, (batch,) an array that
    broadcasts.

    Raises ValueError where there are neither one nor as many as samples.
    """
    values = np.asarray(values)
    if values.ndim == 0:
        return float(values)
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"t: given shape {values.shape}, wanted one number or one per sample, ({x.shape[0]},)"
        )
    return from_host(values.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1)), x)


def signal_and_noise(schedule: Schedule, t, x: Array) -> tuple[Any, Any]:
    """alpha = sqrt(alpha_bar_t) and sigma = sqrt(1 - alpha_bar_t), ready to multiply x."""
    alpha_bar = schedule.alpha_bar_at(t)
    return per_sample(np.sqrt(alpha_bar), x), per_sample(np.sqrt(1 - alpha_bar), x)


def blend(a, x: Array, b, y: Array) -> Array:
    """a x + b y, in one pass where x is large; a and b are two numbers, or two columns from `per_sample`."""
    return (
        a * x + b * y if isinstance(x, Tensor) or x.size <= SMALL else call("blend", x, y, a=a, b=b)
    )


def dot(a: Array, b: Array) -> Array:
    """The inner product of each sample with its partner, (batch, 1, …)."""
    return namespace(a).sum(a * b, axis=tuple(range(1, a.ndim)), keepdims=True)


def q_sample(
    schedule: Schedule, x0: Array, t, noise: Array | None = None, rng: Rng | None = None
) -> Array:
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise (Ho et al. 2020, eq. 4); the noise
    is given or drawn.

    Shapes: x0 and noise (batch, ...), t a number or (batch,) in 0 … T; gives x0's shape and dtype.
    Raises ValueError for a wrong shape or time, TypeError for another dtype of the noise.
    """
    noise = draw_noise(rng, x0) if noise is None else noise
    check_same(noise, x0, "noise", "x0")
    alpha, sigma = signal_and_noise(schedule, t, x0)
    return blend(alpha, x0, sigma, noise)


def posterior(schedule: Schedule, x0: Array, x_t: Array, t, s=None) -> tuple[Array, Any]:
    """Mean and variance of q(x_s given x_t, x_0), a Gaussian; s = t - 1 unless given (Ho et al.
    2020, eq. 6-7).

    With a = alpha_bar_t / alpha_bar_s and beta = 1 - a the mean is (sqrt(alpha_bar_s) beta x_0 +
    sqrt(a) (1 - alpha_bar_s) x_t) / (1 - alpha_bar_t) and the variance beta (1 - alpha_bar_s) / (1
    - alpha_bar_t): a float, or an array that broadcasts against the mean. Raises ValueError for a
    wrong shape, or unless 0 <= s < t <= T.
    """
    check_same(x_t, x0, "x_t", "x0")
    t = np.asarray(t)
    s = t - 1 if s is None else np.asarray(s)
    if np.any(s < 0) or np.any(s >= t):
        raise ValueError(
            f"t: given t = {t} and s = {s}, wanted 0 <= s < t <= T = {schedule.timesteps}"
        )
    now, before = schedule.alpha_bar_at(t), schedule.alpha_bar_at(s)
    a = now / before
    of_x0 = per_sample(np.sqrt(before) * (1 - a) / (1 - now), x0)
    of_x_t = per_sample(np.sqrt(a) * (1 - before) / (1 - now), x0)
    return blend(of_x0, x0, of_x_t, x_t), per_sample((1 - a) * (1 - before) / (1 - now), x0)


def check_same(given: Array, wanted: Array, name: str, other: str) -> None:
    """Raise unless two arrays have one shape and one dtype."""
    if given.shape != wanted.shape:
        raise ValueError(
            f"{name}: given shape {given.shape}, wanted {wanted.shape}, the shape of {other}"
        )
    if given.dtype != wanted.dtype:
        raise TypeError(f"{name}: given {given.dtype}, wanted {wanted.dtype}, the dtype of {other}")


def as_condition(condition: Any, batch: int, name: str = "condition") -> Array | None:
    """The condition with one row per sample: one label or one vector (d,) of floats is repeated;
    None stays None.

    Raises TypeError for what is neither labels nor vectors, ValueError for a negative label or
    another batch size.
    """
    if condition is None:
        return None
    if not hasattr(condition, "dtype"):
        condition = np.asarray(condition)
    if condition.dtype.kind not in "iuf":
        raise TypeError(
            f"{name}: given {condition.dtype}, wanted None, integer labels or float vectors"
        )
    single = 0 if condition.dtype.kind in "iu" else 1
    if condition.ndim == single:
        condition = namespace(condition).broadcast_to(condition, (batch, *condition.shape))
    if condition.ndim != single + 1 or condition.shape[0] != batch:
        wanted = f"({batch},)" if single == 0 else f"({batch}, d)"
        raise ValueError(f"{name}: given shape {condition.shape}, wanted {wanted}: one per sample")
    if single == 0 and condition.min(initial=0) < 0:
        raise ValueError(f"{name}: given a label {condition.min()}, wanted 0 (null) or more")
    return condition
