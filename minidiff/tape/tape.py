"""The engine: how a program of array operations is recorded, and how gradients walk back through
the record.

A `Value` is an array that remembers the operation that made it: its `Node`. A `Node` has the nodes
of its operands as parents, and a function `pull` that turns the gradient of its output into
gradients of its operands (`primitive.py` makes it from a table of derivatives). `walk` goes from
the newest node to the oldest and sums what arrives. That is reverse-mode differentiation, whole.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from sys import getrefcount
from typing import Any

from ..kernels import Array

# nodes are numbered as they are made, so an operand's number is smaller than its result's
clock = count(1)


class _State(threading.local):
    """What holds in the running thread: whether operations are recorded, inside how many functions
    that are being differentiated we are, and who looks on (the tools in `debug`)."""

    recording = True
    nesting = 0
    observer: Any = None


state = _State()


class Value:
    """An array, the node that made it (None for a leaf) and, for a leaf, the gradient that `backward` left there."""

    __slots__ = ("__weakref__", "_data", "grad", "node", "requires_grad", "version")
    order = 0  # as a leaf it is older than every node

    def __init__(
        self, data: Array, requires_grad: bool = False, node: "Node | None" = None, version=None
    ):
        self._data, self.requires_grad, self.node = data, requires_grad, node
        self.grad: Any = None
        # one counter for all views of the same memory
        self.version = [0] if version is None else version

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    # `t.data -= step` ends here too, and whoever saved the array must know
    def data(self, array: Array) -> None:
        self._data = array
        self.version[0] += 1


class Node:
    """One recorded operation; `parents` has a node, or a leaf, for each operand that needs a gradient, else None."""

    __slots__ = ("name", "order", "parents", "pull", "saved", "shape", "where")

    def __init__(
        self,
        name: str,
        parents: Sequence,
        pull: Callable | None,
        shape: tuple,
        where: Any = None,
        saved: Any = None,
    ):
        self.order, self.name, self.parents, self.pull = next(clock), name, parents, pull
        # of the result; the place in the program, in debug mode
        self.shape, self.where = shape, where
        self.saved = saved  # what `pull` will need


def origin(value: Any) -> Any:
    """What stands for an operand among a node's parents: its node; a leaf itself; None where no gradient is wanted."""
    if not isinstance(value, Value):
        return None
    return value.node or (value if value.requires_grad else None)


@contextmanager
def recording(on: bool, nesting: int | None = None):
    """Operations in the block are recorded, or not, as inside so many functions that are being
    differentiated (as many as outside, if None); what held before holds again after it."""
    before = state.recording, state.nesting
    state.recording, state.nesting = on, state.nesting if nesting is None else nesting
    try:
        yield
    finally:
        state.recording, state.nesting = before


def _references() -> int:
    """What `getrefcount` says, in a loop such as that of `walk`, of an object that only the list looped over has."""
    return next(getrefcount(part) for _, part in zip([0], [object()]))


_ALONE = _references()


def walk(
    root: Value,
    g: Any,
    *,
    targets: Iterable = (),
    since: int = 0,
    retain: bool = False,
    copy: bool = True,
) -> dict[Any, Any]:
    """Bring the gradient `g` of `root` to where it is wanted: leaf or node -> its gradient.

    It stops at leaves, at nodes not newer than `since`, and at the nodes `targets`; with `targets`
    given, what cannot lead to them is left out. If `g` is a Value, gradients are Values and
    recorded themselves, for the next derivative. Nodes are freed as they are passed, unless
    `retain` or `g` is a Value. A gradient that others may have a reference to is copied for its
    receiver, unless who calls does not write to it and says `copy=False`.

    The heap pops the newest node first, so all of a node's gradient has arrived when its turn
    comes, and however deep the graph is there is no recursion.
    """
    again, observer, stops = isinstance(g, Value), state.observer, set(targets)
    oldest = min(target.order for target in stops) if stops else since + 1
    start = root.node or root
    # gradients so far, and whose are buffers of our own, to be added to in place
    arrived, ours = {start: g}, set()
    heap: list[tuple[int, Any]] = (
        [(-start.order, start)] if start.order >= oldest and start not in stops else []
    )
    before, state.recording = state.recording, again
    try:
        while heap:
            node = heappop(heap)[1]
            gradient, parents, pull, needs = arrived.pop(node), node.parents, node.pull, None
            if pull is None:
                raise RuntimeError(
                    f"the graph of {node.name} was freed by an earlier backward; give that one "
                    f"retain_graph=True"
                )
            if stops:  # neither leaves nor what is older than the targets can lead to one
                needs = [parent is not None and parent.order >= oldest for parent in parents]
            try:
                pulled = (observer.pull if observer else pull)(node, gradient, needs)
            except Exception as error:
                error.add_note(
                    f"in the derivative of {node.name}"
                    + (f", recorded at {node.where}" * bool(node.where))
                )
                raise
            if not (retain or again):
                node.parents, node.pull, node.saved = (), None, None
            if needs:
                pulled = [part if need else None for part, need in zip(pulled, needs)]
            for parent, part in zip(parents, pulled):
                if part is None or parent is None:
                    continue
                if parent not in arrived:
                    if not again and getrefcount(part) == _ALONE and part.base is None:
                        ours.add(parent)
                    arrived[parent] = part
                    if parent.order >= oldest and parent not in stops:
                        heappush(heap, (-parent.order, parent))
                elif parent in ours:
                    arrived[parent] += part
                else:
                    arrived[parent] = arrived[parent] + part
                    if not again:
                        ours.add(parent)
            del node, parents, parent, pull, pulled, gradient, part  # nothing outlives its turn
    finally:
        state.recording = before
    if again or not copy:
        return arrived
    return {at: total if at in ours else total.copy() for at, total in arrived.items()}
