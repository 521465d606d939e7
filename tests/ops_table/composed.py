"""What networks use and is composed of other operations.

The references are loops, or textbook formulas.
"""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, convolutions, shapes

from .elementwise import sigmoid, unary
from .network import conv2d, image, pairs, softmax
from .row import Op, axes

away = arrays(low=0.1, high=2.5).map(
    lambda x: np.where(np.arange(x.size).reshape(x.shape) % 2, -x, x)
)
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def reduced(each, reduction):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](each)


# --- convolution, pooling, resizing ---


@st.composite
def sequences(draw):
    """Arguments of conv1d, from those of a convolution of images one pixel high."""
    x, w, stride, padding, dilation, groups = draw(convolutions())
    return x[:, 0], w[0], draw(arrays((w.shape[3],))), stride[1], padding[1], dilation[1], groups


def conv1d(x, w, b, stride, padding, dilation, groups):
    return conv2d(x[:, None], w[None], (1, stride), (0, padding), (1, dilation), groups, b)[:, 0]


@st.composite
def transposed(draw):
    groups, stride = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    x = draw(
        arrays((draw(st.integers(0, 2)), *(draw(st.integers(1, 3)) for _ in range(2)), groups))
    )
    w = draw(
        arrays((draw(st.integers(2, 3)), draw(st.integers(2, 3)), groups, draw(st.integers(1, 2))))
    )
    more = draw(st.integers(0, stride - 1))
    return (
        x,
        w,
        draw(arrays((w.shape[3] * groups,))),
        stride,
        draw(st.integers(0, 0)),
        more,
        groups,
        1,
    )


def conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation):
    """Every pixel of x puts a copy of the kernel into y."""
    kh, kw, each, out = *w.shape[:2], w.shape[2] // groups, w.shape[3]
    size = [
        (n - 1) * stride + dilation * (k - 1) + output_padding + 1
        for n, k in zip(x.shape[1:3], (kh, kw))
    ]
    y = np.zeros((len(x), *size, out * groups))
    for i, j, c, u, v in np.ndindex(*x.shape[1:], kh, kw):
        first = c // each * out
        y[:, i * stride + u * dilation, j * stride + v * dilation, first : first + out] += (
            x[:, i, j, c, None] * w[u, v, c]
        )
    return y + b


@st.composite
def windowed(draw):
    """(x, size, stride)"""
    size, stride = (draw(st.tuples(st.integers(1, 3), st.integers(1, 2))) for _ in range(2))
    shape = (
        draw(st.integers(0, 2)),
        *(k + draw(st.integers(0, 3)) for k in size),
        draw(st.integers(1, 2)),
    )
    return draw(arrays(shape)), size, stride


def windows(x, size, stride):
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:3], size, stride))
    y = np.zeros((size[0] * size[1], len(x), rows, columns, x.shape[3]))
    for u, v, i, j in np.ndindex(*size, rows, columns):
        y[u * size[1] + v, :, i, j] = x[:, i * stride[0] + u, j * stride[1] + v]
    return y


@st.composite
def taken_apart(draw):
    x, size, stride = draw(windowed())
    return draw(arrays(windows(x, size, stride).shape)), x.shape[1:3], size, stride


def windows_dx(y, x_size, size, stride):
    x = np.zeros((y.shape[1], *x_size, y.shape[4]))
    for u, v, i, j in np.ndindex(*size, *y.shape[2:4]):
        x[:, i * stride[0] + u, j * stride[1] + v] += y[u * size[1] + v, :, i, j]
    return x


@st.composite
def images(draw, *more):
    x = draw(
        arrays(
            (
                draw(st.integers(0, 2)),
                *(draw(st.integers(2, 5)) for _ in range(2)),
                draw(st.integers(1, 2)),
            )
        )
    )
    return x, *map(draw, more)


