"""What layers compute: dense, embedding, softmax, attention, dropout.

The embedding of `ids` reads rows of a table, so its derivative adds rows up at the same ids; and
the derivative of that reads them again:

    embedding(table, ids)            table → its rows at ids
    embedding_dtable(dy, ids, rows)  rows of dy → added up in a table

The rest is composed of products and pointwise operations. Where a network spends its time (dense
with its bias, attention, the MLP's conditioned layer) a kernel does it in one pass, with its
gradients, and `reference` is the composed form.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

import numpy as np

from ..checks import Between, among, growth, plain
from ..kernels import call, from_host, namespace
from ..tape.draws import piece_generator
from ..tape.forward import added
from ..tape.primitive import Primitive, broadcast_to
from ..tape.tape import Value
from .elementwise import as_floats, equal, exp, linear, sigmoid, where
from .indices import plain_index
from .products import matmul
from .reductions import max, sum
from .shapes import (
    array_namespace,
    repeat,
    reshape,
    swapaxes,
    transpose,
)


def _dense_rule(g, x, w, needs):
    """(dx, dw, db); one pass over g gives both dw and db."""
    dx = call("dense_dx", g, w) if needs[0] else None
    dw = None
    db = None
    if needs[1] or needs[2]:
        dw, db = call("dense_dw_db", g, x)
    return dx, dw, db


def _conditioned_dense_rule(g, x, w, e, v, table, ids, aux, needs):
    """One gradient per operand; aux is what goes into the swish."""
    gradients = call(
        "conditioned_dense_grads", g, x, w, e, v, aux, ids, rows=len(table), needs=needs
    )
    return *gradients, None


def _dense_forward(tangents, x, w):
    """ẋ @ w + x @ ẇ + ḃ"""
    dx, dw, db = tangents
    total = None if dx is None else matmul(dx, w)
    if dw is not None:
        total = added(total, matmul(x, dw))
    return added(total, db)


def _conditioned_dense_forward(tangents, x, w, e, v, ids, aux):
    """What goes into the swish has the tangent of two dense layers and of an embedding."""
    dx, dw, db, de, dv, dc, dtable, _ = tangents
    total = _dense_forward((dx, dw, db), x, w)
    total = added(total, _dense_forward((de, dv, dc), e, v))
    if dtable is not None:
        total = added(total, _embedding(dtable, ids))
    return call("silu_dx", broadcast_to(total, shape=aux.shape), aux)


def _plain_conditioned_dense(x, w, b, e, v, c, table, ids):
    h = matmul(x, w) + b + matmul(e, v) + c + _embedding(table, ids)
    return h * sigmoid(h)


def _plain_self_attention(qkv, heads):
    batch, positions, width = qkv.shape
    channels = width // 3
    parts = reshape(qkv, shape=(batch, positions, 3, heads, channels // heads))
    parts = transpose(parts, axes=(2, 0, 3, 1, 4))  # (3, batch, heads, positions, d)
    out = swapaxes(attention(parts[0], parts[1], parts[2]), axis1=1, axis2=2)
    return reshape(out, shape=(batch, positions, channels))


# fmt: off
_dense = Primitive("dense", "x w b", wants_floats=True,
                   joint=_dense_rule, forward=_dense_forward,
                   reference=lambda x, w, b: matmul(x, w) + b)
_conditioned_dense = Primitive("conditioned_dense", "x w b e v c table ids",
                               wants_floats=True, takes_integers="ids",
                               joint=_conditioned_dense_rule,
                               forward=_conditioned_dense_forward,
                               reference=_plain_conditioned_dense)

_embedding = linear("embedding", "table ids", takes_integers="ids",
                    table=lambda g, ids, in_shape: embedding_dtable(g, ids, rows=in_shape[0]))
embedding_dtable = linear("embedding_dtable", "y ids * rows", takes_integers="ids",
                          y=lambda g, ids: _embedding(g, ids))

softmax = Primitive("softmax", "x * axis=-1", wants_floats=True,
                    x=lambda g, out, axis: out * (g - sum(g * out, axis=axis, keepdims=True)),
                    forward="symmetric")
log_softmax = Primitive("log_softmax", "x * axis=-1", wants_floats=True,
                        x=lambda g, out, axis: g - exp(out) * sum(g, axis=axis, keepdims=True))
# What the kernel hands on (aux) is the softmax.
_self_attention = Primitive("self_attention", "qkv * heads", wants_floats=True,
                            qkv=lambda g, qkv, aux, heads:
                            call("self_attention_dqkv", g, qkv, aux, heads=heads),
                            forward=lambda tangents, qkv, aux, heads:
                            call("self_attention_tangent", *tangents, qkv, aux, heads=heads),
                            reference=_plain_self_attention)
# fmt: on


def dense(x: Any, w: Any, b: Any = None) -> Any:
    """x (…, in) @ w (in, out) + b (out,). Raises ValueError if the shapes do not fit."""
    w_shape = w.shape
    fits = len(w_shape) == 2 and x.shape[-1:] == w_shape[:1]
    if not fits or (b is not None and b.shape != w_shape[1:]):
        b_shape = None if b is None else b.shape
        raise ValueError(
            f"dense: given x {x.shape}, w {w_shape} and b {b_shape}, "
            f"wanted (…, in), (in, out) and (out,)"
        )
    if b is None:
        return matmul(*as_floats(x, w))
    return _dense(x, w, b)


def conditioned_dense(x: Any, w: Any, b: Any, e: Any, v: Any, c: Any, table: Any, ids: Any) -> Any:
    """silu(x @ w + b + e @ v + c + table[ids]): a dense layer under two conditions, and swish.

    An embedding e and labels `ids` shift what goes into the swish. x is (batch, in), w (in, out),
    b and c (out,), e (batch, dim), v (dim, out), table (rows, out), integer ids (batch,). Gives
    (batch, out). Raises ValueError if the shapes do not fit, TypeError if ids are no integers,
    IndexError for an id outside 0 … rows − 1 (on the host).
    """
    batch = ids.shape
    out = b.shape
    fits = (
        len(batch) == len(out) == 1
        and x.shape == batch + w.shape[:1]
        and e.shape == batch + v.shape[:1]
        and w.shape[1:] == v.shape[1:] == table.shape[1:] == c.shape == out
    )
    if not fits:
        shapes = [operand.shape for operand in (x, w, b, e, v, c, table, ids)]
        raise ValueError(
            f"conditioned_dense: given {shapes}, wanted x (batch, in), w (in, out), b (out,), "
            f"e (batch, dim), v (dim, out), c (out,), table (rows, out) and ids (batch,)"
        )
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids: given {ids.dtype}, wanted integers")
    return _conditioned_dense(x, w, b, e, v, c, table, ids)


def embedding(table: Any, ids: Any) -> Any:
    """Rows of a table (rows, d) at integer ids of any shape: ids.shape + (d,).

    Raises ValueError for another table, TypeError if ids are no integers, IndexError for an id
    outside 0 … rows − 1. (NumPy's negative ones are refused. Ids on the host are looked at, and
    moved to where the table is; a device's are looked at in `debug_mode` only.)
    """
    if len(table.shape) != 2:
        raise ValueError(f"table: given shape {tuple(table.shape)}, wanted (rows, d)")
    return _embedding(table, checked_ids("ids", ids, table.shape[0]))


def one_hot(ids: Any, num_classes: int, dtype: Any = np.float32) -> Any:
    """ids.shape + (num_classes,): 1 at each id, 0 elsewhere; raises as `embedding` does."""
    array = checked_ids("ids", ids, num_classes)
    growth("num_classes", num_classes, array.size, array.size * num_classes)
    rows = (array[..., None] == namespace(array).arange(num_classes)).astype(dtype)
    return type(ids)(rows) if isinstance(ids, Value) else rows


def dropout(x: Any, p: float, rng: np.random.Generator) -> Any:
    """Each element 0 with probability p, else divided by 1 − p (Srivastava et al. 2014).

    The draw is made on the host. Raises ValueError unless 0 ≤ p < 1.
    """
    among("p", p, Between(0, 1, "[)"))
    keep = piece_generator(rng).random(x.shape, dtype=np.float32) >= p
    keep = from_host(keep, x.data if isinstance(x, Value) else x)
    return where(keep, x * (1 / (1 - p)), 0)


def attention(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(q kᵀ · scale) v over the last two axes (Vaswani et al. 2017, eq. 1).

    q is (…, n, d), k (…, m, d) and v (…, m, e). Gives (…, n, e). `scale` is 1 / √d unless given.
    `attn_mask` is broadcast to (…, n, m): booleans say which keys a query may look at, and floats
    are added to the scores. With `is_causal` query i looks at the keys 0 … i. A query that may look
    at no key gets zeros. With `enable_gqa` k and v may have fewer heads (axis −3) than q; each is
    then for several heads of q in a row (Ainslie et al. 2023). Raises ValueError if the shapes do
    not fit, TypeError for another mask.
    """
    if enable_gqa:
        k = _for_the_heads_of(q, k)
        v = _for_the_heads_of(q, v)
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1] or q.shape[:-2] != k.shape[:-2]:
        raise ValueError(
            f"attention: given q {q.shape}, k {k.shape} and v {v.shape}, "
            f"wanted (…, n, d), (…, m, d) and (…, m, e)"
        )
    q, k, v = as_floats(q, k, v)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = matmul(q, swapaxes(k, axis1=-1, axis2=-2)) * scale
    if attn_mask is None and not is_causal:
        return matmul(softmax(scores), v)
    if attn_mask is not None:
        scores = _masked(scores, attn_mask)
    if is_causal:
        xp = array_namespace(q)
        scores = where(xp.tri(*scores.shape[-2:], dtype=bool), scores, -math.inf)
    if not scores.shape[-1]:  # no keys at all
        return matmul(scores, v)
    sees_nothing = equal(max(scores, axis=-1, keepdims=True), -math.inf)
    weights = softmax(where(sees_nothing, 0, scores))
    return matmul(where(sees_nothing, 0, weights), v)


