"""Normalisation. The references are the textbook's formula, group by group or along axes."""

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays

from .convolution import image
from .elementwise import sigmoid
from .row import Op

EPS = 1e-5


def normal(x, axis=None):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + EPS)


def group_norm(x, groups, weight, bias):
    y = np.empty(x.shape)
    size = x.shape[-1] // groups
    for n in range(len(x)):
        for first in range(0, groups * size, size):
            group = slice(first, first + size)
            y[n, ..., group] = normal(x[n, ..., group])
    return y * weight + bias


def group_norm_silu(x, groups, weight, bias, scale, shift, skip):
    y = group_norm(x, groups, weight, bias)
    of_samples = (len(x), *(1,) * (x.ndim - 2), -1)
    if scale is not None:
        y = y * (1 + scale.reshape(of_samples))
    if shift is not None:
        y = y + shift.reshape(of_samples)
    return y * sigmoid(y) + (0 if skip is None else skip)


@st.composite
def grouped(draw):
    """(x, groups, weight, bias)"""
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 2))
    positions = draw(st.sampled_from([(4,), (2, 3), (3, 3)]))
    shape = (draw(st.integers(1, 2)), *positions, channels)
    x = draw(arrays(shape, low=-2, high=2, distinct=True))
    return x, groups, draw(arrays((channels,))), draw(arrays((channels,)))


@st.composite
def shifted(draw):
    """(x, groups, weight, bias, scale, shift, skip)"""
    x, groups, weight, bias = draw(grouped())
    scale, shift = (draw(st.none() | arrays((x.shape[0], x.shape[-1]))) for _ in range(2))
    skip = draw(st.none() | arrays(x.shape))
    return x, groups, weight, bias, scale, shift, skip


@st.composite
def with_all_parts(draw):
    """(x, groups, weight, bias, scale, shift, skip) of two images, none of them None."""
    shape = (2, 3, draw(st.integers(1, 2)), 4)
    x = draw(arrays(shape, low=-2, high=2, distinct=True))
    weight, bias = (draw(arrays(shape[3:])) for _ in range(2))
    scale, shift = (draw(arrays((2, 4))) for _ in range(2))
    return x, draw(st.integers(1, 2)), weight, bias, scale, shift, draw(arrays(shape))


@st.composite
def scaled(draw):
    """(x, weight, bias); x is (batch, h, w, channels) with distinct numbers."""
    channels = draw(st.integers(1, 3))
    x = draw(arrays((draw(st.integers(1, 2)), 2, draw(st.integers(1, 3)), channels), distinct=True))
    return x, draw(arrays((channels,))), draw(arrays((channels,)))


@st.composite
def with_statistics(draw):
    """(x, mean, variance, weight, bias)"""
    x, weight, bias = draw(scaled())
    mean = draw(arrays(weight.shape))
    variance = draw(arrays(weight.shape, low=0.5, high=2))
    return x, mean, variance, weight, bias


def batch_norm(x, mean, variance, weight, bias):
    return (x - mean) / np.sqrt(variance + EPS) * weight + bias


x4 = np.ones((2, 3, 3, 4))
ones4 = np.ones(4)
group_errors = [
    ((x4, 3, ones4, ones4), ValueError, "groups: given 3, wanted a divisor of the 4 channels"),
    ((x4, 2, np.ones(3), ones4), ValueError, r"given weight \(3,\), wanted \(4,\)"),
    ((x4, 2, ones4, np.ones(3)), ValueError, r"given bias \(3,\), wanted \(4,\)"),
]

ROWS = [
    Op("group_norm", ops.group_norm, group_norm, grouped(), group_errors),
    Op(
        "group_norm_silu",
        ops.group_norm_silu,
        group_norm_silu,
        shifted(),
        [
            *group_errors,
            ((x4, 2, ones4, ones4, np.ones((4, 2))), ValueError, r"given scale \(4, 2\)"),
            ((x4, 2, ones4, ones4, None, np.ones((4, 2))), ValueError, r"given shift \(4, 2\)"),
            ((x4, 2, ones4, ones4, None, None, x4[1:]), ValueError, r"given skip \(1, 3, 3, 4\)"),
        ],
    ),
    Op(
        "group_norm_silu (with all parts)",
        ops.group_norm_silu,
        group_norm_silu,
        with_all_parts(),
        [((x4, 2, ones4, ones4, ones4), ValueError, r"given scale \(4,\)")],
    ),
    Op(
        "layer_norm",
        ops.layer_norm,
        lambda x, w, b: normal(x, -1) * w + b,
        scaled(),
        [((image, np.ones(3)), ValueError, "broadcast")],
    ),
    Op(
        "instance_norm",
        ops.instance_norm,
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
        "batch_norm, statistics given",
        ops.batch_norm,
        batch_norm,
        with_statistics(),
        [((image, *[np.ones(2)] * 2, np.ones(3), np.ones(2)), ValueError, r"\(3,\)")],
    ),
    Op(
        "rms_norm",
        lambda x, w, b: ops.rms_norm(x, w) + b,
        lambda x, w, b: x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * w + b,
        scaled(),
        [((image, np.ones(3), 0), ValueError, "broadcast")],
    ),
]
