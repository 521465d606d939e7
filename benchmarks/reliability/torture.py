"""Break minidiff on purpose, in every way that there is a script for, and print what held.

    python benchmarks/reliability/torture.py            all of it, about 20 minutes: `make torture`
    python benchmarks/reliability/torture.py --quick    a little of each, for `.ci/run`

A script stands beside this file, in SCRIPTS. It takes --quick, prints its rows of the table, each
a line "| what was done | how often | what was found |", and ends with a status other than 0 where
something did not hold.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = ["kills.py", "bounds.py", "parsers.py", "memory.py"]
HEAD = ["| what | how often | found |", "|---|---|---|"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a little of each script")
    args = parser.parse_args()
    rows: list[str] = []
    failed = []
    for script in SCRIPTS:
        start = time.monotonic()
        printed, status = run(script, ["--quick"] if args.quick else [])
        rows += [line for line in printed if line.startswith("| ")]
        if status:
            failed.append(script)
        print(f"{script}: status {status}, {(time.monotonic() - start) / 60:.1f} minutes")
    print(*HEAD, *rows, sep="\n")
    if failed:
        raise SystemExit(f"did not hold: {', '.join(failed)}")


def run(script: str, options: list[str]) -> tuple[list[str], int]:
    """The lines that a script prints, which are shown as they come, and its exit status."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *options]
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line.rstrip())
    return printed, process.returncode


if __name__ == "__main__":
    main()