def _for_the_heads_of(q, x):
    """Each head of x (…, heads, m, d) as often in a row as makes them as many as those of q."""
    both = len(q.shape) > 2 and len(x.shape) > 2
    if not both or x.shape[-3] == 0 or q.shape[-3] % x.shape[-3]:
        raise ValueError(
            f"enable_gqa: given q {tuple(q.shape)} and keys or values {tuple(x.shape)}, wanted "
            f"(…, heads, positions, d), and of the keys a number of heads that divides that of q"
        )
    return repeat(x, q.shape[-3] // x.shape[-3], axis=-3)


def _masked(scores, attn_mask):
    """The scores, −∞ where a mask of booleans is False; or with a mask of floats added."""
    kind = attn_mask.dtype.kind
    if kind not in "bf":
        raise TypeError(f"attn_mask: given {attn_mask.dtype}, wanted booleans or floats")
    try:
        fits = np.broadcast_shapes(attn_mask.shape, scores.shape) == tuple(scores.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"attn_mask: given shape {tuple(attn_mask.shape)}, wanted one that is broadcast to "
            f"{tuple(scores.shape)}, (…, queries, keys)"
        )
    return where(attn_mask, scores, -math.inf) if kind == "b" else scores + attn_mask


def self_attention(qkv: Any, heads: int) -> Any:
    """`attention` of every position to every position, in `heads` independent ways.

    qkv (batch, positions, 3 · channels) has queries, keys and values side by side, each heads ×
    (channels / heads). Gives (batch, positions, channels) (Vaswani et al. 2017, §3.2.2). Raises
    ValueError if `heads` does not divide the channels.
    """
    if len(qkv.shape) != 3 or heads < 1 or qkv.shape[-1] % (3 * heads):
        raise ValueError(
            f"self_attention: given qkv {qkv.shape} and heads={heads}, "
            f"wanted (batch, positions, 3 · channels) with channels that the heads divide"
        )
    return _self_attention(qkv, heads=heads)


def checked_ids(name: str, ids: Any, n: int) -> Any:
    """The ids as an array; TypeError unless they are integers, IndexError outside 0 … n − 1.

    The values are looked at on the host only: on a device that would wait for its work.
    """
    plain(name, ids)
    if not isinstance(ids, np.ndarray):
        ids = np.asarray(ids) if isinstance(ids, int | tuple | np.integer) else plain_index(ids, np)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: given {ids.dtype}, wanted integers")
    if isinstance(ids, np.ndarray) and ids.size:
        low = ids.min()
        high = ids.max()
        if low < 0 or high >= n:
            wrong = low if low < 0 else high
            raise IndexError(f"{name}: given {wrong}, wanted integers in 0 … {n - 1}")
    return ids
