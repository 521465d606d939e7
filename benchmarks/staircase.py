"""The staircase of docs/kernels.md: one layer computed in many ways, each a step above the last.

    python benchmarks/staircase.py [--rounds 20] [--plot docs/staircase.png]

One thread. The ways are NumPy's, plain loops, a tile of four pixels, register tiles and Winograd;
the tile is the code of the page itself. Each gives the right numbers, or nothing is timed. Then
they take turns of two runs, the second timed; times are medians of processor time. GFLOP/s are
nominal: two operations for each product of the plain algorithm. Winograd makes fewer, and the
register tile leaves out those with the zeros around an image: both may pass the peak, which is that
of multiply-adds on registers. An embedding computes next to nothing: its GB/s are those of the rows
that it fetches or adds up.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from accuracy import direct_only
from layers import register_peak
from threadpoolctl import threadpool_limits

from minidiff.kernels import find, generic, loops
from minidiff.kernels.cpu.counters import run_counts

PAGE = Path(__file__).parent.parent / "docs" / "kernels.md"
LAYERS = [(28, 16, 16), (7, 48, 48)]  # size, input and output channels of a 3×3 convolution
BATCH = 32
# The dense layer has as many outputs as features.
ROWS = 1024
FEATURES = 128
# The embedding: rows of the table, rows fetched, numbers in a row.
TABLE = 1000
IDS = 4096
COLUMNS = 64
PLAIN = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


@dataclass
class Step:
    """A way to compute a layer, and the context it runs in.

    If `kernels` are named, one of them must be seen to run (`run_counts` counts those of
    kernels/cpu).
    """

    name: str
    run: Callable[[], np.ndarray]
    context: Callable[[], AbstractContextManager] = nullcontext
    kernels: tuple[str, ...] = ()
    seconds: list[float] = field(default_factory=list)


@dataclass
class Stairs:
    """The steps of one layer; `work` counts its operations, or the bytes of its rows."""

    name: str
    unit: str
    work: int
    steps: list[Step]
    reference: np.ndarray

    def check(self) -> None:
        """ValueError unless each step gives the reference's numbers, by the kernels it names."""
        largest = np.abs(self.reference).max()
        for step in self.steps:
            before = run_counts.copy()
            with step.context():
                result = step.run()
            if np.abs(result - self.reference).max() > 1e-5 * largest:
                raise ValueError(f"{self.name}: {step.name} gives other numbers")
            seen = run_counts - before
            if step.kernels and not seen.keys() & set(step.kernels):
                raise ValueError(f"{step.name}: given {dict(seen)}, wanted one of {step.kernels}")

    def turn(self) -> None:
        """Run each step twice, and note how long the second time took: its arrays are near then."""
        for step in self.steps:
            with step.context():
                step.run()
                start = time.thread_time_ns()
                step.run()
                step.seconds.append((time.thread_time_ns() - start) / 1e9)

    def speeds(self) -> list[float]:
        """Of each step: billions of operations, or bytes, a second."""
        return [self.work / statistics.median(step.seconds) / 1e9 for step in self.steps]


def page() -> dict:
    """The names that the page's Python examples define."""
    namespace: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, namespace)
    return namespace


def convolution(size: int, inputs: int, outputs: int, tile: Callable) -> Stairs:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, size, size, inputs), np.float32)
    w = rng.standard_normal((3, 3, inputs, outputs), np.float32)
    vector = find("conv2d", np.ndarray)
    steps = [
        Step("NumPy, tap by tap", lambda: generic.conv2d(x, w, **PLAIN)),
        Step("seven loops", lambda: loops.conv2d(x, w, **PLAIN)),
        Step("four pixels", lambda: tile(loops.bordered(x, (1, 1)), w)),
        Step("register tile", lambda: vector(x, w, **PLAIN), direct_only, ("conv2d: direct",)),
        Step("Winograd", lambda: vector(x, w, **PLAIN), kernels=("conv2d: winograd",)),
    ]
    reference = generic.conv2d(x.astype(np.float64), w.astype(np.float64), **PLAIN)
    name = f"convolution 3×3, {BATCH} × {size}×{size}, {inputs} → {outputs}"
    return Stairs(name, "GFLOP/s", 2 * reference.size * 9 * inputs, steps, reference)


