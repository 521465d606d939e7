"""The one place for threads: `sharded` runs a function on pieces of a batch, each on a tape and in
a thread of its own.

    batch ──┬─ piece 0 ─ f ─ loss ─ walk ─ gradients ─┐
            ├─ piece 1 ─ f ─ loss ─ walk ─ gradients ─┤ summed in the order of the pieces: one operation
            └─ …                                      ┘

Kernels are sequential and release the interpreter's lock. The size of the pieces depends on the
batch alone, so one thread and two give the same bits; and since a piece is walked back as soon as
it is computed, only as many pieces as there are threads are in memory at a time.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from .. import kernels, ops
from ..tape.tape import Node, Value, clock, state, walk
from .tensor import Tensor

_settings = {
    "threads": len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count() or 1
}


def set_num_threads(n: int) -> None:
    """How many threads `sharded` uses from now on (at first, one for each processor).

    Results do not depend on it.
    """
    if n < 1:
        raise ValueError(f"n, the number of threads, must be at least 1; got {n}")
    _settings["threads"] = int(n)
    _pool.cache_clear()


def get_num_threads() -> int:
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

    Images go in pairs of pieces of at most 32; samples so small that a piece would take no time go
    in larger ones.
    """
    least = -(-4096 // max(row_size, 1))
    count = 2 * -(-rows // (2 * max(32, least))) if rows >= 2 * least else 1
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def sharded(f: Callable) -> Callable:
    """The function f(*batch), computed piece by piece on all threads.

    Arguments of the result are arrays or Tensors with the same first axis, the batch, or None. f
    gives either a mean over its piece, as a 0-d Tensor, or something with one row for each of its
    samples (when nothing is recorded); what comes out is the mean over the batch, or all rows. To
    the tape around it, it is one operation.

    Raises ValueError if the arguments differ in length, or rows are given while a tape records
    them.
    """

    def run(*batch: Any) -> Any:
        lengths = {len(part) for part in batch if part is not None}
        if len(lengths) != 1:
            raise ValueError(
                f"sharded: all arguments must have one batch length; got {sorted(lengths)}"
            )
        rows, first = lengths.pop(), next(part for part in batch if part is not None)
        cuts = pieces_of(rows, first.size // max(rows, 1))
        if len(cuts) == 1:
            return _mean_or_rows(f(*batch))
        inherited = state.recording, state.nesting, state.observer
        pieces = [tuple(part if part is None else part[cut] for part in batch) for cut in cuts]
        weights = [(cut.stop - cut.start) / max(rows, 1) for cut in cuts]
        since = next(clock)

        def work(piece: tuple, weight: float) -> tuple[Any, dict]:
            state.recording, state.nesting, state.observer = inherited
            out = _mean_or_rows(f(*piece))
            if not (isinstance(out, Value) and out.requires_grad):
                return out, {}
            seed = kernels.namespace(out.data).asarray(weight, out.data.dtype)
            return type(out)(out.data), walk(out, seed, since=since, copy=False)

        done: list = [None] * len(cuts)
        # shared: who is free takes the next piece, the caller's thread too
        turns = iter(range(len(cuts)))

        def take_turns() -> None:
            for k in turns:
                done[k] = work(pieces[k], weights[k])

        with _blas().limit(limits=1, user_api="blas"):
            helpers = [_pool().submit(take_turns) for _ in cuts[1 : _settings["threads"]]]
            take_turns()
            for helper in helpers:
                helper.result()
        outs = [out for out, _ in done]
        total = _joined(outs, weights)
        found: dict[Any, Any] = {}
        for _, gradients in done:
            for target, gradient in gradients.items():
                found[target] = found[target] + gradient if target in found else gradient
        if not found:
            return total

        def pull(node: Node, g: Any, needs: list) -> list:
            if not isinstance(g, Value):
                return [gradient if g == 1 else gradient * g for gradient in found.values()]
            again = walk(_joined([f(*piece) for piece in pieces], weights), g, since=since)
            return [again.get(target) for target in found]

        return Tensor(total.data, True, Node("sharded", list(found), pull, total.shape))

    return run


def _mean_or_rows(out: Any) -> Any:
    """What a piece gave, if it may."""
    if isinstance(out, Value) and out.requires_grad and out.data.ndim:
        raise ValueError(
            f"sharded: a recorded function must give its piece's mean; got {out.data.shape}"
        )
    return out


def _joined(outs: list, weights: list[float]) -> Any:
    """The mean of means, or all rows."""
    if np.ndim(outs[0].data if isinstance(outs[0], Value) else outs[0]):
        return ops.concatenate(outs)
    total = outs[0] * weights[0]
    for out, weight in zip(outs[1:], weights[1:]):
        total = total + out * weight
    return total
