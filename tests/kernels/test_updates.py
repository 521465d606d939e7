"""The kernels that no operation uses, against their formulas, in every set of kernels."""

import numpy as np
import pytest

from minidiff import kernels


def drawn(dtype, *shape):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def close(got, want):
    tolerance = 1e-6 if got.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def check_adam(dtype):
    """Kingma & Ba 2015, algorithm 1, in the paper's words."""
    theta, g, m, v = drawn(dtype, 4, 3, 7)
    v = v * v
    want_m = 0.9 * m + 0.1 * g
    want_v = 0.99 * v + 0.01 * g**2
    step = want_m / (1 - 0.9**3) / (np.sqrt(want_v / (1 - 0.99**3)) + 0.05)
    want = theta - 0.25 * (step + 0.5 * theta)
    rates = {"lr": 0.25, "beta1": 0.9, "beta2": 0.99, "eps": 0.05, "weight_decay": 0.5}
    kernels.call("adam", theta, g, m, v, **rates, step=3)
    close(m, want_m)
    close(v, want_v)
    close(theta, want)


def check_ema(dtype):
    average, param = drawn(dtype, 2, 3, 7)
    want = 0.75 * average + 0.25 * param
    kernels.call("ema", average, param, decay=0.75)
    close(average, want)


def check_blend(dtype):
    x, y = drawn(dtype, 2, 3, 70, 100)
    a, b = drawn(dtype, 2, 3, 1, 1)
    close(kernels.call("blend", x, y, a=a, b=b), a * x + b * y)


CHECKS = {"adam": check_adam, "ema": check_ema, "blend": check_blend}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("setting", kernels.SETS)
def test_kernels_that_no_operation_uses(name, dtype, setting, choose):
    choose(setting)
    CHECKS[name](dtype)
