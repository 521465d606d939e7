"""`gradcheck` finds what is wrong, says where, and lets kinks be kinks."""

import numpy as np
import pytest

import minidiff as md
from minidiff import ops

x = np.linspace(-1, 1.3, 6).reshape(2, 3)


def operation(rule, f=lambda x: x * x):
    f.__name__ = "square"
    return md.primitive(x=rule)(f)


def test_right_ones_pass():
    assert md.gradcheck(ops.tanh, x)
    assert md.gradgradcheck(lambda x, y: ops.sum(x * x * y), x, x)
    assert md.gradcheck(lambda x: ops.sum(ops.sin(x)), np.ones((40, 30)))


def test_names_argument_and_worst_element():
    factor = np.ones((2, 3))
    factor[1, 2] = 1.5
    with pytest.raises(
        AssertionError, match=r"argument 0 \(2, 3\), worst at \[1, 2\]: .*; 1 of 6 differ"
    ):
        md.gradcheck(operation(lambda g, x: 2 * g * x * factor), x)


def test_names_the_worst_element_of_a_large_array():
    large = np.random.default_rng(0).standard_normal((20, 30))
    factor = np.ones(large.shape)
    factor[13, 7] = -1
    with pytest.raises(AssertionError, match=r"worst at \[13, 7\]"):
        md.gradcheck(operation(lambda g, x: 2 * g * x * factor), large)


def test_wrong_second_derivative():
    wrong = operation(lambda g, x: 2 * g * md.stop_gradient(x))
    assert md.gradcheck(wrong, x)
    with pytest.raises(AssertionError, match=r"argument 1 .*backward gives 0,"):
        md.gradgradcheck(wrong, x)


def test_nan_is_wrong():
    with pytest.raises(AssertionError, match="backward gives nan"):
        md.gradcheck(operation(lambda g, x: np.where(g == 0, 0, np.nan)), x)


def test_upstream_gradients_of_any_layout():
    with pytest.raises(AssertionError, match="not contiguous gives another gradient"):
        md.gradcheck(operation(lambda g, x: 2 * g * x * (1.0 if g.flags.c_contiguous else 2.0)), x)


def test_nothing_upstream_gives_nothing():
    with pytest.raises(AssertionError, match="zeros gives a gradient that is not zero"):
        md.gradcheck(operation(lambda g, x: 2 * g * x + 1e-9), x)


def test_the_same_call_twice():
    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="twice gives different values"):
        md.gradcheck(lambda x: x * rng.standard_normal(), x)
    with pytest.raises(AssertionError, match="twice gives different gradients"):
        md.gradcheck(operation(lambda g, x: 2 * g * x * rng.standard_normal()), x)


def test_a_wrong_shape_and_dtype():
    with pytest.raises(ValueError, match=r"gradient float64 \(3,\) .*wanted float64 \(2, 3\)"):
        md.gradcheck(operation(lambda g, x: g[0]), x)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0])
def test_at_a_kink_any_slope_between_will_do(slope):
    kinked = operation(lambda g, x: g * slope, lambda x: np.abs(x))
    assert md.gradcheck(kinked, np.array([0.0]))


def test_a_slope_beyond_the_kink_is_wrong():
    with pytest.raises(AssertionError, match="backward gives"):
        md.gradcheck(operation(lambda g, x: g * 1.2, lambda x: np.abs(x)), np.array([0.0]))


def test_across_a_jump_nothing_is_compared():
    assert md.gradcheck(ops.floor, np.array([1.0, 0.5]))
    assert md.gradgradcheck(ops.maximum, np.array([1.0]), np.array([1.0]))


def test_only_float64():
    with pytest.raises(TypeError, match="float64"):
        md.gradcheck(ops.tanh, x.astype(np.float32))
