"""`grad` and `value_and_grad`: nesting, closures, what they record and what they give."""

import numpy as np
import pytest

import minidiff as md
from minidiff import Tensor, grad, ops, value_and_grad


def test_bare_in_bare_out():
    value, gradient = value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
    assert not isinstance(value, Tensor)
    assert not isinstance(gradient, Tensor)
    np.testing.assert_array_equal(gradient, [2, 4])
    value, gradient = value_and_grad(lambda x: (x * x).sum())(Tensor(np.array([1.0, 2.0])))
    assert isinstance(value, Tensor)
    assert isinstance(gradient, Tensor)
    assert not gradient.requires_grad


def test_argnums():
    f = lambda x, y, scale: scale * (x * y).sum()
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    np.testing.assert_array_equal(grad(f, 1)(x, y, 2.0), 2 * x)
    for gradient, expected in zip(grad(f, (0, 1))(x, y, scale=2.0), (2 * y, 2 * x)):
        np.testing.assert_array_equal(gradient, expected)


def test_nested_to_the_fourth():
    f = lambda x: ops.sin(x) * x
    derivatives = [f]
    for _ in range(4):
        derivatives.append(grad(derivatives[-1]))
    x = 0.7
    expected = [
        x * np.sin(x),
        np.sin(x) + x * np.cos(x),
        2 * np.cos(x) - x * np.sin(x),
        -3 * np.sin(x) - x * np.cos(x),
        -4 * np.cos(x) + x * np.sin(x),
    ]
    for f, value in zip(derivatives, expected):
        np.testing.assert_allclose(f(np.array(x)), value, rtol=1e-12)


def test_perturbation_confusion():
    """d/dx [x · d/dy (x + y)] = 1, not 2: the inner derivative is for y alone.

    The example is from Siskind & Pearlmutter 2005.
    """
    outer = grad(lambda x: x * grad(lambda y: x + y)(1.0 * x / x))
    np.testing.assert_allclose(outer(np.array(3.0)), 1)
    # d/dx [x · d/dy (x·y)] at y = 2 is d/dx x² = 2x
    np.testing.assert_allclose(
        grad(lambda x: x * grad(lambda y: x * y)(np.array(2.0)))(np.array(3.0)), 6
    )
    # the inner argument is the outer variable itself: d/dx [d/dy (y·y) at y = x] = 2
    np.testing.assert_allclose(grad(lambda x: grad(lambda y: y * y)(x))(np.array(3.0)), 2)
    # both: y·x² at y = x; ∂/∂y = x², whose derivative is 2x
    np.testing.assert_allclose(grad(lambda x: grad(lambda y: y * x * x)(x))(np.array(3.0)), 6)


def test_an_inner_function_uses_the_outer_ones_variables():
    """d/dx of d/dy [x³ y²] at y = x²: 2x³y = 2x⁵, so 10x⁴."""
    f = grad(lambda x: grad(lambda y: x * x * x * y * y)(x * x))
    np.testing.assert_allclose(f(np.array(1.5)), 10 * 1.5**4, rtol=1e-12)


def test_every_transform_differentiates_inner_derivatives():
    """d/dy Σ x·y² at y = 1 is 2x, and its derivative for x is 2, by every transform.

    The inner argument may be an array or a Tensor.
    """
    x, v = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, -2.0])
    for one in (np.ones(3), Tensor(np.ones(3))):
        slope = lambda x, one=one: grad(lambda y: ops.sum(x * y * y))(one)
        kept = lambda x, slope=slope: md.checkpoint(lambda x: slope(x).sum())(x)
        np.testing.assert_array_equal(md.jvp(slope, x, v)[1], 2 * v)
        np.testing.assert_array_equal(md.jacobian(slope)(x), 2 * np.eye(3))
        np.testing.assert_array_equal(grad(kept)(x), [2, 2, 2])
        assert md.gradcheck(slope, x)
        assert md.gradgradcheck(slope, x)


def test_a_tensor_of_the_surrounding_tape_keeps_its_gradient():
    """backward through the result of grad reaches what the function closed over."""
    w = Tensor(np.array(2.0), requires_grad=True)
    x = Tensor(np.array(3.0), requires_grad=True)
    slope = grad(lambda v: w * v * v)(x)  # 2wx
    slope.backward()
    np.testing.assert_allclose(w.grad, 6)
    np.testing.assert_allclose(x.grad, 4)


def test_a_closed_over_leaf_gets_nothing_by_grad_itself():
    w = Tensor(np.array(2.0), requires_grad=True)
    grad(lambda v: w * v)(np.array(1.0))
    assert w.grad is None


def test_grad_records_inside_no_grad():
    with md.no_grad():
        np.testing.assert_allclose(grad(lambda x: x * x)(np.array(3.0)), 6)
        np.testing.assert_allclose(grad(grad(lambda x: x * x * x))(np.array(3.0)), 18)
        np.testing.assert_allclose(md.jvp(lambda x: x * x, np.array(3.0), np.array(2.0))[1], 12)
        assert md.gradcheck(ops.exp, np.ones(2))
        assert md.gradgradcheck(ops.exp, np.ones(2))
        assert not (Tensor(np.ones(1), requires_grad=True) * 2).requires_grad


def test_what_is_made_inside_no_grad_has_no_graph():
    leaf = Tensor(np.array(3.0), requires_grad=True)
    cube = lambda x: x * x * x
    with md.no_grad():
        results = [
            grad(cube)(leaf),
            *value_and_grad(cube)(leaf),
            grad(grad(cube))(leaf),
            md.jacobian(cube)(leaf),
            md.hessian(cube)(leaf),
            md.hvp(cube, leaf, np.array(1.0)),
            *md.jvp(cube, leaf, leaf),
        ]
    assert [float(result) for result in results] == [27, 27, 27, 18, 27, 18, 18, 27, 81]
    for result in results:
        assert result.node is None
        assert not result.requires_grad


