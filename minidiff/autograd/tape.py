"""The engine: how a program of array operations is recorded, and how gradients walk back through the record.

A `Value` is an array that remembers the operation that made it: its `Node`. A `Node` has the nodes of its operands as
parents, and a function `pull` that turns the gradient of its output into gradients of its operands (`primitive.py`
makes it from a table of derivatives). `walk` goes from the newest node to the oldest and sums what arrives. That is
reverse-mode differentiation, whole.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Any

from ..kernels import Array

clock = count(1)  # nodes are numbered as they are made, so an operand's number is smaller than its result's


class _State(threading.local):
    """What holds in the running thread: whether operations are recorded, inside how many functions that are being
    differentiated we are, and who looks on (the tools in `debug`)."""

    recording = True
    nesting = 0
    observer: Any = None


state = _State()


class Value:
    """An array, the node that made it (None for a leaf) and, for a leaf, the gradient that `backward` left there."""

    __slots__ = ("__weakref__", "_data", "grad", "node", "requires_grad", "version")

    def __init__(self, data: Array, requires_grad: bool = False, node: "Node | None" = None, version=None):
        self._data, self.requires_grad, self.node = data, requires_grad, node
        self.grad: Any = None
        self.version = [0] if version is None else version  # one counter for all views of the same memory

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, array: Array) -> None:  # `t.data -= step` ends here too, and whoever saved the array must know
        self._data = array
        self.version[0] += 1


class Node:
    """One recorded operation; `parents` has a node, or a leaf, for each operand that needs a gradient, else None."""

    __slots__ = ("name", "order", "parents", "pull", "where")

    def __init__(self, name: str, parents: Sequence, pull: Callable | None):
        self.order, self.name, self.parents, self.pull = next(clock), name, parents, pull
        self.where = state.observer.place() if state.observer else None


def origin(value: Any) -> Any:
    """What stands for an operand among a node's parents: its node; a leaf itself; None where no gradient is wanted."""
    if not isinstance(value, Value):
        return None
    return value.node or (value if value.requires_grad else None)


@contextmanager
def recording(on: bool):
    """Operations in the block are recorded, or not; what held before holds again after it."""
    before, state.recording = state.recording, on
    try:
        yield
    finally:
        state.recording = before


def walk(
    root: Value, g: Any, *, targets: Iterable | None = None, since: int = 0, retain: bool = False, copy: bool = True
) -> list[tuple[Any, Any]]:
    """Bring the gradient `g` of `root` to where it is wanted: a list of (leaf or node, its gradient).

    It stops at leaves, at nodes not newer than `since`, and at `targets`; with `targets` given, only what lies on the
    way to them is computed. If `g` is a Value, gradients are Values and recorded themselves, for the next derivative.
    Nodes are freed as they are passed, unless `retain` or `g` is a Value. A gradient that others share memory with is
    copied for its receiver, unless who calls does not write to it and says `copy=False`.

    The heap pops the newest node first, so all of a node's gradient has arrived when its turn comes, and however deep
    the graph is there is no recursion.
    """
    again = isinstance(g, Value)
    stops = {id(target) for target in targets or ()}
    on_the_way = None if targets is None else _leading_to(root, targets)
    arrived: dict[int, list] = {}  # id -> [node or leaf, sum of gradients so far, is that sum a buffer of our own?]
    heap: list[tuple[int, Node]] = []

    def arrive(at: Any, gradient: Any) -> None:
        entry = arrived.get(id(at))
        if entry is None:
            arrived[id(at)] = [at, gradient, False]
            if isinstance(at, Node) and at.order > since and id(at) not in stops:
                heappush(heap, (-at.order, at))
        elif again or not entry[2]:
            entry[1], entry[2] = entry[1] + gradient, not again
        else:
            entry[1] += gradient

    arrive(origin(root), g)
    with recording(again):
        while heap:
            node = heappop(heap)[1]
            _, gradient, _ = arrived.pop(id(node))
            if node.pull is None:
                raise RuntimeError(
                    f"the graph of {node.name} was freed by an earlier backward; give that one retain_graph=True"
                )
            needs = None if on_the_way is None else [id(parent) in on_the_way for parent in node.parents]
            try:
                pull = state.observer.pull if state.observer else node.pull
                pulled = pull(node, gradient, needs)
            except Exception as error:
                error.add_note(f"in the derivative of {node.name}" + (f", recorded at {node.where}" * bool(node.where)))
                raise
            for i, (parent, part) in enumerate(zip(node.parents, pulled)):
                if parent is not None and part is not None and (needs is None or needs[i]):
                    arrive(parent, part)
            if not (retain or again):
                node.parents, node.pull = (), None
            del node, gradient, pulled
    return [(at, total if ours or again or not copy else total.copy()) for at, total, ours in arrived.values()]


def _leading_to(root: Value, targets: Iterable) -> set[int]:
    """Ids of the targets and of all nodes through which a gradient reaches one of them."""
    targets = list(targets)
    oldest, found, stack = min((t.order for t in targets), default=0), {}, [origin(root)]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node.order >= oldest and id(node) not in found:
            found[id(node)] = node
            stack.extend(node.parents)
    reached = {id(target) for target in targets}
    for node in sorted(found.values(), key=lambda node: node.order):
        if any(id(parent) in reached for parent in node.parents if parent is not None):
            reached.add(id(node))
    return reached
