"""How contestants are compared: each in a process of its own, taking turns, round after round.

A round is one turn of each; a ratio is taken within a round, so what slows the machine for a while
slows both. Between its turns a contestant is stopped, so that no thread of it spins while another
one runs.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# They make BLAS take the processor for another one, or Python compile all modules at every start.
HELD_BACK = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in HELD_BACK}


class Contestant:
    """A running `contestants.py` of the tree at `root`.

    `environment` is added to that of this process.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        environment: Mapping[str, str] | None = None,
        root: Path = ROOT,
    ):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestants", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
            cwd=root,
            env=ENVIRONMENT | {"PYTHONPATH": str(root)} | dict(environment or {}),
        )

    def run(self, task: str, *arguments: int, warm: int = 0, count: int = 0) -> dict:
        """One turn: seconds (the mean of `count` calls), peak (bytes of memory so far), note.

        Raises RuntimeError if the process ends.
        """
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps([task, arguments, warm, count]) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.errors.seek(0)
            last_words = self.errors.read().strip()[-300:] or "ended without a word"
            raise RuntimeError(f"{self.name}: {last_words}")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            pipe.close()


@contextmanager
def contestants(names: Sequence[str], threads: int):
    """The contestants of these names, running; ended when the block is left."""
    running = {}
    try:
        for name in names:
            running[name] = Contestant(name, threads)
        yield running
    finally:
        for contestant in running.values():
            contestant.close()


def alternate(
    turns: Mapping[Any, tuple], rounds: int, seconds: float
) -> tuple[dict[Any, list[float]], dict[Any, str]]:
    """Rounds of turns, each of about `seconds`. `turns`: label -> (contestant, task, *arguments).

    Gives the seconds of every round, and the note, for each label. A turn of short calls starts
    with an untimed one.
    """
    counts = {}
    warm = {}
    notes = {}
    for label, (contestant, *task) in turns.items():
        first = contestant.run(*task, warm=2, count=1)
        counts[label] = max(1, round(seconds / first["seconds"]))
        warm[label] = int(first["seconds"] < 0.1)
        notes[label] = first["note"]
    times: dict[Any, list[float]] = {label: [] for label in turns}
    for _ in range(rounds):
        for label, (contestant, *task) in turns.items():
            turn = contestant.run(*task, warm=warm[label], count=counts[label])
            times[label].append(turn["seconds"])
    return times, notes


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The quotients, round by round."""
    return [a / b for a, b in zip(numerators, denominators)]


def fastest(times: Mapping[str, Sequence[float]]) -> str:
    """The label with the lowest median."""
    return min(times, key=lambda label: statistics.median(times[label]))
