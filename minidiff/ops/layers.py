"""Dense layers, embeddings, softmax and attention, dropout."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

import numpy as np

from .. import kernels
from ..kernels import call
from ..tape.primitive import Primitive
from ..tape.tape import Value
from .elementwise import exp, sigmoid, where
from .products import matmul
from .reductions import sum
from .shapes import plain_index, reshape, swapaxes, transpose


def _dense_rule(g, x, w, needs):
    return g @ w.mT if needs[0] else None, *(
        call("dense_dw_db", g, x) if needs[1] or needs[2] else (None, None)
    )


_dense = Primitive("dense", "x w b", joint=_dense_rule, reference=lambda x, w, b: matmul(x, w) + b)


def _plain_conditioned_dense(x, w, b, e, v, c, table, ids):
    h = matmul(x, w) + b + matmul(e, v) + c + _embedding(table, ids)
    return h * sigmoid(h)


_conditioned_dense = Primitive(
    "conditioned_dense", "x w b e v c table ids", takes_integers=True, reference=_plain_conditioned_dense,
    joint=lambda g, x, w, e, v, table, ids, aux, needs:
    [*call("conditioned_dense_grads", g, x, w, e, v, aux, ids, rows=len(table), needs=needs), None],
)  # fmt: skip
_scatter = lambda g, ids, in_shape: embedding_dtable(g, ids, rows=in_shape[0])
_embedding = Primitive("embedding", "table ids", takes_integers=True, table=_scatter)
_gather = lambda g, ids: _embedding(g, ids)
embedding_dtable = Primitive("embedding_dtable", "y ids * rows", takes_integers=True, y=_gather)

softmax = Primitive(
    "softmax",
    "x * axis=-1",
    x=lambda g, out, axis: out * (g - sum(g * out, axis=axis, keepdims=True)),
)
log_softmax = Primitive("log_softmax", "x * axis=-1",
                        x=lambda g, out, axis: g - exp(out) * sum(g, axis=axis, keepdims=True))  # fmt: skip
_self_attention = Primitive("self_attention", "qkv * heads",
                            qkv=lambda g, qkv, aux, heads: call("self_attention_dqkv", g, qkv, aux, heads=heads),
                            reference=lambda qkv, heads: _plain_self_attention(qkv, heads))  # fmt: skip


def dense(x: Any, w: Any, b: Any = None) -> Any:
    """x (…, in) @ w (in, out) + b (out,). Raises ValueError if the shapes do not fit."""
    kernel = w.shape
    if len(kernel) != 2 or x.shape[-1:] != kernel[:1] or not (b is None or b.shape == kernel[1:]):
        raise ValueError(
            f"dense: x (…, in), w (in, out) and b (out,) do not fit: got {x.shape}, {kernel} and "
            f"{b if b is None else b.shape}"
        )
    return matmul(x, w) if b is None else _dense(x, w, b)


def conditioned_dense(x: Any, w: Any, b: Any, e: Any, v: Any, c: Any, table: Any, ids: Any) -> Any:
    """silu(x @ w + b + e @ v + c + table[ids]): a dense layer that an embedding e and a label
    shift, and swish.

    x (batch, in), w (in, out), b and c (out,), e (batch, dim), v (dim, out), table (rows, out),
    integer ids (batch,). Raises ValueError if the shapes do not fit, TypeError if ids are no
    integers, IndexError for an id outside 0 … rows − 1 (on the host).
    """
    batch, out = ids.shape, b.shape
    fit = (
        x.shape == batch + w.shape[:1]
        and e.shape == batch + v.shape[:1]
        and len(batch) == len(out) == 1
    )
    if not (fit and w.shape[1:] == v.shape[1:] == table.shape[1:] == c.shape == out):
        raise ValueError(
            f"conditioned_dense: x (batch, in), w (in, out), b (out,), e (batch, dim), v (dim, out), "
            f"c (out,), table (rows, out) and ids (batch,) do not fit: got "
            f"{[operand.shape for operand in (x, w, b, e, v, c, table, ids)]}"
        )
    if ids.dtype.kind not in "iu":
        raise TypeError(f"conditioned_dense: ids must be integers; got {ids.dtype}")
    return _conditioned_dense(x, w, b, e, v, c, table, ids)


def embedding(table: Any, ids: Any) -> Any:
    """Rows of a table (rows, d) at integer ids of any shape: ids.shape + (d,).

    Raises IndexError for an id outside 0 … rows − 1 (ids on the host are checked; NumPy's negative
    ids are refused).
    """
    return _embedding(table, checked_ids("embedding", "ids", ids, table.shape[0]))


def one_hot(ids: Any, num_classes: int, dtype: Any = np.float32) -> Any:
    """ids.shape + (num_classes,): 1 at each id, 0 elsewhere; raises as `embedding` does."""
    given, ids = ids, checked_ids("one_hot", "ids", ids, num_classes)
    rows = (ids[..., None] == kernels.namespace(ids).arange(num_classes)).astype(dtype)
    return type(given)(rows) if isinstance(given, Value) else rows


def dropout(x: Any, p: float, rng: np.random.Generator) -> Any:
    """Each element 0 with probability p, else divided by 1 − p; the draw is made on the host."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: p must lie in [0, 1); got {p}")
    keep = rng.random(x.shape, dtype=np.float32) >= p
    return where(
        kernels.from_host(keep, x.data if isinstance(x, Value) else x), x * (1 / (1 - p)), 0
    )


