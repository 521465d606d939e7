"""Where the time of a training step of the UNet goes: kernels by operation, Python, waiting.

    python benchmarks/profile.py [--batch 32] [--steps 30] [--threads N]

On one thread, and on all. Every kernel is timed by two clocks: one of wall time, one of its
thread's processor time. The difference is waiting: for the interpreter's lock, which a kernel takes
back as it returns, or for a processor. The processor time that all threads spend outside kernels is
Python's: the tape, the table of derivatives, random draws, sums of gradients. What Python does
inside a kernel (checks, new arrays, calls of compiled functions) counts as the kernel's.
"""

import argparse
import importlib
import os
import statistics
import threading
import time
from collections import UserDict, defaultdict
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

import minidiff as md
from minidiff import kernels
from minidiff.tools.debug import Observer

PASSES = "forward", "backward", "update"


class Clocks(Observer):
    """Calls, wall seconds and processor seconds of kernels, by (operation, pass).

    Each thread has a table of its own, and notes in `local` whose derivative it is computing.
    """

    def __init__(self):
        self.local = threading.local()
        self.threads = {}  # a thread's number -> its table

    def place(self):
        """Nodes need not know where they were made."""

    def vjp(self, node, g, needs):
        self.local.within = node.name, "backward"
        try:
            return super().vjp(node, g, needs)
        finally:
            self.local.within = None

    def kernel(self, name, function, *arrays, **statics):
        operation, within = getattr(self.local, "within", None) or (name, "forward")
        wall_start = time.perf_counter()
        processor_start = time.thread_time()
        result = function(*arrays, **statics)
        processor = time.thread_time() - processor_start
        wall = time.perf_counter() - wall_start
        table = self.threads.setdefault(threading.get_ident(), defaultdict(lambda: [0, 0.0, 0.0]))
        sums = table[operation, "update" if name == "adam" else within]
        sums[0] += 1
        sums[1] += wall
        sums[2] += processor
        return result

    def sums(self):
        """The table of all threads together."""
        total = defaultdict(lambda: [0, 0.0, 0.0])
        for table in self.threads.values():
            for key, row in table.items():
                total[key] = [a + b for a, b in zip(total[key], row)]
        return total


class TimedKernels(UserDict):
    """A backend's table that has every kernel there is, each timed by `clocks`."""

    clocks = Clocks()

    def __contains__(self, name):
        return True

    def __missing__(self, name):
        own = importlib.import_module("minidiff.kernels.cpu").KERNELS
        generic = importlib.import_module("minidiff.kernels.generic")
        if name in own:
            kernel = own[name]
        else:
            kernel = getattr(generic, name, None) or getattr(np, name)
        self[name] = lambda *arrays, **statics: self.clocks.kernel(name, kernel, *arrays, **statics)
        return self[name]


KERNELS = TimedKernels()
NUMPY = kernels.backend_of(np.empty(0))


def training(batch: int):
    """The three parts of a training step, by name."""
    model = md.models.UNet()
    schedule = md.diffusion.cosine_schedule(100)
    rng = np.random.default_rng(0)
    optimizer = md.optim.Adam(model.parameters(), lr=1e-3)
    x0 = rng.uniform(-1, 1, (batch, 28, 28, 1)).astype(np.float32)
    labels = rng.integers(1, 11, batch)
    losses = {}

    def loss():
        dropped = md.diffusion.label_dropout(labels, 0.2, rng)
        losses["last"] = md.diffusion.loss(model, schedule, x0, dropped, rng)

    def backward():
        optimizer.zero_grad()
        losses["last"].backward()

    return {
        "loss (draws; forward and backward of each piece, in threads)": loss,
        "backward (gradients to their parameters)": backward,
        "update (Adam)": optimizer.step,
    }


def run(parts: dict, steps: int) -> dict[str, list[float]]:
    """Run that many steps: the wall seconds of each, by part."""
    seconds = {name: [] for name in parts}
    for _ in range(steps):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def processor_time(threads: Iterable[int]) -> float:
    """Seconds of processor time that these threads have used; all must still run."""
    return sum(time.clock_gettime(time.pthread_getcpuclockid(thread)) for thread in threads)


def show(threads: int, batch: int, steps: int) -> None:
    """Profile that many steps on that many threads, and print it."""
    md.set_num_threads(threads)
    parts = training(batch)
    clocks = KERNELS.clocks
    kernels.register(NUMPY)
    run(parts, 3)
    unobserved = [sum(step) for step in zip(*run(parts, steps).values())]
    kernels.register(replace(NUMPY, kernels=lambda: KERNELS))
    clocks.threads.clear()
    with clocks:
        run(parts, 3)
        for table in clocks.threads.values():
            table.clear()
        before = processor_time(clocks.threads)
        seconds = run(parts, steps)
        processor = processor_time(clocks.threads) - before
    wall = sum(map(sum, seconds.values()))
    sums = clocks.sums()
    calls, in_kernels, computing = map(sum, zip(*sums.values()))

    ms = lambda total: f"{total / steps * 1e3:8.2f} ms"
    share = lambda total: f"{ms(total)}  {total / wall / threads:4.0%}"
    middle, least, most = (f(unobserved) * 1e3 for f in (statistics.median, min, max))
    print(
        f"\n{threads} thread{'s' * (threads > 1)}, batch {batch}: "
        f"{middle:.1f} ms a step ({least:.1f} … {most:.1f}), "
        f"with clocks {wall / steps * 1e3:.1f}"
    )
    for name, part in seconds.items():
        print(f"  {ms(sum(part))}  {name}")
    print(f"{threads} × {wall / steps * 1e3:.1f} ms are")
    print(f"  {share(computing)}  kernels computing ({calls / steps:.0f} calls)")
    print(f"  {share(processor - computing)}  Python and NumPy between kernels")
    print(f"  {share(in_kernels - computing)}  waiting inside kernels")
    idle = wall * threads - processor - (in_kernels - computing)
    print(f"  {share(idle)}  waiting between kernels, or nothing to do")
    print(
        f"{'kernels by operation':24s}{'calls':>7s}"
        + "".join(f"{name:>14s}" for name in PASSES)
        + f"{'share':>8s}"
    )
    total = lambda operation: sum(sums[operation, name][1] for name in PASSES)
    for operation in sorted({operation for operation, _ in sums}, key=total, reverse=True):
        rows = [sums[operation, name] for name in PASSES]
        times = "".join(f"{ms(row[1]):>14s}" if row[0] else " " * 14 for row in rows)
        count = sum(row[0] for row in rows) / steps
        print(f"  {operation:22s}{count:7.0f}{times}{total(operation) / in_kernels:8.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--batch", type=int, default=32, help="images in a step (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=30, help="how many are averaged (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="besides one (default: %(default)s)"
    )
    options = parser.parse_args()
    for threads in sorted({1, options.threads}):
        show(threads, options.batch, options.steps)


if __name__ == "__main__":
    main()
