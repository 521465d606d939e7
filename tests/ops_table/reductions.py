"""Sums, means and extremes over axes, and products."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.ops import reductions
from minidiff.testing import arrays, shapes

from .row import MIXED, Op, axes, mixed


@st.composite
def reduced(draw, min_side=0, distinct=False):
    """(x, axis, keepdims)"""
    x = draw(arrays(shapes(min_side=min_side), distinct=distinct))
    return x, draw(axes(x.ndim)), draw(st.booleans())


@st.composite
def filled(draw, *others):
    """(x, *others, axis, keepdims); x has an axis and distinct numbers."""
    x = draw(arrays(shapes(min_dims=1, min_side=1), distinct=True))
    return x, *map(draw, others), draw(axes(x.ndim)), draw(st.booleans())


@st.composite
def along_one(draw):
    """(x, axis) with one axis, or None for all."""
    x = draw(arrays(shapes(min_dims=1, min_side=1), distinct=True))
    return x, draw(st.none() | st.integers(-x.ndim, x.ndim - 1))


@st.composite
def products(draw):
    """Operands of matmul: matrices, stacks of them that are broadcast, and vectors."""
    n, k, m, b = (draw(st.integers(0, 3)) for _ in range(4))
    left = draw(st.sampled_from([(k,), (n, k), (b, n, k), (1, n, k), (2, 1, n, k)]))
    right = draw(st.sampled_from([(k,), (k, m), (b, k, m), (1, k, m)]))
    return draw(arrays(left)), draw(arrays(right))


@st.composite
def summed(draw):
    """(a sum, the shape of what was summed, the axes it was summed over)"""
    x, axis, keepdims = draw(reduced(min_side=1))
    return draw(arrays(np.sum(x, axis, keepdims=keepdims).shape)), x.shape, axis


def broadcast_over(y, shape, axis):
    summed_away = range(len(shape)) if axis is None else np.atleast_1d(axis) % max(len(shape), 1)
    kept = y.reshape([1 if i in summed_away else n for i, n in enumerate(shape)])
    return np.broadcast_to(kept, shape)


def logsumexp(x, axis, keepdims):
    return np.log(np.exp(x).sum(axis, keepdims=keepdims))


def norm(x, ord, axis, keepdims):
    if ord == math.inf:
        return np.max(np.abs(x), axis, keepdims=keepdims)
    if ord == -math.inf:
        return np.min(np.abs(x), axis, keepdims=keepdims)
    ord = 2 if ord is None else ord
    return (np.abs(x) ** ord).sum(axis, keepdims=keepdims) ** (1 / ord)


wrong_axes = [((np.ones((2, 3)), axis, False), ValueError, f"axis {axis}") for axis in (2, -3)]


def reduction(name, reference, samples):
    f = getattr(ops, name)
    return Op(
        name,
        lambda x, axis, keepdims: f(x, axis=axis, keepdims=keepdims),
        lambda x, axis, keepdims: reference(x, axis=axis, keepdims=keepdims),
        samples,
        wrong_axes,
    )


ROWS = [
    reduction("sum", np.sum, reduced()),
    reduction("mean", np.mean, reduced(min_side=1)),
    reduction("max", np.max, reduced(min_side=1, distinct=True)),
    reduction("min", np.min, reduced(min_side=1, distinct=True)),
    reduction("var", np.var, reduced(min_side=1)),
    reduction("logsumexp", logsumexp, filled()),
    Op(
        "norm",
        ops.norm,
        norm,
        filled(st.sampled_from([None, 1, 2, 3, -1, math.inf, -math.inf])),
        [
            ((np.ones((2, 3)), 2, 2, False), ValueError, "axis 2"),
            ((np.ones(3), 0), ValueError, "ord: given 0, wanted None or a number other than 0"),
            ((np.ones(3), "fro"), ValueError, "ord: given 'fro', wanted None or a number"),
        ],
    ),
    Op(
        "prod, of no elements too",
        ops.prod,
        lambda x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims),
        reduced(),
        wrong_axes,
    ),
    Op(
        "argmax",
        ops.argmax,
        np.argmax,
        along_one(),
        [((np.ones(2), 1), ValueError, "axis 1")],
        {"order": 0},
    ),
    Op(
        "argmin",
        ops.argmin,
        np.argmin,
        along_one(),
        [((np.ones(2), 1), ValueError, "axis 1")],
        {"order": 0},
    ),
    Op(
        "broadcast_over",
        reductions.broadcast_over,
        broadcast_over,
        summed(),
        [((np.ones((2, 3)), (4, 3), None), ValueError, "broadcast")],
    ),
    Op(
        "matmul",
        ops.matmul,
        np.matmul,
        products(),
        [
            ((np.ones((2, 3)), np.ones((2, 3))), ValueError, r"matmul.*\(2, 3\)"),
            (mixed((2,), (2,)), TypeError, MIXED),
        ],
    ),
]
