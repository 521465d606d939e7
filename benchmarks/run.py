"""minidiff against PyTorch, ONNX Runtime and OpenVINO: how many times as fast it is.

    python benchmarks/run.py [--only NAME …] [--rounds 7] [--threads N]

Every contestant is a process of its own, and they take turns within a round; see rows.py,
contest.py and contestants.py. A line gives the median, min … max of its rounds, and judges the
median: ✓✓ the aim is reached, ✓ the bar, ✗ neither. Times behind a ratio are medians. Peers that
are not installed (the `bench` extra) are said to be missing.
"""

import argparse
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from contest import ENVIRONMENT, HELD_BACK, ROOT, contestants
from rows import EXPORTED, ON_DEMAND, ROWS, missing


def describe_machine(threads: int) -> None:
    """Print what all this runs on."""
    system = f"{platform.system()} {platform.machine()}"
    print(f"- {processor()}, {os.cpu_count()} processors{memory()}, {system}")
    version = f"Python {platform.python_version()}, minidiff at {commit()}"
    print(f"- {version}, {threads} threads")
    for name in ["ours", "torch-nchw", *EXPORTED]:
        if missing([name]):
            print(f"- {name}: not installed: {missing([name])}")
            continue
        with contestants([name], threads) as running:
            print(f"- {running[name].run('describe')['note']}")
    prefixes = ("OPENBLAS_", "OMP_", "MKL_", "NUMBA_")
    kept = [name for name in sorted(ENVIRONMENT) if name.startswith(prefixes)]
    withheld = [name for name in HELD_BACK if name in os.environ]
    print(
        f"- settings of the environment: {settings(kept)}; withheld from all: {settings(withheld)}"
    )
    print(f"- load average before the first row: {os.getloadavg()[0]:.1f}\n", flush=True)


def processor() -> str:
    """Its name, the widest vectors it has, and the size of its second cache, where Linux tells."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    fields = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
    known = {name.strip(): value.strip() for name, _, value in fields}
    flags = known.get("flags", "").split()
    vectors = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in flags]
    name = known.get("model name", platform.machine())
    return f"{name} ({', '.join(vectors)}; L2 {known.get('cache size', '?')})"


def memory() -> str:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return ""
    return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "an unknown commit"
    command = [git, "describe", "--always", "--dirty"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    return run.stdout.strip() or "an unknown commit"


def settings(names: list[str]) -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in names) or "none"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [row.__name__ for row in [*ROWS, *ON_DEMAND]]
    on_demand = ", ".join(row.__name__ for row in ON_DEMAND)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=names,
        default=[row.__name__ for row in ROWS],
        metavar="NAME",
        help=f"of {', '.join(names)}; by default all but {on_demand}",
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
    return parser.parse_args()


def main() -> None:
    options = parse()
    rows = {row.__name__: row for row in [*ROWS, *ON_DEMAND]}
    start = time.monotonic()
    seconds = []
    describe_machine(options.threads)
    print("| what | median, min … max | must (aim) | ours; theirs |\n|---|---|---|---|")
    for name in options.only:
        row_start = time.monotonic()
        rows[name](options)
        seconds.append(f"{name} {time.monotonic() - row_start:.0f} s")
    minutes = (time.monotonic() - start) / 60
    load = os.getloadavg()[0]
    print(
        f"\n{options.rounds} rounds; {minutes:.1f} minutes ({', '.join(seconds)}); "
        f"load average {load:.1f}"
    )


if __name__ == "__main__":
    main()
