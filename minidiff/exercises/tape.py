"""Lesson 1, a tape: sine_rule, spread_rule, backward."""

from collections.abc import Callable
from itertools import count

import numpy as np

from .declared import exercise
from .evidence import PromiseError, agree, differences
from .rules import rule_is_right


@exercise(hint="The derivative of the sine is the cosine. Of what: of x, or of out?")
def sine_rule(rule: Callable) -> None:
    x = np.array([0.3, -1.0, 2.0, 0.0])
    g = np.array([1.0, 0.5, -2.0, 3.0])
    suspects = {
        "That is g · sin(x): the derivative of the sine is the cosine.": g * np.sin(x),
        "You took the cosine of out; take it of x.": g * np.cos(np.sin(x)),
    }
    known = {"g": g, "out": np.sin(x), "x": x}
    rule_is_right(rule, known, differences(np.sin, x, g), suspects)


@exercise(hint="a went into each of the 40 places. Shares are added: how many are there?")
def spread_rule(rule: Callable) -> None:
    a = np.array(0.7)
    g = np.linspace(-1.0, 3.0, 40)
    suspects = {
        "That is the mean. Each place hands back its share, and shares are added.": g.mean(),
        "That is g as it came: what was repeated is summed.": g,
        "That is the first share only: all 40 are added.": g[0],
    }
    known = {"g": g, "out": np.full(40, 0.7), "a": a}
    rule_is_right(rule, known, differences(lambda a: np.full(40, a), a, g), suspects)


# --- backward ---

_clock = count()


class Node:
    """The lesson's node, which refuses to be passed twice."""

    def __init__(self, parents: list, rule: Callable | None):
        self.order = next(_clock)
        self.parents = parents
        self.vjp = self.once if rule else None
        self.rule = rule
        self.was_passed = False

    def once(self, g: np.ndarray) -> list:
        if self.was_passed:
            raise PromiseError(
                "A node's vjp was called twice: its gradient was passed on before all shares had "
                "come. Take the newest node first, always."
            )
        self.was_passed = True
        return self.rule(g) if self.rule else []


class Tensor:
    """The lesson's: an array, and the node that made it."""

    def __init__(self, data: np.ndarray, parents: list | None = None, rule: Callable | None = None):
        self.data = data
        self.node = Node([parent.node for parent in parents or []], rule)


def _add(x: Tensor, y: Tensor) -> Tensor:
    return Tensor(x.data + y.data, [x, y], lambda g: [g, g])


def _times(factor: float, x: Tensor) -> Tensor:
    return Tensor(factor * x.data, [x], lambda g: [factor * g])


def _multiply(x: Tensor, y: Tensor) -> Tensor:
    return Tensor(x.data * y.data, [x, y], lambda g: [g * y.data, g * x.data])


def _gradient(backward: Callable, root: Tensor, of: Tensor) -> np.ndarray:
    gradients = backward(root)
    if not isinstance(gradients, dict):
        raise PromiseError(
            f"It gives a {type(gradients).__name__}, wanted a dict of gradients by node."
        )
    if of.node not in gradients:
        raise PromiseError("The gradients that it gives have none for the input's node.")
    return gradients[of.node]


@exercise(
    hint="gradients starts with ones for the root's node. Then, while nodes wait: take the one "
    "with the largest `order`, and add each of its shares to what its parent has already."
)
def backward(backward: Callable) -> None:
    ones = np.ones(3)
    x = Tensor(np.array([1.0, 2.0, 3.0]))
    promise = "The gradient of 5 x is 5."
    zeros = "It is 0 everywhere: the root's own gradient is 1, not 0."
    agree(_gradient(backward, _times(5.0, x), x), 5 * ones, promise, {zeros: 0 * ones})

    x = Tensor(np.array([1.0, 2.0, 3.0]))
    promise = "The gradient of x + x is 2."
    replaced = "It is 1: the second share has replaced the first. Shares are added."
    agree(_gradient(backward, _add(x, x), x), 2 * ones, promise, {replaced: ones})

    x = Tensor(np.array([1.0, 2.0, 3.0]))
    early = _times(2.0, x)
    late = _times(3.0, early)
    promise = "The gradient of 2 x + 3 (2 x) is 8."
    agree(_gradient(backward, _add(early, late), x), 8 * ones, promise)

    x = Tensor(np.array([1.0, 2.0, 3.0]))
    power = x
    for _ in range(12):
        power = _multiply(power, power)
    degree = 2**12
    with np.errstate(over="ignore"):
        wanted = degree * x.data[0] ** (degree - 1)
    promise = "The gradient of ((x²)²)² … at 1, twelve times, is 4096."
    agree(_gradient(backward, power, x)[0], wanted, promise)
