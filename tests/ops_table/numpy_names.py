"""NumPy's other names: NumPy itself is the reference, and `math` for the tails of the normal."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, broadcasting, shapes

from .elementwise import binary, positive, unary
from .numpy_like import two_by_three, with_axis, within
from .reductions import reduced
from .row import MIXED, Op, mixed

AXIS = [((two_by_three, 2), (ValueError, IndexError), "2")]
TEXT = [(("text",), TypeError, "x: given 'text', wanted an array")]


def same(name, samples, errors=TEXT, **how):
    """An operation that takes what NumPy's takes."""
    return Op(name, getattr(ops, name), getattr(np, name), samples, errors, how)


def parts(name, samples, errors):
    """An operation that gives several arrays: the k-th, times k + 1, joined again."""

    def joined(library):
        def f(*arguments):
            pieces = getattr(library, name)(*arguments)
            rows = [(k + 1.0) * library.reshape(piece, (-1,)) for k, piece in enumerate(pieces)]
            return library.concatenate(rows)

        return f

    return Op(name, joined(ops), joined(np), samples, errors)


def joining(name, *sizes, errors=None):
    """An operation that takes a list of arrays, given here one by one."""
    drawn = st.sampled_from(sizes).flatmap(lambda row: st.tuples(*(arrays(size) for size in row)))
    errors = errors or [((np.ones((2, 2, 2)), np.ones((3, 3, 3))), ValueError, "concatenat")]
    return Op(
        name,
        lambda *xs: getattr(ops, name)(list(xs)),
        lambda *xs: getattr(np, name)(list(xs)),
        drawn,
        errors,
    )


def over(name, reference=None, *, samples=None, **how):
    """An operation over axes: (x, axis, keepdims)."""
    samples = reduced(min_side=1, distinct=True) if samples is None else samples
    reference = reference or getattr(np, name)
    return Op(
        name,
        lambda x, axis, keepdims: getattr(ops, name)(x, axis=axis, keepdims=keepdims),
        lambda x, axis, keepdims: reference(x, axis=axis, keepdims=keepdims),
        samples,
        [((np.ones((2, 3)), 2, False), ValueError, "axis 2")],
        how,
    )


# Off the jumps of quotients, and off equal operands.
quotients = st.tuples(
    arrays((3, 1), low=0.1, high=0.4).map(lambda x: x + np.arange(3.0)[:, None]),
    st.sampled_from([0.7, -0.7]).map(lambda y: np.array([y, 1.3 * y])),
)


def questions(name, samples):
    errors = [((np.ones(2), np.ones(3)), ValueError, r"\(2,\) \(3,\)")]
    return Op(name, getattr(ops, name), getattr(np, name), samples, errors, {"order": 0})


def of_signs(name, yes=True):
    """Of booleans, here whether elements are positive, and of integers; `yes` is what a yes is."""

    def asked(library):
        function = getattr(library, name)
        return lambda *xs: function(*(yes * library.greater(x, 0) for x in xs))

    samples = arrays() if name == "invert" else broadcasting()
    errors = [(("text", "text"), TypeError, "wanted|positional|not supported")]
    return Op(name, asked(ops), asked(np), samples, errors, {"order": 0})


def like(name):
    return same(
        name, arrays(), [((np.ones(2), "no dtype"), (TypeError, ValueError), "dtype|convert")]
    )


@st.composite
def weighted(draw):
    """(x, axis, weights)"""
    x, axis = draw(with_axis())
    size = draw(st.sampled_from([x.shape, (x.shape[axis],)]))
    return x, axis, draw(arrays(size, low=0.5, high=1))


@st.composite
def cut(draw):
    x = draw(arrays((4, 5, 3)))
    axis = draw(st.integers(-3, 2))
    return x, draw(st.integers(1, 6) | st.just([1, 2])), axis


def erfc(x):
    return np.vectorize(math.erfc, otypes=[float])(x)


def log_ndtr(x):
    return np.log(0.5 * erfc(-x / math.sqrt(2)))


def inverse_mills(x):
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) / (0.5 * erfc(-x / math.sqrt(2)))


