"""Several processes, on one machine or many, train and draw together: by MPI, in this file alone.

    mpiexec -n 4 python examples/mnist_guided.py

Every process (a rank) runs the same program with the same seed. Inside `ranks()` the pieces of each
batch that `sharded` cuts are divided among them, and all get the same result, bit for bit: that of
one process. So whatever follows from it, they all compute alike: the optimiser's step, the next
batch, the next image. Ranks differ in two things. The first one writes, and speaks. And what one of
them alone can know (a signal, a clock, a file) is asked of all (`largest`) or of the first
(`on_first`).

A network's gradients meet in two steps. They are cut into as many slices as there are ranks; rank r
is sent slice r of the sum of every branch, and adds these along the tree (`autograd/pieces.py`);
then all are sent all sums. Each rank sends and gets twice the gradients' size, however many it are.
"""

import hashlib
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
)
from functools import cache
from itertools import chain, pairwise
from operator import add
from typing import Any, TypeVar

import numpy as np

from .autograd import pieces
from .autograd.pieces import Branch, Outcome, branches_within, summed, tree_sum
from .autograd.threads import get_num_threads, set_num_threads

T = TypeVar("T")

# What launchers tell each process: MPICH's and its kin, Open MPI's, Slurm's.
_TOLD_BY_LAUNCHERS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK")
_PATIENCE = 5.0  # seconds that a rank which fails waits for the others to fail as well


