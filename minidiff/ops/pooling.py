"""Pooling and resizing of images (batch, height, width, channels).

Pooling takes an image apart into windows, and one number from each. Its derivative puts numbers
back into windows, and adds where windows overlap:

    windows       image → its windows           windows_dx            windows → image, added up
    max_pool2d    image → the largest of each   max_pool2d_dx         back to where each came from
    upsample_nearest   pixel → block            upsample_nearest_dx   block → pixel, added up

All six are linear (the maxima too, once it is known which pixel is the largest), and the two of a
row are transposes of each other. So each is the other's derivative.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

from typing import Any

import numpy as np

from ..checks import among, whole
from ..tape.primitive import Primitive
from .convolution import pair
from .elementwise import as_floats
from .products import matmul
from .reductions import argmax, mean, sum
from .shapes import array_namespace, expand_dims, getitem, pad, reshape, take, take_along_axis

# `window` stands for size and stride.
# fmt: off
windows = Primitive("windows", "x * size stride",
                    x=lambda g, in_shape, **window:
                    windows_dx(g, x_size=in_shape[1:3], **window))
windows_dx = Primitive("windows_dx", "y * x_size size stride",
                       y=lambda g, x_size, **window: windows(g, **window))
# What the kernel hands on (aux) is the number of the largest pixel within each window.
_max_pool2d = Primitive("max_pool2d", "x * size stride",
                        x=lambda g, aux, in_shape, **window:
                        max_pool2d_dx(g, aux, x_size=in_shape[1:3], **window))
max_pool2d_dx = Primitive("max_pool2d_dx", "y index * x_size size stride", takes_integers="index",
                          y=lambda g, index, size, stride:
                          _pick(windows(g, size=(size, size), stride=(stride, stride)), index))
_upsample_nearest = Primitive("upsample_nearest", "x * scale",
                              x=lambda g, scale: upsample_nearest_dx(g, scale=scale))
upsample_nearest_dx = Primitive("upsample_nearest_dx", "y * scale",
                                y=lambda g, scale: _upsample_nearest(g, scale=scale))
# fmt: on


def _pick(parts, index):
    """From each window the value at `index`; the first axis of `parts` runs through a window."""
    return getitem(take_along_axis(parts, expand_dims(index, 0), 0), 0)


def max_pool2d(
    x: Any, size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Any:
    """The largest value in each window of `size`, an int or a pair.

    `stride` is `size` unless given. `padding` has no value, and is at most half the size. With
    `ceil_mode` there are also windows that reach over the border, if they begin within. Of equal
    values the first gets the gradient. Raises ValueError if a window does not fit.
    """
    size, stride, border = _window("max_pool2d", x, size, stride, padding, ceil_mode)
    if border == NO_BORDER and size[0] == size[1] and stride[0] == stride[1]:
        return _max_pool2d(x, size=size[0], stride=stride[0])
    # A border that repeats the pixels beside it has no other maximum, and the first of equals stays
    # the first: each window has those pixels too.
    parts = windows(_with_border(x, border, "edge"), size=size, stride=stride)
    return _pick(parts, argmax(parts, axis=0))


def avg_pool2d(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of `size`, an int or a pair; see `max_pool2d`.

    The zeros of the `padding` count, unless `count_include_pad` is False.
    """
    padded = pair("padding", padding, 0)
    size, stride, border = _window("avg_pool2d", x, size, stride, padding, ceil_mode)
    parts = windows(_with_border(x, border, "constant"), size=size, stride=stride)
    if border == NO_BORDER or (count_include_pad and not ceil_mode):
        return mean(parts, axis=0)
    counts = [
        _pixels_met(n, p, before, after, k, step, count_include_pad)
        for n, p, (before, after), k, step in zip(x.shape[1:3], padded, border, size, stride)
    ]
    shares = 1 / np.outer(*counts)[..., None]
    return sum(parts, axis=0) * array_namespace(x).asarray(shares, parts.dtype)


def _pixels_met(n, padding, before, after, size, stride, with_padding):
    """How many pixels of n each window along an axis has, with those of the padding or without."""
    first = np.arange(0, n + before + after - size + 1, stride) - before
    low, high = (-padding, n + padding) if with_padding else (0, n)
    return np.minimum(first + size, high) - np.maximum(first, low)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """The image cut into `output_size` windows, an int or a pair, and the mean of each.

    Windows overlap where the output size does not divide the image's.
    """
    height, width = pair("output_size", output_size, 1)
    rows = _averaging_matrix(x.shape[1], height)
    columns = _averaging_matrix(x.shape[2], width)
    return _resample(x, rows, columns)


