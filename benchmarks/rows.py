"""The rows of `run.py`: what is measured, against whom, and what it must reach.

A row is a function of the command line's options; it prints lines of the table. Every contestant is
a process of its own, and they take turns within a round: see contest.py and contestants.py.
"""

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from contest import ENVIRONMENT, ROOT, Contestant, alternate, contestants, fastest, ratios

EAGER = {"torch-nchw": "PyTorch NCHW", "torch-channels_last": "PyTorch channels_last"}
COMPILED = {"torch-compiled": "torch.compile"}
EXPORTED = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
PACKAGES = {
    "torch": ["torch"],
    "onnxruntime": ["onnxruntime", "torch", "onnxscript"],
    "openvino": ["openvino", "torch", "onnxscript"],
}
BATCHES = 32, 64, 128, 256, 512
NETWORKS = [(8, 28), (32, 28), (64, 28), (16, 16), (16, 32), (16, 64)]  # width, image size
# Name of the layer: size of its input, kernel, in, out, stride, padding, dilation, groups.
LAYERS = {
    "3×3 8→8 at 28": (28, 3, 8, 8, 1, 1, 1, 1),
    "3×3 16→16 at 16": (16, 3, 16, 16, 1, 1, 1, 1),
    "3×3 16→16 at 64": (64, 3, 16, 16, 1, 1, 1, 1),
    "3×3 24→24 at 32": (32, 3, 24, 24, 1, 1, 1, 1),
    "3×3 40→40 at 14": (14, 3, 40, 40, 1, 1, 1, 1),
    "3×3 64→64 at 32": (32, 3, 64, 64, 1, 1, 1, 1),
    "3×3 64→64 at 16": (16, 3, 64, 64, 1, 1, 1, 1),
    "3×3 192→192 at 7": (7, 3, 192, 192, 1, 1, 1, 1),
    "4×4 /2 64→128 at 16": (16, 4, 64, 128, 2, 1, 1, 1),
    "3×3 /2 32→32 at 28": (28, 3, 32, 32, 2, 1, 1, 1),
    "1×1 64→64 at 16": (16, 1, 64, 64, 1, 0, 1, 1),
    "5×5 16→16 at 28": (28, 5, 16, 16, 1, 2, 1, 1),
    "3×3 dilated by 2, 32→32 at 28": (28, 3, 32, 32, 1, 2, 2, 1),
    "3×3 in 4 groups, 32→32 at 28": (28, 3, 32, 32, 1, 1, 1, 4),
    "3×3 depthwise, 32→32 at 28": (28, 3, 32, 32, 1, 1, 1, 32),
    "3×3 in 4 groups, 16→16 at 28": (28, 3, 16, 16, 1, 1, 1, 4),
    "3×3 depthwise, 40→40 at 32": (32, 3, 40, 40, 1, 1, 1, 40),
    "5×5 40→40 at 7": (7, 5, 40, 40, 1, 2, 1, 1),
    "5×5 dilated by 2, 48→48 at 14": (14, 5, 48, 48, 1, 4, 2, 1),
    "7×7 64→64 at 7": (7, 7, 64, 64, 1, 3, 1, 1),
    "7×7 in 2 groups, 16→16 at 28": (28, 7, 16, 16, 1, 3, 1, 2),
    "3×3 in 8 groups, 16→64 at 28": (28, 3, 16, 64, 1, 1, 1, 8),
    "5×5 in 4 groups, 24→24 at 28": (28, 5, 24, 24, 1, 2, 1, 4),
    "1×1 depthwise, 96→96 at 32": (32, 1, 96, 96, 1, 0, 1, 96),
    "1×1 depthwise, 8→64 /2 at 28": (28, 1, 8, 64, 2, 0, 1, 8),
    "2×2 depthwise, 64→64 at 32": (32, 2, 64, 64, 1, 1, 1, 64),
    "7×7 in 5 groups, 40→40 at 14": (14, 7, 40, 40, 1, 3, 1, 5),
    "3×3 in 2 groups, 40→40 at 28": (28, 3, 40, 40, 1, 1, 1, 2),
    "2×2 8→8 at 28": (28, 2, 8, 8, 1, 0, 1, 1),
    "2×2 depthwise, 24→24 at 28": (28, 2, 24, 24, 1, 1, 1, 24),
    "3×3 depthwise, 64→64 /2 at 32": (32, 3, 64, 64, 2, 1, 1, 64),
    "3×3 in 2 groups, 64→16 /2 at 28": (28, 3, 64, 16, 2, 1, 1, 2),
    "7×7 in 2 groups, 64→16 /2 at 14": (14, 7, 64, 16, 2, 3, 1, 2),
    "5×5 dilated by 3, 64→64 at 28": (28, 5, 64, 64, 1, 6, 3, 1),
    "5×5 in 16 groups, 48→48 at 32": (32, 5, 48, 48, 1, 2, 1, 16),
    "3×3 1→16 at 28": (28, 3, 1, 16, 1, 1, 1, 1),
    "3×3 16→1 at 28": (28, 3, 16, 1, 1, 1, 1, 1),
    "3×3 10→10 at 28": (28, 3, 10, 10, 1, 1, 1, 1),
    "5×5 1→6 at 28 (LeNet)": (28, 5, 1, 6, 1, 0, 1, 1),
    "5×5 6→16 at 12 (LeNet)": (12, 5, 6, 16, 1, 0, 1, 1),
}