def dense(tile: Callable) -> Stairs:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, FEATURES), np.float32)
    w = rng.standard_normal((FEATURES, FEATURES), np.float32)
    b = rng.standard_normal(FEATURES, np.float32)
    vector = find("dense", np.ndarray)
    steps = [
        Step("NumPy (BLAS)", lambda: generic.dense(x, w, b)),
        Step("three loops", lambda: loops.dense(x, w, b)),
        Step("four rows", lambda: tile(x[None, None], w[None, None])[0, 0] + b),
        Step("register tile", lambda: vector(x, w, b), kernels=("dense",)),
    ]
    reference = generic.dense(*(array.astype(np.float64) for array in (x, w, b)))
    name = f"dense, {ROWS} rows, {FEATURES} → {FEATURES}"
    return Stairs(name, "GFLOP/s", 2 * reference.size * FEATURES, steps, reference)


def embedding() -> tuple[Stairs, Stairs]:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((TABLE, COLUMNS), np.float32)
    g = rng.standard_normal((IDS, COLUMNS), np.float32)
    ids = rng.integers(0, TABLE, IDS)
    gather = find("embedding", np.ndarray)
    scatter = find("embedding_dtable", np.ndarray)
    forward = [
        Step("NumPy, table[ids]", lambda: generic.embedding(table, ids)),
        Step("two loops", lambda: loops.embedding(table, ids)),
        Step("vectors", lambda: gather(table, ids), kernels=("embedding",)),
    ]
    backward = [
        Step("NumPy, add.at", lambda: generic.embedding_dtable(g, ids, TABLE)),
        Step("two loops", lambda: loops.embedding_dtable(g, ids, TABLE)),
        Step("vectors", lambda: scatter(g, ids, TABLE), kernels=("embedding_dtable",)),
    ]
    sums = generic.embedding_dtable(g.astype(np.float64), ids, TABLE)
    name = f"embedding, {IDS} rows of {COLUMNS} from {TABLE}"
    return (
        Stairs(name, "GB/s", g.nbytes, forward, generic.embedding(table, ids)),
        Stairs(f"its gradient, {IDS} rows added", "GB/s", g.nbytes, backward, sums),
    )


def print_table(stairs: Stairs, peak: float) -> None:
    print(f"\n| {stairs.name} | µs | {stairs.unit} | of the peak |\n|---|---|---|---|")
    for step, speed in zip(stairs.steps, stairs.speeds(), strict=True):
        microseconds = statistics.median(step.seconds) * 1e6
        share = f"{speed / peak:.0%}" if stairs.unit == "GFLOP/s" else ""
        print(f"| {step.name} | {microseconds:.0f} | {speed:.1f} | {share} |")


def plot(everything: list[Stairs], peak: float, path: Path) -> None:
    """One panel for each layer: a bar for each step, a dashed line for the register peak."""
    from matplotlib.figure import Figure

    counts = [len(stairs.steps) for stairs in everything]
    figure = Figure((13, 3.8), layout="constrained")
    panels = figure.subplots(1, len(everything), width_ratios=counts)
    for axes, stairs in zip(panels, everything, strict=True):
        names = [step.name for step in stairs.steps]
        bars = axes.bar(names, stairs.speeds(), width=0.9, color="tab:blue")
        axes.bar_label(bars, fmt="{:.3g}")
        axes.margins(y=0.12)
        if stairs.unit == "GFLOP/s":
            axes.axhline(peak, color="tab:red", linestyle="--", linewidth=1)
            axes.text(-0.45, peak, "register peak", color="tab:red", va="bottom", size="small")
        axes.set_title(stairs.name.replace(", ", "\n", 1), fontsize="small")
        axes.set_ylabel(stairs.unit)
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="turns (default: %(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of the table")
    options = parser.parse_args()
    tile = page()["conv2d_tile"]
    everything = [convolution(*layer, tile) for layer in LAYERS]
    everything += [dense(tile), *embedding()]
    peaks = []
    with threadpool_limits(1):
        for stairs in everything:
            stairs.check()
        for _ in range(options.rounds):
            peaks.append(register_peak())
            for stairs in everything:
                stairs.turn()
    peak = statistics.median(peaks)
    print(f"{options.rounds} rounds, one thread, register peak {peak:.0f} GFLOP/s")
    for stairs in everything:
        print_table(stairs, peak)
    if options.plot:
        plot(everything, peak, options.plot)


if __name__ == "__main__":
    main()
