"""What networks are made of. The references are loops over pixels, or textbook formulas."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, convolutions, shapes

from .elementwise import sigmoid
from .row import MIXED, Op, mixed

# --- convolution ---


def conv2d(x, w, stride, padding, dilation, groups, b=None):
    """Pixel by pixel, from the definition."""
    x = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    kh, kw, cin, cout = w.shape
    rows = (x.shape[1] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (x.shape[2] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((len(x), rows, columns, cout))
    for i, j, o in np.ndindex(rows, columns, cout):
        first = o // (cout // groups) * cin
        top, left = i * stride[0], j * stride[1]
        window = x[
            :,
            top : top + dilation[0] * kh : dilation[0],
            left : left + dilation[1] * kw : dilation[1],
        ]
        y[:, i, j, o] = (window[..., first : first + cin] * w[..., o]).sum((1, 2, 3))
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
    shape = (*kernel, x.shape[3] // groups, y.shape[3])
    columns = [
        conv2d(x, unit.reshape(shape), stride, padding, dilation, groups)
        for unit in np.eye(math.prod(shape))
    ]
    return np.einsum("nijo,knijo->k", y, np.stack(columns)).reshape(shape)


@st.composite
def with_output(draw, order):
    """Arguments of one of the convolution's gradients."""
    x, w, *how = draw(convolutions())
    y = draw(arrays(conv2d(x, w, *how).shape))
    return (y, w, x.shape[1:3], *how) if order == "dx" else (y, x, w.shape[:2], *how)


@st.composite
def with_bias(draw):
    x, w, *how = draw(convolutions())
    return x, w, draw(arrays((w.shape[3],))), *how


image, weight = np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 5))
conv_errors = [
    ((np.ones((4, 4, 2)), weight, None), ValueError, r"conv2d: x must be \(batch, height"),
    ((np.ones((1, 2, 4, 4)), weight, None), ValueError, "conv2d: x has 4 channels.*takes 2"),
    ((image, weight, np.ones(2)), ValueError, r"conv2d: b must have shape \(5,\)"),
    ((image, weight, None, 1, 0, 1, 0), ValueError, "conv2d: x has 2 channels.*groups=0"),
    (
        (image, weight, None, 1.5),
        ValueError,
        "stride must be an int or a pair of ints, at least 1; got 1.5",
    ),
    ((np.ones((1, 2, 2, 2)), weight, None), ValueError, "does not fit"),
    ((image, weight, None, 0), ValueError, "stride must be .* at least 1; got 0"),
    ((image, weight, None, 1, -1), ValueError, "padding must be .* at least 0; got -1"),
    ((image, weight, None, 1, 0, (1, 2, 3)), ValueError, "dilation must be .*pair"),
    ((*mixed(image.shape, weight.shape), None), TypeError, MIXED),
]
corner = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}

# --- pooling and resampling ---