class Bar(NamedTuple):
    """What a median must reach, and what it should: lower bounds, or with `at_most` upper ones."""

    must: float
    aim: float
    at_most: bool = False


SPEED = Bar(1.8, 3)  # the network against PyTorch


class Task(NamedTuple):
    """What contestants do: `arguments` are the name of a contestant's method and its arguments."""

    name: str
    arguments: tuple
    bar: Bar


# --- lines of the table ---


def print_row(name: str, values: list[float], unit: str, bar: Bar, details: str) -> None:
    """A line with the median, the range and the verdict: ✓✓ for the aim, ✓ for the bar, else ✗."""
    median = statistics.median(values)
    must, aim = (
        median <= bound if bar.at_most else median >= bound for bound in (bar.must, bar.aim)
    )
    verdict = "✗"
    if must:
        verdict = "✓✓" if aim else "✓"
    measured = f"{median:.2f}{unit}, {min(values):.2f} … {max(values):.2f}"
    bars = f"{'≤' if bar.at_most else '≥'} {bar.must:g} ({bar.aim:g})"
    print(f"| {name} | {measured} | {bars} {verdict} | {details} |", flush=True)


def print_unable(name: str, reason: str) -> None:
    print(f"| {name} | – | – | {reason} |", flush=True)


def missing(names) -> str:
    """What is not installed and yet needed by these contestants."""
    needed = {package for name in names for package in PACKAGES.get(name.partition("-")[0], [])}
    return ", ".join(sorted(package for package in needed if not importlib.util.find_spec(package)))


def race(
    options,
    tasks: list[Task],
    peers: dict[str, str],
    *,
    against_each: bool = False,
    threads: int | None = None,
    seconds: float = 0.3,
) -> None:
    """Compare minidiff with the fastest of `peers`, or with each of them, on every task.

    `peers` maps a contestant to its name in the table. A turn takes about `seconds`. A round has
    turns for all tasks, so that what slows the machine for a while is not one task's alone.
    """
    for who, label in peers.items():
        if missing([who]):
            for task in tasks:
                print_unable(f"{task.name} / {label}", f"not installed: {missing([who])}")
    peers = {who: label for who, label in peers.items() if not missing([who])}
    if not peers:
        return
    with contestants(["ours", *peers], threads or options.threads) as running:
        turns = {
            (task.name, who): (contestant, *task.arguments)
            for task in tasks
            for who, contestant in running.items()
        }
        try:
            measured, notes = alternate(turns, options.rounds, seconds)
        except RuntimeError as error:
            names = ", ".join(task.name for task in tasks)
            print_unable(names, str(error).replace("\n", " "))
            return
    for task in tasks:
        own_times = measured[task.name, "ours"]
        times = {who: measured[task.name, who] for who in peers}
        for who in times if against_each else [fastest(times)]:
            name = f"{task.name} / {peers[who]}" if against_each else task.name
            details = [
                milliseconds(own_times),
                f"{peers[who]} ({notes[task.name, who]}) {milliseconds(times[who])}",
            ]
            if not against_each:
                slower = [peer for peer in times if peer != who]
                details += [f"{peers[peer]} {milliseconds(times[peer])}" for peer in slower]
            print_row(name, ratios(times[who], own_times), "×", task.bar, "; ".join(details))


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.3g} ms"


# --- the rows ---


def training_steps(*batches: int) -> list[Task]:
    return [Task(f"training step, batch {batch}", ("train", batch), SPEED) for batch in batches]


def forwards(*batches: int, bar: Bar = SPEED) -> list[Task]:
    return [Task(f"forward, batch {batch}", ("forward", batch), bar) for batch in batches]


def train(options):
    race(options, training_steps(32, 64, 128), EAGER)


def forward(options):
    race(options, forwards(20, 64), EAGER)


def exported(options):
    race(options, forwards(20, 64, bar=Bar(1, 1.8)), EXPORTED, against_each=True)


def compiled(options):
    """Each batch size in a process of its own, so that no shape is compiled as one of several."""
    race(options, training_steps(32), COMPILED, against_each=True)
    race(options, forwards(20), COMPILED, against_each=True)


def compiled_more(options):
    """The other batch sizes: compiling each for training takes 1.5 minutes the first time."""
    for batch in (64, 128):
        race(options, training_steps(batch), COMPILED, against_each=True)
    race(options, forwards(64), COMPILED, against_each=True)


