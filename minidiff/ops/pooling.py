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

import math
from functools import partial
from typing import Any

import numpy as np

from ..checks import Between, among, growth, whole
from ..tape.primitive import Primitive
from .convolution import pair
from .elementwise import as_floats, linear
from .products import matmul
from .reductions import argmax, mean, sum
from .shapes import (
    array_namespace,
    expand_dims,
    getitem,
    pad,
    reshape,
    take,
    take_along_axis,
)

# `window` stands for size and stride.
# fmt: off
windows = linear("windows", "x * size stride",
                 x=lambda g, in_shape, **window:
                 windows_dx(g, x_size=in_shape[1:3], **window))
windows_dx = linear("windows_dx", "y * x_size size stride",
                    y=lambda g, x_size, **window: windows(g, **window))
# What the kernel hands on (aux) is the number of the largest pixel within each window.
_max_pool2d = Primitive("max_pool2d", "x * size stride",
                        x=lambda g, aux, in_shape, **window:
                        max_pool2d_dx(g, aux, x_size=in_shape[1:3], **window),
                        forward=lambda tangents, aux, size, stride:
                        _largest(tangents[0], aux, size, stride))
max_pool2d_dx = linear("max_pool2d_dx", "y index * x_size size stride", takes_integers="index",
                       y=lambda g, index, size, stride: _largest(g, index, size, stride))
_upsample_nearest = linear("upsample_nearest", "x * scale",
                           x=lambda g, scale: upsample_nearest_dx(g, scale=scale))
upsample_nearest_dx = linear("upsample_nearest_dx", "y * scale",
                             y=lambda g, scale: _upsample_nearest(g, scale=scale))
# fmt: on


def _largest(x, index, size, stride):
    """Of each window what stands where another image had its largest pixel."""
    return _pick(windows(x, size=(size, size), stride=(stride, stride)), index)


def _pick(parts, index):
    """From each window the value at `index`; the first axis of `parts` runs through a window."""
    return getitem(take_along_axis(parts, expand_dims(index, 0), 0), 0)


def max_pool2d(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    dilation: Any = 1,
) -> Any:
    """The largest value in each window of `size`, an int or a pair.

    `stride` is `size` unless given. `padding` has no value, and is at most half of what a window
    reaches over. With `ceil_mode` there are also windows that reach over the border, if they begin
    within. `dilation` is the distance of a window's pixels. Of equal values the first gets the
    gradient. Raises ValueError if a window does not fit.
    """
    size, stride, dilation, border = _window(
        "max_pool2d", x, size, stride, padding, ceil_mode, dilation
    )
    is_plain = border == NO_BORDER and dilation == (1, 1)
    if is_plain and size[0] == size[1] and stride[0] == stride[1]:
        return _max_pool2d(x, size=size[0], stride=stride[0])
    # A border that repeats pixels of the same window gives it no other maximum.
    parts = _dilated_windows(_repeated(x, border, dilation), size, stride, dilation)
    return _pick(parts, argmax(parts, axis=0))


def avg_pool2d(
    x: Any,
    size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    dilation: Any = 1,
) -> Any:
    """The mean of each window of `size`, an int or a pair; see `max_pool2d`.

    The zeros of the `padding` count, unless `count_include_pad` is False.
    """
    (x,) = as_floats(x)
    padded = pair("padding", padding, 0)
    size, stride, dilation, border = _window(
        "avg_pool2d", x, size, stride, padding, ceil_mode, dilation
    )
    bordered = x if border == NO_BORDER else pad(x, ((0, 0), *border, (0, 0)))
    parts = _dilated_windows(bordered, size, stride, dilation)
    if border == NO_BORDER or (count_include_pad and not ceil_mode):
        return mean(parts, axis=0)
    counts = [
        _pixels_met(n, p, before, after, k, step, d, count_include_pad)
        for n, p, (before, after), k, step, d in zip(
            x.shape[1:3], padded, border, size, stride, dilation
        )
    ]
    shares = 1 / np.outer(*counts)[..., None]
    return sum(parts, axis=0) * array_namespace(x).asarray(shares, parts.dtype)


