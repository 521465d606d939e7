"""Pooling and resizing of images (batch, height, width, channels)."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

import numpy as np

from ..tape.primitive import Primitive
from .convolution import pair
from .products import matmul
from .reductions import argmax, mean
from .shapes import array_namespace, expand_dims, getitem, pad, reshape, take, take_along_axis

windows = Primitive("windows", "x * size stride",
                    x=lambda g, in_shape, **how: windows_dx(g, x_size=in_shape[1:3], **how))  # fmt: skip
windows_dx = Primitive(
    "windows_dx", "y * x_size size stride", y=lambda g, x_size, **how: windows(g, **how)
)
_max_pool2d = Primitive("max_pool2d", "x * size stride", x=lambda g, aux, in_shape, **how:
                        max_pool2d_dx(g, aux, x_size=in_shape[1:3], **how))  # fmt: skip
max_pool2d_dx = Primitive(
    "max_pool2d_dx", "y index * x_size size stride", takes_integers=True,
    y=lambda g, index, size, stride: _chosen(windows(g, size=(size, size), stride=(stride, stride)), index),
)  # fmt: skip
_upsample_nearest = Primitive(
    "upsample_nearest", "x * scale", x=lambda g, scale: upsample_nearest_dx(g, scale=scale)
)
upsample_nearest_dx = Primitive("upsample_nearest_dx", "y * scale",
                                y=lambda g, scale: _upsample_nearest(g, scale=scale))  # fmt: skip


def max_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest value in each window of `size` (an int or a pair); `stride` is `size` unless
    given.

    `padding` (of −∞) is at most half the size. Of equal values the first gets the gradient.
    Raises ValueError if a window does not fit.
    """
    size, stride, border = _checked("max_pool2d", x, size, stride, padding)
    if not any(border) and size[0] == size[1] and stride[0] == stride[1]:
        return _max_pool2d(x, size=size[0], stride=stride[0])
    parts = windows(_bordered(x, border, -math.inf), size=size, stride=stride)
    return _chosen(parts, argmax(parts, axis=0))


def avg_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window of `size` (an int or a pair), zeros of the `padding` included; see `max_pool2d`."""
    size, stride, border = _checked("avg_pool2d", x, size, stride, padding)
    return mean(windows(_bordered(x, border, 0), size=size, stride=stride), axis=0)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """The image cut into `output_size` windows (which overlap where that does not divide it), and their means."""
    rows, columns = (
        _means(n, m) for n, m in zip(x.shape[1:3], pair("output_size", output_size, 1))
    )
    return _separable(x, rows, columns)


def upsample_nearest(x: Any, scale: int) -> Any:
    """Each pixel of (batch, h, w, channels) becomes a block of scale × scale.

    Raises ValueError unless it is whole.
    """
    if not isinstance(scale, int | np.integer) or scale < 1:
        raise ValueError(f"upsample_nearest: scale must be an int, at least 1; got {scale!r}")
    return _upsample_nearest(x, scale=scale)


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """The image resized to `size` (an int or a pair), or by `scale_factor`; PyTorch's coordinates,
    no antialiasing.

    "nearest" takes the source pixel ⌊i·h/h′⌋; "bilinear" blends the pixels around (i + ½)·h/h′ − ½,
    or, with `align_corners`, i·(h − 1)/(h′ − 1). Raises ValueError for another mode, or unless one
    of size and factor is given.
    """
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f'interpolate: mode must be "nearest" or "bilinear"; got {mode!r}')
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    out = [int(n * scale_factor) for n in x.shape[1:3]] if scale_factor else pair("size", size, 1)
    steps = [1 / scale_factor if scale_factor else n / m for n, m in zip(x.shape[1:3], out)]
    if mode == "nearest":
        at = (
            np.minimum((np.arange(m) * s).astype(int), n - 1)
            for m, s, n in zip(out, steps, x.shape[1:])
        )
        rows, columns = map(array_namespace(x).asarray, at)
        return take(take(x, rows, 1), columns, 2)
    return _separable(
        x, *(_blend(n, m, s, align_corners) for n, m, s in zip(x.shape[1:], out, steps))
    )


def _checked(name, x, size, stride, padding):
    """Size, stride and padding as pairs, once they fit x."""
    size, border = pair("size", size, 1), pair("padding", padding, 0)
    if len(x.shape) != 4 or any(
        n + 2 * p < k or 2 * p > k for n, p, k in zip(x.shape[1:], border, size)
    ):
        raise ValueError(
            f"{name}: windows of {size}, padding={padding}, do not fit images (batch, h, w, channels) "
            f"{x.shape}"
        )
    return size, size if stride is None else pair("stride", stride, 1), border


def _bordered(x, border, value):
    return (
        pad(x, ((0, 0), *zip(border, border), (0, 0)), constant_values=value) if any(border) else x
    )


def _chosen(parts, index):
    """From each window, taken apart, the value at `index`."""
    return getitem(take_along_axis(parts, expand_dims(index, 0), 0), 0)


def _means(n, m):
    """The matrix (m, n) that takes means over ⌊i·n/m⌋ … ⌈(i + 1)·n/m⌉."""
    i, j = np.ogrid[:m, :n]
    inside = (j >= i * n // m) & (j < -(-(i + 1) * n // m))
    return inside / inside.sum(1, keepdims=True)


def _blend(n, m, step, align_corners):
    """The matrix (m, n) that interpolates linearly."""
    i, j = np.ogrid[:m, :n]
    at = i * ((n - 1) / max(m - 1, 1)) if align_corners else (i + 0.5) * step - 0.5
    return np.maximum(1 - np.abs(np.clip(at, 0, n - 1) - j), 0)


def _separable(x, rows, columns):
    """rows · x · columnsᵀ, for each image and channel."""
    rows, columns = (
        array_namespace(x).asarray(matrix, dtype=x.dtype) for matrix in (rows, columns)
    )
    (b, h, w, c), (m, k) = x.shape, (len(rows), len(columns))
    x = reshape(matmul(rows, reshape(x, shape=(b, h, w * c))), shape=(b * m, w, c))
    return reshape(matmul(columns, x), shape=(b, m, k, c))
