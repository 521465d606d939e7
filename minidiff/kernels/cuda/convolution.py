"""Convolution as one product of matrices (Chellapilla et al. 2006), which cuBLAS is best at.

    y  = im2col(x) @ w            im2col: each window of the images as a row
    dx = col2im(dy @ wᵀ)          col2im: its transpose, each pixel summed over the windows it is in
    dw = im2col(x)ᵀ @ dy

Windows overlap, so the rows are larger than the images, for 3×3 nine times. Where they would be
larger than WORKSPACE, the batch goes in pieces. With groups there is a product for each group.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from ..taps import check_convolution, conv_size
from .source import THREADS, Kernel, contiguous, sum_columns

WORKSPACE = 1 << 28  # bytes

GEOMETRY = """
struct Geometry {
  int height, width, channels, groups;  // of the images
  int rows, columns;                    // of the windows in an image
  int taps_y, taps_x;
  int stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
};
"""

# A block copies one window. Each thread takes other taps and channels of it.
_im2col = Kernel(
    "im2col",
    GEOMETRY
    + """
extern "C" __global__
void im2col(const T* images, T* rows, const Geometry k) {
  long long windows = gridDim.x, window = blockIdx.x;
  int column = window % k.columns;
  int row = window / k.columns % k.rows;
  const T* image = images + window / k.columns / k.rows * k.height * k.width * k.channels;
  int taps = k.taps_y * k.taps_x;
  int depth = k.channels / k.groups;
  for (int i = threadIdx.x; i < taps * k.channels; i += blockDim.x) {
    int tap = i / k.channels;
    int channel = i % k.channels;
    int y = row * k.stride_y - k.padding_y + tap / k.taps_x * k.dilation_y;
    int x = column * k.stride_x - k.padding_x + tap % k.taps_x * k.dilation_x;
    bool inside = 0 <= y && y < k.height && 0 <= x && x < k.width;
    long long pixel = (long long)y * k.width + x;
    long long place = (channel / depth * windows + window) * taps + tap;
    rows[place * depth + channel % depth] = inside ? image[pixel * k.channels + channel] : T(0);
  }
}
""",
)

# A block sums one row of an image. Each thread takes other pixels and channels of it, and gathers
# from the windows. No two threads add to one place: there are no atomics, and the order is fixed.
_col2im = Kernel(
    "col2im",
    GEOMETRY
    + """
extern "C" __global__
void col2im(const T* rows, T* images, const Geometry k, long long windows) {
  long long image = blockIdx.x / k.height;
  int y = blockIdx.x % k.height;
  int taps = k.taps_y * k.taps_x;
  int depth = k.channels / k.groups;
  for (int i = threadIdx.x; i < k.width * k.channels; i += blockDim.x) {
    int x = i / k.channels;
    int channel = i % k.channels;
    T sum = 0;
    for (int a = 0; a < k.taps_y; a++) {
      int row = y + k.padding_y - a * k.dilation_y;  // times the stride
      if (row < 0 || row % k.stride_y || row / k.stride_y >= k.rows) continue;
      for (int b = 0; b < k.taps_x; b++) {
        int column = x + k.padding_x - b * k.dilation_x;
        if (column < 0 || column % k.stride_x || column / k.stride_x >= k.columns) continue;
        long long window = (image * k.rows + row / k.stride_y) * k.columns + column / k.stride_x;
        long long place = (channel / depth * windows + window) * taps + a * k.taps_x + b;
        sum += rows[place * depth + channel % depth];
      }
    }
    images[blockIdx.x * (long long)k.width * k.channels + i] = sum;
  }
}
""",
)


class Windows(NamedTuple):
    """Where the windows lie in an image; each is a pair, (rows, columns)."""

    kernel: tuple[int, int]
    size: tuple[int, int]  # how many windows there are
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def in_image(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]


@lru_cache(1024)
def _geometry(image: tuple[int, ...], groups: int, windows: Windows) -> np.ndarray:
    """The kernels' `Geometry`, for images (height, width, channels)."""
    kernel, size, *steps = windows
    numbers = (*image, groups, *size, *kernel, *np.ravel(steps))
    return np.array(numbers, "i4").view([("all", "i4", len(numbers))])