def _pixels_met(n, padding, before, after, size, stride, dilation, with_padding):
    """How many pixels of n each window along an axis has, with those of the padding or without."""
    first = np.arange(0, n + before + after - dilation * (size - 1), stride) - before
    pixels = first[:, None] + dilation * np.arange(size)
    low, high = (-padding, n + padding) if with_padding else (0, n)
    return np.sum((low <= pixels) & (pixels < high), axis=1)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """The image cut into `output_size` windows, an int or a pair, and the mean of each.

    Windows overlap where the output size does not divide the image's.
    """
    height, width = pair("output_size", output_size, 1)
    _check_growth("output_size", output_size, x, height, width)
    rows = _averaging_matrix(x.shape[1], height)
    columns = _averaging_matrix(x.shape[2], width)
    return _resample(x, rows, columns)


def upsample_nearest(x: Any, scale: int) -> Any:
    """Each pixel of (batch, h, w, channels) becomes a block of scale × scale pixels.

    Raises ValueError unless `scale` is an integer of at least 1.
    """
    scale = whole("scale", scale, 1)
    _check_growth("scale", scale, x, scale * x.shape[1], scale * x.shape[2])
    return _upsample_nearest(x, scale=scale)


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
    antialias: bool = False,
) -> Any:
    """The image resized to `size` (an int or a pair), or by `scale_factor`.

    All is as in PyTorch. From h to h′ pixels, "nearest" takes the source pixel ⌊i·h/h′⌋, and
    "nearest-exact" ⌊(i + ½)·h/h′⌋. "bilinear" weights the 2 pixels, and "bicubic" the 4, around
    (i + ½)·h/h′ − ½, or, with `align_corners`, around i·(h − 1)/(h′ − 1); the cubic is that of Keys
    (1981), with a = −¾. Beyond the border stand the pixels at it. With `antialias` both reach as
    far as a pixel of a smaller image does, over the pixels that are there, and a is −½.

    Raises ValueError for another mode, unless one of size and factor is given, and for `antialias`
    with a nearest mode or with `align_corners`.
    """
    among("mode", mode, ("nearest", "nearest-exact", "bilinear", "bicubic"))
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: given size={size} and scale_factor={scale_factor}, wanted one of them"
        )
    is_nearest = mode.startswith("nearest")
    if antialias and (is_nearest or align_corners):
        raise ValueError(
            f"antialias: given True with mode={mode!r} and align_corners={align_corners}, wanted "
            f"mode='bilinear' or 'bicubic', and align_corners=False"
        )
    source = x.shape[1:3]
    if scale_factor is not None:
        among("scale_factor", scale_factor, Between(0, ends="(]"))
        target = [int(n * scale_factor) for n in source]
        steps = [1 / scale_factor] * 2
    else:
        target = list(pair("size", size, 1))
        steps = [n / m for n, m in zip(source, target)]
    given = size or scale_factor
    _check_growth("size" if size else "scale_factor", given, x, *target)
    axes = list(zip(source, target, steps))
    if is_nearest:
        xp = array_namespace(x)
        middle = 0.5 if mode == "nearest-exact" else 0.0
        for axis, (n, m, step) in enumerate(axes, start=1):
            nearest = np.minimum(((np.arange(m) + middle) * step).astype(int), n - 1)
            x = take(x, xp.asarray(nearest), axis)
        return x
    kernel = _linear_weight if mode == "bilinear" else partial(_cubic_weight, antialias)
    rows, columns = (
        _interpolation_matrix(*axis, kernel, align_corners, antialias) for axis in axes
    )
    return _resample(x, rows, columns)


def _check_growth(name, value, x, height, width):
    """ValueError where an image, or the matrix that makes it, would be huge."""
    before = math.prod(x.shape)
    batch, rows, columns, channels = x.shape
    largest = max(batch * height * width * channels, height * rows, width * columns)
    growth(name, value, before, largest)


