"""What the next big steps could give at most: a step replayed, additions fused, memory planned,
loops on OpenMP.

    python benchmarks/ceilings.py [--batches 32 64 128] [--rounds 20] [--threads N]

A training step of the UNet is recorded, with all calls of kernels and of NumPy (recording.py), and
run in other ways:

    step      the real one
    replay    the calls from a list, pieces on threads as in the step; an array is freed after its last use
    openmp    the same from one Python thread, two pieces side by side: what a kernel has compiled runs for both at
              once, in a parallel region; the rest of the kernel, and NumPy, for one after the other
    serial    this rest alone; loops over both pieces inside the kernels would save at most half of it

All draw labels, times and noise, add up the pieces' gradients, and update with Adam. What is
replayed looks up no times and checks no input; the replay's gradients are checked to be the step's.
They take turns, each twice, the second timed; ratios are within a round.
"""

import argparse
import os
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from types import SimpleNamespace

import numba
import numpy as np
from contest import contestants
from recording import Recording, Traced, play
from threadpoolctl import threadpool_limits

import minidiff as md
from minidiff import diffusion
from minidiff.kernels.cpu import compiled as compiling

POOL = ThreadPoolExecutor()
DEFERRED = SimpleNamespace(calls=None)
FUSIBLE = {
    "add": "residual additions",
    "+=": "sums of gradients",
    "operator": "sums of gradients",
    "concatenate": "joining skips",
}
mb = lambda size: f"{size / 1e6:.1f} MB"


class Step:
    """A training step of the UNet, and what was recorded of it: the calls of each piece, and the sums over pieces."""

    def __init__(self, batch: int):
        self.rng, self.schedule, self.model = (
            np.random.default_rng(0),
            diffusion.cosine_schedule(100),
            md.models.UNet(),
        )
        self.x0 = self.rng.uniform(-1, 1, (batch, 28, 28, 1)).astype(np.float32)
        self.labels = self.rng.integers(1, 11, batch)
        self.optimizer = md.optim.Adam(self.model.parameters(), lr=1e-3)
        md.set_num_threads(1)
        self.scratch = [np.empty(0, np.float32)] * 2
        self.record()

    def gradients(
        self, model: Callable, x0: np.ndarray, rng: np.random.Generator
    ) -> list[np.ndarray]:
        loss = diffusion.loss(
            model, self.schedule, x0, diffusion.label_dropout(self.labels, 0.2, rng), rng
        )
        self.optimizer.zero_grad()
        loss.backward()
        return [parameter.grad for parameter in self.model.parameters()]

    def record(self) -> None:
        """Note all calls; find the pieces, and when cells die; check that the replay gives the step's gradients."""
        tape, starts = Recording(), []
        calls, self.cells, Traced.recording = tape.calls, tape.cells, tape
        model = lambda *arguments: (starts.append(len(calls)), self.model(*arguments))[1]
        expected = self.gradients(self.model, self.x0, np.random.default_rng(1))
        self.model.to("traced")
        kept = list(
            map(tape.place, self.gradients(model, tape.give(self.x0), np.random.default_rng(1)))
        )
        self.model.to("cpu")
        made = lambda calls: {cell for call in calls for cell in call.results} - {None}
        earlier = made(calls[starts[0] : starts[-1]])  # by all pieces but the last
        end = next(i for i in range(starts[-1], len(calls)) if calls[i].uses() & earlier)
        self.pieces, self.sums = [calls[a:b] for a, b in pairwise([*starts, end])], calls[end:]
        self.sizes = {cell: self.cells[cell].nbytes for cell in made(calls[starts[0] :])}
        last = {cell: call for call in calls for cell in call.uses() & self.sizes.keys()}
        for cell in self.sizes.keys() - set(kept):
            last[cell].dead.append(cell)
        for part in [*self.pieces, self.sums]:
            play(part, self.cells)
        if not all(
            np.array_equal(self.cells[cell], gradient) for cell, gradient in zip(kept, expected)
        ):
            raise RuntimeError("the replay's gradients are not the step's")

    def step(self) -> None:
        self.gradients(self.model, self.x0, self.rng)
        self.optimizer.step()

    def around(self, run: Callable) -> None:
        """A step whose gradients come from `run`."""
        diffusion.label_dropout(self.labels, 0.2, self.rng)
        t, noise = (
            self.rng.integers(1, 101, len(self.x0)),
            self.rng.standard_normal(self.x0.shape, np.float32),
        )
        diffusion.q_sample(self.schedule, self.x0, t, noise)
        run()
        play(self.sums, self.cells)
        self.optimizer.step()

    def replay(self) -> None:
        self.around(self.in_threads)

    def openmp(self) -> None:
        self.around(partial(self.side_by_side, regions=True))

    def serial(self) -> None:
        with np.errstate(all="ignore"):  # arrays that nothing was written to
            self.around(partial(self.side_by_side, regions=False))

    def in_threads(self) -> None:
        turns = iter(self.pieces)  # who is free takes the next, as in `sharded`

        def take_turns():
            for calls in turns:
                play(calls, self.cells)

        helpers = [POOL.submit(take_turns) for _ in range(md.get_num_threads() - 1)]
        take_turns()
        for helper in helpers:
            helper.result()

    def side_by_side(self, regions: bool) -> None:
        for pair in zip(self.pieces[::2], self.pieces[1::2]):
            for calls in zip(*pair):
                later: list = [[], []]
                for half, call in enumerate(calls):
                    DEFERRED.calls, compiling._scratch.memory = later[half], self.scratch[half]
                    play([call], self.cells)
                    self.scratch[half] = compiling._scratch.memory
                DEFERRED.calls = None
                for (function, first), (_, second) in zip(*later) if regions else ():
                    region(function)(first, second)