def im2col(x: Any, groups: int, windows: Windows) -> Any:
    """The windows of images (b, h, w, channels), (groups, windows, taps · channels / groups)."""
    batch, *image = x.shape
    channels = image[2]
    x = contiguous(x)
    if windows == Windows((1, 1), tuple(image[:2]), (1, 1), (0, 0), (1, 1)):
        return _of_groups(x.reshape((-1, channels)), groups)  # each pixel is a window as it is
    count = batch * windows.in_image
    rows = cp.empty((groups, count, windows.taps * channels // groups), x.dtype)
    geometry = _geometry(tuple(image), groups, windows)
    _im2col(x.dtype, [count], _threads(windows.taps * channels), x, rows, geometry)
    return rows


def col2im(rows: Any, dx: Any, groups: int, windows: Windows) -> None:
    """Write into images dx what im2col's transpose makes of the rows."""
    batch, height, width, channels = dx.shape
    geometry = _geometry((height, width, channels), groups, windows)
    threads = _threads(width * channels)
    _col2im(dx.dtype, [batch * height], threads, rows, dx, geometry, batch * windows.in_image)


def _threads(numbers: int) -> list[int]:
    """As many threads as have something to do, in whole warps."""
    return [min(THREADS, -(-numbers // 32) * 32)]


def _pieces(images: Any, numbers: int) -> Iterator[slice]:
    """Slices of a batch of images, for each of which im2col makes so many numbers."""
    batch = max(len(images), 1)
    step = max(WORKSPACE // max(numbers * images.itemsize, 1), 1)
    for start in range(0, batch, step):
        yield slice(start, start + step)


def _of_groups(x: Any, groups: int) -> Any:
    """A matrix (n, groups · m) as (groups, n, m)."""
    return x.reshape((len(x), groups, x.shape[1] // groups)).transpose(1, 0, 2)


def _products(a: Any, b: Any) -> Any:
    """a (groups, n, k) @ b (groups, k, m).

    One product is asked for alone: cuBLAS then cuts a long sum into parts, and needs no copy of a
    transposed operand.
    """
    return cp.matmul(a[0], b[0])[None] if len(a) == 1 else cp.matmul(a, b)


def _write_products(out: Any, a: Any, b: Any) -> None:
    """`_products` side by side, into a matrix (n, groups · m)."""
    if len(a) == 1:
        cp.matmul(a[0], b[0], out=out)
    else:
        _of_groups(out, len(a))[...] = cp.matmul(a, b)


def _as_matrix(x: Any) -> Any:
    """(…, channels) as (n, channels)."""
    channels = x.shape[-1]
    return contiguous(x).reshape((x.size // max(channels, 1), channels))


def conv2d(x, w, stride, padding, dilation, groups):
    """y = x ⋆ w"""
    check_convolution(x, w, stride, dilation, groups)
    kernel = w.shape[:2]
    size = conv_size(x.shape[1:3], kernel, stride, padding, dilation)
    windows = Windows(kernel, size, stride, padding, dilation)
    y = cp.empty((len(x), *size, w.shape[3]), x.dtype)
    weights = _of_groups(_as_matrix(w), groups)
    for images in _pieces(x, windows.in_image * windows.taps * x.shape[3]):
        rows = im2col(x[images], groups, windows)
        _write_products(_as_matrix(y[images]), rows, weights)
    return y


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    """The gradient for x, of height and width `x_size`."""
    check_convolution(g, w, stride, dilation, groups)
    windows = Windows(w.shape[:2], g.shape[1:3], stride, padding, dilation)
    dx = cp.empty((len(g), *x_size, w.shape[2] * groups), g.dtype)
    weights = _of_groups(_as_matrix(w), groups)
    for images in _pieces(g, windows.in_image * windows.taps * dx.shape[3]):
        rows = _products(_of_groups(_as_matrix(g[images]), groups), weights.mT)
        col2im(rows, dx[images], groups, windows)
    return dx


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    """The gradient for w; `kernel` is its height and width."""
    check_convolution(g, x, stride, dilation, groups)
    windows = Windows(tuple(kernel), g.shape[1:3], stride, padding, dilation)
    parts = []
    for images in _pieces(x, windows.in_image * windows.taps * x.shape[3]):
        rows = im2col(x[images], groups, windows)
        dw = cp.empty((*kernel, x.shape[3] // groups, g.shape[3]), g.dtype)
        _write_products(_as_matrix(dw), rows.mT, _of_groups(_as_matrix(g[images]), groups))
        parts.append(dw)
    return sum(parts[1:], parts[0])


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    y = conv2d(x, w, stride, padding, dilation, groups)
    y += b
    return y


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    """Both gradients (dw, db) of a convolution with bias."""
    dw = conv2d_dw(g, x, kernel, stride, padding, dilation, groups)
    return dw, sum_columns(_as_matrix(g))