NO_BORDER = ((0, 0), (0, 0))


def _window(operation, x, size, stride, padding, ceil_mode, dilation):
    """Size, stride and dilation as pairs, and the border, ((top, bottom), (left, right)).

    Raises ValueError unless they fit x.
    """
    size = pair("size", size, 1)
    stride = size if stride is None else pair("stride", stride, 1)
    padding = pair("padding", padding, 0)
    dilation = pair("dilation", dilation, 1)
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation)]
    fits = len(x.shape) == 4 and all(
        k < n + 2 * p + (step if ceil_mode else 1) and 2 * p <= k and (d <= n or p == 0) and n
        for n, p, k, d, step in zip(x.shape[1:3], padding, reach, dilation, stride)
    )
    if not fits:
        raise ValueError(
            f"{operation}: given x {x.shape}, size={size}, padding={padding} and "
            f"dilation={dilation}, wanted (batch, height, width, channels) that a window fits in, "
            f"and a padding of at most half of it"
        )
    border = []
    for n, p, k, step in zip(x.shape[1:3], padding, reach, stride):
        beyond = 0
        rest = (n + 2 * p - k) % step  # pixels after the last window
        if ceil_mode and rest and n + p > n + 2 * p - k - rest + step:
            beyond = step - rest
        border.append((p, p + beyond))
    return size, stride, dilation, tuple(border)


def _dilated_windows(x, size, stride, dilation):
    """Windows of which only every `dilation`-th pixel stays."""
    if dilation == (1, 1):
        return windows(x, size=size, stride=stride)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation))
    numbers = np.arange(math.prod(reach)).reshape(reach)[:: dilation[0], :: dilation[1]]
    parts = windows(x, size=reach, stride=stride)
    return take(parts, array_namespace(x).asarray(numbers.reshape(-1)), 0)


def _repeated(x, border, dilation):
    """x with a border: each place repeats the nearest pixel inside, in steps of `dilation`.

    A window that has the place has that pixel, too.
    """
    if border == NO_BORDER:
        return x
    xp = array_namespace(x)
    for axis, ((before, after), d) in enumerate(zip(border, dilation), start=1):
        last = x.shape[axis] - 1
        places = np.arange(-before, last + 1 + after)
        places = np.where(places < 0, places % d, places)
        steps_beyond = np.maximum(places - last + d - 1, 0) // d
        x = take(x, xp.asarray(places - d * steps_beyond), axis)
    return x


def _averaging_matrix(n, m):
    """(m, n): row i takes the mean of the pixels ⌊i·n/m⌋ … ⌈(i + 1)·n/m⌉ − 1."""
    i, j = np.ogrid[:m, :n]
    first = i * n // m
    end = -(-(i + 1) * n // m)
    inside = (first <= j) & (j < end)
    return inside / inside.sum(1, keepdims=True)


def _interpolation_matrix(n, m, step, kernel, align_corners, antialias):
    """(m, n): row i weights the pixels around a position by their distance from it."""
    i, j = np.ogrid[:m, -2 : n + 2]
    if align_corners:
        position = i * ((n - 1) / max(m - 1, 1))
    else:
        position = (i + 0.5) * step - 0.5
    if antialias:
        weights = kernel((position - j) / max(step, 1))[:, 2:-2]
        return weights / weights.sum(1, keepdims=True)
    weights = kernel(position - j)
    # What falls on the two pixels beyond each border counts for the pixel at it.
    inside = weights[:, 2:-2]
    inside[:, :1] += weights[:, :2].sum(1, keepdims=True)
    inside[:, -1:] += weights[:, -2:].sum(1, keepdims=True)
    return inside


def _linear_weight(distance):
    return np.maximum(1 - np.abs(distance), 0)


def _cubic_weight(antialias, distance):
    """Two cubics, of which `a` is the slope where they meet (Keys 1981, eq. 4)."""
    a = -0.5 if antialias else -0.75
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


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
