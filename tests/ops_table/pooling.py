"""Pooling and resizing. The references go window by window, or pixel by pixel."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays

from .convolution import image
from .row import Op

# --- windows ---


@st.composite
def windowed(draw):
    """(x, size, stride)"""
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    height, width = (k + draw(st.integers(0, 3)) for k in size)
    shape = (draw(st.integers(0, 2)), height, width, draw(st.integers(1, 2)))
    return draw(arrays(shape)), size, stride


def windows(x, size, stride, dilation=(1, 1)):
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation)]
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], reach, stride))
    y = np.zeros((size[0] * size[1], len(x), rows, columns, x.shape[3]))
    for u, v, i, j in np.ndindex(*size, rows, columns):
        row = i * stride[0] + u * dilation[0]
        column = j * stride[1] + v * dilation[1]
        y[u * size[1] + v, :, i, j] = x[:, row, column]
    return y


@st.composite
def taken_apart(draw):
    """(windows, the size of the image, size, stride)"""
    x, size, stride = draw(windowed())
    return draw(arrays(windows(x, size, stride).shape)), x.shape[1:3], size, stride


def windows_dx(y, x_size, size, stride):
    x = np.zeros((y.shape[1], *x_size, y.shape[4]))
    for u, v, i, j in np.ndindex(*size, *y.shape[2:4]):
        x[:, i * stride[0] + u, j * stride[1] + v] += y[u * size[1] + v, :, i, j]
    return x


@st.composite
def padded(draw):
    """(x, size, stride, padding, dilation)"""
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.sampled_from([(1, 1), (2, 1), (1, 3)]))
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilation)]
    padding = tuple(draw(st.integers(0, k // 2)) for k in reach)
    height, width = (k + draw(st.integers(0, 2)) for k in reach)
    return draw(arrays((2, height, width, 2), distinct=True)), size, stride, padding, dilation


def at_once(pool, **how):
    """A pooling operation as a function of the arguments that `padded` draws."""
    return lambda x, size, stride, padding, dilation=1: pool(
        x, size, stride, padding, dilation=dilation, **how
    )


def mean_of_pixels(x, *window):
    """The mean in which pixels of the padding do not count."""
    total = pooled_with(np.sum, 0)
    return total(x, *window) / total(np.ones_like(x), *window)


def pooled_with(reduce, border):
    """Pooling with padding, as a function of what `padded` draws."""

    def pool(x, size, stride, padding, dilation):
        width = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
        bordered = np.pad(x, width, constant_values=border)
        return reduce(windows(bordered, size, stride, dilation), 0)

    return pool


# --- the largest of each window ---


def max_pool2d(x, size, stride):
    return windows(x, (size, size), (stride, stride)).max(0)


def max_pool2d_dx(y, index, x_size, size, stride):
    x = np.zeros((len(y), *x_size, y.shape[3]))
    for n, i, j, c in np.ndindex(index.shape):
        row, column = divmod(int(index[n, i, j, c]), size)
        x[n, i * stride + row, j * stride + column, c] += y[n, i, j, c]
    return x


@st.composite
def squares(draw):
    """(x, size, stride), with distinct numbers."""
    size = draw(st.integers(1, 3))
    stride = draw(st.integers(1, 3))
    height, width = (size + draw(st.integers(0, 3)) for _ in range(2))
    shape = (draw(st.integers(0, 2)), height, width, draw(st.integers(1, 2)))
    return draw(arrays(shape, distinct=True)), size, stride


@st.composite
def chosen(draw):
    """Arguments of max_pool2d_dx: any pixel of a window may be the largest."""
    x, size, stride = draw(squares())
    shape = max_pool2d(x, size, stride).shape
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    index = rng.integers(0, size * size, shape)
    return draw(arrays(shape)), index, x.shape[1:3], size, stride


# --- resizing ---


@st.composite
def images(draw, *others, unit=1, low=0, high=5):
    """(x, *others); height and width are multiples of `unit`."""
    height, width = (unit * draw(st.integers(low, high)) for _ in range(2))
    x = draw(arrays((draw(st.integers(0, 2)), height, width, draw(st.integers(1, 2)))))
    return x, *map(draw, others)


scales = st.integers(1, 3)
enlarged = scales.flatmap(lambda scale: images(st.just(scale), high=3))
reduced = scales.flatmap(lambda scale: images(st.just(scale), unit=scale, high=3))


def block_sums(y, scale):
    b, h, w, c = y.shape
    return np.einsum("bhiwjc->bhwc", y.reshape(b, h // scale, scale, w // scale, scale, c))


def adaptive_avg_pool2d(x, size):
    y = np.zeros((len(x), *size, x.shape[3]))
    for i, j in np.ndindex(*size):
        rows, columns = (
            slice(k * n // m, math.ceil((k + 1) * n / m))
            for k, n, m in zip((i, j), x.shape[1:3], size)
        )
        y[:, i, j] = x[:, rows, columns].mean((1, 2))
    return y


def cubic(d, a):
    """Keys' kernel, whose powers are written out."""
    d = abs(d)
    if d < 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0