def upsample_nearest(x: Any, scale: int) -> Any:
    """Each pixel of (batch, h, w, channels) becomes a block of scale × scale pixels.

    Raises ValueError unless `scale` is an integer of at least 1.
    """
    return _upsample_nearest(x, scale=whole("scale", scale, 1))


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """The image resized to `size` (an int or a pair), or by `scale_factor`.

    Coordinates are PyTorch's, and there is no antialiasing. From h to h′ pixels, "nearest" takes
    the source pixel ⌊i·h/h′⌋, and "bilinear" weights the pixels around (i + ½)·h/h′ − ½, or, with
    `align_corners`, around i·(h − 1)/(h′ − 1). Raises ValueError for another mode, or unless one of
    size and factor is given.
    """
    among("mode", mode, ("nearest", "bilinear"))
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: given size={size} and scale_factor={scale_factor}, wanted one of them"
        )
    source = x.shape[1:3]
    if scale_factor:
        target = [int(n * scale_factor) for n in source]
        steps = [1 / scale_factor] * 2
    else:
        target = list(pair("size", size, 1))
        steps = [n / m for n, m in zip(source, target)]
    axes = list(zip(source, target, steps))
    if mode == "nearest":
        xp = array_namespace(x)
        for axis, (n, m, step) in enumerate(axes, start=1):
            nearest = np.minimum((np.arange(m) * step).astype(int), n - 1)
            x = take(x, xp.asarray(nearest), axis)
        return x
    rows, columns = (_interpolation_matrix(n, m, step, align_corners) for n, m, step in axes)
    return _resample(x, rows, columns)


NO_BORDER = ((0, 0), (0, 0))


def _window(operation, x, size, stride, padding, ceil_mode):
    """Size and stride as pairs, and the border, ((top, bottom), (left, right)).

    Raises ValueError unless they fit x.
    """
    size = pair("size", size, 1)
    stride = size if stride is None else pair("stride", stride, 1)
    padding = pair("padding", padding, 0)
    fits = len(x.shape) == 4 and all(
        k <= n + 2 * p and 2 * p <= k for n, p, k in zip(x.shape[1:3], padding, size)
    )
    if not fits:
        raise ValueError(
            f"{operation}: given x {x.shape}, size={size} and padding={padding}, wanted (batch, "
            f"height, width, channels) that a window fits in, and a padding of at most half of it"
        )
    border = []
    for n, p, k, step in zip(x.shape[1:3], padding, size, stride):
        beyond = 0
        rest = (n + 2 * p - k) % step  # pixels after the last window
        if ceil_mode and rest and n + p > n + 2 * p - k - rest + step:
            beyond = step - rest
        border.append((p, p + beyond))
    return size, stride, tuple(border)


def _with_border(x, border, mode):
    return x if border == NO_BORDER else pad(x, ((0, 0), *border, (0, 0)), mode)


def _averaging_matrix(n, m):
    """(m, n): row i takes the mean of the pixels ⌊i·n/m⌋ … ⌈(i + 1)·n/m⌉ − 1."""
    i, j = np.ogrid[:m, :n]
    first = i * n // m
    end = -(-(i + 1) * n // m)
    inside = (first <= j) & (j < end)
    return inside / inside.sum(1, keepdims=True)


def _interpolation_matrix(n, m, step, align_corners):
    """(m, n): row i weights the two pixels around a position by how near they are."""
    i, j = np.ogrid[:m, :n]
    if align_corners:
        position = i * ((n - 1) / max(m - 1, 1))
    else:
        position = (i + 0.5) * step - 0.5
    distance = np.abs(np.clip(position, 0, n - 1) - j)
    return np.maximum(1 - distance, 0)


def _resample(x, rows, columns):
    """rows · x · columnsᵀ, for each image and channel."""
    (x,) = as_floats(x)
    xp = array_namespace(x)
    rows = xp.asarray(rows, dtype=x.dtype)
    columns = xp.asarray(columns, dtype=x.dtype)
    batch, height, width, channels = x.shape
    x = matmul(rows, reshape(x, shape=(batch, height, width * channels)))
    x = matmul(columns, reshape(x, shape=(batch * len(rows), width, channels)))
    return reshape(x, shape=(batch, len(rows), len(columns), channels))
