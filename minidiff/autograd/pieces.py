"""What pieces of a batch give, added along a tree: the same bits, whoever adds what.

    0   1   2   3   4   5        the pieces
    │   ╰─┬─╯   │   ╰─┬─╯
    ╰──┬──╯     ╰──┬──╯
       ╰─────┬─────╯             first half + second half, at every size

Floating-point sums depend on their order, so the order must depend on the number of pieces alone.
In a tree, pieces that lie side by side can be added without the others: threads and processes take
some each, and only the sums of whole branches have to meet.

A branch is (start, stop): the pieces from start to stop − 1.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Branch = tuple[int, int]


def tree_sum(of: Mapping[Branch, T], branch: Branch, add: Callable[[T, T], T]) -> T:
    """The sum over a branch, from sums over branches that lie in it and cover it."""
    if branch in of:
        return of[branch]
    first, second = _halves(branch)
    return add(tree_sum(of, first, add), tree_sum(of, second, add))


def branches_within(branch: Branch, low: int, high: int) -> list[Branch]:
    """The largest branches that hold pieces low … high − 1 alone, in their order."""
    start, stop = branch
    if low <= start and stop <= high:
        return [branch]
    if stop <= low or high <= start:
        return []
    return [part for half in _halves(branch) for part in branches_within(half, low, high)]


def _halves(branch: Branch) -> tuple[Branch, Branch]:
    start, stop = branch
    middle = (start + stop) // 2
    return (start, middle), (middle, stop)


def added(gradients: dict[Any, Any], others: dict[Any, Any]) -> dict[Any, Any]:
    """Gradients by receiver, those of both summed."""
    total = dict(gradients)
    for receiver, gradient in others.items():
        total[receiver] = total[receiver] + gradient if receiver in total else gradient
    return total


def summed(gradients: Mapping[int, dict[Any, Any]], branch: Branch) -> dict[Any, Any]:
    """The sum of what each piece of a branch has, by receiver."""
    leaves = {(k, k + 1): gradients[k] for k in range(*branch)}
    return tree_sum(leaves, branch, added)


class Outcome:
    """What a piece gave: its mean, or rows; rows beside a mean; and gradients by receiver."""

    __slots__ = ("gradients", "rows", "value")

    def __init__(self, value: Any, rows: Any, gradients: dict[Any, Any]):
        self.value = value
        self.rows = rows
        self.gradients = gradients


class Group(Protocol):
    """Processes that share the pieces of every batch. `distributed.py` has the one by MPI."""

    def shared(
        self, compute: Callable[[range], list[Outcome]], count: int
    ) -> tuple[list[Any], list[Any], dict[Any, Any]]:
        """The values of all `count` pieces, their rows, and the summed gradients.

        Every process calls it, and computes some of the pieces. What a piece raises, all raise.
        """


# The processes that this one shares batches with, in the thread that has said so.
group: ContextVar[Group | None] = ContextVar("group", default=None)
