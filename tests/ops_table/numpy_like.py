"""Operations that NumPy has under the same name: NumPy itself is the reference."""

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, broadcasting, shapes

from .elementwise import positive, unary
from .reductions import products
from .row import MIXED, Op, mixed
from .shapes import indices, two_by_three

within = arrays(low=-0.8, high=0.8)
steps = arrays(shapes(), low=0.1, high=0.4).map(
    lambda x: np.asarray(x + np.arange(x.size).reshape(x.shape) % 3)
)
AXIS = [((two_by_three, 2), (ValueError, IndexError), "2")]


def shared(name, samples, errors, **options):
    """An operation that takes what NumPy's takes."""
    return Op(name, getattr(ops, name), getattr(np, name), samples, errors, options)


@st.composite
def with_axis(draw, *others, min_side=1, distinct=False, none=False):
    """(x, *others, axis); the axis may be None if `none`."""
    x = draw(arrays(shapes(min_dims=1, min_side=min_side), distinct=distinct))
    axis = st.integers(-x.ndim, x.ndim - 1)
    return x, *map(draw, others), draw(axis | st.none() if none else axis)


@st.composite
def cut(draw):
    """(x, sections or indices, axis, which of the pieces)"""
    x, axis = draw(with_axis(min_side=0))
    n = x.shape[axis]
    divisors = [k for k in (1, 2, 3) if n % k == 0]
    cuts = st.lists(st.integers(0, n), max_size=2).map(sorted)
    return x, draw(st.sampled_from(divisors) | cuts), axis, 0


@st.composite
def replaced(draw):
    """(x, index, values), where values are broadcast to x[index], or a number."""
    x = draw(arrays(shapes(min_side=1)))
    index = draw(indices(x.shape))
    part = np.shape(x[index])
    return x, index, draw(arrays(part) | arrays(part[1:]) | st.just(0.5))


def at_set(x, index, values):
    x = x.copy()
    x[index] = values
    return x


def at_add(x, index, values):
    x = x.copy()
    np.add.at(x, index, values)
    return x


@st.composite
def matrices(draw, vectors=False):
    """(x, number of a diagonal)"""
    x = draw(arrays(shapes(min_dims=1 if vectors else 2, max_dims=2)))
    return x, draw(st.integers(-2, 2))


