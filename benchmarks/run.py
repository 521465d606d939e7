"""minidiff against PyTorch, ONNX Runtime and OpenVINO: how many times as fast, with min … max over
the rounds.

    python benchmarks/run.py [--only NAME …] [--rounds 7] [--threads N]

Every contestant is a process of its own, and they take turns within a round; see contest.py and
contestants.py. A line gives the median, min … max of its rounds, and judges the median: ✓✓ the aim
is reached, ✓ the bar, ✗ neither. Times behind a ratio are medians. Peers that are not installed
(the `bench` extra) are said to be missing.
"""

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import (
    ENVIRONMENT,
    HELD_BACK,
    ROOT,
    Contestant,
    alternate,
    contestants,
    fastest,
    ratios,
)

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
# name of the layer: size of its input, kernel, in, out, stride, padding, dilation, groups; at batch
# 32
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


def missing(names) -> str:
    """What is not installed and yet needed by these contestants."""
    wanted = {package for name in names for package in PACKAGES.get(name.partition("-")[0], [])}
    return ", ".join(sorted(package for package in wanted if not importlib.util.find_spec(package)))


def line(
    name: str,
    values: list[float],
    unit: str,
    must: float,
    aim: float,
    about: str,
    least: bool = True,
) -> None:
    """Print one row; `least`: the bars are lower bounds."""
    middle = statistics.median(values)
    reached = [middle >= bar if least else middle <= bar for bar in (must, aim)]
    verdict = "✓✓" if all(reached) else "✓" if reached[0] else "✗"
    bars = f"{'≥' if least else '≤'} {must:g} ({aim:g})"
    values = f"{middle:.2f}{unit}, {min(values):.2f} … {max(values):.2f}"
    print(f"| {name} | {values} | {bars} {verdict} | {about} |", flush=True)


def unable(name: str, why: str) -> None:
    print(f"| {name} | – | – | {why} |", flush=True)


def race(
    options,
    title: str,
    peers: dict,
    tasks: dict,
    must,
    aim,
    *,
    threads=None,
    seconds=0.3,
    each=False,
):
    """Ours against the fastest of the peers, or against `each`, for every task: name -> (task,
    *arguments).

    `must` is a function of the task. Turns take about `seconds`. A round has turns for all tasks,
    so that what slows the machine for a while is not one task's alone.
    """
    for who in peers:
        for name in tasks if missing([who]) else []:
            unable(f"{title}{name} / {peers[who]}", f"not installed: {missing([who])}")
    peers = {who: label for who, label in peers.items() if not missing([who])}
    if not peers:
        return
    with contestants(["ours", *peers], threads or options.threads) as running:
        turns = {
            (name, who): (c, *task) for name, task in tasks.items() for who, c in running.items()
        }
        try:
            measured, notes = alternate(turns, options.rounds, seconds)
        except RuntimeError as error:
            unable(f"{title}{', '.join(tasks)}", str(error).replace("\n", " "))
            return
    for name, task in tasks.items():
        ours, times = measured[name, "ours"], {who: measured[name, who] for who in peers}
        took = {who: f"{statistics.median(t) * 1e3:.3g} ms" for who, t in times.items()}
        for who in times if each else [fastest(times)]:
            against = f" / {peers[who]}" if each else ""
            others = "" if each else "".join(f"; {peers[o]} {took[o]}" for o in times if o != who)
            about = f"{statistics.median(ours) * 1e3:.3g} ms; {peers[who]} ({notes[name, who]}) {took[who]}{others}"
            line(f"{title}{name}{against}", ratios(times[who], ours), "×", must(task), aim, about)


def train(options):
    tasks = {f"{batch}": ("train", batch) for batch in (32, 64, 128)}
    race(options, "training step, batch ", EAGER, tasks, lambda _: 1.8, 3)


def forward(options):
    tasks = {f"{batch}": ("forward", batch) for batch in (20, 64)}
    race(options, "forward, batch ", EAGER, tasks, lambda _: 1.8, 3)