def test_no_grad_around_an_inner_grad_makes_it_a_constant():
    def f(x):
        with md.no_grad():
            slope = grad(lambda y: y * y)(x)  # 6, and no longer 2x
        return slope * x

    np.testing.assert_allclose(grad(f)(np.array(3.0)), 6)


def test_no_grad_inside_grad_cuts():
    def f(x):
        with md.no_grad():
            constant = x * x
        return constant * x

    np.testing.assert_allclose(grad(f)(np.array(3.0)), 9)


def test_what_does_not_depend_has_the_gradient_zero():
    y = Tensor(np.ones(2), requires_grad=True)
    for f in (
        lambda x: (y * y).sum(),
        lambda x: ops.sum(y.detach() * 2),
        lambda x: ops.sum(x.detach() * y[0]),
    ):
        np.testing.assert_array_equal(grad(f)(Tensor(np.ones(3))).data, np.zeros(3))
    second = grad(lambda x: grad(lambda y: y * 3.0)(x))
    np.testing.assert_array_equal(second(np.array(2.0)), 0)


def test_the_same_array_twice():
    x = np.array(3.0)
    np.testing.assert_array_equal(grad(lambda x, y: x * x * y, (0, 1))(x, x), (18, 9))


def test_arguments_are_not_written_to():
    x = np.array([1.0, 2.0])
    x.flags.writeable = False
    grad(lambda x: (x * x).sum())(x)


@pytest.mark.parametrize(
    ("f", "argument", "error", "message"),
    [
        (lambda x: x, np.ones(2), RuntimeError, r"shape \(2,\)"),
        (lambda x: 1.0, np.ones(2), TypeError, "must give a Tensor.*float"),
        (lambda x: x.sum(), np.arange(3), TypeError, "argument.* of dtype int64"),
    ],
)
def test_errors(f, argument, error, message):
    with pytest.raises(error, match=message):
        grad(f)(argument)


def test_jvp_wants_a_direction_for_each_argument():
    x = np.ones(3)
    for primals, tangents in ((x, np.ones((3, 1))), ((x, x), (x,)), (x, 1.0)):
        with pytest.raises(
            ValueError, match=r"tangents: given .*, wanted .*\(3,\).*, those of the arguments"
        ):
            md.jvp(lambda x, y=1.0: x * y, primals, tangents)
    for f in (lambda x: 3.0, lambda x: (x, x)):
        with pytest.raises(TypeError, match="must give a Tensor"):
            md.jvp(f, x, x)


def test_state_is_restored_after_an_error():
    def fails(x):
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        grad(fails)(np.ones(1))
    result = grad(lambda x: (x * x).sum())(Tensor(np.ones(1)))
    assert not result.requires_grad  # nesting is back at 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    x = np.ones(3, dtype)
    for order in (
        grad(lambda x: ops.exp(x).sum()),
        grad(lambda v: grad(lambda x: ops.exp(x).sum())(v).sum()),
    ):
        assert order(x).dtype == dtype


def test_has_aux():
    f = lambda x: ((x * x).sum(), {"twice": x * 2, "name": "f"})
    x = np.array([1.0, 2.0])
    (value, aux), gradient = value_and_grad(f, has_aux=True)(x)
    assert value == 5
    assert aux["name"] == "f"
    for result, expected in ((aux["twice"], [2, 4]), (gradient, [2, 4])):
        assert type(result) is np.ndarray
        assert result.tolist() == expected
    gradient, aux = grad(f, has_aux=True)(Tensor(x))
    assert gradient.data.tolist() == [2, 4]
    assert aux["twice"].node is None
    with pytest.raises(TypeError, match=r"f: given Tensor, wanted \(value, aux\)"):
        grad(lambda x: x.sum(), has_aux=True)(x)


def test_transforms_of_dicts():
    """Against the same function of one flat vector."""
    rng = np.random.default_rng(0)
    tree = {"w": rng.standard_normal((2, 2)), "b": [rng.standard_normal(2)]}
    direction = {"w": rng.standard_normal((2, 2)), "b": [rng.standard_normal(2)]}
    flat = lambda tree: np.concatenate([tree["w"].ravel(), tree["b"][0]])

    def of_tree(p):
        return ops.sum(ops.tanh(p["w"] @ p["b"][0]) * p["b"][0])

    def of_vector(v):
        return of_tree({"w": v[:4].reshape(2, 2), "b": [v[4:]]})

    blocks = md.hessian(of_tree)(tree)
    whole = md.hessian(of_vector)(flat(tree))
    np.testing.assert_allclose(blocks["w"]["w"].reshape(4, 4), whole[:4, :4])
    np.testing.assert_allclose(blocks["w"]["b"][0].reshape(4, 2), whole[:4, 4:])
    np.testing.assert_allclose(blocks["b"][0]["b"][0], whole[4:, 4:])
    product = md.hvp(of_tree, tree, direction)
    np.testing.assert_allclose(flat(product), md.hvp(of_vector, flat(tree), flat(direction)))
    for got, expected in zip(
        md.jvp(of_tree, tree, direction), md.jvp(of_vector, flat(tree), flat(direction))
    ):
        np.testing.assert_allclose(got, expected)
    matrices = md.jacobian(lambda p: p["w"] @ p["b"][0])(tree)
    np.testing.assert_allclose(matrices["b"][0], tree["w"])
    for f in (md.hvp, md.jvp):
        with pytest.raises(ValueError, match=r"given shapes .*, wanted .*, those of the arguments"):
            f(of_tree, tree, {"w": np.ones((2, 2)), "b": np.ones(2)})