@st.composite
def along_axis(draw):
    """(x, indices, axis)"""
    x, axis = draw(with_axis())
    shape = tuple(
        draw(st.integers(1, 3)) if i == axis % x.ndim else n for i, n in enumerate(x.shape)
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return x, rng.integers(-x.shape[axis], x.shape[axis], shape), axis


@st.composite
def taken(draw):
    x, axis = draw(with_axis(none=True))
    n = x.size if axis is None else x.shape[axis]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return x, rng.integers(-n, n, draw(shapes(max_dims=2))), axis


@st.composite
def repeated(draw):
    x, axis = draw(with_axis(none=True))
    n = x.size if axis is None else x.shape[axis]
    return x, draw(st.integers(0, 3) | st.lists(st.integers(0, 2), min_size=n, max_size=n)), axis


@st.composite
def contracted(draw):
    """(x, y, axes) of tensordot."""
    x = draw(arrays(shapes(min_dims=1, min_side=1)))
    k = draw(st.integers(0, x.ndim))
    chosen = draw(st.permutations(range(x.ndim)))[:k]
    y = draw(arrays((*(x.shape[a] for a in chosen), draw(st.integers(1, 3)))))
    return x, y, (chosen, list(range(k)))


@st.composite
def summed(draw):
    """(subscripts, operands)"""
    i, j, k = (draw(st.integers(1, 3)) for _ in range(3))
    terms, sizes = draw(
        st.sampled_from(
            [
                ("ij,jk->ik", [(i, j), (j, k)]),
                ("ij,jk", [(i, j), (j, k)]),
                ("ii", [(i, i)]),
                ("ii->i", [(i, i)]),
                ("ij->j", [(i, j)]),
                ("ij->", [(i, j)]),
                ("ba", [(i, j)]),
                ("i,j->ji", [(i,), (j,)]),
                ("ij,kl->i", [(i, j), (k, 2)]),
                ("...ij,...jk->...ik", [(2, i, j), (j, k)]),
                ("...i,i", [(k, j, i), (i,)]),
                ("...,...", [(i, 1), (j,)]),
                ("iij,jk->ik", [(i, i, j), (j, k)]),
                ("ij,jk,kl->il", [(i, j), (j, k), (k, 2)]),
                ("ij,ij,ij", [(i, j)] * 3),
                ("ij,jk", [(i, 1), (j, k)]),
                ("iii->i", [(i, i, i)]),
                ("a...->...", [(i, j, k)]),
                ("ij, j -> i", [(i, j), (j,)]),
            ]
        )
    )
    return terms, *(draw(arrays(size)) for size in sizes)


@st.composite
def limits(draw):
    x, low, high = draw(broadcasting(3, low=-1, high=1))
    x, low, high = (np.asarray(a) for a in (x * 2 + 0 * (low + high), low - 0.6, high + 0.6))
    return draw(st.sampled_from([(x, low, high), (x, -0.5, 0.5), (x, None, high), (x, low, None)]))


rolled = st.tuples(arrays((2, 3)), st.sampled_from([[1, -2], (0, 1)]), st.just((0, 1)))
MODES = ["reflect", "edge", "wrap", "symmetric"]


def parted(name, **how):
    """An operation that puts the kth where sorting would; each side is in any order, sorted here.

    NumPy's own order differs from processor to processor.
    """

    def sorted_sides(library):
        def f(x, kth, axis):
            y = library.moveaxis(getattr(library, name)(x, kth, axis), axis, 0)
            k = kth % len(y)
            sides = library.sort(y[:k], axis=0), y[k : k + 1], library.sort(y[k + 1 :], axis=0)
            return library.concatenate(sides)

        return f

    samples = with_axis(st.sampled_from([0, 1, -1, -2]), min_side=2, distinct=True)
    errors = [((two_by_three, 5, 1), ValueError, "5")]
    return Op(name, sorted_sides(ops), sorted_sides(np), samples, errors, how)


ROWS = [
    unary("tan", ops.tan, np.tan, within),
    unary("arcsin", ops.arcsin, np.arcsin, within),
    unary("arccos", ops.arccos, np.arccos, within),
    unary("arctan", ops.arctan, np.arctan),
    unary("sinh", ops.sinh, np.sinh),
    unary("cosh", ops.cosh, np.cosh),
    unary("expm1", ops.expm1, np.expm1),
    unary("log1p", ops.log1p, np.log1p, positive),
    unary("floor", ops.floor, np.floor, steps),
    unary("ceil", ops.ceil, np.ceil, steps),
    unary("round", ops.round, np.round, steps),
    unary("zeros_like", ops.zeros_like, np.zeros_like),
    shared("clip", limits(), [((np.ones(3), np.ones(2), 2), ValueError, "broadcast")]),
    shared("square", arrays(), [(("text",), TypeError, "x: given 'text', wanted an array")]),
    shared(
        "dot",
        products() | st.tuples(arrays((2, 3)), arrays((2, 3, 2))),
        [((np.ones((2, 3)), np.ones((2, 3))), ValueError, "matmul")],
    ),
    Op(
        "pad (of itself)",
        ops.pad,
        np.pad,
        st.tuples(
            arrays((3, 4)), st.integers(0, 5) | st.just(((1, 0), (2, 7))), st.sampled_from(MODES)
        ),
        [((two_by_three, 1, "mean"), ValueError, "mode: given 'mean', wanted one of 'constant'")],
    ),
    shared(
        "moveaxis",
        st.tuples(
            arrays((2, 3, 4)), st.sampled_from([0, -1, (0, 2)]), st.sampled_from([1, -2, (1, 0)])
        ).filter(lambda row: isinstance(row[1], int) == isinstance(row[2], int)),
        [((two_by_three, 0, 2), ValueError, "destination")],
    ),
    shared("flip", with_axis(none=True), AXIS),
    Op(
        "roll",
        ops.roll,
        np.roll,
        with_axis(st.integers(-4, 4), none=True),
        [((two_by_three, 1, 2), ValueError, "2")],
    ),
    Op(
        "roll (along two axes)",
        ops.roll,
        np.roll,
        rolled,
        [((two_by_three, (1, 1), 2), ValueError, "2")],
    ),
    shared("tril", matrices(vectors=True), [((np.array(1.0),), TypeError, "tri")]),
    shared("triu", matrices(vectors=True), [((np.array(1.0),), TypeError, "tri")]),
    shared("diag", matrices(vectors=True), [((np.ones((1, 1, 1)),), ValueError, "diag: given")]),
    shared("ravel", arrays(), [(("text",), TypeError, "x: given 'text', wanted an array")]),
    Op(
        "split",
        lambda x, cuts, axis, part: ops.split(x, cuts, axis)[part],
        lambda x, cuts, axis, part: np.split(x, cuts, axis)[part],
        cut(),
        [
            (
                (two_by_three, 2, 1, 0),
                ValueError,
                "split: given 3 elements along axis 1, wanted a multiple of the 2",
            )
        ],
    ),
    shared("repeat", repeated(), [((two_by_three, 2, 2), IndexError, "tuple index")]),
    shared(
        "tile",
        st.tuples(arrays(), st.integers(0, 3) | st.tuples(st.integers(0, 2), st.integers(1, 2))),
        [((two_by_three, -1), ValueError, "negative")],
    ),
    shared("take", taken(), [((two_by_three, np.array([3]), 1), IndexError, "3")]),
    shared(
        "take_along_axis", along_axis(), [((two_by_three, np.array([[5]]), 0), IndexError, "5")]
    ),
    Op("at_set", ops.at_set, at_set, replaced(), [((two_by_three, 2, 1.0), IndexError, "2")]),
    Op("at_add", ops.at_add, at_add, replaced(), [((two_by_three, 2, 1.0), IndexError, "2")]),
    shared("cumsum", with_axis(min_side=0, none=True), AXIS),
    Op(
        "prod",
        ops.prod,
        lambda x, axis, keepdims: np.prod(x, axis, keepdims=keepdims),
        st.tuples(
            arrays(shapes(min_dims=2, max_dims=3)),
            st.sampled_from([None, 0, -1, (0, 1), (1, 0)]),
            st.booleans(),
        ),
        [((two_by_three, 2), (ValueError, IndexError, ZeroDivisionError), "axes|axis 2")],
    ),
    Op(
        "std",
        ops.std,
        np.std,
        with_axis(distinct=True)
        .map(lambda row: (row[0] + np.ones(2)[0], row[1]))
        .filter(lambda row: row[0].shape[row[1]] > 1),
        AXIS,
    ),
    shared("argsort", with_axis(distinct=True), AXIS, order=0),
    shared("sort", with_axis(distinct=True), AXIS),
    parted("partition"),
    parted("argpartition", order=0),
    shared("outer", st.tuples(arrays(), arrays()), [(mixed((2,), (2,)), TypeError, MIXED)]),
    shared(
        "tensordot",
        contracted(),
        [
            (
                (np.ones(2), np.ones(3), 1),
                ValueError,
                r"tensordot: given axis 0 of \(2,\) and axis 0 of \(3,\), wanted two of one",
            ),
            ((np.ones((2, 1)), np.ones((3, 2)), 1), ValueError, "tensordot: given axis 1 of"),
        ],
    ),
    shared(
        "einsum",
        summed(),
        [
            (("ij,jk", np.ones(2), np.ones(2)), ValueError, "einsum: given 'ij,jk'"),
            (("...i,...i", np.ones(2)), ValueError, "einsum: given '...i,...i'"),
            (("...ij", np.ones(2)), ValueError, "einsum: given '...ij'"),
        ],
    ),
]