def exported(options):
    tasks = {f"{batch}": ("forward", batch) for batch in (20, 64)}
    race(options, "forward, batch ", EXPORTED, tasks, lambda _: 1, 1.8, each=True)


def compiled(options):
    """Each batch size in a process of its own, so that no shape is compiled as one of several."""
    race(
        options,
        "training step, batch ",
        COMPILED,
        {"32": ("train", 32)},
        lambda _: 1.8,
        3,
        each=True,
    )
    race(options, "forward, batch ", COMPILED, {"20": ("forward", 20)}, lambda _: 1.8, 3, each=True)


def compiled_more(options):
    """The other batch sizes: one and a half minutes of compiling each for training, the first time."""
    for batch in (64, 128):
        race(
            options,
            "training step, batch ",
            COMPILED,
            {f"{batch}": ("train", batch)},
            lambda _: 1.8,
            3,
            each=True,
        )
    race(options, "forward, batch ", COMPILED, {"64": ("forward", 64)}, lambda _: 1.8, 3, each=True)


def mlp(options):
    eager = {"torch-nchw": "PyTorch"}
    race(options, "training the MLP, batch ", eager, {"32": ("mlp", 32)}, lambda _: 3, 6)


def memory(options):
    """Peak resident memory of three processes each; theirs is the better layout's."""
    name, lack = "peak memory of training, batch 128", missing(EAGER)
    if lack:
        unable(name, f"not installed: {lack}")
        return
    peaks = {who: [] for who in ["ours", *EAGER]}
    for _ in range(3):
        for who in peaks:
            with contestants([who], options.threads) as running:
                peaks[who].append(running[who].run("train", 128, warm=5)["peak"])
    ours = peaks.pop("ours")
    best = fastest(peaks)
    about = f"{statistics.median(ours) / 2**20:.0f} MiB; {EAGER[best]} {statistics.median(peaks[best]) / 2**20:.0f} MiB"
    line(name, ratios(ours, peaks[best]), "×", 0.6, 0.4, f"{about}; 3 rounds", least=False)


def start(options):
    """From the start of Python to the end of the first training step, Numba's cache empty, then filled."""

    def first_step(cache: Path) -> float:
        begun = time.perf_counter()
        contestant = Contestant("ours", options.threads, {"NUMBA_CACHE_DIR": str(cache)})
        contestant.run("train", 32, count=1)
        taken = time.perf_counter() - begun
        contestant.close()
        return taken

    with tempfile.TemporaryDirectory() as folder:
        empty = [first_step(Path(folder, name)) for name in ("first", "second")]
        line(
            "first training step, empty cache",
            empty,
            " s",
            15,
            6,
            "imports included; 2 rounds",
            least=False,
        )
        warm = [first_step(Path(folder, "first")) for _ in range(options.rounds)]
        line("first training step, warm cache", warm, " s", 2, 1, "imports included", least=False)


def imports(options):
    """`import minidiff` and `import numpy` in processes of their own, timed inside them."""
    seconds = {"minidiff": [], "numpy": []}
    python("-c", "import minidiff")  # so that there is bytecode
    for _ in range(options.rounds):
        for package in seconds:
            code = f"import time; t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
            seconds[package].append(float(python("-c", code)))
    alone = statistics.median(seconds["numpy"])
    line(
        "import minidiff",
        seconds["minidiff"],
        " s",
        0.4,
        0.2,
        f"import numpy {alone:.2f} s",
        least=False,
    )


def linear(options):
    """How far the cost of an image, at any batch size, is from its mean over all batch sizes: the
    largest deviation.

    It is judged by the median cost at each batch size; the largest deviations within single rounds
    are told beside it.
    """
    with contestants(["ours"], options.threads) as running:
        times, _ = alternate(
            {b: (running["ours"], "train", b) for b in BATCHES}, options.rounds, 1.0
        )

    def off(seconds):
        costs = [s / batch for s, batch in zip(seconds, BATCHES)]
        return max(abs(cost / statistics.mean(costs) - 1) for cost in costs)

    medians, single = (
        [statistics.median(t) for t in times.values()],
        [off(each) for each in zip(*times.values())],
    )
    about = ", ".join(f"{batch}: {s / batch * 1e3:.3f}" for batch, s in zip(BATCHES, medians))
    rounds = f"single rounds {min(single):.2f} … {max(single):.2f}, their median {statistics.median(single):.2f}"
    line(
        "cost against batch, off a line by",
        [off(medians)],
        "",
        0.15,
        0,
        f"ms an image at {about}; {rounds}",
        least=False,
    )


