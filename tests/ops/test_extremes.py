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