def max_pool2d(x, size, stride):
    rows, columns = ((n - size) // stride + 1 for n in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, x.shape[3]))
    for i, j in np.ndindex(rows, columns):
        y[:, i, j] = x[:, i * stride : i * stride + size, j * stride : j * stride + size].max(
            (1, 2)
        )
    return y


@st.composite
def pooled(draw, kind="forward"):
    """(x, size, stride), or the arguments of what its derivatives are made of."""
    size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (
        draw(st.integers(0, 2)),
        *(size + draw(st.integers(0, 3)) for _ in range(2)),
        draw(st.integers(1, 2)),
    )
    x = draw(arrays(shape, distinct=True))
    if kind == "forward":
        return x, size, stride
    out = max_pool2d(x, size, stride).shape
    index = np.random.default_rng(draw(st.integers(0, 99))).integers(0, size * size, out)
    return (
        (draw(arrays(out)), index, shape[1:3], size, stride)
        if kind == "dx"
        else (x, index, size, stride)
    )


def max_pool2d_pick(x, index, size, stride):
    y = np.zeros(index.shape)
    for n, i, j, c in np.ndindex(index.shape):
        row, column = divmod(int(index[n, i, j, c]), size)
        y[n, i, j, c] = x[n, i * stride + row, j * stride + column, c]
    return y


def max_pool2d_dx(y, index, x_size, size, stride):
    x = np.zeros((len(y), *x_size, y.shape[3]))
    for n, i, j, c in np.ndindex(index.shape):
        row, column = divmod(int(index[n, i, j, c]), size)
        x[n, i * stride + row, j * stride + column, c] += y[n, i, j, c]
    return x


@st.composite
def images(draw, block=1):
    """(x, scale); the sizes are multiples of scale if `block`."""
    scale = draw(st.integers(1, 3))
    h, w = (draw(st.integers(0, 3)) * (scale if block else 1) for _ in range(2))
    return draw(arrays((draw(st.integers(0, 2)), h, w, draw(st.integers(1, 2))))), scale


def block_sums(y, scale):
    b, h, w, c = y.shape
    return np.einsum("bhiwjc->bhwc", y.reshape(b, h // scale, scale, w // scale, scale, c))


# --- normalisation, dense, embedding, attention, losses ---


def group_norm(x, groups, weight, bias):
    y = np.empty(x.shape)
    size = x.shape[-1] // groups
    for n in range(len(x)):
        for g in range(groups):
            part = x[n, ..., g * size : (g + 1) * size]
            y[n, ..., g * size : (g + 1) * size] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    return y * weight + bias


def group_norm_silu(x, groups, weight, bias, shift, skip):
    y = group_norm(x, groups, weight, bias)
    if shift is not None:
        y = y + shift.reshape(len(x), *(1,) * (x.ndim - 2), -1)
    return y * sigmoid(y) + (0 if skip is None else skip)


@st.composite
def normalised(draw, shifted=False):
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 2))
    space = draw(st.sampled_from([(4,), (2, 3), (3, 3)]))
    x = draw(arrays((draw(st.integers(1, 2)), *space, channels), low=-2, high=2, distinct=True))
    row = x, groups, draw(arrays((channels,))), draw(arrays((channels,)))
    return (
        (*row, *(draw(st.none() | arrays(like)) for like in ((x.shape[0], channels), x.shape)))
        if shifted
        else row
    )


def softmax(x, axis=-1):
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


@st.composite
def along(draw):
    x = draw(arrays(shapes(min_dims=1, min_side=1)))
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


@st.composite
def dense_arguments(draw):
    lead, n, m = draw(shapes(max_dims=2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return draw(arrays((*lead, n))), draw(arrays((n, m))), draw(arrays((m,)))


@st.composite
def conditioned(draw):
    """Operands of a dense layer with conditions: none of the operands wants what another has."""
    batch, i, n, d, rows = (draw(st.integers(least, 3)) for least in (0, 1, 1, 1, 1))
    ids = np.random.default_rng(draw(st.integers(0, 99))).integers(0, rows, batch)
    layer = [(batch, i), (i, n), (n,)], [(batch, d), (d, n), (n,)], [(rows, n)]
    return *(draw(arrays(shape)) for part in layer for shape in part), ids


def conditioned_dense(x, w, b, e, v, c, table, ids):
    z = np.einsum("bi,io->bo", x, w) + np.einsum("bd,do->bo", e, v) + b + c + np.take(table, ids, 0)
    return z * sigmoid(z)


@st.composite
def looked_up(draw, scattered=False):
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    ids = np.random.default_rng(draw(st.integers(0, 99))).integers(
        0, rows, draw(shapes(max_dims=2))
    )
    return (
        (draw(arrays((*ids.shape, width))), ids, rows)
        if scattered
        else (draw(arrays((rows, width))), ids)
    )


def scatter_rows(y, ids, rows):
    table = np.zeros((rows, y.shape[-1]))
    for at in np.ndindex(ids.shape):
        table[ids[at]] += y[at]
    return table


@st.composite
def queries(draw):
    lead = draw(st.sampled_from([(), (2,), (2, 1)]))
    n, m, d, e = (draw(st.integers(1, 3)) for _ in range(4))
    return draw(arrays((*lead, n, d))), draw(arrays((*lead, m, d))), draw(arrays((*lead, m, e)))


def self_attention(qkv, heads):
    """Head by head, on slices."""
    c = qkv.shape[2] // 3
    d = c // heads
    out = np.empty((*qkv.shape[:2], c))
    for h in range(heads):
        q, k, v = (qkv[..., part * c + h * d : part * c + (h + 1) * d] for part in range(3))
        out[..., h * d : (h + 1) * d] = softmax(q @ np.swapaxes(k, 1, 2) / math.sqrt(d)) @ v
    return out


@st.composite
def headed(draw):
    b, n, heads, d = (draw(st.integers(1, most)) for most in (2, 4, 2, 3))
    return draw(arrays((b, n, 3 * heads * d))), heads


@st.composite
def labelled(draw):
    n, classes = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return draw(arrays((n, classes))), np.random.default_rng(draw(st.integers(0, 99))).integers(
        0, classes, n
    )


@st.composite
def pairs(draw):
    shape = draw(shapes(min_side=1))
    return draw(arrays(shape)), draw(arrays(shape))


x4, ones4 = np.ones((2, 3, 3, 4)), np.ones(4)
layer = [np.ones(shape) for shape in ((2, 3), (3, 5), (5,), (2, 4), (4, 5), (5,), (2, 5))]
norm_errors = [
    ((x4, 3, ones4, ones4), ValueError, "groups=3 must divide the 4 channels"),
    ((x4, 2, np.ones(3), ones4), ValueError, r"weight and bias.*\(3,\)"),
]

ROWS = [
    Op(
        "conv2d",
        lambda x, w, *how: ops.conv2d(x, w, None, *how),
        conv2d,
        convolutions(),
        [((a[0], a[1], *a[3:]), kind, text) for a, kind, text in conv_errors if a[2] is None],
    ),
    Op(
        "conv2d_bias",
        ops.conv2d,
        lambda x, w, b, *how: conv2d(x, w, *how, b),
        with_bias(),
        conv_errors,
    ),
    Op(
        "conv2d_dx",
        ops.conv2d_dx,
        conv2d_dx,
        with_output("dx"),
        [((*mixed((1, 2, 2, 5), (3, 3, 2, 5)), (4, 4), *corner.values()), TypeError, MIXED)],
    ),
    Op(
        "conv2d_dw",
        ops.conv2d_dw,
        conv2d_dw,
        with_output("dw"),
        [((*mixed((1, 2, 2, 5), (1, 4, 4, 2)), (3, 3), *corner.values()), TypeError, MIXED)],
    ),
    Op(
        "max_pool2d",
        ops.max_pool2d,
        max_pool2d,
        pooled(),
        [((image, 5, 1), ValueError, "max_pool2d: windows of .5, 5")],
    ),
    Op(
        "max_pool2d_dx",
        ops.max_pool2d_dx,
        max_pool2d_dx,
        pooled("dx"),
        [((image,), TypeError, "missing")],
    ),
    Op(
        "upsample_nearest",
        ops.upsample_nearest,
        lambda x, n: np.kron(x, np.ones((1, n, n, 1))),
        images(block=0),
        [
            ((image, 0), ValueError, "scale"),
            ((image, 1.5), ValueError, "scale must be an int, at least 1; got 1.5"),
        ],
    ),
    Op(
        "upsample_nearest_dx",
        ops.upsample_nearest_dx,
        block_sums,
        images(),
        [((image, 3), ValueError, "reshape")],
    ),
    Op(
        "dense",
        ops.dense,
        lambda x, w, b: np.einsum("...i,io->...o", x, w) + b,
        dense_arguments(),
        [
            ((np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), ValueError, r"dense: x .*\(2, 3\)"),
            ((np.ones((2, 3)), np.ones((3, 4)), np.ones(3)), ValueError, "dense.*b"),
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
                "conditioned_dense: ids: given 0 … 2, wanted 0 … 1",
            ),
            ((*layer, np.array([-1, 0])), IndexError, "got -1"),
            ((*layer, np.zeros(2)), TypeError, "ids must be integers"),
            ((*layer, np.array([0])), ValueError, r"conditioned_dense: x \(batch, in\).*\(1,\)"),
            (
                (*layer[:2], np.ones(4), *layer[3:], np.array([0, 0])),
                ValueError,
                r"do not fit: .*\(4,\)",
            ),
            (
                (
                    *(a.astype(np.float32) if k == 1 else a for k, a in enumerate(layer)),
                    np.array([0, 0]),
                ),
                TypeError,
                MIXED,
            ),
        ],
    ),
    Op(
        "embedding",
        ops.embedding,
        lambda table, ids: np.take(table, ids, 0),
        looked_up(),
        [
            (
                (np.ones((3, 2)), np.array([3])),
                IndexError,
                "embedding: ids must lie in 0 … 2; got 3",
            ),
            ((np.ones((3, 2)), np.array([-1])), IndexError, "got -1"),
            ((np.ones((3, 2)), np.ones(1)), TypeError, "ids must be integers"),
        ],
    ),
    Op(
        "embedding_dtable",
        ops.embedding_dtable,
        scatter_rows,
        looked_up(scattered=True),
        [((np.ones((1, 2)), np.array([7]), 3), IndexError, "7")],
    ),
    Op("group_norm", ops.group_norm, group_norm, normalised(), norm_errors),
    Op(
        "group_norm_silu",
        ops.group_norm_silu,
        group_norm_silu,
        normalised(shifted=True),
        [
            *norm_errors,
            ((x4, 2, ones4, ones4, np.ones((4, 2))), ValueError, "shift must be"),
            ((x4, 2, ones4, ones4, None, x4[1:]), ValueError, "skip like x"),
        ],
    ),
    Op("softmax", ops.softmax, softmax, along(), [((np.ones(2), 1), ValueError, "axis 1")]),
    Op(
        "log_softmax",
        ops.log_softmax,
        lambda x, axis: np.log(softmax(x, axis)),
        along(),
        [((np.ones(2), 1), ValueError, "axis 1")],
    ),
    Op(
        "attention",
        ops.attention,
        lambda q, k, v: softmax(q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v,
        queries(),
        [((np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 4))), ValueError, r"attention.*\(2, 3\)")],
    ),
    Op(
        "self_attention",
        ops.self_attention,
        self_attention,
        headed(),
        [((np.ones((2, 3, 12)), 3), ValueError, r"heads=3 divides; got \(2, 3, 12\)")],
    ),
    Op(
        "cross_entropy",
        ops.cross_entropy,
        lambda logits, labels: (
            -np.mean([np.log(softmax(row)[label]) for row, label in zip(logits, labels)])
        ),
        labelled(),
        [
            (
                (np.ones((2, 3)), np.array([0, 3])),
                IndexError,
                "labels must lie in 0 … 2; got 0 … 3",
            ),
            ((np.ones((2, 3)), np.array([0])), ValueError, r"labels \(…\); got \(2, 3\), \(1,\)"),
        ],
    ),
    Op(
        "mse_loss",
        ops.mse_loss,
        lambda x, y: np.sum((x - y) ** 2) / x.size,
        pairs(),
        [((np.ones(3), np.ones((3, 1))), ValueError, r"mse_loss.*\(3,\).*\(3, 1\)")],
    ),
]
