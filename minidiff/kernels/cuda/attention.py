"""Softmax, and self-attention: its products by cuBLAS, a block for each row of its scores.

p = softmax(q kᵀ / √d)        y = p v
dv = pᵀ dy        dp = dy vᵀ        ds = p · (dp − Σ dp · p) / √d        dq = ds k        dk = dsᵀ q
"""

from typing import Any

import cupy as cp

from .. import generic
from .source import SUMS, THREADS, Kernel, contiguous

TEXT = """
#define EACH for (long long i = threadIdx.y * blockDim.x + threadIdx.x; i < size; i += threads)

// y = softmax(x · factor) of a row, or its logarithm.
extern "C" __global__
void softmax(const T* x, T* y, long long size, double factor, long long wants_log) {
  __shared__ double shared[256];
  int threads = blockDim.x * blockDim.y;
  x += blockIdx.x * size;
  y += blockIdx.x * size;

  T largest = x[0] * T(factor);
  EACH largest = max(largest, x[i] * T(factor));
  shared[threadIdx.y * blockDim.x + threadIdx.x] = largest;
  __syncthreads();
  for (int thread = 0; thread < threads; thread++) largest = max(largest, T(shared[thread]));
  __syncthreads();

  double sum = 0;
  EACH sum += exp(x[i] * T(factor) - largest);
  sum = sum_of_block(sum, shared);
  EACH {
    T below = x[i] * T(factor) - largest;
    y[i] = wants_log ? below - T(log(sum)) : exp(below) / T(sum);
  }
}

// dx = p · (dp − Σ dp · p) · factor of a row.
extern "C" __global__
void softmax_dx(const T* p, const T* dp, T* dx, long long size, double factor) {
  __shared__ double shared[256];
  int threads = blockDim.x * blockDim.y;
  p += blockIdx.x * size;
  dp += blockIdx.x * size;
  dx += blockIdx.x * size;
  double sum = 0;
  EACH sum += dp[i] * p[i];
  T mean = sum_of_block(sum, shared);
  EACH dx[i] = p[i] * (dp[i] - mean) * T(factor);
}
"""
_softmax = Kernel("softmax", SUMS + TEXT)
_softmax_dx = Kernel("softmax_dx", SUMS + TEXT)


def _block(size: int) -> tuple[int, int]:
    """As many threads for a row as it has numbers, in whole warps, at most THREADS."""
    return 32, min(-(-size // 32), THREADS // 32)


def _of_rows(x: Any, axis: int, factor: float, wants_log: bool) -> Any:
    rows = contiguous(cp.moveaxis(x, axis, -1))
    y = cp.empty_like(rows)
    size = rows.shape[-1]
    blocks = [rows.size // max(size, 1)]
    _softmax(x.dtype, blocks, _block(size), rows, y, size, float(factor), int(wants_log))
    return cp.moveaxis(y, -1, axis)


def softmax(x, axis):
    return _of_rows(x, axis, 1, wants_log=False) if x.ndim else generic.softmax(x, axis)


def log_softmax(x, axis):
    return _of_rows(x, axis, 1, wants_log=True) if x.ndim else generic.log_softmax(x, axis)


def _heads(x: Any, parts: int, heads: int) -> Any:
    """(batch, n, parts · channels) as (parts, batch, heads, n, channels / heads)."""
    b, n, c = x.shape
    split = x.reshape((b, n, parts, heads, c // parts // heads))
    return contiguous(split.transpose((2, 0, 3, 1, 4)))


def _unheads(parts: Any) -> Any:
    """The way back."""
    p, b, heads, n, d = parts.shape
    y = cp.empty((b, n, p * heads * d), parts.dtype)
    y.reshape((b, n, p, heads, d))[...] = parts.transpose((1, 3, 0, 2, 4))
    return y


def self_attention(qkv, heads):
    """(softmax(q kᵀ / √d) v of each head, aux = the probabilities) (Vaswani et al. 2017, eq. 1)."""
    q, k, v = _heads(qkv, 3, heads)
    p = _of_rows(cp.matmul(q, k.mT), -1, q.shape[-1] ** -0.5, wants_log=False)
    return _unheads(cp.matmul(p, v)[None]), p


def self_attention_dqkv(g, qkv, aux, heads):
    q, k, v = _heads(qkv, 3, heads)
    (g,) = _heads(g, 1, heads)
    dp = cp.matmul(g, v.mT)
    ds = cp.empty_like(dp)
    size = dp.shape[-1]
    blocks = [dp.size // max(size, 1)]
    factor = q.shape[-1] ** -0.5
    _softmax_dx(dp.dtype, blocks, _block(size), aux, dp, ds, size, factor)
    dqkv = cp.empty((3, *q.shape), q.dtype)
    cp.matmul(ds, k, out=dqkv[0])
    cp.matmul(ds.mT, q, out=dqkv[1])
    cp.matmul(aux.mT, g, out=dqkv[2])
    return _unheads(dqkv)
