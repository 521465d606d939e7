"""Convolution and its transpose. The references go pixel by pixel, from the definition."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, convolutions

from .row import MIXED, Op, mixed


def conv2d(x, w, stride, padding, dilation, groups, b=None):
    """Each pixel of y is the sum of a window of x times the kernel."""
    x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    kh, kw, group_in, channels_out = w.shape
    rows = (x.shape[1] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (x.shape[2] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((len(x), rows, columns, channels_out))
    for i, j, o in np.ndindex(rows, columns, channels_out):
        first = o // (channels_out // groups) * group_in
        top = i * stride[0]
        left = j * stride[1]
        window = x[
            :,
            top : top + dilation[0] * kh : dilation[0],
            left : left + dilation[1] * kw : dilation[1],
            first : first + group_in,
        ]
        y[:, i, j, o] = (window * w[..., o]).sum((1, 2, 3))
    return y if b is None else y + b


def conv2d_dx(y, w, x_size, stride, padding, dilation, groups):
    """The transposed linear map: its matrix is read off conv2d, one pixel of x at a time."""
    shape = (1, *x_size, w.shape[2] * groups)
    columns = [
        conv2d(unit.reshape(shape), w, stride, padding, dilation, groups)
        for unit in np.eye(math.prod(shape))
    ]
    return np.einsum("nijo,kijo->nk", y, np.concatenate(columns)).reshape(len(y), *shape[1:])


def conv2d_dw(y, x, kernel, stride, padding, dilation, groups):
    """The same for w: one of its numbers at a time."""
    shape = (*kernel, x.shape[3] // groups, y.shape[3])
    columns = [
        conv2d(x, unit.reshape(shape), stride, padding, dilation, groups)
        for unit in np.eye(math.prod(shape))
    ]
    return np.einsum("nijo,knijo->k", y, np.stack(columns)).reshape(shape)


def conv1d(x, w, b, stride, padding, dilation, groups):
    return conv2d(x[:, None], w[None], (1, stride), (0, padding), (1, dilation), groups, b)[:, 0]


def conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation):
    """Every pixel of x adds a copy of the kernel, dilated, to y; then the padding is cut off."""
    height, width = (
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, s, p, d, k, extra in zip(
            x.shape[1:3], stride, padding, dilation, w.shape, output_padding
        )
    )
    group_in = x.shape[3] // groups
    group_out = w.shape[3]
    y = np.zeros((len(x), height + 2 * padding[0], width + 2 * padding[1], group_out * groups))
    for i, j, u, v, group in np.ndindex(*x.shape[1:3], *w.shape[:2], groups):
        row = i * stride[0] + u * dilation[0]
        column = j * stride[1] + v * dilation[1]
        inputs = slice(group * group_in, (group + 1) * group_in)
        outputs = slice(group * group_out, (group + 1) * group_out)
        y[:, row, column, outputs] += x[:, i, j, inputs] @ w[u, v, inputs]
    return y[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width] + b


@st.composite
def with_output(draw, wanted):
    """Arguments of conv2d_dx or conv2d_dw."""
    x, w, *geometry = draw(convolutions())
    y = draw(arrays(conv2d(x, w, *geometry).shape))
    if wanted == "dx":
        return y, w, x.shape[1:3], *geometry
    return y, x, w.shape[:2], *geometry


@st.composite
def with_bias(draw):
    x, w, *geometry = draw(convolutions())
    return x, w, draw(arrays((w.shape[3],))), *geometry


@st.composite
def sequences(draw):
    """Arguments of conv1d, from those of a convolution of images one pixel high."""
    x, w, stride, padding, dilation, groups = draw(convolutions())
    return x[:, 0], w[0], draw(arrays((w.shape[3],))), stride[1], padding[1], dilation[1], groups


@st.composite
def transposed(draw):
    """Arguments of conv_transpose2d: those of a convolution that could have given x."""
    one_or_two = st.tuples(st.integers(1, 2), st.integers(1, 2))
    batch = draw(st.integers(0, 2))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(one_or_two)
    groups = draw(st.integers(1, 2))
    channels_out = draw(st.integers(1, 2))
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    # A padding that leaves at least a pixel of the output.
    most = [
        min(d * (k - 1), (s * (n - 1) + d * (k - 1) + e) // 2)
        for d, k, s, n, e in zip(dilation, kernel, stride, size, extra)
    ]
    padding = tuple(draw(st.integers(0, p)) for p in most)
    x = draw(arrays((batch, *size, groups)))
    w = draw(arrays((*kernel, groups, channels_out)))
    b = draw(arrays((channels_out * groups,)))
    return x, w, b, stride, padding, extra, groups, dilation


image = np.ones((1, 4, 4, 2))
weight = np.ones((3, 3, 2, 5))
errors = [
    ((np.ones((4, 4, 2)), weight, None), ValueError, r"conv2d: given x .*wanted \(batch, height"),
    ((np.ones((1, 2, 4, 4)), weight, None), ValueError, "conv2d: given x with 4 .*, wanted 2"),
    ((image, weight, np.ones(2)), ValueError, r"b: given shape \(2,\), wanted \(5,\)"),
    ((image, weight, None, 1, 0, 1, 0), ValueError, "groups: given 0, wanted an integer of at"),
    ((np.ones((1, 4, 4, 4)), weight, None, 1, 0, 1, 2), ValueError, "groups: given 2.* 5 channels"),
    ((image, weight, None, 1.5), ValueError, "stride: given 1.5, wanted an integer of at least 1"),
    ((np.ones((1, 2, 2, 2)), weight, None), ValueError, r"conv2d: .*kernel \(3, 3\) fits in"),
    ((image, weight, None, 0), ValueError, "stride: given 0, wanted an integer of at least 1"),
    ((image, weight, None, 1, -1), ValueError, "padding: given -1, wanted an integer of at least"),
    ((image, weight, None, 1, 0, (1, 2, 3)), ValueError, "dilation: given .*wanted .* a pair"),
    ((*mixed(image.shape, weight.shape), None), TypeError, MIXED),
]
GEOMETRY = ((1, 1), (0, 0), (1, 1), 1)

ROWS = [
    Op(
        "conv2d",
        lambda x, w, *geometry: ops.conv2d(x, w, None, *geometry),
        conv2d,
        convolutions(),
        [((a[0], a[1], *a[3:]), kind, text) for a, kind, text in errors if a[2] is None],
    ),
    Op(
        "conv2d_bias",
        ops.conv2d,
        lambda x, w, b, *geometry: conv2d(x, w, *geometry, b),
        with_bias(),
        errors,
    ),
    Op(
        "conv2d_dx",
        ops.conv2d_dx,
        conv2d_dx,
        with_output("dx"),
        [((*mixed((1, 2, 2, 5), (3, 3, 2, 5)), (4, 4), *GEOMETRY), TypeError, MIXED)],
    ),
    Op(
        "conv2d_dw",
        ops.conv2d_dw,
        conv2d_dw,
        with_output("dw"),
        [((*mixed((1, 2, 2, 5), (1, 4, 4, 2)), (3, 3), *GEOMETRY), TypeError, MIXED)],
    ),
    Op(
        "conv1d",
        ops.conv1d,
        conv1d,
        sequences(),
        [((image, image), ValueError, "conv1d: given x .*wanted")],
    ),
    Op(
        "conv_transpose2d",
        ops.conv_transpose2d,
        conv_transpose2d,
        transposed(),
        [
            (
                (image, np.ones((3, 3, 5, 2))),
                ValueError,
                "conv_transpose2d: given x with 2 channels, wanted 5",
            ),
            (
                (image, np.ones((3, 3, 2, 5)), None, 2, 0, 2),
                ValueError,
                "output_padding: given 2, wanted less than the stride",
            ),
            (
                (image, np.ones((1, 1, 2, 1)), None, 1, 3),
                ValueError,
                "padding: given 3, wanted less: nothing is left",
            ),
        ],
    ),
]
