"""What users hold: construction, operators, NumPy's protocols, printing."""

from copy import deepcopy

import numpy as np
import pytest
from ops_table.row import primitives

import minidiff as md
from minidiff import Tensor, ops


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([[1.0, 2.0]], np.float32),
        ([1, 2], np.int64),
        ([True, False], np.bool_),
        (np.ones(2), np.float64),
        (np.ones(2, np.float32), np.float32),
        (np.float64(2), np.float64),
    ],
)
def test_construction(data, dtype):
    assert Tensor(data).dtype == dtype


def test_the_array_is_kept_not_copied():
    x = np.ones(3)
    assert Tensor(x).data is x
    assert Tensor(x).numpy() is x


@pytest.mark.parametrize("data", [[1, 2], ["a"], np.ones(2, complex), np.array([True])])
def test_what_cannot_have_a_gradient_is_refused(data):
    with pytest.raises(TypeError, match=r"dtype.*float32 or float64"):
        Tensor(data, requires_grad=True)


@pytest.mark.parametrize("second", [np.float64, "float32", np.dtype("f8"), 1, None, np.ones(2)])
@pytest.mark.parametrize("make", [Tensor, lambda data, flag: md.tensor(data, requires_grad=flag)])
def test_a_second_argument_is_no_dtype(make, second):
    """As it is of np.array: what is true would make the Tensor one that has a gradient."""
    with pytest.raises(TypeError, match=r"^requires_grad: given .*md\.tensor\(data,"):
        make([1.0, 2.0], second)


BINARY = "p + q; p - q; p * q; p / q; p ** q; p @ q; p > q; p <= q; p == q; p != q"
UNARY = "2 - p; 2 / p; 2 ** p; -p; abs(p); p.T"
METHODS = """
    v.sum(); v.sum(axis=1); v.mean(axis=(0, 2), keepdims=True);
    v.max(1); v.min(); v.var(axis=0); v.argmax();
    v.reshape(6, 4); v.reshape((4, -1)); v[:1].squeeze(); v.astype(np.float32);
    v.transpose(2, 0, 1); v.transpose((1, 0, 2)); v.transpose(); v.swapaxes(0, 2);
    v[:, 1]; v[..., ::2]; v[v > 1]; v[[0, 0, 1]]; v[None, 0, :, [1, 2]]
"""
FUNCTIONS = """
    np.exp(v); np.log(v); np.tanh(v);
    np.sum(v); np.sum(v, axis=1); np.mean(v);
    np.transpose(v); np.concatenate([v, v], axis=1); np.stack([v, v]);
    np.add(v, 1.0); np.maximum(v, 1.0); np.where(a > 1, v, 0.0);
    np.matmul(v, a[0].T); a * v; np.float64(2) * v
"""


def expressions(text):
    return [expression.strip() for expression in text.split(";")]


@pytest.mark.parametrize("expression", expressions(BINARY) + expressions(UNARY))
def test_operators_are_numpys(expression):
    a, b = np.random.default_rng(0).uniform(0.5, 2, (2, 3, 3))
    for p, q in ((Tensor(a), Tensor(b)), (a, Tensor(b)), (Tensor(a), b)):
        if "q" in expression or isinstance(p, Tensor):
            result = eval(expression, {"p": p, "q": q})
            assert isinstance(result, Tensor)
            np.testing.assert_allclose(result.data, eval(expression, {"p": a, "q": b}), rtol=1e-12)


@pytest.mark.parametrize("expression", expressions(METHODS) + expressions(FUNCTIONS))
def test_methods_and_functions_are_numpys(expression):
    a = np.random.default_rng(0).uniform(0.5, 2, (2, 3, 4))
    result, expected = (
        eval(expression, {"v": v, "a": a, "np": np}) for v in (Tensor(a, requires_grad=True), a)
    )
    assert isinstance(result, Tensor)
    assert result.requires_grad or "arg" in expression
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.data, expected, rtol=1e-12)


