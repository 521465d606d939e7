"""Operations far out, at ±∞ and at 0: values and slopes are their limits, and NaN stays NaN."""

import math

import numpy as np
import pytest

from minidiff import Tensor, ops

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow, and log 0
INF = math.inf
FAR = [-INF, -1e30, -700.0, 700.0, 1e30, INF]
# What they are far to the left and to the right: a number, or "x" for x itself.
LIMITS = {
    "erf": (-1, 1),
    "erfc": (2, 0),
    "ndtr": (0, 1),
    "tanh": (-1, 1),
    "sigmoid": (0, 1),
    "softplus": (0, "x"),
    "relu": (0, "x"),
    "silu": (0, "x"),
    "gelu": (0, "x"),
    "mish": (0, "x"),
    "elu": (-1, "x"),
    "hard_swish": (0, "x"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LIMITS)
def test_far_out_they_are_their_limits(name, dtype):
    x = Tensor(np.array([*FAR, np.nan], dtype), requires_grad=True)
    y = getattr(ops, name)(x)
    y.sum().backward()
    left, right = LIMITS[name]
    wanted = [left if v < 0 else right for v in FAR]
    values = np.array([v if w == "x" else w for v, w in zip(FAR, wanted)], dtype)
    slopes = np.array([float(w == "x") for w in wanted], dtype)
    np.testing.assert_allclose(y.data[:-1], values, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(x.grad[:-1], slopes, rtol=1e-6, atol=1e-30)
    assert np.isnan(y.data[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_stays_between_its_limits(dtype):
    x = np.linspace(-8, 8, 4001).astype(dtype)
    assert np.abs(ops.erf(x)).max() <= 1
    below = ops.log(0.5 * (1 + ops.erf(np.array([-20, -INF], dtype))))
    np.testing.assert_array_equal(below, -INF)


@pytest.mark.parametrize("order", [0.5, 1.5, 3, -1])
def test_a_norm_has_the_slope_0_at_0(order):
    x = Tensor(np.array([0.0, 2.0, -3.0]), requires_grad=True)
    size = ops.norm(x, order)
    size.backward()
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(size.data, np.linalg.norm(x.data, order))
    assert x.grad[0] == 0
    assert np.isfinite(x.grad).all()


def test_huber_loss_of_an_infinite_distance():
    x = Tensor(np.array([INF, -INF, 3.0, 0.1]), requires_grad=True)
    losses = ops.huber_loss(x, np.zeros(4), reduction="none")
    losses.sum().backward()
    np.testing.assert_allclose(losses.data, [INF, INF, 2.5, 0.005])
    np.testing.assert_allclose(x.grad, [1, -1, 1, 0.1])


def test_a_window_of_infinities_keeps_its_gradient():
    x = Tensor(np.full((1, 4, 4, 1), -INF), requires_grad=True)
    ops.max_pool2d(x, 3, 1, 1).sum().backward()
    assert x.grad.sum() == 16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softsign_comes_to_its_limits_slowly(dtype):
    x = Tensor(np.array([-INF, -3, 0, 3, 1e20, INF], dtype), requires_grad=True)
    y = ops.softsign(x)
    y.sum().backward()
    np.testing.assert_allclose(y.data, [-1, -0.75, 0, 0.75, 1, 1])
    np.testing.assert_allclose(x.grad, [0, 1 / 16, 1, 1 / 16, 0, 0], atol=1e-30)
    assert y.dtype == x.grad.dtype == dtype


def test_along_no_elements():
    """A sum of no numbers is 0, and its logarithm −∞; no key gives no value."""
    x = Tensor(np.ones((2, 0, 3)), requires_grad=True)
    y = ops.logsumexp(x, axis=1)
    np.testing.assert_array_equal(y.data, np.full((2, 3), -INF))
    y.sum().backward()
    assert x.grad.shape == x.shape
    for f in (ops.softmax, ops.log_softmax):
        assert f(x, axis=1).shape == x.shape
    keys = np.ones((2, 0, 3))
    for how in ({}, {"is_causal": True}, {"attn_mask": np.ones((4, 0), bool)}):
        np.testing.assert_array_equal(ops.attention(np.ones((2, 4, 3)), keys, keys, **how), 0)


def test_a_window_larger_than_the_image_reaches_over_it():
    x = np.arange(8.0).reshape(1, 4, 2, 1)
    np.testing.assert_array_equal(ops.max_pool2d(x, 3, 2, ceil_mode=True).ravel(), [5, 7])
    np.testing.assert_array_equal(ops.avg_pool2d(x, 3, 2, ceil_mode=True).ravel(), [2.5, 5.5])