def networks(options):
    tasks = {f"{w}, images {s}×{s}": ("train", 32, w, s) for w, s in NETWORKS}
    race(options, "training step, batch 32, width ", EAGER, tasks, lambda _: 1, 1, seconds=0.2)


def layers(options):
    """A convolution and its three gradients; one thread, since ours go over pieces of the batch, around all layers."""
    tasks = {name: ("layer", 32, *layer) for name, layer in LAYERS.items()}
    bar = lambda task: 1 if task[4] % 8 == task[5] % 8 == 0 else 0.5
    race(options, "layer ", EAGER, tasks, bar, 1, threads=1, seconds=0.1)


ROWS = [train, forward, exported, mlp, memory, start, imports, linear, networks, layers, compiled]
ON_DEMAND = [compiled_more]


def python(*arguments: str) -> str:
    """What another Python prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip()[-300:]}"


def machine(threads: int) -> None:
    """Print what all this ran on."""
    cpu, memory = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        fields = [part.partition(":") for part in Path("/proc/cpuinfo").read_text().splitlines()]
        known = {name.strip(): value.strip() for name, _, value in fields}
        cpu = known.get("model name", cpu)
        wide = [
            flag
            for flag in ("avx2", "avx512f", "avx512_bf16")
            if flag in known.get("flags", "").split()
        ]
        cpu += f" ({', '.join(wide)}; L2 {known.get('cache size', '?')})"
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    print(f"- {cpu}, {os.cpu_count()} processors{memory}, {platform.system()} {platform.machine()}")
    git = shutil.which("git")
    commit = (
        subprocess.run(
            [git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
        ).stdout
        if git
        else ""
    )
    print(
        f"- Python {platform.python_version()}, minidiff at {commit.strip() or 'an unknown commit'}, {threads} threads"
    )
    for name in ["ours", "torch-nchw", *EXPORTED]:
        lack = missing([name])
        if lack:
            print(f"- {name}: not installed: {lack}")
            continue
        with contestants([name], threads) as running:
            print(f"- {running[name].run('describe')['note']}")
    held = [f"{name}={os.environ[name]}" for name in HELD_BACK if name in os.environ]
    kept = [
        f"{name}={os.environ[name]}"
        for name in sorted(ENVIRONMENT)
        if name.startswith(("OPENBLAS_", "OMP_", "MKL_", "NUMBA_"))
    ]
    print(
        f"- settings of the environment: {', '.join(kept) or 'none'}; withheld from all: {', '.join(held) or 'none'}"
    )
    print(f"- load average before the first row: {os.getloadavg()[0]:.1f}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    rows = {row.__name__: row for row in [*ROWS, *ON_DEMAND]}
    default = [row.__name__ for row in ROWS]
    about = (
        f"of {', '.join(rows)}; by default all but {', '.join(row.__name__ for row in ON_DEMAND)}"
    )
    parser.add_argument(
        "--only", nargs="+", choices=rows, default=default, metavar="NAME", help=about
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=7,
        help="turns that each contestant gets (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count(),
        help="of each contestant (default: %(default)s)",
    )
    options = parser.parse_args()
    begun, took = time.monotonic(), []
    machine(options.threads)
    print("| what | median, min … max | must (aim) | ours; theirs |\n|---|---|---|---|")
    for name in options.only:
        started = time.monotonic()
        rows[name](options)
        took.append(f"{name} {time.monotonic() - started:.0f} s")
    minutes = (time.monotonic() - begun) / 60
    print(
        f"\n{options.rounds} rounds; {minutes:.1f} minutes ({', '.join(took)}); load average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
