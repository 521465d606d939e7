"""Derivatives beyond `backward`: Jacobians, Hessians, and what goes with them.

Also products with both, recomputation, hooks, operations of one's own, and gradients of trees.
"""

import gc
import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff as md
from minidiff import Tensor, ops
from minidiff.testing import arrays

vectors = arrays(st.tuples(st.integers(1, 4)), low=-1, high=1)


def curved(x):
    """R^n -> R^3 with every derivative."""
    return ops.stack([ops.sum(ops.sin(x)), ops.prod(x), ops.sum(x * x * x)])


def curved_jacobian(x):
    others = [np.prod(np.delete(x, i)) for i in range(x.size)]
    return np.stack([np.cos(x), np.array(others), 3 * x * x])


def bowl(x):
    return ops.sum(ops.exp(x) * x) + ops.prod(x)


def test_powers_at_exponent_zero():
    """∂²xʸ/∂x∂y = xʸ⁻¹(1 + y log x), which is 1/x at y = 0 in either order of differentiation.

    At x = 0 all second derivatives stay finite.
    """
    x, y = np.array([2.0, 0.5, 3.0]), np.zeros(3)
    assert md.gradgradcheck(ops.power, x, y)
    for first, second in ((0, 1), (1, 0)):
        mixed = md.jacobian(
            lambda x, y, first=first: md.grad(lambda *xy: ops.power(*xy).sum(), first)(x, y), second
        )
        np.testing.assert_allclose(mixed(x, y), np.diag(1 / x))
    assert np.isfinite(md.hessian(lambda x: ops.power(x, np.array(0.0)))(np.array(0.0)))


class TestMatrices:
    @settings(max_examples=20, deadline=None)
    @given(vectors)
    def test_jacobian(self, x):
        np.testing.assert_allclose(md.jacobian(curved)(x), curved_jacobian(x), atol=1e-12)

    @settings(max_examples=20, deadline=None)
    @given(vectors)
    def test_hessian_is_symmetric_and_the_jacobian_of_the_gradient(self, x):
        hessian = md.hessian(bowl)(x)
        np.testing.assert_allclose(hessian, hessian.T)
        step = 1e-6
        columns = [
            (md.grad(bowl)(x + d) - md.grad(bowl)(x - d)) / (2 * step)
            for d in step * np.eye(x.size)
        ]
        np.testing.assert_allclose(hessian, np.stack(columns, -1), atol=1e-6)

    @settings(max_examples=20, deadline=None)
    @given(vectors, st.integers(0, 9))
    def test_products_need_no_matrix(self, x, seed):
        v = np.random.default_rng(seed).standard_normal(x.shape)
        value, tangent = md.jvp(curved, x, v)
        np.testing.assert_allclose(value, curved(x))
        np.testing.assert_allclose(tangent, curved_jacobian(x) @ v)
        np.testing.assert_allclose(md.hvp(bowl, x, v), md.hessian(bowl)(x) @ v, atol=1e-10)

    def test_jvp_of_several_arguments(self):
        x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
        _, tangent = md.jvp(
            lambda x, y: x * y, (x, y), (np.array([1.0, 0.0]), np.array([0.0, 1.0]))
        )
        np.testing.assert_allclose(tangent, [3.0, 2.0])

    def test_a_derivative_of_a_jacobian(self):
        x = np.array([0.3, 0.7])
        third = md.grad(lambda x: ops.sum(md.hessian(lambda z: ops.sum(z * z * z))(x)))(x)
        np.testing.assert_allclose(third, [6.0, 6.0])

    def test_shapes(self):
        x = np.ones((2, 3))
        assert md.jacobian(lambda x: ops.sum(x, axis=0))(x).shape == (3, 2, 3)
        assert md.jacobian(lambda x: x[:0])(x).shape == (0, 3, 2, 3)
        assert md.jacobian(lambda x: x)(x.astype(np.float32)).dtype == np.float32

    def test_value_does_not_depend(self):
        _, tangent = md.jvp(lambda x: Tensor(np.ones(2)), np.ones(3), np.ones(3))
        np.testing.assert_array_equal(tangent, np.zeros(2))


