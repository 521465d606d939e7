"""Dense, embedding, softmax, attention, dropout. The references are textbook formulas."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, shapes

from .elementwise import sigmoid
from .row import MIXED, Op, mixed

# --- dense ---


@st.composite
def dense_arguments(draw):
    leading = draw(shapes(max_dims=2))
    n, m = (draw(st.integers(1, 3)) for _ in range(2))
    return draw(arrays((*leading, n))), draw(arrays((n, m))), draw(arrays((m,)))


@st.composite
def conditioned(draw):
    """Arguments of conditioned_dense, each of its sizes drawn by itself."""
    batch = draw(st.integers(0, 3))
    width, out, dim, rows = (draw(st.integers(1, 3)) for _ in range(4))
    x_terms = [(batch, width), (width, out), (out,)]
    time_terms = [(batch, dim), (dim, out), (out,)]
    table = (rows, out)
    ids = np.random.default_rng(draw(st.integers(0, 99))).integers(0, rows, batch)
    return *(draw(arrays(shape)) for shape in [*x_terms, *time_terms, table]), ids


def conditioned_dense(x, w, b, e, v, c, table, ids):
    z = np.einsum("bi,io->bo", x, w) + np.einsum("bd,do->bo", e, v) + b + c + np.take(table, ids, 0)
    return z * sigmoid(z)


# --- embedding ---


@st.composite
def ids_of_a_table(draw):
    """(ids, number of rows)"""
    rows = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.integers(0, rows, draw(shapes(max_dims=2))), rows


@st.composite
def looked_up(draw):
    """(table, ids)"""
    ids, rows = draw(ids_of_a_table())
    return draw(arrays((rows, draw(st.integers(1, 3))))), ids


@st.composite
def scattered(draw):
    """(y, ids, rows)"""
    ids, rows = draw(ids_of_a_table())
    return draw(arrays((*ids.shape, draw(st.integers(1, 3))))), ids, rows


def scatter_rows(y, ids, rows):
    table = np.zeros((rows, y.shape[-1]))
    for place in np.ndindex(ids.shape):
        table[ids[place]] += y[place]
    return table


# --- softmax and attention ---


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@st.composite
def along_an_axis(draw):
    """(x, axis); x may be so far from 0 that eˣ is too large, and is then exact in float32"""
    x = draw(arrays(shapes(min_dims=1, min_side=1)))
    if draw(st.booleans()):
        x = 8000 + np.round(x * 64) / 64
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


def attention(q, k, v):
    return softmax(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v


@st.composite
def grouped_queries(draw):
    """(q, k, v), in which a head of k and v is for several of q."""
    heads, times, n, m, d = (draw(st.integers(1, 2)) for _ in range(5))
    q = draw(arrays((heads * times, n, d)))
    return q, draw(arrays((heads, m, d))), draw(arrays((heads, m, 3)))


def grouped_attention(q, k, v):
    """Head by head."""
    times = len(q) // len(k)
    return np.stack([attention(q[i], k[i // times], v[i // times]) for i in range(len(q))])


def masked_attention(q, k, v, mask, is_causal):
    """Query by query, over the keys that it may look at."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    allowed = mask if mask.dtype == bool else mask > -np.inf
    for *batch, n in np.ndindex(q.shape[:-1]):
        at = tuple(batch)
        keys = [m for m in range(k.shape[-2]) if allowed[n, m] and not (is_causal and m > n)]
        if keys:
            scores = k[at][keys] @ q[at][n] / math.sqrt(q.shape[-1])
            scores = scores if mask.dtype == bool else scores + mask[n, keys]
            out[at][n] = softmax(scores) @ v[at][keys]
    return out


@st.composite
def masked_queries(draw):
    """(q, k, v, a mask of booleans or of numbers, is_causal)"""
    q, k, v = draw(queries())
    shape = q.shape[-2], k.shape[-2]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = rng.random(shape) < 0.6
    if draw(st.booleans()):
        mask = np.where(mask, 1.5, -2.5)
    return q, k, v, mask, draw(st.booleans())


@st.composite
def queries(draw):
    """(q, k, v)"""
    leading = draw(st.sampled_from([(), (2,), (2, 1)]))
    n, m, d, e = (draw(st.integers(1, 3)) for _ in range(4))
    q = draw(arrays((*leading, n, d)))
    k = draw(arrays((*leading, m, d)))
    v = draw(arrays((*leading, m, e)))
    return q, k, v


def self_attention(qkv, heads):
    """Head by head, on slices."""
    channels = qkv.shape[2] // 3
    d = channels // heads
    out = np.empty((*qkv.shape[:2], channels))
    for first in range(0, channels, d):
        q, k, v = (
            qkv[..., start + first : start + first + d] for start in (0, channels, 2 * channels)
        )
        out[..., first : first + d] = attention(q, k, v)
    return out


@st.composite
def with_heads(draw):
    """(qkv, heads)"""
    batch, positions, heads, d = (draw(st.integers(1, high)) for high in (2, 4, 2, 3))
    return draw(arrays((batch, positions, 3 * heads * d))), heads


