"""Sums of many float32 numbers keep their digits, along whichever axis they lie."""

import numpy as np
import pytest

from minidiff import Tensor, ops
from minidiff.tape.primitive import sum_to

N = 1 << 20
LARGE = np.full((N, 2), 285.3, np.float32)
SQUARE = np.full((1, 1024, 1024, 1), 0.1, np.float32)
IDS = np.zeros(N, int)


def gradient_of(f, shape):
    leaf = Tensor(np.ones(shape, np.float32), requires_grad=True)
    out = f(leaf)
    out.backward(np.full(out.shape, 0.1, np.float32))
    return leaf.grad


SUMS = {
    "sum": (lambda: ops.sum(LARGE, axis=0), N * 285.3),
    "mean": (lambda: ops.mean(LARGE, axis=0), 285.3),
    "mean of a transpose": (lambda: ops.mean(LARGE.T, axis=1), 285.3),
    "mean over two axes": (lambda: ops.mean(LARGE.reshape(-1, 2, 2), axis=(0, 2)), 285.3),
    "norm": (lambda: ops.norm(LARGE, axis=0), np.sqrt(N) * 285.3),
    "cumsum": (lambda: ops.cumsum(LARGE, axis=0)[-1], N * 285.3),
    "sum_to": (lambda: sum_to(LARGE, shape=(2,)), N * 285.3),
    "softmax": (lambda: ops.softmax(LARGE, axis=0)[0], 1 / N),
    "logsumexp": (lambda: ops.logsumexp(LARGE, axis=0), 285.3 + np.log(N)),
    "layer_norm": (lambda: ops.layer_norm(LARGE, axis=0)[:5], 0),
    "dense, bias": (
        lambda: gradient_of(lambda b: ops.dense(LARGE, np.eye(2, 2, 0, np.float32), b), 2),
        N * 0.1,
    ),
    "dense, weights": (
        lambda: gradient_of(lambda w: ops.dense(LARGE, w, np.ones(3, np.float32)), (2, 3)),
        N * 285.3 * 0.1,
    ),
    "convolution, bias": (
        lambda: gradient_of(lambda b: ops.conv2d(SQUARE, np.ones((1, 1, 1, 4), np.float32), b), 4),
        N * 0.1,
    ),
    "convolution, weights": (
        lambda: gradient_of(lambda w: ops.conv2d(SQUARE, w), (1, 1, 1, 4)),
        N * 0.01,
    ),
    "embedding": (lambda: gradient_of(lambda table: ops.embedding(table, IDS), (1, 2)), N * 0.1),
    "getitem": (lambda: gradient_of(lambda x: x[IDS], (1, 2)), N * 0.1),
    "group_norm, bias": (
        lambda: gradient_of(lambda b: ops.group_norm(SQUARE, 1, np.ones(1, np.float32), b), 1),
        N * 0.1,
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_no_digits_are_lost(name):
    compute, wanted = SUMS[name]
    np.testing.assert_allclose(compute(), wanted, rtol=2e-4, atol=1e-4)