def test_items_lengths_and_loops():
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    assert len(x) == 3
    assert x[1].item() == 2.0
    assert float(x[0]) == 1.0
    assert int(x[2]) == 3
    assert bool(x[0])
    sum(v * v for v in x).backward()
    np.testing.assert_array_equal(x.grad, [2, 4, 6])
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError, match="len"):
        len(x[0])


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.heaviside(x, 0.0), "np.heaviside cannot be recorded.*minidiff.ops"),
        (lambda x: np.fft.fft(x), "np.fft cannot be recorded"),
        (lambda x: np.add.reduce(x), "np.add.reduce cannot be recorded.*minidiff.ops.add"),
        (lambda x: np.exp(x, out=np.ones(3)), "np.exp cannot be recorded.*minidiff.ops.exp"),
        (lambda x: x.__setitem__(0, 1.0), "cannot be assigned"),
    ],
)
def test_numpys_functions_that_cannot_say_what_to_use(f, message):
    with pytest.raises(TypeError, match=message):
        f(Tensor(np.ones(3), requires_grad=True))


def test_numpy_takes_the_array_where_no_gradient_is_lost():
    x = Tensor(np.ones(3), requires_grad=True)
    assert np.asarray(x.detach()).sum() == 3
    assert np.array([Tensor(1.0), Tensor(2.0)]).tolist() == [1, 2]
    with md.no_grad():
        assert np.asarray(x).sum() == 3
        np.testing.assert_array_equal([x, x * 2], [[1, 1, 1], [2, 2, 2]])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: 2 * x - [5 * x[0], 5 * x[1], 1.0],
        lambda x: ops.maximum([x * x, 1.0], x),
        lambda x: np.array([x, 2 * x]),
        lambda x: np.ones(3) * [x[0], 1.0, 2.0],
        lambda x: Tensor([x, 2 * x]),
        lambda x: Tensor(2 * x),
        md.tensor,
    ],
)
def test_a_gradient_that_would_be_lost_is_refused(f):
    with pytest.raises(TypeError, match=r"would be lost, .*t\.detach\(\).*ops\.stack\(\[t, u\]\)"):
        f(Tensor(np.ones(3), requires_grad=True))


def test_no_primitive_loses_the_gradient_of_a_list():
    """A list of Tensors as an operand is refused, by all that take two Tensors in its place."""
    refused = 0
    for primitive in primitives().values():
        leaf = Tensor(np.array([1.2, 1.4, 1.6]), requires_grad=True)
        for k in range(primitive.arity or 1):
            operands = [leaf] * (primitive.arity or 1)
            try:
                with np.errstate(all="ignore"):
                    whole = primitive(*operands)
            except (TypeError, ValueError, IndexError, np.linalg.LinAlgError):
                continue
            if whole.requires_grad:
                operands[k] = list(leaf)
                with pytest.raises(TypeError, match=r"ops\.stack"):
                    primitive(*operands)
                refused += 1
    assert refused > 50


MASKED = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * MASKED,
        lambda x: MASKED * x,
        lambda x: np.add(MASKED, x),
        lambda x: ops.sum(MASKED),
        lambda x: ops.concatenate([x, MASKED]),
        lambda x: Tensor(MASKED),
        lambda x: setattr(x, "data", MASKED),
    ],
)
def test_masked_arrays_are_refused(f):
    with pytest.raises(TypeError, match=r"given a masked array, .*a\.filled\(value\)"):
        f(Tensor(np.ones(3), requires_grad=True))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("f", [lambda x, m: x * m, lambda x, m: m * x, lambda x, m: Tensor(m)])
def test_matrices_are_refused(f):
    with pytest.raises(TypeError, match=r"given an np\.matrix, .*np\.asarray\(a\)"):
        f(Tensor(np.ones(3), requires_grad=True), np.matrix([[1.0, 2.0, 3.0]]))