def mlp(options):
    tasks = [Task("training the MLP, batch 32", ("mlp", 32), Bar(3, 6))]
    race(options, tasks, {"torch-nchw": "PyTorch"})


def memory(options):
    """Peak resident memory of three processes each; PyTorch's is that of its better layout."""
    name = "peak memory of training, batch 128"
    if missing(EAGER):
        print_unable(name, f"not installed: {missing(EAGER)}")
        return
    peaks = {who: [] for who in ["ours", *EAGER]}
    for _ in range(3):
        for who in peaks:
            with contestants([who], options.threads) as running:
                peaks[who].append(running[who].run("train", 128, warm=5)["peak"])
    own_peaks = peaks.pop("ours")
    smallest = fastest(peaks)
    mebibytes = statistics.median(own_peaks) / 2**20
    peer_mebibytes = statistics.median(peaks[smallest]) / 2**20
    details = f"{mebibytes:.0f} MiB; {EAGER[smallest]} {peer_mebibytes:.0f} MiB; 3 rounds"
    print_row(name, ratios(own_peaks, peaks[smallest]), "×", Bar(0.6, 0.4, at_most=True), details)


def start(options):
    """From the start of Python to the end of the first training step.

    Numba's cache is empty, then filled.
    """

    def first_step(cache: Path) -> float:
        began = time.perf_counter()
        contestant = Contestant("ours", options.threads, {"NUMBA_CACHE_DIR": str(cache)})
        contestant.run("train", 32, count=1)
        seconds = time.perf_counter() - began
        contestant.close()
        return seconds

    with tempfile.TemporaryDirectory() as folder:
        empty = [first_step(Path(folder, name)) for name in ("first", "second")]
        bar = Bar(15, 6, at_most=True)
        details = "imports included; 2 rounds"
        print_row("first training step, empty cache", empty, " s", bar, details)
        warm = [first_step(Path(folder, "first")) for _ in range(options.rounds)]
        bar = Bar(2, 1, at_most=True)
        print_row("first training step, warm cache", warm, " s", bar, "imports included")


def imports(options):
    """`import minidiff` and `import numpy` in processes of their own, timed inside them."""
    seconds = {"minidiff": [], "numpy": []}
    python("import minidiff")  # so that there is bytecode
    for _ in range(options.rounds):
        for package in seconds:
            timed = f"t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
            seconds[package].append(float(python(f"import time; {timed}")))
    details = f"import numpy {statistics.median(seconds['numpy']):.2f} s"
    bar = Bar(0.4, 0.2, at_most=True)
    print_row("import minidiff", seconds["minidiff"], " s", bar, details)


def python(code: str) -> str:
    """What another Python prints."""
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=True
    )
    return run.stdout.strip()


def linear(options):
    """How far the cost of an image, at any batch size, is from its mean over all batch sizes.

    The largest deviation is judged, of the median cost at each batch size; the largest deviations
    within single rounds are told beside it.
    """
    with contestants(["ours"], options.threads) as running:
        turns = {batch: (running["ours"], "train", batch) for batch in BATCHES}
        times, _ = alternate(turns, options.rounds, 1.0)

    def deviation(seconds):
        costs = [s / batch for s, batch in zip(seconds, BATCHES)]
        return max(abs(cost / statistics.mean(costs) - 1) for cost in costs)

    medians = [statistics.median(seconds) for seconds in times.values()]
    single = [deviation(seconds) for seconds in zip(*times.values())]
    costs = ", ".join(f"{batch}: {s / batch * 1e3:.3f}" for batch, s in zip(BATCHES, medians))
    details = (
        f"ms an image at {costs}; single rounds {min(single):.2f} … {max(single):.2f}, "
        f"their median {statistics.median(single):.2f}"
    )
    bar = Bar(0.15, 0, at_most=True)
    print_row("cost against batch, off a line by", [deviation(medians)], "", bar, details)


def networks(options):
    tasks = [
        Task(
            f"training step, batch 32, width {width}, images {size}×{size}",
            ("train", 32, width, size),
            Bar(1, 1),
        )
        for width, size in NETWORKS
    ]
    race(options, tasks, EAGER, seconds=0.2)


def layers(options):
    """A convolution and its three gradients at batch 32.

    On one thread: minidiff's threads go over pieces of the batch, around all layers.
    """
    tasks = []
    for name, layer in LAYERS.items():
        _, _, inputs, outputs, *_ = layer
        fills_vectors = inputs % 8 == 0 and outputs % 8 == 0
        bar = Bar(1 if fills_vectors else 0.5, 1)
        tasks.append(Task(f"layer {name}", ("layer", 32, *layer), bar))
    race(options, tasks, EAGER, threads=1, seconds=0.1)


ROWS = [train, forward, exported, mlp, memory, start, imports, linear, networks, layers, compiled]
ON_DEMAND = [compiled_more]