tails = arrays(low=-6, high=6)
rows = [(2,), (2,)], [(2, 3), (2, 3)], [(2, 3, 2)] * 3
too_long = [((two_by_three, 4), ValueError, "split: given 2 elements along axis")]
turned = st.tuples(arrays((2, 3, 4)), st.integers(-5, 5), st.sampled_from([(0, 1), (2, 0)]))
vectors = st.sampled_from([((3,), (3,)), ((2, 3), (4, 3)), ((2, 3), (3,))]).flatmap(
    lambda sizes: st.tuples(*(arrays(size) for size in sizes))
)
diagonals = st.tuples(
    arrays((3, 4, 2)), st.integers(-2, 2), st.sampled_from([0, -1]), st.sampled_from([1])
)

ROWS = [
    *[unary(name, getattr(ops, name), getattr(np, name), positive) for name in ("log2", "log10")],
    unary("exp2", ops.exp2, np.exp2),
    unary("cbrt", ops.cbrt, np.cbrt, positive),
    binary("logaddexp", ops.logaddexp, np.logaddexp),
    unary("arcsinh", ops.arcsinh, np.arcsinh),
    unary("arccosh", ops.arccosh, np.arccosh, arrays(low=1.2, high=3)),
    unary("arctanh", ops.arctanh, np.arctanh, within),
    binary("arctan2", ops.arctan2, np.arctan2, broadcasting(low=0.3, high=2)),
    binary("hypot", ops.hypot, np.hypot, broadcasting(low=0.3, high=2)),
    binary("remainder", ops.remainder, np.remainder, quotients),
    binary("fmod", ops.fmod, np.fmod, quotients),
    binary("floor_divide", ops.floor_divide, np.floor_divide, quotients),
    unary("rint", ops.rint, np.rint, quotients.map(lambda pair: pair[0])),
    unary("trunc", ops.trunc, np.trunc, quotients.map(lambda pair: pair[0])),
    same("reciprocal", positive),
    unary("positive", ops.positive, np.positive),
    unary("copy", ops.copy, np.copy),
    same(
        "copysign", broadcasting(), [(("text", 1), TypeError, "x: given 'text', wanted an array")]
    ),
    same("logaddexp2", broadcasting(), [(mixed((2,), (2,)), TypeError, MIXED)]),
    Op("logit", ops.logit, lambda x: np.log(x / (1 - x)), arrays(low=0.1, high=0.9), TEXT),
    same("deg2rad", arrays()),
    same("rad2deg", arrays(), single=1e-3),
    same("fmax", broadcasting(), [(mixed((2,), (2,)), TypeError, MIXED)]),
    same("fmin", broadcasting(), [(mixed((2,), (2,)), TypeError, MIXED)]),
    same("nan_to_num", arrays(), [((["a", np.ones(1)],), TypeError, "wanted an array")]),
    same(
        "sinc",
        arrays(low=-2, high=2) | st.just(np.array([0.0, 1e-9, -1e-5])),
        TEXT,
    ),
    # questions
    unary("isinf", ops.isinf, np.isinf, order=0),
    unary("signbit", ops.signbit, np.signbit, order=0),
    unary("logical_not", ops.logical_not, np.logical_not, order=0),
    *[questions(f"logical_{name}", broadcasting()) for name in ("and", "or", "xor")],
    *[of_signs(name) for name in ("invert", "bitwise_and", "bitwise_or", "bitwise_xor")],
    *[of_signs(name, yes=3) for name in ("left_shift", "right_shift")],
    questions("isclose", broadcasting().map(lambda pair: (pair[0], pair[0] + 1e-6 * pair[1]))),
    over("any", samples=reduced(), order=0),
    over("all", samples=reduced(), order=0),
    over("count_nonzero", samples=reduced(), order=0),
    Op(
        "allclose",
        lambda x, y: x * ops.allclose(x, y, 0.5),
        lambda x, y: x * np.allclose(x, y, 0.5),
        st.tuples(arrays((2,)), arrays((2,))),
        [(mixed((2,), (2,)), TypeError, MIXED)],
        {"order": 0},
    ),
    Op(
        "array_equal",
        lambda x, y: x * ops.array_equal(x, ops.round(y)),
        lambda x, y: x * np.array_equal(x, np.round(y)),
        st.tuples(arrays((2,)).map(np.round), arrays((2,))),
        [(mixed((2,), (2,)), TypeError, MIXED)],
        {"order": 0},
    ),
    Op(
        "nonzero",
        lambda x: x * float(ops.nonzero(ops.round(x))[0].size),
        lambda x: x * float(np.nonzero(np.round(x))[0].size),
        arrays((2, 3)),
        [(("text",), (TypeError, ValueError, AttributeError), "array|str")],
    ),
    # of the same shape
    Op(
        "full_like",
        ops.full_like,
        np.full_like,
        st.tuples(arrays(), st.just(2.5)),
        like("ones_like").errors,
    ),
    like("ones_like"),
    # joining
    Op(
        "array",
        lambda x, y: ops.array([[x, y], [2 * x, x * y]]),
        lambda x, y: np.array([[x, y], [2 * x, x * y]]),
        shapes().flatmap(lambda size: st.tuples(arrays(size), arrays(size))),
        [(mixed((2,), (2,)), TypeError, MIXED)],
    ),
    same("atleast_1d", arrays(), [((["a", np.ones(1)],), TypeError, "wanted an array")]),
    same("atleast_2d", arrays(), [((["a", np.ones(1)],), TypeError, "wanted an array")]),
    same("atleast_3d", arrays(), [((["a", np.ones(1)],), TypeError, "wanted an array")]),
    joining("vstack", *rows, [(2, 3), (1, 3)], [(3,), (2, 3)]),
    joining("hstack", *rows, [(2, 3), (2, 1)], [(), ()]),
    joining("dstack", *rows, [(2,), (1, 2)]),
    joining("column_stack", *rows, [(2,), (2, 3)]),
    same(
        "append",
        st.tuples(arrays((2, 3)), arrays((2, 3)), st.sampled_from([None, 0, 1, -1])),
        [((two_by_three, np.ones((2, 2)), 0), ValueError, "concatenat")],
    ),
    same(
        "insert",
        st.tuples(
            arrays((2, 3)),
            st.integers(-2, 2),
            st.just(0.5) | arrays((1,)),
            st.sampled_from([None, 0, 1, -1]),
        ),
        [((two_by_three, 7, 0.5, 0), (ValueError, IndexError), "7")],
    ),
    same(
        "delete",
        st.tuples(
            arrays((3, 3)),
            st.sampled_from([0, -1, [0, 2], slice(1, None)]),
            st.sampled_from([None, 0, 1, -1]),
        ),
        [((two_by_three, 7, 0), IndexError, "7")],
    ),
    Op(
        "meshgrid",
        lambda x, y, z, indexing: ops.stack(ops.meshgrid(x, y, z, indexing=indexing)),
        lambda x, y, z, indexing: np.stack(np.meshgrid(x, y, z, indexing=indexing)),
        st.tuples(arrays((2,)), arrays((3,)), arrays((1,)), st.sampled_from(["xy", "ij"])),
        [((np.ones(2), np.ones(2), np.ones(2), "ji"), ValueError, "indexing: given 'ji'")],
    ),
    # cutting
    parts("array_split", cut(), [((two_by_three, 0, 0), ValueError, "sections")]),
    parts("vsplit", st.tuples(arrays((4, 2)), st.sampled_from([2, [1, 3]])), too_long),
    parts(
        "hsplit",
        st.tuples(arrays((2, 4)) | arrays((4,)), st.sampled_from([2, [1, 3]])),
        [((two_by_three, 2), ValueError, "split: given 3 elements along axis 1")],
    ),
    parts(
        "dsplit",
        st.tuples(arrays((1, 2, 4)), st.sampled_from([2, [1, 3]])),
        [((np.ones((1, 1, 3)), 2), ValueError, "split: given 3 elements along axis 2")],
    ),
    # turning
    same("flipud", arrays(shapes(min_dims=2)), [((np.array(1.0),), ValueError, "axis 0")]),
    same("fliplr", arrays(shapes(min_dims=2)), [((np.ones(2),), ValueError, "axis 1")]),
    same("rot90", turned, [((two_by_three, 1, (0, 0)), ValueError, "axes: given")]),
    same(
        "rollaxis",
        st.tuples(arrays((2, 3, 4)), st.integers(-3, 2), st.integers(-2, 3)),
        [((two_by_three, 2, 0), ValueError, "axis 2")],
    ),
    same(
        "matrix_transpose",
        arrays(shapes(min_dims=2)),
        [((np.ones(2),), ValueError, "axis1|axis|dim")],
    ),
    same("diagonal", diagonals, [((np.ones(2),), ValueError, "axis|source")]),
    Op("trace", ops.trace, np.trace, diagonals, [((np.ones(2),), ValueError, "axis|source")]),
    Op(
        "make_diagonal",
        ops.make_diagonal,
        lambda x, offset: np.stack([np.diag(row, offset) for row in x]),
        st.tuples(arrays((2, 3)), st.integers(-2, 2)),
        [((np.array(1.0), 0), IndexError, "tuple")],
    ),
    Op(
        "select",
        lambda x, y: ops.select([x > 0.5, x > 0], [y, x * y], 7.0),
        lambda x, y: np.select([x > 0.5, x > 0], [y, x * y], 7.0),
        st.tuples(arrays((2, 3)), arrays((2, 3))),
        [((np.ones(2), np.ones(3)), ValueError, "broadcast")],
    ),
    # along an axis
    same("cumprod", with_axis(min_side=0, none=True), AXIS),
    same(
        "diff",
        with_axis(st.integers(0, 3), min_side=0),
        [((two_by_three, -1), ValueError, "n: given -1"), ((two_by_three, 1, 2), ValueError, "2")],
    ),
    parts(
        "gradient",
        st.tuples(arrays((2, 3, 4)), st.sampled_from([1.0, 0.5])),
        [((np.ones((1, 2)),), ValueError, "two elements along axis 0")],
    ),
    Op(
        "linspace",
        ops.linspace,
        np.linspace,
        broadcasting().flatmap(
            lambda pair: st.tuples(*map(st.just, pair), st.integers(0, 4), st.booleans())
        ),
        [((np.ones(2), np.ones(2), -1), ValueError, "-1")],
    ),
    # over axes
    over("ptp"),
    same(
        "average",
        weighted(),
        [((two_by_three, 0, np.ones(5)), ValueError, r"weights: given shape \(5,\)")],
    ),
    over("median"),
    same(
        "quantile",
        with_axis(
            st.sampled_from([0.0, 0.3, 0.5, 1.0]) | st.just([0.2, 0.9]), distinct=True, none=True
        ),
        [
            ((two_by_three, 1.5), ValueError, "q: given 1.5"),
            ((two_by_three, 0.5, 2), ValueError, "2"),
        ],
    ),
    same(
        "percentile",
        with_axis(st.sampled_from([0, 30, 100]), distinct=True, none=True),
        [((two_by_three, 150), ValueError, "q: given 1.5")],
    ),
    # products
    same("inner", vectors, [((np.ones(2), np.ones(3)), ValueError, "tensordot: given axis")]),
    same(
        "vdot",
        st.tuples(arrays((2, 3)), arrays((3, 2))),
        [((np.ones(2), np.ones(3)), ValueError, "tensordot: given axis")],
    ),
    same(
        "vecdot",
        st.tuples(arrays((2, 3)), arrays((3,)) | arrays((2, 3))),
        [((np.ones(2), np.ones(3)), ValueError, r"\(2,\).*\(3,\)")],
    ),
    same("kron", st.tuples(arrays(), arrays()), [(mixed((2,), (2,)), TypeError, MIXED)]),
    same(
        "cross",
        st.sampled_from([((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3))]).flatmap(
            lambda sizes: st.tuples(*(arrays(size) for size in sizes))
        ),
        [((np.ones(2), np.ones(2)), ValueError, "cross: given vectors of 2 and 2")],
    ),
    Op(
        "cross (along other axes)",
        ops.cross,
        np.cross,
        st.tuples(arrays((3, 2)), arrays((2, 3)), st.just(0), st.just(-1), st.sampled_from([0, 1])),
        [((two_by_three, two_by_three, 0, 0), ValueError, "cross: given vectors of 2 and 2")],
    ),
    Op(
        "einsum (of numbered axes)",
        lambda x, y: ops.einsum(x, [..., 3, 1], y, [1, 0], [..., 0, 3]),
        lambda x, y: np.einsum(x, [..., 3, 1], y, [1, 0], [..., 0, 3]),
        st.tuples(arrays((2, 3, 4)) | arrays((3, 4)), arrays((4, 2))),
        [((np.ones(2), np.ones(2)), ValueError, "einsum: given '...db,ba->...ad' and operands")],
    ),
    # tails
    unary("erfc", ops.erfc, erfc, tails),
    unary("log_ndtr", ops.log_ndtr, log_ndtr, tails),
    unary("inverse_mills", ops.inverse_mills, inverse_mills, tails),
    Op("ndtr", ops.ndtr, lambda x: 0.5 * erfc(-x / math.sqrt(2)), tails, TEXT),
]