def test_data_takes_what_a_step_by_hand_gives():
    w = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    (w * w).sum().backward()
    w.data = w - 0.25 * w.grad
    assert type(w.data) is np.ndarray
    assert w.data.tolist() == [0.5, 1.0]
    assert w.node is None
    for numbers in ([1, 2], (1.0, 2.0), np.arange(1, 3), Tensor([1.0, 2.0])):
        w.data = numbers
        assert w.dtype == np.float32
        assert w.data.tolist() == [1, 2]
    w.data = w.data.astype(np.float64)
    assert w.dtype == np.float64
    scalar = Tensor(1.0)
    scalar.data = scalar.data - 1  # NumPy gives a scalar
    assert type(scalar.data) is np.ndarray


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.ones(2), ValueError, r"data: given shape \(2,\), wanted \(3,\), the shape it has"),
        (1.0, ValueError, r"data: given shape \(\), wanted \(3,\)"),
        (np.ones(3, complex), TypeError, "data: given dtype complex128, wanted float32"),
        ("abc", TypeError, "data: given dtype"),
        (None, TypeError, "data: given dtype object"),
    ],
)
def test_data_that_does_not_fit(value, error, message):
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(error, match=message):
        x.data = value
    assert x.version == [0]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            np.ones(2, np.float32),
            ValueError,
            r"grad: given float32 \(2,\), wanted float32 \(3, 2\)",
        ),
        (np.ones((3, 2)), TypeError, r"grad: given float64 \(3, 2\), wanted float32 \(3, 2\)"),
        ([1.0, 2.0], TypeError, r"grad: given list, wanted None, an array or a Tensor"),
    ],
)
def test_a_gradient_that_does_not_fit(value, error, message):
    x = Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    with pytest.raises(error, match=message):
        x.grad = value
    assert x.grad is None
    x.grad = np.ones((3, 2), np.float32)
    x.grad = None


def test_a_deep_copy_is_a_leaf_of_its_own():
    x = Tensor(np.ones(2), requires_grad=True)
    (x * 3).sum().backward()
    first, second = deepcopy([x, x])
    assert first is second
    (first * 2).sum().backward()
    assert first.grad.tolist() == [5, 5]
    assert x.grad.tolist() == [3, 3]
    assert not np.shares_memory(x.data, first.data)
    with pytest.raises(RuntimeError, match=r"deepcopy: given the result of multiply.*t\.detach"):
        deepcopy({"h": x * 2})


def test_one_memory_has_one_count_of_writes():
    x = Tensor(np.ones(2), requires_grad=True)
    y = x * x
    Tensor(x, requires_grad=True).data += 1
    with pytest.raises(RuntimeError, match="written in place"):
        y.sum().backward()


def test_numpys_questions_about_shape():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    assert np.shape(x) == np.shape(a=x) == (2, 3)
    assert np.ndim(x) == np.ndim(a=x) == 2
    assert np.size(x) == 6
    assert np.size(x, 1) == np.size(x, axis=1) == np.size(a=x, axis=1) == 3


def test_tensors_are_hashed_by_identity():
    x, y = Tensor(1.0), Tensor(1.0)
    assert len({x, y, x}) == 2


def test_detach_shares_memory_and_stops_gradients():
    x = Tensor(np.ones(3), requires_grad=True)
    assert x.detach().data is x.data
    (x * x.detach()).sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


def test_an_upstream_gradient_in_pythons_numbers_takes_the_dtype():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).backward([1.0, 10.0])
    (x * x).sum().backward(2)
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [2 + 4, 40 + 8])
    with pytest.raises(ValueError, match=r"gradient: given float64.*wanted float32"):
        (x * x).backward(np.ones(2))


def test_devices():
    x = Tensor(np.ones(3))
    assert x.device == "cpu"
    assert x.to("cpu") is x
    with pytest.raises(ValueError, match=r"device: given 'moon'.*\['cpu'"):
        x.to("moon")


def test_printing():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    assert repr(x) == "Tensor([1., 2.], shape=(2,), float64, requires_grad=True)"
    assert "from exp" in repr(ops.exp(x))
    assert len(repr(Tensor(np.ones((100, 100))))) < 400


def test_a_masked_gradient_is_refused():
    x = Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(TypeError, match=r"grad: given a masked array, .*a\.filled"):
        x.grad = np.ma.masked_array(np.ones(2), [True, False])


def test_a_hook_and_a_rule_that_give_a_tensor():
    x = Tensor(np.ones(2), requires_grad=True)
    md.gradient_hook(x, lambda g: Tensor(2 * g)).sum().backward()
    assert x.grad.tolist() == [2, 2]
    doubled = md.primitive(x=lambda g: Tensor(2 * g))(lambda x: 2 * x)
    with pytest.raises(TypeError, match="given a Tensor by the rule for operand 0, wanted an arr"):
        doubled(x).sum().backward()
