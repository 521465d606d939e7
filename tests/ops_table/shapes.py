"""Operations that move elements."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidiff import ops
from minidiff.ops.shapes import scatter_add
from minidiff.testing import arrays, shapes

from .row import MIXED, Op, mixed


@st.composite
def reshaped(draw):
    x = draw(arrays())
    return x, draw(
        st.sampled_from(
            [x.shape, (x.size,), (1, x.size), (*x.shape, 1), x.shape[::-1], -1 if x.size else 0]
        )
    )


@st.composite
def permuted(draw):
    x = draw(arrays())
    return x, draw(st.none() | st.permutations(range(x.ndim)).map(tuple))


@st.composite
def two_axes(draw):
    x = draw(arrays(shapes(min_dims=1)))
    axis = st.integers(-x.ndim, x.ndim - 1)
    return x, draw(axis), draw(axis)


@st.composite
def bordered(draw):
    x = draw(arrays(shapes(min_dims=1)))
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    width = draw(st.integers(0, 2) | pair | st.tuples(*[pair] * x.ndim))
    return x, width, draw(st.sampled_from([0, 1.5]))


@st.composite
def indices(draw, shape):
    """Slices, numbers, ellipses and new axes; integer arrays with repeats; masks; mixtures."""
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    if not shape or 0 in shape:
        return draw(basic)
    places = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    mask = hnp.arrays(bool, shape)
    rows = st.lists(st.integers(-shape[0], shape[0] - 1), min_size=1, max_size=4)
    kinds = basic | places | mask | rows
    if len(shape) > 1:
        columns = hnp.arrays(np.int64, 3, elements=st.integers(0, shape[1] - 1))
        kinds |= st.tuples(st.just(slice(None)), columns)
    return draw(kinds)


@st.composite
def indexed(draw):
    x = draw(arrays())
    return x, draw(indices(x.shape))


@st.composite
def scattered(draw):
    shape = draw(shapes(min_side=1))
    index = draw(indices(shape))
    index = np.asarray(index) if isinstance(index, list) else index
    return draw(arrays(np.shape(np.empty(shape)[index]))), index, shape


def _scatter_add(y, index, shape):
    out = np.zeros(shape)
    np.add.at(out, index, y)
    return out


@st.composite
def joined(draw, new_axis=False):
    """(axis, one to three arrays that fit)"""
    shape = draw(shapes(min_dims=0 if new_axis else 1))
    ndim = len(shape) + new_axis
    axis = draw(st.integers(-ndim, ndim - 1))
    number = draw(st.integers(1, 3))
    if new_axis:
        return axis, *(draw(arrays(shape)) for _ in range(number))
    sizes = [
        tuple(draw(st.integers(0, 3)) if i == axis % ndim else n for i, n in enumerate(shape))
        for _ in range(number)
    ]
    return axis, *(draw(arrays(size)) for size in sizes)


@st.composite
def widened(draw):
    x = draw(arrays())
    return x, draw(st.integers(-x.ndim - 1, x.ndim))


@st.composite
def thinned(draw):
    x = draw(arrays(shapes(max_side=2)))
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    return x, draw(st.none() | st.sampled_from(ones) | st.just(tuple(ones))) if ones else None


@st.composite
def pieces(draw):
    """Arguments of split and an axis to put the pieces together along again."""
    parts = draw(st.integers(1, 3))
    length = parts * draw(st.integers(0, 2))
    axis = draw(st.integers(-2, 1))
    x = draw(arrays((length, 2) if axis % 2 == 0 else (2, length)))
    cuts = st.lists(st.integers(0, length), max_size=3).map(sorted)
    return x, draw(st.just(parts) | cuts), axis


def weighted(split, concatenate):
    """The pieces of a split put together again, the k-th times k + 1."""

    def f(x, parts, axis):
        weighted_pieces = [(k + 1.0) * piece for k, piece in enumerate(split(x, parts, axis))]
        return concatenate(weighted_pieces, axis)

    return f


two_by_three = np.ones((2, 3))

ROWS = [
    Op(
        "reshape",
        ops.reshape,
        np.reshape,
        reshaped(),
        [((two_by_three, (4,)), ValueError, "reshape")],
    ),
    Op(
        "transpose",
        ops.transpose,
        np.transpose,
        permuted(),
        [((two_by_three, (0, 0)), ValueError, "axis|axes")],
    ),
    Op(
        "swapaxes",
        ops.swapaxes,
        np.swapaxes,
        two_axes(),
        [((two_by_three, 0, 2), ValueError, "axis")],
    ),
    Op(
        "astype",
        lambda x: ops.astype(x, x.dtype),
        np.array,
        arrays(),
        [((None,), AttributeError, "NoneType")],
    ),
    Op(
        "pad",
        lambda x, width, value: ops.pad(x, width, constant_values=value),
        lambda x, width, value: np.pad(x, width, constant_values=value),
        bordered(),
        [((two_by_three, -1, 0), ValueError, "pad_width: given -1, wanted no negative")],
    ),
    Op(
        "getitem",
        ops.getitem,
        lambda x, index: x[index],
        indexed(),
        [((two_by_three, 2), IndexError, "2")],
    ),
    Op(
        "scatter_add",
        scatter_add,
        _scatter_add,
        scattered(),
        [((np.ones(2), 5, (3,)), IndexError, "5")],
    ),
    Op(
        "concatenate",
        lambda axis, *xs: ops.concatenate(xs, axis),
        lambda axis, *xs: np.concatenate(xs, axis),
        joined(),
        [
            ((0, *mixed((2,), (2,))), TypeError, MIXED),
            ((0, np.ones((2, 2)), np.ones((2, 3))), ValueError, "dimension"),
        ],
    ),
    Op(
        "stack",
        lambda axis, *xs: ops.stack(xs, axis),
        lambda axis, *xs: np.stack(xs, axis),
        joined(new_axis=True),
        [
            ((0, *mixed((2,), (2,))), TypeError, MIXED),
            ((0, np.ones(2), np.ones(3)), ValueError, "dimension"),
        ],
    ),
    Op(
        "expand_dims",
        ops.expand_dims,
        np.expand_dims,
        widened(),
        [((two_by_three, 3), ValueError, "axis 3")],
    ),
    Op(
        "split, all pieces",
        weighted(ops.split, ops.concatenate),
        weighted(np.split, np.concatenate),
        pieces(),
        [((two_by_three, 2, 1), ValueError, "split: given 3 elements along axis 1, wanted a mult")],
    ),
    Op("squeeze", ops.squeeze, np.squeeze, thinned(), [((two_by_three, 0), ValueError, "axis 0")]),
]