# --- dropout ---


def dropout(x, p, seed):
    keep = np.random.default_rng(seed).random(x.shape, np.float32) >= p
    return x * keep / (1 - p)


# x, w, b; e, v, c; table
layer = [np.ones(shape) for shape in ((2, 3), (3, 5), (5,), (2, 4), (4, 5), (5,), (2, 5))]
w32 = layer[1].astype(np.float32)
wrong_b = np.ones(4)
two_ids = np.array([0, 0])

ROWS = [
    Op(
        "dense",
        ops.dense,
        lambda x, w, b: np.einsum("...i,io->...o", x, w) + b,
        dense_arguments(),
        [
            (
                (np.ones((2, 3)), np.ones((2, 3)), np.ones(3)),
                ValueError,
                r"dense: given x \(2, 3\), w \(2, 3\)",
            ),
            ((np.ones((2, 3)), np.ones((3, 4)), np.ones(3)), ValueError, r"dense.* b \(3,\)"),
            (mixed((2, 3), (3, 4), (4,)), TypeError, MIXED),
        ],
    ),
    Op(
        "conditioned_dense",
        ops.conditioned_dense,
        conditioned_dense,
        conditioned(),
        [
            (
                (*layer, np.array([0, 2])),
                IndexError,
                "ids: given 0 … 2, wanted rows below 2",
            ),
            ((*layer, np.array([-1, 0])), IndexError, "ids: given -1 … 0"),
            ((*layer, np.zeros(2)), TypeError, "ids: given float64, wanted integers"),
            ((*layer, np.array([0])), ValueError, r"conditioned_dense: .*\(1,\).*x \(batch, in\)"),
            ((*layer[:2], wrong_b, *layer[3:], two_ids), ValueError, r"given .*\(4,\).*wanted"),
            ((layer[0], w32, *layer[2:], two_ids), TypeError, MIXED),
        ],
    ),
    Op(
        "embedding",
        ops.embedding,
        lambda table, ids: np.take(table, ids, 0),
        looked_up(),
        [
            ((np.ones((3, 2)), np.array([3])), IndexError, "ids: given 3, wanted .* 0 … 2"),
            ((np.ones((3, 2)), np.array([-1])), IndexError, "ids: given -1"),
            ((np.ones((3, 2)), np.ones(1)), TypeError, "ids: given float64, wanted integers"),
        ],
    ),
    Op(
        "embedding_dtable",
        ops.embedding_dtable,
        scatter_rows,
        scattered(),
        [((np.ones((1, 2)), np.array([7]), 3), IndexError, "7")],
    ),
    Op(
        "one_hot",
        lambda x, ids: x * ops.one_hot(ids, 4, x.dtype),
        lambda x, ids: x * np.eye(4)[ids],
        st.tuples(arrays((4,)), st.lists(st.integers(0, 3), min_size=1, max_size=3).map(np.array)),
        [((np.ones(4), [4]), IndexError, "ids: given 4, wanted .* 0 … 3")],
    ),
    Op("softmax", ops.softmax, softmax, along_an_axis(), [((np.ones(2), 1), ValueError, "axis 1")]),
    Op(
        "log_softmax",
        ops.log_softmax,
        lambda x, axis: np.log(softmax(x, axis)),
        along_an_axis(),
        [((np.ones(2), 1), ValueError, "axis 1")],
    ),
    Op(
        "attention",
        ops.attention,
        attention,
        queries(),
        [((np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4))), ValueError, r"attention.*\(2, 3\)")],
    ),
    Op(
        "attention (grouped queries)",
        lambda q, k, v: ops.attention(q, k, v, enable_gqa=True),
        grouped_attention,
        grouped_queries(),
        [([np.ones((n, 2, 3)) for n in (3, 2, 2)], ValueError, r"enable_gqa: given q \(3, 2, 3\)")],
    ),
    Op(
        "attention (masked)",
        ops.attention,
        masked_attention,
        masked_queries(),
        [
            (
                (*[np.ones((2, 3))] * 3, np.ones((3, 3), bool)),
                ValueError,
                r"attn_mask: given shape \(3, 3\), wanted one that is broadcast to \(2, 2\)",
            ),
            (
                (*[np.ones((2, 3))] * 3, np.ones((2, 2), int)),
                TypeError,
                "attn_mask: given int64, wanted booleans or floats",
            ),
        ],
    ),
    Op(
        "self_attention",
        ops.self_attention,
        self_attention,
        with_heads(),
        [((np.ones((2, 3, 12)), 3), ValueError, r"given qkv \(2, 3, 12\) and heads=3")],
    ),
    Op(
        "dropout",
        lambda x, p, seed: ops.dropout(x, p, np.random.default_rng(seed)),
        dropout,
        st.tuples(arrays(), st.sampled_from([0.0, 0.3]), st.integers(0, 9)),
        [((np.ones(3), 1, 0), ValueError, r"p: given 1, wanted a number in \[0, 1\)")],
    ),
]
