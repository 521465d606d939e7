"""The one place for threads: `sharded` runs a function on pieces of a batch, each in a thread.

    batch ──┬── piece 0 ── f ── loss ── backpropagate ── gradients ──┐
            ├── piece 1 ── f ── loss ── backpropagate ── gradients ──┤ summed along a tree of
            └── …                                                    ┘ the pieces: one operation

Kernels run on one thread and release the interpreter's lock. So a bare `model(x, t, y)` and its
`backward` run on one thread. `diffusion.loss` and `diffusion.denoiser` use `sharded`;
a training loop of one's own uses it for its loss, which is a mean over the batch:

    loss = md.sharded(lambda x, y: ops.cross_entropy(model(x), y))(images, labels)
    loss.backward()

The pieces depend on the batch alone, not on the number of threads, and BLAS has one thread of its
own meanwhile (`blas.py`), also where a batch is so small that it is not cut, and on the way back
from there. Each piece draws from a Generator of its own (`draws.py`). So one thread and two, on one
processor or several, give the same bits. Since backpropagation follows at once in every piece, only
as many pieces as there are threads are in memory at a time.

Several processes can share the pieces (`pieces.group`): each computes some of them, and all get the
sum, which is the same bits again.

A batch on a device is not cut: a device works on all of it at once, and has to be told of each
piece.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.random import Generator

from .. import kernels, ops
from ..checks import whole
from ..tape.draws import Piece, Seeds, piece_generator
from ..tape.tape import Node, Value, backpropagate, clock, in_turn, postponing, state
from .blas import one_thread
from .pieces import Outcome, group, summed
from .recomputation import Draws, check_same, generators_in
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

    Arguments are arrays or Tensors with the same first axis, the batch; or None, or Generators.
    While operations are recorded, f gives the mean over its piece, a 0-d Tensor, and the result is
    the mean over the batch. When nothing is recorded, f may also give an array with one row for
    each sample, and the result has all rows. Beside a mean it may give such rows on the host, as a
    tuple, and so the result has both. To the tape around it, it is one operation.

    A loop of one's own runs on all threads by it, which a bare `model(x)` does not:

        loss = md.sharded(lambda x, y: ops.cross_entropy(model(x), y))(images, labels)

    What is drawn does not depend on the threads either. In place of a Generator among the
    arguments, each piece is given one of its own, made of one draw from it; `ops.dropout` and the
    layers do the same. Where f itself holds a Generator, the pieces come one after the other.

    Raises ValueError if the arguments differ in length, or rows are given while they are recorded.
    """

    def run(*batch: Any) -> Any:
        rows, row_size = _size_of(batch)
        cuts = pieces_of(rows, row_size)
        if len(cuts) == 1 or _on_a_device(batch):
            with one_thread:
                out, rows_beside = _parts_of(f(*batch))
                return out if rows_beside is None else (out, rows_beside)
        pieces = [tuple(_cut(part, cut) for part in batch) for cut in cuts]
        weights = [(cut.stop - cut.start) / rows for cut in cuts]
        held = generators_in(f, of_layers=False)
        draws = Draws(held)
        seeds = Seeds(state.piece)
        since = next(clock)
        is_piece = state.piece is not None  # of another batch: other processes are elsewhere
        around = state.recording, state.nesting, state.observer
        actions: list[list[Callable]] = [[] for _ in pieces]

        def value(k: int) -> tuple[Any, Any]:
            """Of piece k, and the rows beside it."""
            before = state.piece
            state.piece = Piece(k, seeds)
            try:
                return _parts_of(f(*map(_of_piece, pieces[k])))
            finally:
                state.piece = before

        def outcome(k: int) -> Outcome:
            """Of piece k, on a tape of its own."""
            state.recording, state.nesting, state.observer = around
            with postponing() as actions[k]:
                out, rows_beside = value(k)
            if not (isinstance(out, Tensor) and out.requires_grad):
                return Outcome(out, rows_beside, {})
            g = kernels.namespace(out.data).asarray(weights[k], out.data.dtype)
            return Outcome(out.detach(), rows_beside, backpropagate(out, g, since=since))

        threads = 1 if held else get_num_threads()
        compute = lambda numbers: _on_threads(threads, outcome, numbers)
        processes = group.get()
        if processes is None or held or is_piece:
            outcomes = compute(range(len(pieces)))
            outs = [each.value for each in outcomes]
            beside = [each.rows for each in outcomes]
            gradients = dict(enumerate(each.gradients for each in outcomes))
            sums = summed(gradients, (0, len(pieces)))
        else:
            outs, beside, sums = processes.shared(compute, len(pieces))
            _check_no_actions(actions)
        for action in chain(*actions):
            in_turn(action)
        mean = _joined(outs, weights)
        if not sums:
            return _with_rows(mean, beside)
        number = mean.data[()]

        def vjp(node: Node, g: Any, needs: Any) -> list:
            if not isinstance(g, Value):
                return list(sums.values()) if g == 1 else [part * g for part in sums.values()]
            seeds.forget(held)  # they will be drawn from again
            with draws.again(), one_thread, postponing():
                again = _joined([value(k)[0] for k in range(len(pieces))], weights)
            check_same("sharded", again.data, number)
            gradients = backpropagate(again, g, since=since)
            return [gradients.get(receiver) for receiver in sums]

        node = Node("sharded", list(sums), vjp, mean.shape)
        return _with_rows(Tensor(mean.data, True, node, mean.version), beside)

    return run