def defer_compiled() -> None:
    """From now on what a kernel has compiled can be put off: while `DEFERRED.calls` is a list, it goes there."""
    compiled = compiling.compiled

    def deferrable(*given, **bound):
        function = compiled(*given, **bound)

        def run(*arguments):
            if DEFERRED.calls is None:
                return function(*arguments)
            DEFERRED.calls.append((function, arguments))
            return True  # as those say that can refuse

        return run

    compiling.compiled = deferrable


@cache
def region(function: Callable) -> Callable:
    """A compiled function on two threads, each with arguments of its own."""

    @numba.njit(parallel=True, nogil=True)
    def run(first, second):
        for half in numba.prange(2):
            if half:
                function(*second)
            else:
                function(*first)

    return run


def race(ways: list[Callable], rounds: int) -> None:
    """Milliseconds of each: of the wall, and of all threads' processor time."""
    times = {run.__name__: [] for run in ways}
    for _ in range(rounds):
        for run in ways:
            time.sleep(0.01)  # OpenMP's threads spin for a while when they have nothing to do
            run()
            wall, processor = time.perf_counter(), time.process_time()
            run()
            times[run.__name__].append(
                (time.perf_counter() - wall, time.process_time() - processor)
            )
    print(
        f"  {'':10s}{'median':>9s}{'min':>8s}{'processor':>11s}{'of the step':>13s}{'min … max':>14s}"
    )
    for name, turns in times.items():
        walls, processors = zip(*turns)
        ratios = [wall / real for wall, (real, _) in zip(walls, times["step"])]
        print(
            f"  {name:10s}{statistics.median(walls) * 1e3:9.1f}{min(walls) * 1e3:8.1f}"
            f"{statistics.median(processors) * 1e3:11.1f}{statistics.median(ratios):13.2f}"
            f"{min(ratios):8.2f} … {max(ratios):.2f}",
            flush=True,
        )


def fusible(step: Step, rounds: int) -> None:
    """The share of the replay, on one thread, in work on images that convolutions could do beside."""
    seconds: Counter = Counter()

    def run(call, *arguments, **statics):
        images = [a for a in arguments if isinstance(a, np.ndarray) and a.ndim == 4]
        start = time.perf_counter()
        # the kernel would copy these
        if call.name not in FUSIBLE and not all(a.flags.c_contiguous for a in images):
            arguments = [
                np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in arguments
            ]
            seconds["cutting their gradients"] += time.perf_counter() - start
        out = call.function(*arguments, **statics)
        if images and call.name in FUSIBLE:
            seconds[FUSIBLE[call.name]] += time.perf_counter() - start
        return out

    watched = [
        [replace(call, function=partial(run, call)) for call in calls] for calls in step.pieces
    ]
    start = time.perf_counter()
    for _ in range(rounds):
        for calls in [*watched, step.sums]:
            play(calls, step.cells)
    whole = time.perf_counter() - start
    parts = ", ".join(f"{name} {part / whole:.1%}" for name, part in seconds.items())
    print(f"  fusible: {parts}; together {seconds.total() / whole:.1%}")


def memory(step: Step, threads: int) -> None:
    """What a piece's arrays take at least, and what the real step takes."""
    live = least = 0
    for call in step.pieces[0]:
        live += sum(step.sizes.get(cell, 0) for cell in call.results)
        least = max(least, live)
        live -= sum(step.sizes[cell] for cell in call.dead)
    made = sum(step.sizes.get(cell, 0) for call in step.pieces[0] for cell in call.results)
    peaks = []
    for n in (1, threads):
        md.set_num_threads(n)
        step.optimizer.zero_grad()
        tracemalloc.start()
        step.step()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print(
        f"  a piece's arrays: {mb(made)} if none were freed, {mb(least)} if each after its last use"
    )
    print(
        f"  the step's, at its peak: {mb(peaks[0])} on 1 thread, {mb(peaks[1])} on {threads}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[32, 64, 128], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="turns that each way gets (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="besides one (default: %(default)s)"
    )
    options = parser.parse_args()
    begun = time.monotonic()
    with contestants(["ours"], options.threads) as running:
        print(
            running["ours"].run("describe")["note"] + f"; load average {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    # now, while this process is small: a child starts with its parent's peak
    for batch in [2, *options.batches]:
        with contestants(["ours"], options.threads) as running:
            print(
                f"process of five steps at batch {batch}: {mb(running['ours'].run('train', batch, warm=5)['peak'])}"
            )
    threadpool_limits(1)  # BLAS, as in `sharded`
    numba.config.THREADING_LAYER = "omp"
    defer_compiled()
    steps = [Step(batch) for batch in options.batches]
    for step in steps:
        for threads in sorted({1, options.threads}):
            md.set_num_threads(threads)
            print(
                f"\nbatch {len(step.x0)}, {threads} thread{'s' * (threads > 1)}, {len(step.pieces)} pieces of "
                f"{len(step.pieces[0])} calls; milliseconds"
            )
            race(
                [step.step, step.replay, *[step.openmp, step.serial] * (threads == 2)],
                options.rounds,
            )
        md.set_num_threads(1)
        fusible(step, options.rounds)
        memory(step, options.threads)
    print(f"\n{(time.monotonic() - begun) / 60:.1f} minutes; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
