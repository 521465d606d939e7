"""Making a primitive, and what it checks when it is called."""

import numpy as np
import pytest
from strict import from_host, registered

import minidiff as md
from minidiff import Primitive, Tensor, ops


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"y": lambda g: g}, r"there is a rule for 'y', but the operands are \['x'\]"),
        (
            {"x": lambda g, y: g},
            r"the rule for 'x' asks for \['y'\].*\['x', 'axis', 'out', 'aux', 'in_shape'\]",
        ),
        ({"x": lambda grad: grad}, r"asks for \['grad'\]; it takes g first"),
        ({"x": lambda x, g: g}, "takes g first"),
        ({"x": lambda g, needs: g}, r"asks for \['needs'\]"),
        ({"joint": lambda g, z: g}, r"asks for \['z'\]"),
    ],
)
def test_rule_names_are_checked_at_definition(rules, message):
    with pytest.raises(TypeError, match=f"square: .*{message}"):
        Primitive("square", "x * axis=None", **rules)


def test_a_rule_keeps_only_what_it_names():
    kept = []
    square = Primitive("square", "x", x=lambda g, in_shape: kept.append(in_shape) or g)
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    y = square(x)
    memory = np.ones(3)
    assert not any(isinstance(v, np.ndarray | Tensor) for v in _held(y.node.saved))
    y.backward(np.ones((2, 3)))
    assert kept == [(2, 3)]
    assert memory is not None


def _held(saved):
    """The objects that a node has saved, two levels down."""
    flat = []
    for item in saved:
        flat += list(item) if isinstance(item, list) else [item]
    return flat


def test_arguments_by_name_and_position():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(ops.sum(x, 1), ops.sum(x=x, axis=1))
    np.testing.assert_array_equal(ops.sum(x, 1, True), ops.sum(x, keepdims=True, axis=1))
    for call, message in [
        (lambda: ops.add(x), "missing .*'y'"),
        (lambda: ops.add(x, x, x), "3 arguments by position"),
        (lambda: ops.sum(x, 1, axis=1), "given twice .*'axis'"),
        (lambda: ops.add(x, x, z=1), "unknown .*'z'"),
        # NumPy's mean takes it, and the rule would not see it
        (lambda: ops.mean(x, where=x > 1), "unknown .*'where'"),
        (lambda: ops.exp(x, out=x), "unknown .*'out'"),
        (lambda: np.max(md.Tensor(x), initial=9.0), "np.max: given initial=9.0"),
    ]:
        with pytest.raises(TypeError, match=message):
            call()


def test_bare_arrays_give_bare_arrays_and_tensors_tensors():
    x = np.ones(3)
    assert isinstance(ops.exp(x), np.ndarray)
    assert isinstance(ops.exp(Tensor(x)), Tensor)
    assert isinstance(ops.add(x, Tensor(x)), Tensor)
    assert isinstance(x + Tensor(x), Tensor)
    assert isinstance(ops.sum(Tensor(x)).data, np.ndarray)


# --- operands must agree ---


def test_two_float_dtypes_are_an_error_that_names_both():
    a, b = Tensor(np.ones(2, np.float32)), Tensor(np.ones((3, 2)))
    with pytest.raises(TypeError, match=r"add: .*float32 \(2,\), float64 \(3, 2\).*astype"):
        a + b