def adaptive_avg_pool2d(x, size):
    y = np.zeros((len(x), *size, x.shape[3]))
    for i, j in np.ndindex(*size):
        (a, b), (c, d) = (
            (k * n // m, -(-(k + 1) * n // m)) for k, n, m in zip((i, j), x.shape[1:3], size)
        )
        y[:, i, j] = x[:, a:b, c:d].mean((1, 2))
    return y


def interpolate(x, size, factor, mode, corners):
    """Pixel by pixel."""
    out = size or [int(n * factor) for n in x.shape[1:3]]
    y = np.zeros((len(x), *out, x.shape[3]))
    for i, j in np.ndindex(*out):
        rows, columns = ([], [])
        for k, n, m, found in zip((i, j), x.shape[1:3], out, (rows, columns)):
            step = 1 / factor if factor else n / m
            at = (
                k * (n - 1) / max(m - 1, 1)
                if corners
                else min(max((k + 0.5) * step - 0.5, 0), n - 1)
            )
            low = min(math.floor(k * step), n - 1) if mode == "nearest" else math.floor(at)
            part = 0 if mode == "nearest" else at - low
            found += [(low, 1 - part), (min(low + 1, n - 1), part)]
        y[:, i, j] = sum(x[:, r, c] * a * b for r, a in rows for c, b in columns)
    return y


sides = st.tuples(st.integers(1, 6), st.integers(1, 6))
resized = images(
    sides, st.none(), st.sampled_from(["nearest", "bilinear"]), st.booleans()
) | images(
    st.none(),
    st.sampled_from([2, 0.5, 1.5]),
    st.sampled_from(["nearest", "bilinear"]),
    st.just(False),
)

# --- normalisation ---


def normal(x, axis):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


@st.composite
def scaled(draw):
    """(x, weight, bias); x is (batch, h, w, channels) with distinct numbers."""
    channels = draw(st.integers(1, 3))
    x = draw(arrays((draw(st.integers(1, 2)), 2, draw(st.integers(1, 3)), channels), distinct=True))
    return x, draw(arrays((channels,))), draw(arrays((channels,)))


@st.composite
def reductions(draw, *more):
    x = draw(arrays(shapes(min_dims=1, min_side=1), distinct=True))
    return x, *map(draw, more), draw(axes(x.ndim)), draw(st.booleans())


def logsumexp(x, axis, keepdims):
    return np.log(np.exp(x).sum(axis, keepdims=keepdims))


def norm(x, ord, axis, keepdims):
    if ord in (math.inf, -math.inf):
        return (np.max if ord > 0 else np.min)(np.abs(x), axis, keepdims=keepdims)
    ord = 2 if ord is None else ord
    return (np.abs(x) ** ord).sum(axis, keepdims=keepdims) ** (1 / ord)


# --- losses ---


def with_reduction(strategy, *more):
    return st.tuples(strategy, *more, REDUCTIONS).map(lambda row: (*row[0], *row[1:]))


@st.composite
def labelled(draw):
    x = draw(arrays((*draw(st.sampled_from([(3,), (1,), (2, 2)])), draw(st.integers(1, 4)))))
    labels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, x.shape[-1], x.shape[:-1])
    labels[1:] = np.where(draw(st.booleans()), -1, labels[1:])
    return x, labels, -1, draw(st.sampled_from([0.0, 0.2])), draw(REDUCTIONS)


def cross_entropy(x, labels, ignored, smoothing, reduction):
    each = np.zeros(labels.shape)
    for at in np.ndindex(labels.shape):
        p = np.log(softmax(x[at]))
        if labels[at] != ignored:
            each[at] = -(1 - smoothing) * p[labels[at]] - smoothing * p.mean()
    return (
        each.sum() / (labels != ignored).sum() if reduction == "mean" else reduced(each, reduction)
    )


def probable(row):
    return row[0], sigmoid(row[1])


def each(name, reference, samples=None):
    """A pointwise operation that is composed, so that one of its parts refuses what is no number."""
    samples = arrays() if samples is None else samples
    return Op(
        name,
        getattr(ops, name),
        reference,
        samples,
        [(("text",), TypeError, "expected arrays|concatenate str")],
    )


def one(name, reference, samples, errors, **how):
    return Op(name, getattr(ops, name), reference, samples, errors, how)


apart = [
    ((np.ones(3), np.ones((3, 1))), ValueError, r"\(3,\) and \(3, 1\)"),
    ((np.ones(3), np.ones(3), 1.0, "median"), (ValueError, TypeError), "median|argument|reduction"),
]