@cache
def _world() -> Any:
    """The communicator of all ranks; None where no launcher started several.

    Threads are divided among the ranks of a machine.
    """
    if not any(name in os.environ for name in _TOLD_BY_LAUNCHERS):
        return None
    try:
        from mpi4py import MPI
    except ImportError:
        raise ImportError('mpiexec needs mpi4py: type pip install "minidiff[mpi]"') from None
    if MPI.COMM_WORLD.size == 1:
        return None
    beside = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    set_num_threads(max(1, get_num_threads() // beside.size))
    return MPI.COMM_WORLD.Dup()


@cache
def _exit() -> Any:
    """A communicator for those alone who leave `ranks` by an exception."""
    return _world().Dup()


def rank() -> int:
    """The number of this process among those that were started together, from 0."""
    return _world().rank if _world() else 0


def size() -> int:
    """How many processes were started together."""
    return _world().size if _world() else 1


# --- blocks: in step, or each for itself ---


@contextmanager
def ranks() -> Iterator[None]:
    """A block that all ranks run in step: they divide every batch.

    Without a launcher, and inside another such block, it changes nothing. The first rank alone has
    an output. An exception that all ranks raise leaves the block as it would in one process; a rank
    that is alone with one ends the whole job.
    """
    world = _world()
    if world is None or pieces.group.get() is not None:
        yield
        return
    _exit()
    world.Barrier()
    before = pieces.group.set(_Ranks(world))
    try:
        with _silence() if world.rank else nullcontext():
            yield
    except BaseException:
        if not _all_leave():
            print(f"rank {world.rank} of {world.size} failed:", file=sys.__stderr__)
            traceback.print_exc(file=sys.__stderr__)
            sys.__stderr__.flush()  # type: ignore[union-attr]
            world.Abort(1)
        if world.rank:  # what all raise the first one shows
            sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        raise
    finally:
        pieces.group.reset(before)


@contextmanager
def apart() -> Iterator[None]:
    """A block in which each rank has work of its own; the first one alone has an output.

    Inside `ranks`, too: the ranks are in step again behind it.
    """
    before = pieces.group.set(None)
    try:
        with _silence() if rank() else nullcontext():
            yield
    finally:
        pieces.group.reset(before)


@contextmanager
def _silence() -> Iterator[None]:
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        yield


def _all_leave() -> bool:
    """Whether all ranks come here within some seconds."""
    here = _exit().Ibarrier()
    last = time.monotonic() + _PATIENCE
    while time.monotonic() < last:
        if here.Test():
            return True
        time.sleep(0.01)
    return False


# --- what not all ranks can know ---


def on_first(f: Callable[[], T]) -> T:
    """What f gives, or raises, on the first rank; the others wait for it, and get the same.

    So files are read and written. Outside `ranks` it is a plain call.
    """
    group = pieces.group.get()
    return group.on_first(f) if isinstance(group, _Ranks) else f()


def largest(number: T) -> T:
    """The largest of what the ranks give. Outside `ranks` it is the number itself."""
    group = pieces.group.get()
    return group.largest(number) if isinstance(group, _Ranks) else number


@contextmanager
def block_on_first(make: Callable[[], AbstractContextManager]) -> Iterator[None]:
    """A block of the first rank's, around what all do; what entering it raises, all raise."""
    with ExitStack() as stack:
        on_first(lambda: bool(stack.enter_context(make())))
        yield


# --- a batch ---


class _Ranks:
    """The `pieces.Group` of all ranks."""

    def __init__(self, world: Any):
        self.world = world

    def on_first(self, f: Callable[[], T]) -> T:
        told: tuple[Any, Exception | None] = None, None
        if self.world.rank == 0:
            told = _tried(f)
        value, error = self.world.bcast(told)
        if error is not None:
            raise told[1] or error
        return value

    def largest(self, number: T) -> T:
        return max(self.world.allgather(number))

    def shared(
        self, compute: Callable[[range], list[Outcome]], count: int
    ) -> tuple[list[Any], list[Any], dict[Any, Any]]:
        """See `pieces.Group`.

        Where there are fewer pieces than ranks, some compute one for nothing: so they, too, learn
        who receives gradients, and draw from what all draw from.
        """
        own = self._range(count, self.world.rank)
        outcomes, error = _tried(lambda: compute(own or range(count - 1, count)))
        said = None
        if error is None:
            kept = outcomes if own else []
            values = [(each.value, each.rows) for each in kept]
            said = values, _signature(outcomes[0].gradients)
        answers = self.world.allgather((said, error))
        for _, raised in answers:
            if raised is not None:
                raise error or raised
        if any(signature != said[1] for (_, signature), _ in answers):  # type: ignore[index]
            raise ValueError(
                "sharded: given pieces that use other parameters than the first, wanted the same "
                "for all, where several processes share a batch"
            )
        of_pieces = [both for (of_rank, _), _ in answers for both in of_rank]
        all_values = [value for value, _ in of_pieces]
        all_rows = [rows for _, rows in of_pieces]
        return all_values, all_rows, self._sums(outcomes, own, count)

    def _range(self, count: int, rank: int) -> range:
        """The pieces of a rank: as many as any other's, or one more, side by side."""
        return range(count * rank // self.world.size, count * (rank + 1) // self.world.size)

    def _branches(self, count: int, rank: int) -> list[Branch]:
        own = self._range(count, rank)
        return branches_within((0, count), own.start, own.stop) if own else []

    def _sums(self, outcomes: list[Outcome], own: range, count: int) -> dict[Any, Any]:
        """The gradients of all pieces, summed, by receiver."""
        receivers = list(outcomes[0].gradients)
        of_piece = {k: each.gradients for k, each in zip(own, outcomes)}
        branches = self._branches(count, self.world.rank)
        partial = [summed(of_piece, branch) for branch in branches]
        total: dict[Any, Any] = {}
        like = outcomes[0].gradients
        for dtype in sorted({like[receiver].dtype for receiver in receivers}, key=str):
            some = [receiver for receiver in receivers if like[receiver].dtype == dtype]
            flat = [np.concatenate([each[r].ravel() for r in some]) for each in partial]
            numbers = sum(like[receiver].size for receiver in some)
            sums = self._meet(flat, numbers, dtype, count)
            ends = np.cumsum([like[receiver].size for receiver in some])
            for receiver, part in zip(some, np.split(sums, ends[:-1])):
                total[receiver] = part.reshape(like[receiver].shape)
        return {receiver: total[receiver] for receiver in receivers}

    def _meet(self, flat: list[np.ndarray], numbers: int, dtype: Any, count: int) -> np.ndarray:
        """The sum, (numbers,), of arrays of this size: this rank has one for each of its branches.

        Source of the two steps: Rabenseifner 2004, "Optimization of collective reduction
        operations", with the sums along our tree.
        """
        world = self.world
        edges = [numbers * r // world.size for r in range(world.size + 1)]
        lengths = np.diff(edges)
        branches = [self._branches(count, r) for r in range(world.size)]
        mine = lengths[world.rank]

        slices = [part[a:b] for a, b in pairwise(edges) for part in flat]
        sent = np.concatenate(slices) if slices else np.empty(0, dtype)
        got = np.empty((sum(map(len, branches)), mine), dtype)
        world.Alltoallv([sent, lengths * len(flat)], [got, [len(each) * mine for each in branches]])
        of = dict(zip(chain(*branches), got))
        slice_of_sum = tree_sum(of, (0, count), add)

        whole = np.empty(numbers, dtype)
        world.Allgatherv(slice_of_sum, [whole, lengths])
        return whole


def _signature(gradients: dict[Any, Any]) -> bytes:
    """Eight bytes that gradients of other shapes, or in another order, do not have."""
    shapes = [(array.shape, array.dtype.str) for array in gradients.values()]
    return hashlib.blake2b(repr(shapes).encode(), digest_size=8).digest()


def _tried(f: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What f gives, or what it raises, in a form that can be sent."""
    try:
        return f(), None
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return None, RuntimeError(f"{type(error).__name__}: {error}")
        return None, error