def test_two_devices_are_an_error_that_names_both():
    with (
        registered(),
        pytest.raises(TypeError, match=r"multiply: .*\['cpu', 'strict'\].*\.to\(device\)"),
    ):
        Tensor(np.ones(2)) * Tensor(from_host(np.ones(2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scalar", [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2)])
def test_scalars_do_not_widen(dtype, scalar):
    x = Tensor(np.ones(3, dtype), requires_grad=True)
    for y in (
        x * scalar,
        scalar * x,
        x + scalar,
        scalar - x,
        x / scalar,
        scalar / x,
        x**scalar,
        ops.maximum(x, scalar),
    ):
        assert isinstance(y, Tensor)
        assert y.dtype == dtype
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == dtype


def test_integers_beside_floats_take_their_dtype():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = x * np.arange(3)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [0, 1, 2])


BESIDE = {
    "matmul": lambda x, n: ops.matmul(x, n),
    "matmul, reversed": lambda x, n: ops.matmul(n, x),
    "einsum": lambda x, n: ops.einsum("ij,jk->ik", n, x),
    "dense": lambda x, n: ops.dense(n, x, x[0]),
    "conv2d": lambda x, n: ops.conv2d(n[None, :, :, None], x[:, :, None, None]),
    "concatenate": lambda x, n: ops.concatenate([n, x]),
    "where": lambda x, n: ops.where(x > 0, x, n),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("integers", [np.int64, np.int32, np.uint8])
def test_integer_arrays_widen_nothing(name, integers):
    """NumPy's own rule makes float64 of float32 and int64."""
    x = Tensor(np.arange(9, dtype=np.float32).reshape(3, 3), requires_grad=True)
    n = np.arange(9).reshape(3, 3).astype(integers)
    y = BESIDE[name](x, n)
    y.backward(np.ones(y.shape, y.dtype))
    expected = BESIDE[name](x.data, n.astype(np.float32))
    assert y.dtype == x.grad.dtype == np.float32
    np.testing.assert_array_equal(y.data, expected)


def test_integers_stay_what_they_are_where_they_are_places():
    table = Tensor(np.arange(6, dtype=np.float32).reshape(3, 2), requires_grad=True)
    ids = np.array([2, 0])
    np.testing.assert_array_equal(ops.embedding(table, ids).data, [[4, 5], [0, 1]])

    @md.primitive(table=lambda g, ids, in_shape: ops.scatter_add(g, ids, in_shape))
    def rows(table, ids):
        return table[ids]

    rows(table, ids).sum().backward()
    np.testing.assert_array_equal(table.grad, [[1, 1], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: x + y, r"add: .*float32 \(2,\), .*=float32 \(2, 3\)"),
        (
            lambda x, y: ops.where(x > 0, x, y),
            r"where: .*bool \(2,\), x=float32 \(2,\), y=float32 \(2, 3\)",
        ),
        (lambda x, y: y.reshape(4), r"reshape: .*float32 \(2, 3\)"),
        (
            lambda x, y: ops.concatenate([x, y]),
            r"concatenate: .*float32 \(2,\), .*=float32 \(2, 3\)",
        ),
        (
            lambda x, y: ops.subtract(x.data, y.data),
            r"subtract: .*float32 \(2,\), .*=float32 \(2, 3\)",
        ),
        (lambda x, y: np.multiply(x, y), r"multiply: .*float32 \(2,\), .*=float32 \(2, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error_that_names_the_operation(call, message):
    x, y = Tensor(np.ones(2, np.float32)), Tensor(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=message):
        call(x, y)


@pytest.mark.parametrize("wrong", ["text", None, object(), {}])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(TypeError, match=r"add"):
        ops.add(Tensor(np.ones(2)), wrong)


# --- un-broadcasting ---


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ((), (2, 3)),
        ((1,), (2, 3)),
        ((3,), (2, 3)),
        ((2, 1), (2, 3)),
        ((1, 1), (2, 3)),
        ((1,), (0,)),
        ((2, 1, 3), (4, 3)),
    ],
)
def test_gradients_have_the_operands_shape(short, long):
    rng = np.random.default_rng(0)
    x, y = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in (short, long))
    out = ops.multiply(x, y)
    upstream = rng.standard_normal(out.shape)
    out.backward(upstream)
    whole = np.broadcast_to(upstream * y.data, out.shape)
    assert x.grad.shape == short
    assert y.grad.shape == long
    lead = whole.ndim - len(short)
    ones = tuple(i + lead for i, n in enumerate(short) if n == 1)
    np.testing.assert_allclose(x.grad, whole.sum((*range(lead), *ones)).reshape(short), rtol=1e-12)


def test_an_operation_without_rules_has_no_gradient():
    x = Tensor(np.ones(3), requires_grad=True)
    assert not (x > 0).requires_grad
    assert not ops.argmax(x).requires_grad


def test_an_operand_without_a_rule_is_an_error_that_says_so():
    hypot = Primitive("hypot", "x y", broadcasts=True, x=lambda g, x, out: g * x / out)
    with pytest.raises(TypeError, match=r"hypot has no derivative for \['y'\]"):
        hypot(np.ones(2), Tensor(np.ones(2), requires_grad=True))


def test_an_unknown_kernel_is_an_error_that_names_it():
    with pytest.raises(
        NotImplementedError, match="kernel: given 'frobnicate', wanted one that cpu arrays"
    ):
        Primitive("frobnicate", "x")(np.ones(2))


def test_a_users_primitive_in_one_line():
    """Any function of the array's namespace; every order of derivative from one rule."""
    cbrt = Primitive("cbrt", "x", x=lambda g, out: g / (3 * out * out))
    x = np.array([0.5, 2.0])
    assert md.gradcheck(cbrt, x)
    assert md.gradgradcheck(cbrt, x)


@pytest.mark.parametrize(
    ("rules", "wrong"),
    [
        (
            {"x": lambda g, x: np.sum(g)},
            r"float64 \(\) by the rule for operand 0, wanted float64 \(3,\)",
        ),
        ({"x": lambda g, x: 1.0}, "None float by the rule for operand 0"),
        (
            {"joint": lambda g, x: (np.sum(g),)},
            r"float64 \(\) by the rule for operand 0, wanted float64 \(3,\)",
        ),
        ({"joint": lambda g, x: ()}, r"0 gradients by its joint rule, wanted 1"),
    ],
)
def test_a_rule_that_gives_another_shape(rules, wrong):
    """Wherever it stands: what other rules make of such a gradient may have the right shape."""

    @md.primitive(**rules)
    def odd(x):
        return x * 1.0

    for before in (lambda x: x, lambda x: 2 * x):
        x = Tensor(np.ones(3), requires_grad=True)
        with pytest.raises(ValueError, match=f"odd: given .*{wrong}"):
            (odd(before(x)) + before(x)).sum().backward()
        with pytest.raises(ValueError, match=f"odd: given .*{wrong}"):
            md.grad(lambda x, before=before: odd(before(x)).sum())(np.ones(3))


def test_operands_of_a_users_primitive_that_are_broadcast():
    """Their gradients are summed where that is asked for; else the error says how to ask."""
    rules = {"x": lambda g, out, x: g * x / out, "y": lambda g, out, y: g * y / out}
    column = np.array([[3.0], [4.0]])
    row = np.array([1.0, 2.0, 5.0])
    alone = md.primitive(**rules)(lambda x, y: np.hypot(x, y))
    with pytest.raises(ValueError, match=r"float64 \(2, 1\), as that operand; type broadcasts"):
        md.grad(lambda x: alone(x, row).sum())(column)
    together = md.primitive(broadcasts=True, **rules)(lambda x, y: np.hypot(x, y))
    assert md.gradcheck(together, column, row)
    assert md.gradgradcheck(together, column, row)


def test_a_rule_that_gives_another_dtype():
    @md.primitive(x=lambda g, x: g * np.ones(3))
    def wide(x):
        return x * 1

    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    message = r"wide: given a gradient float64 \(3,\) by the rule for operand 0, wanted float32"
    with pytest.raises(TypeError, match=message):
        wide(x).sum().backward()
    with pytest.raises(TypeError, match=message):
        md.grad(lambda x: wide(x).sum())(x.data)


def test_a_users_operation_without_rules_has_no_silent_gradient_of_zero():
    @md.primitive()
    def square(x):
        return x * x

    @md.primitive()
    def positive(x):
        return x > 0

    assert square(np.array(2.0)) == 4
    x = Tensor(np.array(2.0), requires_grad=True)
    assert square(x.detach()).data == 4
    assert positive(x).data
    with pytest.raises(TypeError, match=r"square: .*wanted a rule .*x=lambda g, x.*t\.detach\(\)"):
        md.grad(square)(np.array(2.0))


@pytest.mark.parametrize(
    ("hook", "error", "message"),
    [
        (lambda g: 1.0, TypeError, "hook: given float, wanted None or the gradient"),
        (lambda g: np.ones(2), ValueError, r"hook: given shape \(2,\), wanted \(3,\)"),
        (lambda g: g.astype(np.float32), TypeError, "hook: given float32, wanted float64"),
    ],
)
def test_a_hook_that_gives_another_gradient(hook, error, message):
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(error, match=message):
        md.gradient_hook(2 * x, hook).sum().backward()
