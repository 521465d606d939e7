"""Derivatives along a direction: `jvp` goes forward, `hvp` forward over the way back.

    u, du = jvp(f, x, v)      f runs once, and is recorded; tangents go along the record

The tangent du is one operation on the tape, whatever f is. What is computed for it is not recorded,
but computed again, and recorded then, where the derivative of du itself is asked for. So a du that
is a constant to the loss costs no more than one pass.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels
from ..checks import same_shape_and_dtype
from ..tape.forward import nodes_between, push_forward
from ..tape.tape import (
    Node,
    backpropagate,
    clock,
    copy_shared,
    gradient_edge,
    recording,
    state,
)
from .tensor import Tensor, as_tensor
from .transforms import (
    grad,
    has_tensor,
    is_nested,
    one_tensor,
    record,
    tree_leaves,
    tree_map,
)


def jvp(f: Callable, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(f(x), the derivative of f at x along v): the product of f's Jacobian and v.

    x and v are arrays, or tuples of arguments and of directions; an argument may be a dict or list
    of arrays, with a direction of the same form. f runs once, and the derivative costs as much
    again, or a little more: see docs/forward-and-reverse.md.

    Both results are on the tape where f uses what is: a network's parameters, say. So a loss of
    both has its gradient by `backward`. If the derivative is to count as a constant, say so by
    `stop_gradient`, and it costs nothing further. Bare arrays give bare arrays where nothing is on
    the tape, or inside `no_grad`.

    Raises ValueError unless each direction has its argument's shape, TypeError as `value_and_grad`
    does.
    """
    xs = primals if isinstance(primals, tuple) else (primals,)
    vs = tangents if isinstance(tangents, tuple) else (tangents,)
    _check_shapes("tangents", xs, vs)
    return _along(one_tensor(f), xs, vs)


def hvp(f: Callable, x: Any, v: Any) -> Any:
    """The Hessian of f at x times v, for an f that gives one element: the gradient's derivative.

    x may be a dict, list or tuple of arrays; v and the result have its form. Raises ValueError
    unless v has the shapes of x.
    """
    _check_shapes("v", x, v)
    _, product = _along(grad(f), (x,), (v,))
    return product


def _along(f: Callable, xs: tuple, vs: tuple) -> tuple[Any, Any]:
    """(f(xs), its derivative along vs), in the form of what f gives, as the caller gets them."""
    tensors = tuple(tree_map(as_tensor, x) for x in xs)
    result, variables = record(f, tensors, {}, tuple(range(len(xs))))
    directions = [_direction(v, x) for x, v in zip(variables, tree_leaves(vs))]
    motion = _Motion(tree_leaves(result), variables, directions)
    on_tape = state.recording and bool(motion.around)
    is_bare = not (on_tape or is_nested((xs, vs)) or has_tensor(xs))

    def outside(value: Tensor) -> Any:
        if on_tape:
            return value
        return value.data if is_bare else value.detach()

    moves = iter(motion.tangents(on_tape))
    return tree_map(outside, result), tree_map(lambda _: outside(next(moves)), result)


class _Motion:
    """Results of a function that has been recorded, and the directions of its variables."""

    def __init__(self, outs: list[Tensor], variables: list[Tensor], directions: list[Tensor]):
        self.outs = outs
        self.variables = variables
        self.directions = directions
        ends = [gradient_edge(value) for value in outs]
        starts: list[Any] = [x.node for x in variables]
        inside = nodes_between(ends, starts)
        known = {None, *inside, *starts}
        # What else a derivative of the tangents may be wanted for: leaves, and older nodes.
        self.around = {parent for node in [*inside, *starts] for parent in node.parents} - known
        self.around |= {*ends, *map(gradient_edge, directions)} - known
        self.edges = [*starts, *inside, *self.around]

    def tangents(self, on_tape: bool) -> list[Tensor]:
        """Of each result; as an operation of its own, if it is to be on the tape."""
        arrays = {x.node: v.data for x, v in zip(self.variables, self.directions)}
        found = {k: v for k, v in enumerate(push_forward(self.outs, arrays)) if v is not None}
        copy_shared(found)
        results = []
        for k, out in enumerate(self.outs):
            xp = kernels.namespace(out.data)
            data = xp.asarray(found[k]) if k in found else xp.zeros_like(out.data)
            node = self._node(k) if on_tape and k in found else None
            results.append(Tensor(data, node is not None, node, [0]))
        return results

    def _recorded(self, k: int) -> Tensor:
        """The tangent of result k once more, recorded."""
        pushed = {x.node: v for x, v in zip(self.variables, self.directions)}
        with recording(True):
            tangent = push_forward(self.outs, pushed)[k]
        data = self.outs[k].data
        return Tensor(kernels.namespace(data).zeros_like(data)) if tangent is None else tangent

    def _node(self, k: int) -> Node:
        def vjp(node: Node, g: Any, needs: Any) -> list:
            since = next(clock)
            gradients = backpropagate(self._recorded(k), g, since=since)
            return [gradients.get(edge) for edge in self.edges]

        def jvp(node: Node, tangents: Any) -> Any:
            return push_forward([self._recorded(k)], dict(zip(self.edges, tangents)))[0]

        return Node("jvp", self.edges, vjp, self.outs[k].shape, jvp=jvp)


def _direction(v: Any, x: Tensor) -> Tensor:
    """A direction for x as a Tensor; integers take the dtype of x."""
    if not hasattr(v, "dtype") or v.dtype.kind in "iub":
        v = kernels.namespace(x.data).asarray(v, x.dtype)
    v = as_tensor(v)
    same_shape_and_dtype("tangents", v, "the argument", x)
    return v


def _check_shapes(name: str, x: Any, v: Any) -> None:
    """ValueError unless v has the form and the shapes of x."""
    shapes = tree_map(_shape, x)
    given = tree_map(_shape, v)
    if given != shapes:
        raise ValueError(f"{name}: given shapes {given}, wanted {shapes}, those of the arguments")


def _shape(leaf: Any) -> tuple:
    return tuple(leaf.shape) if hasattr(leaf, "shape") else np.shape(leaf)
