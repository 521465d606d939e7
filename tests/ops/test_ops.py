"""Every operation keeps every promise: the rows of `OPS`."""

import numpy as np
import pytest
from ops_table import OPS, covered

from minidiff import Tensor, grad, ops


def test_every_operation_has_a_row():
    missing = sorted(covered() - OPS.keys())
    assert not missing, f"without a row in tests/ops_table: {missing}"


@pytest.mark.parametrize("name", OPS)
def test_keeps_its_promises(name):
    OPS[name].check(examples=12)


@pytest.mark.parametrize("name", OPS)
def test_refuses(name):
    assert OPS[name].errors, f"{name} has no error inputs"
    for arguments, error, pattern in OPS[name].errors:
        tensors = [Tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
        for operands in (arguments, tensors):
            with pytest.raises(error, match=pattern):
                OPS[name].f(*operands)


def test_a_convolution_takes_any_whole_numbers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 5, 5, 2))
    w = rng.standard_normal((3, 3, 2, 1))
    expected = ops.conv2d(x, w, stride=(2, 2), padding=(1, 1))
    for two in (2, np.int64(2), [2, 2], np.array([2, 2])):
        np.testing.assert_array_equal(ops.conv2d(x, w, stride=two, padding=np.int32(1)), expected)


@pytest.mark.parametrize("whole", [int, np.int64, np.array])
def test_one_label_may_be_any_whole_number(whole):
    x = np.arange(3.0)
    np.testing.assert_array_equal(ops.embedding(np.eye(3), whole(1)), [0, 1, 0])
    np.testing.assert_array_equal(ops.one_hot(whole(1), 3), [0, 1, 0])
    np.testing.assert_allclose(ops.cross_entropy(x, whole(1)), np.log(np.exp(x).sum()) - 1)
    for call in (
        lambda i: ops.embedding(np.eye(3), i),
        lambda i: ops.one_hot(i, 3),
        lambda i: ops.cross_entropy(x, i),
    ):
        for wrong in (-1, 3):
            with pytest.raises(IndexError, match=f"given {wrong}, wanted integers in 0 … 2"):
                call(whole(wrong))


@pytest.mark.parametrize("join", [ops.concatenate, ops.stack])
def test_nothing_cannot_be_joined(join):
    with pytest.raises(ValueError, match="given no arrays"):
        join([])


@pytest.mark.parametrize("dtype", [int, np.int32, bool])
def test_a_cast_to_whole_numbers_is_a_step(dtype):
    x = np.array([0.5, 1.5, -2.5])
    np.testing.assert_array_equal(grad(lambda x: (x.astype(dtype) * x).sum())(x), x.astype(dtype))
    assert grad(lambda x: x.astype(np.float32).sum())(x).dtype == np.float64


def test_scalars_that_are_set_take_the_dtype():
    x = Tensor(np.zeros(2, np.float32))
    for one in (1, 1.0, np.float64(1.0), np.int64(1)):
        np.testing.assert_array_equal(
            x.at[0].set(one).at[0].add(one).data, np.array([2, 0], np.float32), strict=True
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("groups", [1, 8])
def test_a_transposed_convolution_may_be_larger_by_its_dilation(groups, dtype):
    x = np.ones((1, 4, 2, 8), dtype)
    w = np.ones((1, 1, 8, 1), dtype)
    y = ops.conv_transpose2d(x, w, groups=groups, dilation=(1, 2), output_padding=(0, 1))
    assert y.shape == (1, 4, 3, groups)
    np.testing.assert_array_equal(y[:, :, :2], 8 // groups)
    np.testing.assert_array_equal(y[:, :, 2:], 0)
