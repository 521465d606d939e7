"""Integers: every row of `OPS` gives what it gives for the same numbers in float64.

Where NumPy has the function, its own result for integers will do as well: it lets products of short
integers wrap, for one, and refuses to subtract booleans.
"""

import numpy as np
import pytest
from ops_table import OPS

from minidiff import Tensor, ops

# Here integers are labels or no mask, and where they are neither, they are refused.
MEAN_SOMETHING_ELSE = {"cross_entropy (of probabilities)", "attention (masked)"}
NUMPYS_OWN = {"at_add"}  # np.add.at under another name


def whole(x, dtype):
    """Numbers that fill much of the range of the dtype."""
    if dtype == np.bool_:
        return np.asarray(x > 0)
    whole_numbers = np.round(x * 47)
    if np.dtype(dtype).kind == "u":
        whole_numbers = np.abs(whole_numbers)
    highest = 120 if dtype == np.int8 else 250
    return np.asarray(np.clip(whole_numbers, -120, highest).astype(dtype))


def is_float(argument):
    return isinstance(argument, np.ndarray) and argument.dtype == np.float64


def result(f, arguments):
    """What f gives, or an error that it raises where arguments do not fit."""
    try:
        out = f(*arguments)
    except (TypeError, ValueError) as error:
        return error
    return np.asarray(out.data if isinstance(out, Tensor) else out)


def is_same(x, y):
    if isinstance(x, Exception) or isinstance(y, Exception):
        return isinstance(x, Exception) and isinstance(y, Exception)
    return x.shape == y.shape and np.allclose(x.astype(float), y.astype(float), equal_nan=True)


def has_numpy_function(name):
    name = name.split(",")[0].split(" ")[0]
    name, library = (name[7:], np.linalg) if name.startswith("linalg.") else (name, np)
    return hasattr(library, name) or name in NUMPYS_OWN


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # log(0), and NumPy's warnings of overflow
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("name", OPS)
def test_integers_are_numbers(name, dtype):
    row = OPS[name]
    for drawn in row.drawn[:1] + row.drawn[-1:]:
        integers = [whole(a, dtype) if is_float(a) else a for a in drawn]
        floats = [i.astype(np.float64) if is_float(a) else a for i, a in zip(integers, drawn)]
        tensors = [Tensor(a) if isinstance(a, np.ndarray) else a for a in integers]
        got = result(row.f, integers)
        wanted = [result(row.f, floats)]
        if has_numpy_function(name):
            wanted.append(result(row.reference, integers))
        if name in MEAN_SOMETHING_ELSE:
            wanted.append(ValueError())
        assert any(is_same(got, other) for other in wanted)
        assert is_same(result(row.f, tensors), got)


@pytest.mark.parametrize("dtype", [complex, object, str, "S4", "m8[s]", "M8[s]"])
def test_what_is_no_real_number_is_refused(dtype):
    """NumPy's functions might take it: the norm of 3 + 4j would be the root of its square."""
    x = np.array([1, 2]).astype(dtype)
    for f in (ops.exp, ops.sum, ops.norm, ops.ravel, ops.relu, ops.square, ops.sort, ops.softmax):
        with pytest.raises(TypeError, match="wanted"):
            f(x)
    for y in (np.ones(2), Tensor(np.ones(2), requires_grad=True)):
        for f in (ops.astype, ops.ones_like):
            with pytest.raises(TypeError, match="dtype: given"):
                f(y, dtype=dtype)


@pytest.mark.parametrize("wrong", [None, "2", b"2", 1j, np.datetime64(0, "s")])
def test_lists_of_other_things_are_refused(wrong):
    for f in (ops.add, ops.maximum, ops.matmul):
        with pytest.raises(TypeError, match="wanted"):
            f(np.ones(2), [1.0, wrong])


def test_a_number_times_a_list_does_not_repeat_it():
    assert ops.leaky_relu([-1.0], 2).tolist() == [-2.0]


def test_what_makes_no_sense_on_integers_is_float64():
    x = np.array([0, 100, 200], np.uint8)
    for f in (ops.exp, ops.sigmoid, ops.softmax, ops.mean, ops.norm, ops.gelu):
        assert f(x).dtype == np.float64
    assert ops.mse_loss(x, np.zeros(3, np.float32)).dtype == np.float32


@pytest.mark.parametrize("norm", ["layer_norm", "instance_norm", "batch_norm", "rms_norm"])
def test_integers_beside_float32_weights_are_float32(norm):
    x = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    weight = np.ones(4, np.float32)
    got = getattr(ops, norm)(x, weight=weight)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, getattr(ops, norm)(x.astype(np.float32), weight=weight))


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod", "trace"])
def test_sums_and_products_of_integers_have_numpys_dtype(name):
    for dtype in (np.uint8, np.int8, np.int32, np.int64, np.bool_):
        x = np.full((2, 3), 120).astype(dtype)
        ours = getattr(ops, name)(x)
        np.testing.assert_array_equal(ours, getattr(np, name)(x), strict=True)


def test_a_number_in_a_list_keeps_its_value_beside_integers():
    three = Tensor(np.array(3))
    half = Tensor(np.array(0.5, np.float32))
    for values, wanted in [
        ([three, 0.25], [3, 0.25]),
        ([[0.25, three], [1, 2]], [[0.25, 3], [1, 2]]),
        ([three, 0.25, half], [3, 0.25, 0.5]),
        ([Tensor(np.array(True)), 2], [1, 2]),
    ]:
        np.testing.assert_array_equal(ops.array(values).data, wanted)
    assert ops.array([three, 2]).dtype == np.int64
    assert ops.array([three, 0.25, half]).dtype == ops.array([0.25, half]).dtype == np.float32
