"""The engine: how a program is recorded, and how gradients go back through the record.

    x ──┬── exp ──┐
        │         multiply ── sum ── y      recorded from left to right, as the program runs
        └─────────┘
    x ◄─┬── exp ◄─┐
        │         multiply ◄── sum ◄── 1    `backpropagate`, from the newest node to the oldest
        └─────────┘

A `Value` is an array that knows the `Node` which made it. A node has the nodes of its operands as
parents, and a function `vjp` (vector-Jacobian product) that turns the gradient of its result into
gradients of its operands. `primitive.py` makes that function from a table of derivatives.
`backpropagate` calls it for one node after the other, and sums what arrives at each parent.
That is reverse-mode differentiation, whole.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from sys import getrefcount
from typing import Any

from ..kernels import Array

# Nodes are numbered as they are made: an operand's number is smaller than its result's.
clock = count(1)


class _State(threading.local):
    """What holds in the running thread."""

    recording = True  # whether operations are recorded
    nesting = 0  # inside how many functions that are being differentiated
    observer: Any = None  # a tool that looks on, see `tools/debug.py`
    postponed: list[Callable] | None = None  # what waits for its turn, see `in_turn`
    piece: Any = None  # the piece of a batch that is computed, see `draws.py`


state = _State()


class Value:
    """An array on the tape.

    A leaf is a Value that no node made; `backward` leaves its gradient there, see `Tensor.grad`.
    """

    __slots__ = ("__weakref__", "_data", "_grad", "node", "requires_grad", "version")
    order = 0  # as a leaf it is older than every node

    def __init__(
        self,
        data: Array,
        requires_grad: bool = False,
        node: "Node | None" = None,
        version: list[int] | None = None,
    ):
        self._data = data
        self.requires_grad = requires_grad
        self.node = node
        self._grad: Any = None
        # A counter of writes, in a list so that all views of one memory can share it.
        self.version = [0] if version is None else version

    @property
    def data(self) -> Array:
        return self._data


class Node:
    """One recorded operation."""

    __slots__ = ("jvp", "name", "order", "parents", "saved", "shape", "vjp", "where")

    def __init__(
        self,
        name: str,
        parents: Sequence,
        vjp: Callable | None,
        shape: tuple,
        saved: Any = None,
        where: Any = None,
        jvp: Callable | None = None,
    ):
        self.name = name
        self.order = next(clock)
        self.parents = parents  # for each operand a node or leaf, None where none is wanted
        self.vjp = vjp  # (node, g, needs) -> the gradient of each operand
        self.jvp = jvp  # (node, tangents of the operands) -> that of the result, see `forward.py`
        self.shape = shape  # of the result
        self.saved = saved  # what `vjp` will need
        self.where = where  # the place in the program, in debug mode

    def __lt__(self, other: "Node") -> bool:
        """The heap of `backpropagate` gives its least element: the newest node."""
        return self.order > other.order

    def gradients(self, g: Any, needs: Sequence[bool] | None) -> Sequence:
        """The gradient of each operand, from that of the result.

        `needs` says which are wanted (all that have a parent, if None); the others may be None.
        """
        if self.vjp is None:
            raise self.freed()
        try:
            if state.observer:
                return state.observer.vjp(self, g, needs)
            return self.vjp(self, g, needs)
        except Exception as error:
            place = f", recorded at {self.where}" if self.where else ""
            error.add_note(f"in the derivative of {self.name}{place}")
            raise

    def freed(self) -> RuntimeError:
        """What is said of a node without its derivative."""
        return RuntimeError(
            f"the graph of {self.name} was freed by an earlier backward; give that one "
            f"retain_graph=True"
        )

    def free(self) -> None:
        """Let go of all that the derivative needed."""
        self.parents = ()
        self.vjp = None
        self.jvp = None
        self.saved = None


def gradient_edge(value: Any) -> Any:
    """Where the gradient of an operand goes: its node, or the leaf itself; None if not wanted."""
    if not isinstance(value, Value):
        return None
    return value.node or (value if value.requires_grad else None)


class recording:  # noqa: N801
    """Switches recording on or off inside the block: `with recording(False): …`.

    `nesting` is the number of differentiated functions around the block, as outside if None.
    """

    __slots__ = ("before", "nesting", "on")

    def __init__(self, on: bool, nesting: int | None = None):
        self.on = on
        self.nesting = nesting

    def __enter__(self) -> None:
        self.before = state.recording, state.nesting
        state.recording = self.on
        if self.nesting is not None:
            state.nesting = self.nesting

    def __exit__(self, *error: Any) -> None:
        state.recording, state.nesting = self.before


def in_turn(action: Callable[[], None]) -> None:
    """Do it now; inside a piece of `sharded`, once all pieces are done, in the order of the pieces.

    So what pieces write to something that they share does not depend on the threads.
    """
    if state.postponed is None:
        action()
    else:
        state.postponed.append(action)


@contextmanager
def postponing() -> Iterator[list[Callable]]:
    """A block in which actions `in_turn` are gathered in the list that it gives.

    What is computed a second time, for a derivative, does not do them a second time: there they are
    dropped.
    """
    before = state.postponed
    state.postponed = []
    try:
        yield state.postponed
    finally:
        state.postponed = before


class _Arrivals:
    """The gradients that have arrived so far, summed, and the nodes whose turn comes next."""

    def __init__(self, targets: set, oldest: int, create_graph: bool):
        self.sums: dict[Any, Any] = {}  # by node or leaf
        self.own: set = set()  # those whose sum is an array made here: it is added to in place
        self.heap: list[Node] = []
        self.targets = targets
        self.oldest = oldest
        self.create_graph = create_graph

    def add(self, receiver: Any, gradient: Any) -> None:
        """Add a gradient to that of a node or leaf; the first makes a node wait for its turn."""
        if receiver not in self.sums:
            self.sums[receiver] = gradient
            if receiver.order >= self.oldest and receiver not in self.targets:
                heappush(self.heap, receiver)
        elif receiver in self.own:
            self.sums[receiver] += gradient
        else:
            self.sums[receiver] = self.sums[receiver] + gradient
            if not self.create_graph:
                self.own.add(receiver)

    def pop(self) -> tuple[Node, Any]:
        """The newest node, and the sum of all its gradients."""
        node = heappop(self.heap)
        return node, self.sums.pop(node)


def backpropagate(
    root: Value,
    g: Any,
    *,
    targets: Iterable = (),
    since: int = 0,
    retain_graph: bool = False,
) -> dict[Any, Any]:
    """Bring the gradient `g` of `root` to where it is wanted: leaf or node -> its gradient.

    It stops at leaves, at nodes not newer than `since`, and at the nodes `targets`; with `targets`
    given, what cannot lead to them is left out. If `g` is a Value, gradients are Values and
    recorded themselves, for the next derivative. Nodes are freed as they are passed, unless
    `retain_graph` or `g` is a Value. Others may have the arrays too, see `copy_shared`.

    The heap gives the newest node first, so all of a node's gradient has arrived when its turn
    comes. There is no recursion, however deep the graph is.
    """
    create_graph = isinstance(g, Value)
    targets = set(targets)
    oldest = min(target.order for target in targets) if targets else since + 1
    arrivals = _Arrivals(targets, oldest, create_graph)
    arrivals.add(root.node or root, g)
    with recording(create_graph):
        while arrivals.heap:
            node, g = arrivals.pop()
            needs = None
            if targets:  # neither leaves nor what is older than the targets can lead to one
                needs = [parent is not None and parent.order >= oldest for parent in node.parents]
            for parent, gradient in zip(node.parents, node.gradients(g, needs)):
                if parent is not None and gradient is not None:
                    arrivals.add(parent, gradient)
            if not (retain_graph or create_graph):
                node.free()
    return arrivals.sums


for _, _only in {0: object()}.items():
    _REFERENCES = getrefcount(_only)  # to what only a dict has: the dict's, the loop's, the call's


def copy_shared(gradients: dict[Any, Any]) -> None:
    """Copy those arrays that others have too, or a part of: who gets a gradient may write to it."""
    for receiver, gradient in gradients.items():
        if getrefcount(gradient) > _REFERENCES or gradient.base is not None:
            gradients[receiver] = gradient.copy()
