"""What is written in CUDA C++ becomes a kernel; and sums over the threads of a block.

A kernel's text is compiled by CuPy when it is first launched, once for each dtype. In it, T is the
type of the numbers. Sizes come as 64-bit integers and numbers as doubles, as Python has them; an
operand that is None comes as a null pointer. Sums are doubles throughout: what takes time is to
read the numbers, not to add them up.
"""

from collections.abc import Sequence
from typing import Any

import cupy as cp
import numpy as np

TYPES = {np.dtype("f4"): "float", np.dtype("f8"): "double"}
THREADS = 256  # of a block, at most


class Kernel:
    """The function `name` of a text in CUDA C++.

    It is called with the dtype that T stands for, the numbers of blocks and of threads in a block,
    and its arguments. No blocks are no launch.
    """

    def __init__(self, name: str, text: str):
        self.name = name
        self.text = text
        self.compiled: dict[np.dtype, Any] = {}

    def __call__(
        self, dtype: np.dtype, blocks: Sequence[int], threads: Sequence[int], *arguments: Any
    ) -> None:
        if not all(blocks):
            return
        kernel = self.compiled.get(dtype)
        if kernel is None:
            if dtype not in TYPES:
                raise TypeError(
                    f"{self.name}: given {dtype}, wanted float32 or float64 on a device"
                )
            text = f"typedef {TYPES[dtype]} T;\n{self.text}"
            kernel = self.compiled.setdefault(dtype, cp.RawKernel(text, self.name))
        kernel(tuple(blocks), tuple(threads), arguments)


# A block has up to 32 threads side by side (x), which read numbers that lie side by side, and as
# many such rows (y) as make THREADS. `shared` has room for a number of each.
SUMS = """
// The sum over the threads above and below this one, for all of them.
__device__ double sum_of_column(double value, double* shared) {
  int x = threadIdx.x, y = threadIdx.y, width = blockDim.x, height = blockDim.y;
  shared[y * width + x] = value;
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if (y < half && y + half < height) shared[y * width + x] += shared[(y + half) * width + x];
  }
  __syncthreads();
  double sum = shared[x];
  __syncthreads();  // the next sum may overwrite this one
  return sum;
}

// The sum over all threads of the block, for all of them.
__device__ double sum_of_block(double value, double* shared) {
  sum_of_column(value, shared);
  double sum = 0;
  for (int x = 0; x < blockDim.x; x++) sum += shared[x];
  __syncthreads();
  return sum;
}
"""


def block_shape(width: int) -> tuple[int, int]:
    """Threads (x, y) for rows of `width` numbers."""
    side_by_side = min(max(width, 1), 32)
    return side_by_side, THREADS // side_by_side


def contiguous(x: Any) -> Any:
    """x itself where its numbers lie in order without gaps, else a copy."""
    return x if x.flags.c_contiguous else cp.ascontiguousarray(x)


# --- sums down the columns of a matrix ---

_sum_columns = """
// Block (i, j) adds up 32 columns, from row j * height to the next block's first.
extern "C" __global__
void sum_columns(const From* x, To* sums, long long rows, long long columns, long long height) {
  __shared__ double shared[256];
  long long column = blockIdx.x * 32LL + threadIdx.x;
  long long first = blockIdx.y * height;
  long long end = min(first + height, rows);
  double sum = 0;
  if (column < columns)
    for (long long row = first + threadIdx.y; row < end; row += blockDim.y)
      sum += x[row * columns + column];
  sum = sum_of_column(sum, shared);
  if (threadIdx.y == 0 && column < columns) sums[blockIdx.y * columns + column] = sum;
}
"""
_sum_to_doubles = Kernel("sum_columns", f"typedef T From; typedef double To; {SUMS} {_sum_columns}")
_sum_of_doubles = Kernel("sum_columns", f"typedef double From; typedef T To; {SUMS} {_sum_columns}")
_sum_at_once = Kernel("sum_columns", f"typedef T From; typedef T To; {SUMS} {_sum_columns}")
MOST_ROWS = 1024  # that one block adds up
MOST_SLICES = 256  # that the rows are cut into where there are more


def sum_columns(x: Any) -> Any:
    """The sums (columns,) of a matrix (rows, columns), in an order that does not change.

    Many rows are cut into slices, and the sums of the slices added up in a second launch: one block
    alone would leave the rest of the device idle.
    """
    x = contiguous(x)
    rows, columns = x.shape
    sums = cp.empty(columns, x.dtype)
    wide = -(-columns // 32)
    threads = (32, THREADS // 32)
    if rows <= MOST_ROWS:
        _sum_at_once(x.dtype, (wide, 1), threads, x, sums, rows, columns, rows)
        return sums
    height = -(-rows // MOST_SLICES)
    slices = -(-rows // height)
    parts = cp.empty((slices, columns), np.float64)
    _sum_to_doubles(x.dtype, (wide, slices), threads, x, parts, rows, columns, height)
    _sum_of_doubles(x.dtype, (wide, 1), threads, parts, sums, slices, columns, slices)
    return sums


# --- the sum of squares of all numbers ---

_sum_squares = Kernel(
    "sum_squares",
    SUMS
    + """
// Each block sums (x - y)² over its share, or x² where y is null.
extern "C" __global__
void sum_squares(const T* x, const T* y, double* parts, long long size) {
  __shared__ double shared[256];
  long long thread = threadIdx.y * blockDim.x + threadIdx.x;
  long long step = (long long)gridDim.x * blockDim.x * blockDim.y;
  double sum = 0;
  for (long long i = blockIdx.x * blockDim.x * blockDim.y + thread; i < size; i += step) {
    T difference = y ? x[i] - y[i] : x[i];
    sum += difference * difference;
  }
  sum = sum_of_block(sum, shared);
  if (thread == 0) parts[blockIdx.x] = sum;
}
""",
)
_finish = """
// The sum of the parts, as `result` says. There are no more of them than threads.
extern "C" __global__
void finish(const double* parts, Result* out, long long count, long long size) {
  __shared__ double shared[256];
  int thread = threadIdx.y * blockDim.x + threadIdx.x;
  double sum = sum_of_block(thread < count ? parts[thread] : 0, shared);
  if (thread == 0) *out = RESULT;
}
"""
_finish_mean = Kernel("finish", f"{SUMS}\n#define RESULT sum / size\ntypedef T Result;{_finish}")
_finish_root = Kernel(
    "finish", f"{SUMS}\n#define RESULT sqrt(sum)\ntypedef double Result;{_finish}"
)


def mean_square(x: Any, y: Any) -> Any:
    """The mean of (x − y)², as a 0-d array."""
    return _of_squares(_finish_mean, x, y, x.dtype)


def root_of_squares(x: Any) -> Any:
    """The root of the sum of x², as a 0-d array of float64."""
    return _of_squares(_finish_root, x, None, np.float64)


def _of_squares(finish: Kernel, x: Any, y: Any, dtype: Any) -> Any:
    """By two launches: one block alone would leave the rest of the device idle."""
    threads = block_shape(32)
    blocks = min(max(-(-x.size // THREADS), 1), THREADS)
    parts = cp.empty(blocks, np.float64)
    out = cp.empty((), dtype)
    operands = (contiguous(x), None if y is None else contiguous(y))
    _sum_squares(x.dtype, [blocks], threads, *operands, parts, x.size)
    finish(x.dtype, [1], threads, parts, out, blocks, x.size)
    return out
