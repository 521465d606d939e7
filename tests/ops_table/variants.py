"""Further arguments of operations that have a row already: padding, dilation, statistics that are given."""

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays

from .composed import scaled, windows
from .network import image
from .reductions import reduced
from .row import Op


@st.composite
def transposed(draw):
    """Arguments of conv_transpose2d: those of a convolution that could have given x."""
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    kernel, stride, dilation, size, groups = (
        *(draw(pair) for _ in range(4)),
        draw(st.integers(1, 2)),
    )
    padding = tuple(draw(st.integers(0, d * (k - 1))) for d, k in zip(dilation, kernel))
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    padding = tuple(
        min(p, (s * (n - 1) + d * (k - 1) + m) // 2)
        for p, s, n, d, k, m in zip(padding, stride, size, dilation, kernel, more)
    )
    x, w = draw(arrays((2, *size, groups))), draw(arrays((*kernel, groups, 2)))
    return x, w, draw(arrays((2 * groups,))), stride, padding, more, groups, dilation


def conv_transpose2d(x, w, b, stride, padding, more, groups, dilation):
    """From the definition: every pixel of x adds a copy of the kernel, dilated, to the output."""
    h, v = (
        (n - 1) * s - 2 * p + d * (k - 1) + m + 1
        for n, s, p, d, k, m in zip(x.shape[1:], stride, padding, dilation, w.shape, more)
    )
    y = np.zeros((len(x), h + 2 * padding[0], v + 2 * padding[1], w.shape[3] * groups))
    part, out = x.shape[3] // groups, w.shape[3]
    for i, j, u, t, g in np.ndindex(*x.shape[1:3], *w.shape[:2], groups):
        inputs = x[:, i, j, g * part : (g + 1) * part]
        y[
            :,
            i * stride[0] + u * dilation[0],
            j * stride[1] + t * dilation[1],
            g * out : (g + 1) * out,
        ] += inputs @ w[u, t, g * part : (g + 1) * part]
    return y[:, padding[0] : padding[0] + h, padding[1] : padding[1] + v] + b


@st.composite
def averaged(draw):
    """Arguments of avg_pool2d, with padding."""
    size, stride = (tuple(draw(st.integers(1, 3)) for _ in range(2)) for _ in range(2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    return (
        draw(arrays((2, *(k + draw(st.integers(0, 2)) for k in size), 2), distinct=True)),
        size,
        stride,
        padding,
    )


def pooled(reduce, border):
    def f(x, size, stride, padding):
        x = np.pad(
            x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)), constant_values=border
        )
        return reduce(windows(x, size, stride), 0)

    return f


def batch_norm(x, mean, variance, weight, bias):
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


@st.composite
def with_statistics(draw):
    x, weight, bias = draw(scaled())
    return x, draw(arrays(weight.shape)), draw(arrays(weight.shape, low=0.5, high=2)), weight, bias


@st.composite
def pieces(draw):
    """Arguments of split and an axis to put the pieces together along again."""
    parts, size, axis = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(-2, 1))
    x = draw(arrays((parts * size, 2) if axis % 2 == 0 else (2, parts * size)))
    places = st.lists(st.integers(0, parts * size), max_size=3).map(sorted)
    return x, draw(st.just(parts) | places), axis


def weighted(split, concatenate):
    """The pieces of a split put together again, the k-th times k + 1."""

    def f(x, parts, axis):
        return concatenate(
            [(k + 1.0) * piece for k, piece in enumerate(split(x, parts, axis))], axis
        )

    return f


wrong_axis = [((np.ones((2, 3)), axis, False), ValueError, f"axis {axis}") for axis in (2, -3)]

ROWS = [
    Op(
        "conv_transpose2d, padded and dilated",
        ops.conv_transpose2d,
        conv_transpose2d,
        transposed(),
        [((image, np.ones((1, 1, 2, 1)), None, 1, 3), ValueError, "padding=3 leaves nothing")],
    ),
    Op(
        "max_pool2d, padded",
        ops.max_pool2d,
        pooled(np.max, -np.inf),
        averaged(),
        [((image, 2, 2, 2), ValueError, "max_pool2d: windows of .2, 2., padding=2, do not fit")],
    ),
    Op(
        "avg_pool2d, padded",
        ops.avg_pool2d,
        pooled(np.mean, 0),
        averaged(),
        [((image, 5, 1, 0), ValueError, "avg_pool2d: windows of .5, 5")],
    ),
    Op(
        "batch_norm, statistics given",
        ops.batch_norm,
        batch_norm,
        with_statistics(),
        [((image, *[np.ones(2)] * 2, np.ones(3), np.ones(2)), ValueError, r"\(3,\)")],
    ),
    Op(
        "split, all pieces",
        weighted(ops.split, ops.concatenate),
        weighted(np.split, np.concatenate),
        pieces(),
        [
            (
                (np.ones((2, 3)), 2, 1),
                ValueError,
                "split: given 3 elements along axis 1, wanted a multiple of the 2",
            )
        ],
    ),
    Op(
        "prod, of no elements too",
        ops.prod,
        lambda x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims),
        reduced(),
        wrong_axis,
    ),
]
