"""Forward mode: tangents go along the tape, from the oldest node to the newest.

    ẋ ──┬── exp ──┐
        │         multiply ── sum ── ẏ      `push_forward`, along what the program has recorded
        └─────────┘

A value x and its tangent ẋ are a dual number, x + ẋ·ε with ε² = 0. Each operation takes the dual
numbers of its operands to that of its result: its values are computed when it runs, and its tangent
is what `push_forward` computes, with what the node has saved for the way back. So one record and
one table serve both directions, and each can be differentiated by the other.

The function `jvp` of a node (Jacobian-vector product) turns the tangents of its operands into that
of its result. `primitive.py` makes it from the table. Where a node has none, its `vjp` will do.
"""

from collections.abc import Sequence
from typing import Any

from ..kernels import namespace, sums
from .tape import Node, Value, backpropagate, gradient_edge, recording, state


def push_forward(roots: Sequence[Value], tangents: dict[Any, Any]) -> list:
    """The tangents of `roots`, from those of nodes and leaves: node or leaf -> its tangent.

    A tangent is an array like the value's; None stands for zeros, among those given and those that
    come out. What is between is left as it is, so other tangents can be pushed along it. If they
    are Values, the results are Values and recorded themselves, for the next derivative.
    """
    kind = type(roots[0])
    on_tape = any(isinstance(v, Value) for v in tangents.values())
    edges = [gradient_edge(root) for root in roots]
    nodes = nodes_between(edges, tangents)
    last_use = {parent: node for node in nodes for parent in node.parents}
    last_use.update(dict.fromkeys(edges))
    tangents = dict(tangents)
    with recording(on_tape):
        for node in nodes:
            given = [tangents.get(parent) for parent in node.parents]
            if any(v is not None for v in given):
                tangents[node] = tangent_of(node, given, kind)
            for parent in node.parents:
                if last_use[parent] is node:
                    tangents.pop(parent, None)
    return [tangents.get(edge) for edge in edges]


def nodes_between(edges: Sequence, starts: Any) -> list[Node]:
    """The nodes that lead to `edges` and are newer than one of `starts`, the oldest first."""
    oldest = min((start.order for start in starts), default=0)
    stack = list(edges)
    seen = set(starts)
    nodes = []
    while stack:
        edge = stack.pop()
        if edge is None or edge in seen or edge.order <= oldest:
            continue
        seen.add(edge)
        if edge.vjp is None:
            raise edge.freed()
        nodes.append(edge)
        stack.extend(edge.parents)
    return sorted(nodes, key=lambda node: node.order)


def tangent_of(node: Node, tangents: Sequence, kind: type[Value]) -> Any:
    """The tangent of the result of a node, from those of its operands; `kind` is that of Values."""
    try:
        if state.observer:
            return state.observer.forward(node, tangents, kind)
        return jvp_of(node, tangents, kind)
    except Exception as error:
        place = f", recorded at {node.where}" if node.where else ""
        error.add_note(f"in the forward derivative of {node.name}{place}")
        raise


def jvp_of(node: Node, tangents: Sequence, kind: type[Value]) -> Any:
    """By the node's own `jvp`, or else by its `vjp`."""
    if node.jvp is not None:
        return node.jvp(node, tangents)
    if node.shape == () and not any(isinstance(v, Value) for v in tangents):
        return _gradient_times_direction(node, tangents)
    return _transposed(node, tangents, kind)


def _gradient_times_direction(node: Node, tangents: Sequence) -> Any:
    """The tangent of one number: the sum of gradient · tangent over all that it depends on."""
    first = next(v for v in tangents if v is not None)
    one = namespace(first).ones((), first.dtype)
    total = None
    for row, v in zip(node.gradients(one, _needs(tangents)), tangents):
        if row is not None and v is not None:
            total = added(total, sums.total(row * v))
    return total


def _transposed(node: Node, tangents: Sequence, kind: type[Value]) -> Any:
    """J v of a node that can only do gJ: that is linear in g, and J its own derivative for g.

    So a walk back through the rule, which is recorded for a g that may be any, gives J v (Townsend
    2017, "A new trick for calculating Jacobian vector products").
    """
    first = next(v for v in tangents if v is not None)
    first = first._data if isinstance(first, Value) else first
    zeros = namespace(first).zeros(node.shape, first.dtype)
    g: Any = kind(zeros, True, Node("upstream", [None], node.vjp, node.shape), [0])
    with recording(True):
        rows = node.gradients(g, _needs(tangents))
    total = None
    for row, v in zip(rows, tangents):
        if v is not None and gradient_edge(row) is not None:
            found = backpropagate(row, v, targets=[g.node], retain_graph=True)
            if g.node in found:
                total = added(total, found[g.node])
    return total


def _needs(tangents: Sequence) -> list[bool]:
    return [v is not None for v in tangents]


def added(total: Any, part: Any) -> Any:
    """The sum of two tangents, of which each may be None."""
    if total is None or part is None:
        return part if total is None else total
    return total + part
