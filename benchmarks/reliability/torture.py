"""Break minidiff on purpose, in every way that there is a script for, and print what held.

    python benchmarks/reliability/torture.py            all of it, half an hour: `make torture`
    python benchmarks/reliability/torture.py --quick    a little of each, for `.ci/run`

A script stands beside this file, in SCRIPTS. It takes how often to try, prints its rows of the
table, each a line "| what was done | how often | what was found |", and ends with a status other
than 0 where something did not hold. Two run at a time.
"""

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

AT_A_TIME = 2
SCRIPTS = {  # with what --quick gives them; the longest first
    "bounds.py --lanes 16": "400",
    "bounds.py --lanes 8": "400",
    "bounds.py --lanes 4": "400",
    "parsers.py": "10000 --random",
    "kills.py": "25",
    "memory.py": "1000",
}
HEAD = ["| what | how often | found |", "|---|---|---|"]


class Done(NamedTuple):
    script: str
    status: int
    rows: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a little of each script")
    args = parser.parse_args()

    def run_one(script: str) -> Done:
        return run(script, SCRIPTS[script].split() if args.quick else [])

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        done = list(threads.map(run_one, SCRIPTS))
    print(*HEAD, *(row for each in done for row in each.rows), sep="\n")
    failed = [each.script for each in done if each.status]
    if failed:
        raise SystemExit(f"did not hold: {', '.join(failed)}")


def run(script: str, options: list[str]) -> Done:
    """What a script does; the lines that it prints are shown as they come."""
    start = time.monotonic()
    file, *own_options = script.split()
    command = [sys.executable, str(Path(__file__).with_name(file)), *options, *own_options]
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        for line in process.stdout:
            print(f"{script}: {line}", end="", flush=True)
            if line.startswith("| "):
                rows.append(line.rstrip())
    minutes = (time.monotonic() - start) / 60
    print(f"{script}: status {process.returncode}, {minutes:.1f} minutes", flush=True)
    return Done(script, process.returncode, rows)


if __name__ == "__main__":
    main()