class Point(NamedTuple):
    x: np.ndarray
    y: np.ndarray


class TestTrees:
    def test_gradients_come_in_the_form_of_the_argument(self):
        tree = {
            "a": np.array([1.0, 2.0]),
            "b": [np.array(3.0), (np.array([4.0]), None)],
            "c": Point(np.ones(1), np.ones(2)),
        }

        def f(tree):
            a, (b, (c, _)), point = tree["a"], tree["b"], tree["c"]
            return ops.sum(a * a) * b * c[0] + ops.sum(point.x * 2)

        value, gradient = md.value_and_grad(f)(tree)
        assert value == 62.0
        np.testing.assert_array_equal(gradient["a"], [24.0, 48.0])
        assert (
            gradient["b"][0] == 20.0
            and gradient["b"][1][0] == [15.0]
            and gradient["b"][1][1] is None
        )
        assert isinstance(gradient["c"], Point)
        np.testing.assert_array_equal(gradient["c"].x, [2.0])
        np.testing.assert_array_equal(gradient["c"].y, [0.0, 0.0])
        assert all(
            isinstance(leaf, np.ndarray)
            for leaf in (gradient["a"], gradient["b"][0], gradient["c"].y)
        )

    def test_second_derivative_through_trees(self):
        def f(p):
            return p["w"] * p["w"] * p["b"]

        def inner(w):
            return md.grad(f)({"w": w, "b": Tensor(np.array(5.0))})["w"]

        assert md.grad(inner)(np.array(3.0)) == 10.0

    def test_an_integer_leaf_is_refused(self):
        with pytest.raises(TypeError, match="int64 has no derivative"):
            md.grad(lambda p: p[0] * 1.0)([np.arange(3)])


class TestCheckpoint:
    def test_same_gradients_for_arguments_and_closure(self):
        rng = np.random.default_rng(0)
        w = Tensor(rng.standard_normal((4, 4)), requires_grad=True)

        def layer(h):
            return ops.tanh(h @ w)

        results = []
        for wrap in (lambda f: f, md.checkpoint):
            x = Tensor(np.ones((2, 4)), requires_grad=True)
            w.grad = None
            h = x
            for _ in range(3):
                h = wrap(layer)(h)
            ops.sum(h * h).backward()
            results.append((h.data, x.grad, w.grad))
        for a, b in zip(*results):
            np.testing.assert_array_equal(a, b)

    def test_generators_draw_the_same_again(self):
        def noisy(x, rng):
            return ops.sum(ops.dropout(x, 0.5, rng) * rng.standard_normal(x.shape))

        x, rng, other = (
            Tensor(np.ones(50), requires_grad=True),
            np.random.default_rng(1),
            np.random.default_rng(1),
        )
        out = md.checkpoint(noisy)(x, rng)
        before = rng.bit_generator.state
        out.backward()
        assert rng.bit_generator.state == before
        mask = other.random(50, dtype=np.float32) >= 0.5
        np.testing.assert_allclose(x.grad, 2 * mask * other.standard_normal(50))

    def test_second_derivative(self):
        f = md.checkpoint(lambda x: ops.sum(ops.sin(x) * x))
        x = np.array([0.3, 1.2])
        np.testing.assert_allclose(md.hessian(f)(x), np.diag(2 * np.cos(x) - x * np.sin(x)))

    def test_a_leaf_written_to_is_noticed(self):
        w = Tensor(np.ones(3), requires_grad=True)
        loss = md.checkpoint(lambda: ops.sum(ops.exp(w)))()
        w.data -= 1
        with pytest.raises(RuntimeError, match="written in place"):
            loss.backward()

    def test_an_argument_written_to_through_its_leaf_is_noticed(self):
        x = Tensor(np.ones((2, 3)), requires_grad=True)
        row = x[1:]
        loss = md.checkpoint(lambda t: ops.sum(ops.sin(t) * t))(row)
        x.data -= 1
        with pytest.raises(RuntimeError, match="written in place"):
            loss.backward()

    def test_memory(self):
        def peak(wrap):
            def layer(h):
                for _ in range(8):
                    h = ops.sin(h)
                return h

            x = Tensor(np.ones(100_000), requires_grad=True)
            gc.collect()
            tracemalloc.start()
            h = x
            for _ in range(8):
                h = wrap(layer)(h)
            ops.sum(h).backward()
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return size

        assert peak(md.checkpoint) < 0.4 * peak(lambda f: f)

    def test_without_a_tape_it_is_the_function(self):
        f = md.checkpoint(lambda x: x * 2)
        assert isinstance(f(np.ones(2)), np.ndarray)
        with md.no_grad():
            assert f(Tensor(np.ones(2), requires_grad=True)).node is None


