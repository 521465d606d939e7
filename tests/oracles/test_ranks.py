"""Several processes give what one gives, bit for bit; and how a job of several ends.

Needs the dev extra: MPI by mpi4py, and its launcher.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = Path(sys.executable).with_name("mpiexec")
PROGRAM = Path(__file__).with_name("ranked.py")
EPOCHS = 2  # of 3 steps


def run(ranks, *words):
    """The program on so many ranks, or without MPI for None; a `CompletedProcess`."""
    command = [sys.executable, PROGRAM, *map(str, words)]
    if ranks is not None:
        command = [LAUNCHER, "-n", str(ranks), *command]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)


def made(done):
    """What each process made: that of a job's first rank is its output."""
    assert done.returncode == 0, done.stderr
    of_ranks = [line for line in done.stderr.splitlines() if line.startswith("rank ")]
    assert len(done.stdout.splitlines()) == 1
    return [json.loads(line) for line in [done.stdout, *(w.split(": ", 1)[1] for w in of_ranks)]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes by one thread."""
    path = tmp_path_factory.mktemp("alone") / "run.safetensors"
    return made(run(None, path, EPOCHS, "--threads", 1))[0]


@pytest.mark.parametrize(("ranks", "threads"), [(None, 3), (1, 2), (2, 1), (2, 2), (3, 1), (8, 1)])
def test_any_number_of_ranks_and_threads_gives_the_same_bits(tmp_path, alone, ranks, threads):
    """Weights, averages, the optimiser, what the loss keeps, the history, the file, and samples."""
    done = run(ranks, tmp_path / "run.safetensors", EPOCHS, "--threads", threads)
    everyone = made(done)
    assert len(everyone) == 1 + (ranks or 1)
    assert all(each == alone for each in everyone)


def test_a_rank_that_is_killed_ends_the_job_and_others_resume_it(tmp_path, alone):
    path = tmp_path / "run.safetensors"
    start = time.monotonic()
    done = run(4, path, 1000, "--die", 2, 4)
    assert done.returncode != 0
    assert time.monotonic() - start < 120  # 1000 epochs take longer
    assert made(run(3, path, EPOCHS, "--resume"))[0] == alone


def test_a_rank_that_fails_alone_says_so_and_ends_the_job(tmp_path):
    done = run(2, tmp_path / "run.safetensors", 1000, "--fail", 1, 4)
    assert done.returncode != 0
    assert "rank 1 of 2 failed:" in done.stderr
    assert "ArithmeticError: this rank alone" in done.stderr


def test_one_rank_is_asked_to_stop_and_all_stop_after_the_same_step(tmp_path, alone):
    path = tmp_path / "run.safetensors"
    done = run(2, path, EPOCHS, "--stop", 1, 4)
    assert done.returncode == 143
    assert done.stderr.count("stopped at step 5; ") == 1  # the first rank speaks
    assert made(run(None, path, EPOCHS, "--resume"))[0] == alone


def test_what_all_refuse_is_said_once(tmp_path):
    words = (tmp_path / "missing.safetensors", EPOCHS, "--resume")
    alone = run(None, *words)
    done = run(2, *words)
    assert done.returncode == alone.returncode == 1
    assert "there is no such file" in done.stderr
    assert done.stderr.count("Traceback") == alone.stderr.count("Traceback")
