"""The one place for threads: `sharded` runs a function on pieces of a batch, each in a thread.

    batch ──┬── piece 0 ── f ── loss ── backpropagate ── gradients ──┐
            ├── piece 1 ── f ── loss ── backpropagate ── gradients ──┤ summed in the order of
            └── …                                                    ┘ the pieces: one operation

Kernels run on one thread and release the interpreter's lock. So a bare `model(x, t, y)` and its
`backward` run on one thread. `diffusion.loss` and `diffusion.denoiser` use `sharded`;
a training loop of one's own uses it for its loss, which is a mean over the batch:

    loss = md.sharded(lambda x, y: ops.cross_entropy(model(x), y))(images, labels)
    loss.backward()

The pieces depend on the batch alone, not on the number of threads, so one thread and two give the
same bits. Since backpropagation follows at once in every piece, only as many pieces as there are
threads are in memory at a time.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from .. import kernels, ops
from ..checks import whole
from ..tape.tape import Node, Value, backpropagate, clock, in_turn, postponing, state
from .tensor import Tensor

PIECE = 32  # samples at most, where samples are images
LEAST_SIZE = 4096  # elements at least: smaller pieces would take no time


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_settings = {"threads": _processors()}


def set_num_threads(n: int) -> None:
    """How many threads `sharded` uses from now on: at first, one for each processor.

    Results do not depend on it. Raises ValueError unless n is an integer of at least 1.
    """
    _settings["threads"] = whole("n, the number of threads", n, 1)
    _pool.cache_clear()


def get_num_threads() -> int:
    """How many threads `sharded` uses."""
    return _settings["threads"]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_settings["threads"] - 1, thread_name_prefix="minidiff")


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def pieces_of(rows: int, row_size: int) -> list[slice]:
    """The pieces that a batch of `rows` samples of `row_size` elements each is cut into.

    Images go in an even number of pieces of at most 32. Samples so small that such a piece would
    take no time go in larger pieces.
    """
    least = -(-LEAST_SIZE // max(row_size, 1))
    if rows < 2 * least:
        return [slice(0, rows)]
    count = 2 * -(-rows // (2 * max(PIECE, least)))
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def sharded(f: Callable) -> Callable:
    """The function f(*batch), computed piece by piece on all threads.

    Arguments are arrays or Tensors with the same first axis, the batch, or None. While operations
    are recorded, f gives the mean over its piece, a 0-d Tensor, and the result is the mean over the
    batch. When nothing is recorded, f may also give an array with one row for each sample, and the
    result has all rows. To the tape around it, it is one operation.

    A loop of one's own runs on all threads by it, which a bare `model(x)` does not:

        loss = md.sharded(lambda x, y: ops.cross_entropy(model(x), y))(images, labels)

    Raises ValueError if the arguments differ in length, or rows are given while they are recorded.
    """

    def run(*batch: Any) -> Any:
        lengths = {len(part) for part in batch if part is not None}
        if len(lengths) != 1:
            raise ValueError(
                f"sharded: given arguments of lengths {sorted(lengths)}, wanted one batch length"
            )
        (rows,) = lengths
        first = next(part for part in batch if part is not None)
        cuts = pieces_of(rows, first.size // max(rows, 1))
        if len(cuts) == 1:
            return _mean_or_rows(f(*batch))
        pieces = [tuple(part if part is None else part[cut] for part in batch) for cut in cuts]
        weights = [(cut.stop - cut.start) / rows for cut in cuts]
        since = next(clock)
        around = state.recording, state.nesting, state.observer
        actions: list[list[Callable]] = [[] for _ in pieces]

        def value_and_gradients(k: int) -> tuple[Any, dict]:
            """Of piece k, on a tape of its own."""
            state.recording, state.nesting, state.observer = around
            with postponing() as actions[k]:
                out = _mean_or_rows(f(*pieces[k]))
            if not (isinstance(out, Value) and out.requires_grad):
                return out, {}
            g = kernels.namespace(out.data).asarray(weights[k], out.data.dtype)
            return type(out)(out.data), backpropagate(out, g, since=since)

        outs, gradients = zip(*_on_all_threads(value_and_gradients, len(pieces)))
        for action in chain(*actions):
            in_turn(action)
        mean = _joined(outs, weights)
        sums: dict[Any, Any] = {}
        for of_piece in gradients:
            for receiver, gradient in of_piece.items():
                sums[receiver] = sums[receiver] + gradient if receiver in sums else gradient
        if not sums:
            return mean

        def vjp(node: Node, g: Any, needs: Any) -> list:
            if not isinstance(g, Value):
                return [gradient if g == 1 else gradient * g for gradient in sums.values()]
            with postponing():
                again = _joined([f(*piece) for piece in pieces], weights)
            gradients = backpropagate(again, g, since=since)
            return [gradients.get(receiver) for receiver in sums]

        return Tensor(mean.data, True, Node("sharded", list(sums), vjp, mean.shape))

    return run


def _on_all_threads(f: Callable, count: int) -> list:
    """[f(0), …, f(count − 1)]: whoever is free takes the next, the caller's thread too."""
    results: list = [None] * count
    turns = iter(range(count))  # shared by all threads

    def take_turns() -> None:
        for k in turns:
            results[k] = f(k)

    with _blas().limit(limits=1, user_api="blas"):
        helpers = [_pool().submit(take_turns) for _ in range(min(count, get_num_threads()) - 1)]
        take_turns()
        for helper in helpers:
            helper.result()
    return results


def _mean_or_rows(out: Any) -> Any:
    """What a piece gave, if it may."""
    if isinstance(out, Value) and out.requires_grad and out.data.ndim:
        raise ValueError(
            f"sharded: given a result of shape {out.data.shape} that is recorded, wanted the mean "
            f"over the piece"
        )
    return out


def _joined(outs: Any, weights: list[float]) -> Any:
    """The mean of means, or all rows."""
    first = outs[0].data if isinstance(outs[0], Value) else outs[0]
    if np.ndim(first):
        return ops.concatenate(outs)
    total = outs[0] * weights[0]
    for out, weight in zip(outs[1:], weights[1:]):
        total = total + out * weight
    return total
