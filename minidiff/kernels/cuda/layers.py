"""Dense layers and embeddings: the products are cuBLAS's, what stands around them is here."""

from typing import Any

import cupy as cp

from .. import generic
from .pointwise import SILU, _kernel, silu_dx
from .source import SUMS, THREADS, Kernel, contiguous, sum_columns

# --- dense ---


def _as_matrix(x: Any) -> Any:
    """(…, n) as (rows, n)."""
    return contiguous(x).reshape((-1, x.shape[-1])) if x.size else x.reshape((0, x.shape[-1]))


def matmul(x, y):
    """x @ y; all leading axes of x are one batch where y is a matrix."""
    if x.ndim <= 2 or y.ndim != 2:
        return cp.matmul(x, y)
    product = cp.empty((*x.shape[:-1], y.shape[1]), cp.result_type(x, y))
    cp.matmul(_as_matrix(x), y, out=_as_matrix(product))
    return product


def dense(x, w, b):
    """x (…, in) @ w (in, out) + b."""
    y = matmul(x, w)
    y += b
    return y


def dense_dx(g, w):
    return matmul(g, w.mT)


def dense_dw_db(g, x):
    """Both gradients (dw, db) of `dense`: all leading axes are one batch."""
    g = _as_matrix(g)
    return cp.matmul(_as_matrix(x).mT, g), sum_columns(g)


# --- embedding ---

# A block sums 32 columns of one row of the gradient: it looks at all ids, in their order, and adds
# where one asked for its row. So the sum does not depend on who comes first, as it would with
# atomics.
_embedding_dtable = Kernel(
    "embedding_dtable",
    SUMS
    + """
extern "C" __global__
void embedding_dtable(const T* g, const long long* ids, T* dtable, long long count,
                      long long columns) {
  __shared__ double shared[256];
  long long row = blockIdx.x;
  long long column = blockIdx.y * 32LL + threadIdx.x;
  double sum = 0;
  if (column < columns)
    for (long long i = threadIdx.y; i < count; i += blockDim.y)
      if (ids[i] == row) sum += g[i * columns + column];
  sum = sum_of_column(sum, shared);
  if (threadIdx.y == 0 && column < columns) dtable[row * columns + column] = sum;
}
""",
)
MOST_LOOKS = 1 << 30  # at ids, by all rows together: then atomics are faster


def embedding_dtable(g, ids, rows):
    """Row i of the gradient is the sum of g over all places that asked for row i."""
    columns = g.shape[-1]
    wide = -(-columns // 32)
    if g.dtype.kind != "f" or rows * ids.size > MOST_LOOKS or wide > 65535:
        return generic.embedding_dtable(g, ids, rows)
    dtable = cp.empty((rows, columns), g.dtype)
    ids = contiguous(ids.astype("i8", copy=False))
    threads = (32, THREADS // 32)
    _embedding_dtable(g.dtype, [rows, wide], threads, contiguous(g), ids, dtable, ids.size, columns)
    return dtable


# --- a dense layer under two conditions, and swish ---

_conditioned = _kernel(
    "conditioned_dense",
    "T from_x, T from_e, T b, T c, S id, raw T table, int64 columns",
    "T y, T z",
    "z = from_x + from_e + (b + c) + table[id * columns + i % columns]; y = silu(z)",
    SILU,
)


def conditioned_dense(x, w, b, e, v, c, table, ids):
    """(silu(z), aux = z) of z = x @ w + b + e @ v + c + table[ids]."""
    return _conditioned(cp.matmul(x, w), cp.matmul(e, v), b, c, ids[:, None], table, len(b))


def conditioned_dense_grads(g, x, w, e, v, z, ids, rows, needs):
    """(dx, dw, db, de, dv, dc, dtable); dx and de, where they are needed."""
    dz = silu_dx(g, z)
    db = sum_columns(dz)
    dx = cp.matmul(dz, w.mT) if needs[0] else None
    de = cp.matmul(dz, v.mT) if needs[3] else None
    dtable = embedding_dtable(dz, ids, rows)
    return dx, cp.matmul(x.mT, dz), db, de, cp.matmul(e.mT, dz), db, dtable
