"""Computed once more: `checkpoint` draws the same, reads the same, and says so if it cannot."""

from collections import deque
from functools import partial
from types import MappingProxyType

import numpy as np
import pytest

import minidiff as md
from minidiff import Tensor, nn, ops

RNG = np.random.default_rng(0)  # a global that functions draw from


def draws_globally(x):
    return x * RNG.normal(size=x.shape)


class Noise:
    """Neither a Module nor a function: the Generator is an attribute, the drawing a method."""

    def __init__(self, rng):
        self.rng = rng

    def add(self, x):
        return x * self.rng.normal(size=x.shape)


class Slots:
    """A Generator in a slot, and a method that is inherited."""

    __slots__ = ("rng",)
    add = Noise.add

    def __init__(self, rng):
        self.rng = rng


def in_a_class(rng):
    class Settings:
        held = rng

        @staticmethod
        def draw(shape):
            return rng.normal(size=shape)

        @property
        def drawn(self):
            return self.draw

    return Settings


def draws(rng, shape):
    while True:
        yield rng.normal(size=shape)


# Each gives a function of x that draws from the Generator.
HOLDERS = {
    "closure": lambda rng: lambda x: x * rng.normal(size=x.shape),
    "function in a closure": lambda rng: partial(
        lambda f, x: f(x), lambda x: ops.dropout(x, 0.5, rng)
    ),
    "default": lambda rng: lambda x, rng=rng: x * rng.normal(size=x.shape),
    "keyword default": lambda rng: lambda x, *, rng=rng: x * rng.normal(size=x.shape),
    "partial": lambda rng: partial(lambda rng, x: x * rng.normal(size=x.shape), rng),
    "method": lambda rng: Noise(rng).add,
    "layer": lambda rng: nn.Dropout(0.5, rng),
    "layers in lists": lambda rng: nn.Sequential(ops.tanh, nn.Sequential(nn.Dropout(0.5, rng))),
    "dict": lambda rng: partial(
        lambda held, x: x * held["r"][0].normal(size=x.shape), {"r": [rng]}
    ),
    "global": lambda rng: draws_globally,
    "slot": lambda rng: Slots(rng).add,
    "deque": lambda rng: partial(lambda held, x: x * held[0].normal(size=x.shape), deque([rng])),
    "read-only dict": lambda rng: partial(
        lambda held, x: x * held["r"].normal(size=x.shape), MappingProxyType({"r": rng})
    ),
    "attribute of a class": lambda rng: partial(
        lambda held, x: x * held.held.normal(size=x.shape), in_a_class(rng)
    ),
    "static method": lambda rng: partial(lambda held, x: x * held.draw(x.shape), in_a_class(rng)),
    "property": lambda rng: partial(lambda held, x: x * held.drawn(x.shape), in_a_class(rng)()),
    "iterator": lambda rng: partial(lambda held, x: x * next(held), draws(rng, 40)),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_checkpoint_draws_again_what_it_drew(name):
    x = Tensor(np.linspace(1, 2, 40), requires_grad=True)
    rng = RNG if name == "global" else np.random.default_rng(3)
    f = md.checkpoint(HOLDERS[name](rng))
    state = rng.bit_generator.state
    f(x).sum().backward()
    after = rng.bit_generator.state
    got = x.grad

    x.grad = None
    rng.bit_generator.state = state
    HOLDERS[name](rng)(x).sum().backward()
    np.testing.assert_array_equal(got, x.grad)
    assert rng.bit_generator.state == after  # it goes on as if nothing had been computed twice


def leaves(n):
    rng = np.random.default_rng(1)
    return [Tensor(rng.standard_normal((3, 3)), requires_grad=True) for _ in range(n)]


def test_names_bound_in_a_loop():
    x, ws = np.ones((2, 3)), leaves(3)
    h = Tensor(x)
    for w in ws:
        h = md.checkpoint(lambda h: ops.tanh(h @ w))(h)  # noqa: B023
    with pytest.raises(RuntimeError, match=r"given other Tensors .*checkpoint\(f\)\(h, w\)"):
        h.sum().backward()

    def gradients(layer):
        h = Tensor(x)
        for w in ws:
            w.grad = None
        for w in ws:
            h = layer(h, w)
        h.sum().backward()
        return [w.grad for w in ws]

    plain = gradients(lambda h, w: ops.tanh(h @ w))
    by_default = gradients(lambda h, w: md.checkpoint(lambda h, w=w: ops.tanh(h @ w))(h))
    by_argument = gradients(md.checkpoint(lambda h, w: ops.tanh(h @ w)))
    np.testing.assert_array_equal(by_default, plain)
    np.testing.assert_array_equal(by_argument, plain)


def test_leaves_that_are_equal_are_told_apart():
    x = Tensor(np.ones(3))
    for w in [Tensor(np.ones(3), requires_grad=True) for _ in range(2)]:
        x = md.checkpoint(lambda x: x * w)(x)  # noqa: B023
    with pytest.raises(RuntimeError, match="given other Tensors"):
        x.sum().backward()


@pytest.mark.parametrize("recompute", [md.checkpoint, md.sharded])
def test_another_result_is_refused(recompute):
    """A number that has changed, and a draw from nowhere."""
    x = Tensor(np.ones((400, 40)), requires_grad=True)
    factors = iter(range(1, 1000))
    out = recompute(lambda x: ops.mean(x * float(next(factors))))(x)
    with pytest.raises(RuntimeError, match=r"given another result when .* computed again"):
        out.backward(create_graph=True)


def test_a_checkpoint_moves_running_means_once():
    layer = nn.BatchNorm2d(2)
    x = Tensor(
        np.random.default_rng(0).standard_normal((4, 3, 3, 2)).astype("f"), requires_grad=True
    )
    layer(x)
    once = [value.copy() for value in layer.state_dict().values()]
    layer = nn.BatchNorm2d(2)
    md.checkpoint(layer)(x).sum().backward()
    for value, expected in zip(layer.state_dict().values(), once):
        np.testing.assert_array_equal(value, expected)


def test_a_checkpoint_inside_which_something_is_differentiated():
    """Its own variables are made anew each time, and count as nobody's."""
    constant = np.ones(3)
    f = md.checkpoint(lambda x: ops.sum(md.grad(lambda y: ops.sum(x * y * y))(constant)))
    np.testing.assert_array_equal(md.grad(f)(np.arange(3.0)), [2, 2, 2])
