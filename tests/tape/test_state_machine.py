"""Random programs, run by the engine and by a naive recursive one.

They make views, use values again, write in place, call checkpoint, and go backward several times.
"""

from contextlib import nullcontext

import naive
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import minidiff as md
from minidiff import Tensor, ops

which = st.integers(0, 99)
seeds = st.integers(0, 99)
flags = st.booleans()


class Programs(RuleBasedStateMachine):
    """`pairs` holds (Tensor, naive Var) of the same value: the leaves, then what was computed."""

    @initialize(seed=seeds)
    def start(self, seed):
        rng = np.random.default_rng(seed)
        arrays = [rng.uniform(-1, 1, shape) for shape in ((2, 3), (2, 3), (1, 3))]
        self.leaves = [(Tensor(a, requires_grad=True), naive.Var(a.copy(), True)) for a in arrays]
        constant = rng.uniform(-1, 1, (2, 3))
        self.leaves.append((Tensor(constant), naive.Var(constant.copy())))
        self.pairs = list(self.leaves)

    def keep(self, tensor, var):
        np.testing.assert_allclose(tensor.data, var.value, rtol=1e-9, atol=1e-12)
        assert tensor.requires_grad == var.requires_grad
        if var.paths <= 200 and np.abs(var.value).max() < 100:
            self.pairs.append((tensor, var))

    def compute(self, f, operands, value, pulls, saves=(), on=True):
        with nullcontext() if on else md.no_grad():
            tensor = f(*(t for t, _ in operands))
        variables = [v for _, v in operands]
        self.keep(tensor, naive.record(value, list(zip(variables, pulls)), saves, on))

    def pick(self, number):
        return self.pairs[-1 - number % len(self.pairs)]

    @rule(i=which, j=which, on=st.sampled_from([True, True, True, False]))
    def multiply(self, i, j, on):
        x, y = self.pick(i), self.pick(j)
        a, b = x[1], y[1]
        kept_a, kept_b = a.value.copy(), b.value.copy()
        saves = [b] * a.requires_grad + [a] * b.requires_grad
        self.compute(
            ops.multiply,
            [x, y],
            a.value * b.value,
            [lambda g: g * kept_b, lambda g: g * kept_a],
            saves,
            on,
        )

    @rule(i=which, j=which)
    def add(self, i, j):
        x, y = self.pick(i), self.pick(j)
        self.compute(ops.add, [x, y], x[1].value + y[1].value, [lambda g: g, lambda g: g])

    @rule(i=which)
    def sin(self, i):
        x = self.pick(i)
        slope = np.cos(x[1].value)
        self.compute(ops.sin, [x], np.sin(x[1].value), [lambda g: g * slope], [x[1]])

    @rule(i=which)
    def tanh(self, i):
        x = self.pick(i)
        out = np.tanh(x[1].value)
        self.compute(ops.tanh, [x], out, [lambda g: g * (1 - out**2)])

    @rule(i=which)
    def checkpointed(self, i):
        x = self.pick(i)
        a = x[1].value.copy()
        f = md.checkpoint(lambda t: ops.sin(t) * t)
        self.compute(f, [x], np.sin(a) * a, [lambda g: g * (np.cos(a) * a + np.sin(a))], [x[1]])

    @rule(i=which, on=flags)
    def turned_around(self, i, on):
        x = self.pick(i)
        self.compute(lambda t: t[::-1], [x], x[1].value[::-1], [lambda g: g[::-1]], on=on)

    @rule(i=which)
    def one_row(self, i):
        x = self.pick(i)

        def pull(g):
            whole = np.zeros(x[1].value.shape)
            whole[-1:] = g
            return whole

        self.compute(lambda t: t[-1:], [x], x[1].value[-1:], [pull])

    @rule(i=which)
    def reshaped_and_transposed(self, i):
        x = self.pick(i)
        shape = x[1].value.shape
        value = x[1].value.reshape(shape[::-1]).T
        self.compute(lambda t: t.reshape(shape[::-1]).T, [x], value, [lambda g: g.T.reshape(shape)])

    @rule(i=which)
    def total(self, i):
        x = self.pick(i)
        shape = x[1].value.shape
        value = x[1].value.sum(0, keepdims=True)
        self.compute(
            lambda t: t.sum(axis=0, keepdims=True),
            [x],
            value,
            [lambda g: np.broadcast_to(g, shape)],
        )

    @rule(i=which)
    def detach(self, i):
        tensor, var = self.pick(i)
        self.pairs.append((tensor.detach(), naive.Var(var.value, memory=var.memory)))

    @rule(i=st.integers(0, 3), step=st.floats(-0.5, 0.5))
    def write_to_a_leaf(self, i, step):
        tensor, var = self.leaves[i]
        tensor.data -= step
        var.value -= step
        var.memory.version += 1
        for t, v in self.pairs:  # views see it
            np.testing.assert_allclose(t.data, v.value, rtol=1e-9, atol=1e-12)

    @precondition(lambda self: any(v.requires_grad for _, v in self.pairs[4:]))
    @rule(i=which, seed=seeds, retain=flags)
    def backward(self, i, seed, retain):
        roots = [(t, v) for t, v in self.pairs[4:] if v.requires_grad]
        tensor, var = roots[-1 - i % len(roots)]
        gradient = np.random.default_rng(seed).standard_normal(tensor.shape)
        argument = gradient.copy()
        before = [t.grad if t.grad is None else t.grad.copy() for t, _ in self.leaves]
        expected = self.outcome(lambda: naive.backward(var, gradient, retain))
        assert self.outcome(lambda: tensor.backward(argument, retain_graph=retain)) == expected
        np.testing.assert_array_equal(argument, gradient)
        for (t, v), old in zip(self.leaves, before):
            assert (t.grad is None) == (v.grad is None)
            if t.grad is not None:
                np.testing.assert_allclose(t.grad, v.grad, rtol=1e-8, atol=1e-10)
            if expected is RuntimeError:  # all or nothing
                assert (t.grad is None) == (old is None)
        if expected is RuntimeError:  # where the backward pass stopped is not promised
            self.pairs = list(self.leaves)

    def outcome(self, act):
        try:
            act()
        except RuntimeError:
            return RuntimeError

    @rule()
    def clear_gradients(self):
        for tensor, var in self.leaves:
            tensor.grad = var.grad = None


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(max_examples=250, stateful_step_count=40)