def attention(q: Any, k: Any, v: Any) -> Any:
    """softmax(q kᵀ / √d) v over the last two axes (…, positions, d) (Vaswani et al. 2017, eq. 1)."""
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1] or q.shape[:-2] != k.shape[:-2]:
        raise ValueError(
            f"attention: q, k, v must be (…, positions, d); got {q.shape}, {k.shape} and {v.shape}"
        )
    return matmul(
        softmax(matmul(q, swapaxes(k, axis1=-1, axis2=-2)) * (1 / math.sqrt(q.shape[-1]))), v
    )


def self_attention(qkv: Any, heads: int) -> Any:
    """`attention` of every position to every position, in `heads` independent ways (Vaswani et al.
    2017, §3.2.2).

    qkv (batch, positions, 3 · channels) has queries, keys and values side by side, each heads ×
    (channels / heads); gives (batch, positions, channels). Raises ValueError if `heads` does not
    divide the channels.
    """
    if len(qkv.shape) != 3 or heads < 1 or qkv.shape[-1] % (3 * heads):
        raise ValueError(
            f"self_attention: qkv must be (batch, positions, 3 · channels) with channels that "
            f"heads={heads} divides; got {qkv.shape}"
        )
    return _self_attention(qkv, heads=heads)


def _plain_self_attention(qkv, heads):
    b, n, c = qkv.shape
    parts = reshape(qkv, shape=(b, n, 3, heads, c // 3 // heads))
    q, k, v = (transpose(parts, axes=(2, 0, 3, 1, 4))[i] for i in range(3))
    return reshape(swapaxes(attention(q, k, v), axis1=1, axis2=2), shape=(b, n, c // 3))


def checked_ids(operation: str, name: str, ids: Any, n: int) -> Any:
    """`ids` as an array of integers; raises TypeError if they are none, IndexError for one outside 0 … n − 1."""
    ids = np.asarray(ids) if isinstance(ids, int | tuple | np.integer) else plain_index(ids, np)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{operation}: {name} must be integers; got {ids.dtype}")
    if isinstance(ids, np.ndarray) and ids.size and not (ids.min() >= 0 and ids.max() < n):
        raise IndexError(
            f"{operation}: {name} must lie in 0 … {n - 1}; got {ids.min()} … {ids.max()}"
        )
    return ids