def _size_of(batch: tuple) -> tuple[int, int]:
    """The number of samples, and the elements of one of the first argument's."""
    parts = [part for part in batch if part is not None and type(part) is not Generator]
    try:
        lengths = {len(part) for part in parts}
        size = parts[0].size if parts else 0
    except (TypeError, AttributeError) as error:
        kinds = ", ".join(type(part).__name__ for part in batch)
        raise TypeError(
            f"sharded: given {kinds}, wanted arrays or Tensors with the batch as first axis, None, "
            f"or Generators"
        ) from error
    if len(lengths) != 1:
        raise ValueError(
            f"sharded: given arguments of lengths {sorted(lengths)}, wanted one batch length"
        )
    (rows,) = lengths
    return rows, size // max(rows, 1)


def _on_a_device(batch: tuple) -> bool:
    """Whether some of the batch lives on a device, which works on a whole batch at once anyway."""
    return any(
        kernels.on_a_device(part.data if isinstance(part, Value) else part) for part in batch
    )


def _cut(part: Any, cut: slice) -> Any:
    return part if part is None or isinstance(part, Generator) else part[cut]


def _of_piece(part: Any) -> Any:
    """An argument as the piece that runs here gets it."""
    return piece_generator(part) if isinstance(part, Generator) else part


def _on_threads(threads: int, f: Callable, numbers: range) -> list:
    """[f(k) for k in numbers]: whoever is free takes the next, the caller's thread too.

    Nobody starts another where one has raised, or the caller was interrupted, and nothing is raised
    before those that were begun have ended. If several raise, the error of the first is raised,
    whichever thread was faster.
    """
    results: dict[int, Any] = {}
    errors: dict[int, Exception] = {}
    turns = iter(numbers)  # shared by all threads

    def stop() -> None:
        deque(turns, maxlen=0)

    def take_turns() -> None:
        try:
            with one_thread:
                for k in turns:
                    try:
                        results[k] = f(k)
                    except Exception as error:
                        errors[k] = error
                        stop()
        finally:
            stop()  # an interrupt, say, which comes before all errors

    helpers: list[Future] = []
    try:
        for _ in range(min(len(numbers), threads) - 1):
            # Helpers see the caller's np.errstate.
            helpers.append(_pool().submit(copy_context().run, take_turns))
        take_turns()
    finally:
        stop()
        _wait(helpers)
    if errors:
        raise errors[min(errors)]
    return [results[k] for k in numbers]


def _wait(helpers: list[Future]) -> None:
    """Wait until no helper runs; one that has raised raises here.

    One that has not begun is not waited for: it waits for a thread, which may wait for us, inside
    another `sharded`. An interrupt meanwhile is raised at the end, or pieces would run on.
    """
    interrupt = None
    running = [helper for helper in helpers if not helper.cancel()]
    while not all(helper.done() for helper in running):
        try:
            wait(running)
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt:
        raise interrupt
    for helper in running:
        helper.result()


def _parts_of(out: Any) -> tuple[Any, Any]:
    """What a piece gave, if it may, and the rows beside it or None."""
    rows = None
    if isinstance(out, tuple):
        out, rows = out
    if isinstance(out, Value) and out.requires_grad and out.data.ndim:
        raise ValueError(
            f"sharded: given a result of shape {out.data.shape} that is recorded, wanted the mean "
            f"over the piece"
        )
    return out, rows


def _with_rows(mean: Any, beside: list) -> Any:
    """The mean, and the rows beside it where there are some."""
    return mean if beside[0] is None else (mean, np.concatenate(beside))


def _check_no_actions(actions: list) -> None:
    """ValueError where a layer follows its batches: it would follow those of this process alone."""
    if any(actions):
        raise ValueError(
            "sharded: given a layer with running values, as BatchNorm has, wanted none where "
            "several processes share a batch; GroupNorm needs none"
        )


def _joined(outs: Any, weights: list[float]) -> Any:
    """The mean of means, or all rows."""
    first = outs[0].data if isinstance(outs[0], Value) else outs[0]
    if np.ndim(first):
        return ops.concatenate(outs)
    total = outs[0] * weights[0]
    for out, weight in zip(outs[1:], weights[1:]):
        total = total + out * weight
    return total