def source_pixels(i, n, m, step, mode, corners, antialias):
    """[(pixel, weight)] of the pixels of n that make the i-th pixel of m."""
    if mode.startswith("nearest"):
        middle = 0.5 * (mode == "nearest-exact")
        return [(min(math.floor((i + middle) * step), n - 1), 1)]
    position = i * (n - 1) / max(m - 1, 1) if corners else (i + 0.5) * step - 0.5
    if antialias:
        reach = max(step, 1)
        weigh = (lambda d: cubic(d, -0.5)) if mode == "bicubic" else (lambda d: max(1 - abs(d), 0))
        weights = [weigh((position - j) / reach) for j in range(n)]
        return [(j, weight / sum(weights)) for j, weight in enumerate(weights)]
    low = math.floor(position)
    if mode == "bicubic":
        pixels = [(j, cubic(position - j, -0.75)) for j in range(low - 1, low + 3)]
    else:
        pixels = [(low, 1 - position + low), (low + 1, position - low)]
    return [(min(max(j, 0), n - 1), weight) for j, weight in pixels]


def interpolate(x, size, factor, mode, corners, antialias):
    size = size or [int(n * factor) for n in x.shape[1:3]]
    y = np.zeros((len(x), *size, x.shape[3]))
    for i, j in np.ndindex(*size):
        rows, columns = (
            source_pixels(k, n, m, 1 / factor if factor else n / m, mode, corners, antialias)
            for k, n, m in zip((i, j), x.shape[1:3], size)
        )
        y[:, i, j] = sum(x[:, r, c] * a * b for r, a in rows for c, b in columns)
    return y


sides = st.tuples(st.integers(1, 6), st.integers(1, 6))
factors = st.sampled_from([2, 0.5, 1.5])
# (mode, align_corners, antialias)
how = st.sampled_from(
    [("nearest", False, False), ("nearest-exact", False, False)]
    + [(mode, *flags) for mode in ("bilinear", "bicubic") for flags in [(0, 0), (1, 0), (0, 1)]]
)
resized = (images(sides, st.none(), how, low=2) | images(st.none(), factors, how, low=2)).map(
    lambda drawn: (*drawn[:3], drawn[3][0], *map(bool, drawn[3][1:]))
)

ROWS = [
    Op(
        "windows",
        ops.windows,
        windows,
        windowed(),
        [((np.ones(3), (1, 1), (1, 1)), (ValueError, IndexError), "zip|indices|too")],
    ),
    Op(
        "windows_dx",
        ops.windows_dx,
        windows_dx,
        taken_apart(),
        [((np.ones(3), (1, 1), (1, 1), (1, 1)), IndexError, "tuple")],
    ),
    Op(
        "max_pool2d",
        ops.max_pool2d,
        max_pool2d,
        squares(),
        [((image, 5, 1), ValueError, r"max_pool2d: given .*size=\(5, 5\)")],
    ),
    Op(
        "max_pool2d, padded",
        at_once(ops.max_pool2d),
        pooled_with(np.max, -np.inf),
        padded(),
        [((image, 2, 2, 2), ValueError, r"max_pool2d: given .*size=\(2, 2\), padding=\(2")],
    ),
    Op(
        "max_pool2d_dx",
        ops.max_pool2d_dx,
        max_pool2d_dx,
        chosen(),
        [((image,), TypeError, "missing")],
    ),
    Op(
        "avg_pool2d",
        ops.avg_pool2d,
        lambda x, size, stride: windows(x, size, stride).mean(0),
        windowed(),
        [((image, 5), ValueError, r"avg_pool2d: given .*size=\(5, 5\)")],
    ),
    Op(
        "avg_pool2d, padded",
        at_once(ops.avg_pool2d),
        pooled_with(np.mean, 0),
        padded(),
        [((image, 5, 1, 0), ValueError, r"avg_pool2d: given .*size=\(5, 5\)")],
    ),
    Op(
        "avg_pool2d, padded by nothing",
        at_once(ops.avg_pool2d, count_include_pad=False),
        mean_of_pixels,
        padded(),
        [((image, 5, 1, 0), ValueError, r"avg_pool2d: given .*size=\(5, 5\)")],
    ),
    Op(
        "adaptive_avg_pool2d",
        ops.adaptive_avg_pool2d,
        adaptive_avg_pool2d,
        images(sides, low=2),
        [((image, 0), ValueError, "output_size: given 0, wanted an integer of at least 1")],
    ),
    Op(
        "upsample_nearest",
        ops.upsample_nearest,
        lambda x, scale: np.kron(x, np.ones((1, scale, scale, 1))),
        enlarged,
        [
            ((image, 0), ValueError, "scale: given 0, wanted an integer of at least 1"),
            ((image, 1.5), ValueError, "scale: given 1.5, wanted an integer of at least 1"),
        ],
    ),
    Op(
        "upsample_nearest_dx",
        ops.upsample_nearest_dx,
        block_sums,
        reduced,
        [((image, 3), ValueError, "reshape")],
    ),
    Op(
        "interpolate",
        ops.interpolate,
        interpolate,
        resized,
        [
            ((image, 3, None, "cubic"), ValueError, "mode: given 'cubic', wanted one of"),
            ((image, 3, None, "bicubic", True, True), ValueError, "antialias: given True with"),
            ((image, 3, 2), ValueError, "size=3 and scale_factor=2, wanted one of them"),
        ],
    ),
]