ROWS = [
    unary("softplus", ops.softplus, lambda x: np.log(1 + np.exp(x))),
    each("mish", lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
    each("elu", lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1), away),
    each("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x), away),
    each("hard_swish", lambda x: x * np.clip(x + 3, 0, 6) / 6, away),
    one("conv1d", conv1d, sequences(), [((image, image), ValueError, "conv1d: x must be")]),
    one(
        "conv_transpose2d",
        conv_transpose2d,
        transposed(),
        [
            (
                (image, np.ones((3, 3, 5, 2))),
                ValueError,
                "conv_transpose2d: x has 2 channels.* takes 5",
            ),
            (
                (image, np.ones((3, 3, 2, 5)), None, 2, 0, 2),
                ValueError,
                "output_padding must be less than stride",
            ),
        ],
    ),
    one(
        "windows",
        windows,
        windowed(),
        [((np.ones(3), (1, 1), (1, 1)), (ValueError, IndexError), "zip|indices|too")],
    ),
    one(
        "windows_dx",
        windows_dx,
        taken_apart(),
        [((np.ones(3), (1, 1), (1, 1), (1, 1)), IndexError, "tuple")],
    ),
    one(
        "avg_pool2d",
        lambda x, size, stride: windows(x, size, stride).mean(0),
        windowed(),
        [((image, 5), ValueError, "avg_pool2d: windows of .5, 5")],
    ),
    one(
        "adaptive_avg_pool2d",
        adaptive_avg_pool2d,
        images(sides),
        [((image, 0), ValueError, "output_size must be")],
    ),
    one(
        "interpolate",
        interpolate,
        resized,
        [
            ((image, 3, None, "cubic"), ValueError, "'cubic'"),
            ((image, 3, 2), ValueError, "either size or scale_factor"),
        ],
    ),
    one(
        "layer_norm",
        lambda x, w, b: normal(x, -1) * w + b,
        scaled(),
        [((image, np.ones(3)), ValueError, "broadcast")],
    ),
    one(
        "instance_norm",
        lambda x, w, b: normal(x, (1, 2)) * w + b,
        scaled(),
        [((image, np.ones(3)), ValueError, "broadcast")],
    ),
    Op(
        "batch_norm",
        lambda x, w, b: ops.batch_norm(x, None, None, w, b),
        lambda x, w, b: normal(x, (0, 1, 2)) * w + b,
        scaled(),
        [((image, np.ones(3), 1), ValueError, "broadcast")],
    ),
    Op(
        "rms_norm",
        lambda x, w, b: ops.rms_norm(x, w) + b,
        lambda x, w, b: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * w + b,
        scaled(),
        [((image, np.ones(3), 0), ValueError, "broadcast")],
    ),
    one(
        "logsumexp", logsumexp, reductions(), [((np.ones((2, 3)), 2, False), ValueError, "axis 2")]
    ),
    one(
        "norm",
        norm,
        reductions(st.sampled_from([None, 1, 2, 3, -1, math.inf, -math.inf])),
        [
            ((np.ones((2, 3)), 2, 2, False), ValueError, "axis 2"),
            ((np.ones(3), 0), ValueError, "ord: given 0, wanted None or a number"),
            ((np.ones(3), "fro"), ValueError, "ord: given .fro., wanted None or a number"),
        ],
    ),
    Op(
        "dropout",
        lambda x, p, seed: ops.dropout(x, p, np.random.default_rng(seed)),
        lambda x, p, seed: (
            x * (np.random.default_rng(seed).random(x.shape, np.float32) >= p) / (1 - p)
        ),
        st.tuples(arrays(), st.sampled_from([0.0, 0.3]), st.integers(0, 9)),
        [((image, 1, 0), ValueError, "p must lie in")],
    ),
    Op(
        "one_hot",
        lambda x, ids: x * ops.one_hot(ids, 4, x.dtype),
        lambda x, ids: x * np.eye(4)[ids],
        st.tuples(arrays((4,)), st.lists(st.integers(0, 3), min_size=1, max_size=3).map(np.array)),
        [((np.ones(4), [4]), IndexError, "0 … 3; got 4")],
    ),
    one(
        "huber_loss",
        lambda x, y, delta, r: reduced(
            np.where(
                np.abs(x - y) <= delta, 0.5 * (x - y) ** 2, delta * (np.abs(x - y) - 0.5 * delta)
            ),
            r,
        ),
        with_reduction(pairs(), st.sampled_from([0.5, 1.0])),
        apart,
    ),
    one(
        "binary_cross_entropy_with_logits",
        lambda x, y, r: reduced(-y * np.log(sigmoid(x)) - (1 - y) * np.log(1 - sigmoid(x)), r),
        with_reduction(pairs().map(probable)),
        apart,
    ),
    one(
        "kl_div",
        lambda x, y, r: reduced(y * (np.log(y) - x), r),
        with_reduction(pairs().map(probable)),
        apart,
    ),
    Op(
        "cross_entropy (in full)",
        ops.cross_entropy,
        cross_entropy,
        labelled(),
        [((np.ones((2, 3)), np.array([0, 3])), IndexError, "labels must lie in 0 … 2; got 0 … 3")],
    ),
]
