"""One launch for many arrays: the kernel is given a table of where each of them lies.

A model has a hundred parameters, most of them small. What is done to each of them after a step
would be a hundred launches, which take longer than their work. The table goes along as an argument
of the kernel, by value: nothing is copied to the device before.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import cupy as cp
import numpy as np

from .. import generic
from .source import THREADS, Kernel, contiguous, root_of_squares

ENTRIES = 160  # of a table: a kernel's arguments take at most 4 KB
BLOCKS = 16  # for each entry
_TABLE = np.dtype(
    [("to", np.uintp, ENTRIES), ("from", np.uintp, ENTRIES), ("sizes", np.int64, ENTRIES)]
)


def _for_each(name: str, line: str) -> Kernel:
    """The kernel that runs a line for each element of each array.

    The line's names are `to` and `from`, the elements; `number`, and `norm`, which lies on the
    device.
    """
    text = f"""
struct Table {{
  T* to[{ENTRIES}];
  const T* from[{ENTRIES}];
  long long sizes[{ENTRIES}];
}};

// The blocks (·, j) take entry j of the table.
extern "C" __global__
void {name}(const Table table, double number, const double* norm) {{
  long long step = (long long)gridDim.x * blockDim.x;
  long long start = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (long long i = start; i < table.sizes[blockIdx.y]; i += step) {{
    T& to = table.to[blockIdx.y][i];
    T from = table.from[blockIdx.y][i];
    {line}
  }}
}}
"""
    return Kernel(name, text)


_copy = _for_each("copy_all", "to = from;")
_average = _for_each("ema_all", "to += (from - to) * T(number);")
_clip = _for_each("clip_all", "if (*norm > number) to = from * T(number / *norm);")


def _launch(
    kernel: Kernel, to: Sequence, froms: Sequence, number: float = 0.0, norm: Any = None
) -> None:
    """Run the kernel for pairs of contiguous arrays of one dtype."""
    for start in range(0, len(to), ENTRIES):
        part = slice(start, start + ENTRIES)
        table = np.zeros((), _TABLE)
        count = len(to[part])
        table["to"][:count] = [array.data.ptr for array in to[part]]
        table["from"][:count] = [array.data.ptr for array in froms[part]]
        table["sizes"][:count] = [array.size for array in froms[part]]
        kernel(to[start].dtype, [BLOCKS, count], [THREADS], table, number, norm)


def flattened(*arrays):
    """All numbers of the arrays after one another, in one flat array."""
    if len({array.dtype for array in arrays}) > 1:
        return generic.flattened(*arrays)
    ends = [0, *accumulate(array.size for array in arrays)]
    flat = cp.empty(ends[-1], arrays[0].dtype)
    parts = [flat[start:end] for start, end in pairwise(ends)]
    _launch(_copy, parts, [contiguous(array) for array in arrays])
    return flat


def clip_norm(*gradients, max_norm):
    """Gradients cut in place to a common norm; gives what it was, without waiting for it."""
    dtypes = {gradient.dtype for gradient in gradients}
    if len(dtypes) != 1 or not all(gradient.flags.c_contiguous for gradient in gradients):
        return generic.clip_norm(*gradients, max_norm=max_norm)
    norm = root_of_squares(flattened(*gradients))
    _launch(_clip, gradients, gradients, float(max_norm), norm)
    return norm


def ema_all(*arrays, decay):
    """Each average ← decay·average + (1 − decay)·param, for averages and then as many params."""
    pairs = defaultdict(list)
    half = len(arrays) // 2
    for average, param in zip(arrays[:half], arrays[half:]):
        pairs[average.dtype].append((average, contiguous(param)))
    for of_dtype in pairs.values():
        averages, params = zip(*of_dtype)
        _launch(_average, averages, params, 1 - decay)
