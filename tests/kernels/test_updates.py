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


def of_shapes(dtype, *shapes):
    rng = np.random.default_rng(len(shapes))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check_ema_all(dtype):
    averages = of_shapes(dtype, (2, 3), (4,), (1, 2))
    params = [array + 1 for array in averages]
    wanted = [0.75 * a + 0.25 * p for a, p in zip(averages, params)]
    kernels.find("ema_all", np.ndarray)(*averages, *params, decay=0.75)
    for average, array in zip(averages, wanted):
        np.testing.assert_allclose(average, array, rtol=1e-5)


def check_flattened(dtype):
    arrays = of_shapes(dtype, (2, 3), (4,), (1, 2))
    flat = kernels.find("flattened", np.ndarray)(*arrays)
    assert flat.dtype == dtype
    np.testing.assert_array_equal(flat, [x for array in arrays for x in array.flat])


def check_clip_norm(dtype):
    for largest in (100.0, 0.5):
        gradients = of_shapes(dtype, (2, 3), (4,), (1, 2))
        before = np.concatenate([gradient.reshape(-1) for gradient in gradients])
        norm = kernels.find("clip_norm", np.ndarray)(*gradients, max_norm=largest)
        after = np.concatenate([gradient.reshape(-1) for gradient in gradients])
        np.testing.assert_allclose(norm, np.sqrt(np.sum(before.astype("f8") ** 2)), rtol=1e-5)
        np.testing.assert_allclose(after, before * min(1, largest / norm), rtol=1e-5)


CHECKS = {
    "adam": check_adam,
    "ema": check_ema,
    "ema_all": check_ema_all,
    "flattened": check_flattened,
    "clip_norm": check_clip_norm,
    "blend": check_blend,
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("setting", kernels.SETS)
def test_kernels_that_no_operation_uses(name, dtype, setting, choose):
    choose(setting)
    CHECKS[name](dtype)