class TestHooks:
    def test_looks(self):
        seen = []
        x = Tensor(np.ones(3), requires_grad=True)
        ops.sum(md.gradient_hook(x, seen.append) * 3.0).backward()
        np.testing.assert_array_equal(seen, [[3.0, 3.0, 3.0]])
        np.testing.assert_array_equal(x.grad, [3.0, 3.0, 3.0])

    def test_replaces(self):
        x = Tensor(np.ones(3), requires_grad=True)
        ops.sum(md.gradient_hook(x * 2, lambda g: g * 10) * 3.0).backward()
        np.testing.assert_array_equal(x.grad, [60.0, 60.0, 60.0])

    def test_of_a_constant_is_the_constant(self):
        x = Tensor(np.ones(3))
        assert md.gradient_hook(x, print) is x

    def test_stop_gradient(self):
        assert md.grad(lambda x: x * md.stop_gradient(x))(np.array(3.0)) == 3.0
        assert md.stop_gradient(3.0) == 3.0


class TestPrimitive:
    def test_five_lines(self):
        @md.primitive(x=lambda g, x: 3 * g * x * x)
        def cube(x):
            return x * x * x

        assert cube(2.0) == 8.0
        assert md.grad(md.grad(cube))(np.array(2.0)) == 12.0
        md.gradcheck(cube, np.array([0.5, -1.0]))

    def test_static_arguments(self):
        @md.primitive(x=lambda g, factor: g * factor, y=lambda g, **statics: g * statics["factor"])
        def blend(x, y, *, factor=2.0):
            return (x + y) * factor

        x, y = Tensor(np.ones(2), requires_grad=True), Tensor(np.ones(2), requires_grad=True)
        ops.sum(blend(x, y)).backward()
        np.testing.assert_array_equal(x.grad, [2.0, 2.0])
        ops.sum(blend(x, y, factor=5.0)).backward()
        np.testing.assert_array_equal(y.grad, [7.0, 7.0])

    def test_a_wrong_name_in_a_rule_fails_at_once(self):
        def cube(x):
            return x * x * x

        with pytest.raises(
            TypeError, match=r"cube: the rule for 'x' asks for \['z'\]; .* any of \['x', 'out'"
        ):
            md.primitive(x=lambda g, z: g)(cube)
        with pytest.raises(TypeError, match="there is a rule for 'y', but the operands are"):
            md.primitive(y=lambda g: g)(lambda x: x)


class TestAssignmentToACopy:
    def test_set_and_add(self):
        t, v = (
            Tensor(np.zeros(4), requires_grad=True),
            Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True),
        )
        y = t.at[[1, 1, 2]].set(v)
        np.testing.assert_array_equal(y.data, [0, 2, 3, 0])
        ops.sum(y * np.array([1.0, 10.0, 100.0, 1000.0])).backward()
        np.testing.assert_array_equal(t.grad, [1, 0, 0, 1000])
        np.testing.assert_array_equal(v.grad, [0, 10, 100])
        np.testing.assert_array_equal(t.at[1:3].add(5.0).data, [0, 5, 5, 0])
        np.testing.assert_array_equal(t.data, np.zeros(4))

    def test_plain_assignment_says_what_to_write(self):
        with pytest.raises(TypeError, match=r"t\.at\[index\]\.set\(value\)"):
            Tensor(np.zeros(3))[0] = 1.0
