"""What the next big optimisations could give at most: replay, fusion, planned memory, OpenMP.

    python benchmarks/ceilings.py [--batches 32 64 128] [--rounds 20] [--threads N]

A training step of the UNet is recorded, with all calls of kernels and of NumPy (recording.py), and
run in other ways:

    step      the real one
    replay    the calls from a list, pieces on threads as in the step; an array is freed after its
              last use
    openmp    the same from one Python thread, two pieces side by side: a kernel's compiled part
              runs for both at once, in a parallel region; the rest of the kernel, and NumPy, run
              for one piece after the other
    serial    this rest alone; loops over both pieces inside the kernels would save at most half

All ways draw labels, times and noise, add up the pieces' gradients, and update with Adam. A replay
looks up no times and checks no input; its gradients are checked to be those of the step. The ways
take turns: each runs twice, and the second run is timed. Ratios are within a round.
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
    """A training step of the UNet and its recording.

    The recording has the calls of each piece of the batch, and those that sum over the pieces.
    """

    def __init__(self, batch: int):
        self.rng = np.random.default_rng(0)
        self.schedule = diffusion.cosine_schedule(100)
        self.model = md.models.UNet()
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
        """Note all calls, find the pieces, and find after which call each cell is free.

        RuntimeError unless the replay gives the step's gradients.
        """
        recording = Recording()
        Traced.recording = recording
        calls = recording.calls
        self.cells = recording.cells
        starts: list[int] = []  # the first call of each piece
        model = lambda *arguments: (starts.append(len(calls)), self.model(*arguments))[1]
        expected = self.gradients(self.model, self.x0, np.random.default_rng(1))
        self.model.to("traced")
        gradients = self.gradients(model, recording.give(self.x0), np.random.default_rng(1))
        kept = [recording.place(gradient) for gradient in gradients]
        self.model.to("cpu")
        results_of = lambda calls: {cell for call in calls for cell in call.results} - {None}
        earlier = results_of(calls[starts[0] : starts[-1]])  # by all pieces but the last
        end = next(i for i in range(starts[-1], len(calls)) if calls[i].uses() & earlier)
        self.pieces = [calls[first:after] for first, after in pairwise([*starts, end])]
        self.sums = calls[end:]
        self.sizes = {cell: self.cells[cell].nbytes for cell in results_of(calls[starts[0] :])}
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
        """Make a step whose gradients come from `run`."""
        diffusion.label_dropout(self.labels, 0.2, self.rng)
        t = self.rng.integers(1, 101, len(self.x0))
        noise = self.rng.standard_normal(self.x0.shape, np.float32)
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
        turns = iter(self.pieces)  # a thread that is free takes the next, as in `sharded`

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
                    DEFERRED.calls = later[half]
                    compiling._scratch.memory = self.scratch[half]
                    play([call], self.cells)
                    self.scratch[half] = compiling._scratch.memory
                DEFERRED.calls = None
                if not regions:
                    continue
                for (function, first), (_, second) in zip(*later):
                    takes_tuple = len(first) == 1
                    both = (*first, *second) if takes_tuple else (first, second)
                    region(function, takes_tuple)(*both)


def defer_compiled() -> None:
    """From now on the calls of compiled functions can be put off.

    While `DEFERRED.calls` is a list, they are appended to it instead of being run.
    """
    compiled = compiling.compiled

    def deferrable(*arguments, **bound):
        function = compiled(*arguments, **bound)

        def run(*arguments):
            if DEFERRED.calls is None:
                function(*arguments)
            else:
                DEFERRED.calls.append((function, arguments))

        return run

    compiling.compiled = deferrable


@cache
def region(function: Callable, takes_tuple: bool) -> Callable:
    """A compiled function that runs twice, on two threads, each with arguments of its own.

    What is compiled of a vector body takes its arguments as one tuple, a plain loop one by one.
    """
    if takes_tuple:
        call = numba.njit(nogil=True)(lambda arguments: function(arguments))
    else:
        call = numba.njit(nogil=True)(lambda arguments: function(*arguments))

    @numba.njit(parallel=True, nogil=True)
    def run(first, second):
        for half in numba.prange(2):
            if half:
                call(second)
            else:
                call(first)

    return run


def race(ways: list[Callable], rounds: int) -> None:
    """Print the milliseconds of each way: wall time, and processor time of all threads."""
    times = {run.__name__: [] for run in ways}
    for _ in range(rounds):
        for run in ways:
            time.sleep(0.01)  # OpenMP's threads spin for a while when they have nothing to do
            run()
            start = time.perf_counter()
            processor_start = time.process_time()
            run()
            wall = time.perf_counter() - start
            processor = time.process_time() - processor_start
            times[run.__name__].append((wall, processor))
    print(
        f"  {'':10s}{'median':>9s}{'min':>8s}{'processor':>11s}"
        f"{'of the step':>13s}{'min … max':>14s}"
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
    """Print which share of the replay, on one thread, convolutions could do along with theirs."""
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
    """Print the least memory that a piece's arrays need, and what the real step takes."""
    live = 0
    least = 0
    for call in step.pieces[0]:
        live += sum(step.sizes.get(cell, 0) for cell in call.results)
        least = max(least, live)
        live -= sum(step.sizes[cell] for cell in call.dead)
    total = sum(step.sizes.get(cell, 0) for call in step.pieces[0] for cell in call.results)
    peaks = []
    for n in (1, threads):
        md.set_num_threads(n)
        step.optimizer.zero_grad()
        tracemalloc.start()
        step.step()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    print(
        f"  a piece's arrays: {mb(total)} if none were freed, "
        f"{mb(least)} if each after its last use"
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
            peak = running["ours"].run("train", batch, warm=5)["peak"]
            print(f"process of five steps at batch {batch}: {mb(peak)}")
    threadpool_limits(1)  # BLAS, as in `sharded`
    numba.config.THREADING_LAYER = "omp"
    defer_compiled()
    steps = [Step(batch) for batch in options.batches]
    for step in steps:
        for threads in sorted({1, options.threads}):
            md.set_num_threads(threads)
            print(
                f"\nbatch {len(step.x0)}, {threads} thread{'s' * (threads > 1)}, "
                f"{len(step.pieces)} pieces of {len(step.pieces[0])} calls; milliseconds"
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
