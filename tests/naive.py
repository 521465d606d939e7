"""Reverse mode as one would write it first: closures, and recursion along every path.

Slow, and obvious: what the engine does with a heap, buffers and freed nodes must come to the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False)
class Memory:
    """How often some memory was written in place; a value and its views share it."""

    version: int = 0


@dataclass(eq=False)
class Var:
    """A value and how it came about.

    `parents` are (operand, vjp): `vjp` takes the gradient here to the operand's.
    """

    value: np.ndarray
    requires_grad: bool = False
    parents: list[tuple["Var", Callable]] = field(default_factory=list)
    saved: list[tuple[Memory, int]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    freed: bool = False
    grad: np.ndarray | None = None

    @property
    def paths(self) -> int:
        return sum(parent.paths for parent, _ in self.parents) or 1


def record(value, operands, saves=(), on=True):
    """The result of an operation.

    `operands` are (Var, vjp), `saves` the Vars whose memory the vjps read.
    """
    memory = Memory()
    for x, _ in operands:
        if np.shares_memory(value, x.value):
            memory = x.memory
            break
    parents = [(x, vjp) for x, vjp in operands if x.requires_grad] if on else []
    saved = [(x.memory, x.memory.version) for x in saves] if parents else []
    return Var(value, bool(parents), parents, saved, memory)


def backward(root, gradient, retain):
    """Add the gradient of `root` to all leaves.

    RuntimeError if a part was freed, or written to since.
    """
    passed = []
    _check(root, passed)
    _propagate(root, gradient)
    for var in () if retain else passed:
        var.freed = True


def _check(var, passed):
    if not var.parents:
        return
    if var.freed or any(memory.version != version for memory, version in var.saved):
        raise RuntimeError
    passed.append(var)
    for parent, _ in var.parents:
        _check(parent, passed)


def _propagate(var, gradient):
    if not var.parents:
        var.grad = gradient if var.grad is None else var.grad + gradient
    for parent, vjp in var.parents:
        part = vjp(gradient)
        shape = parent.value.shape
        part = np.broadcast_to(part, np.broadcast_shapes(shape, np.shape(part)))
        broadcast_axes = tuple(i for i, n in enumerate(shape) if n == 1 and part.shape[i] != 1)
        _propagate(parent, part.sum(broadcast_axes, keepdims=True))
