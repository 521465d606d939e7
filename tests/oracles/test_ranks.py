"""Several processes give what one gives, bit for bit; and how a job of several ends.

Needs the dev extra: MPI by mpi4py, and its launcher.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from picture_folders import noise, write

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
    done = run(4, path, 1000, "--die", 2, 4)
    assert done.returncode != 0
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


# --- the command ---


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of 80 pictures."""
    files = {
        f"{name}/{i}.png": noise(8, 8, 3, seed=i) // 2 + 128 * k
        for k, name in enumerate(("dark", "light"))
        for i in range(80)
    }
    return write(tmp_path_factory.mktemp("pictures") / "pictures", files)


def command(ranks, folder, *words):
    """What `minidiff` says on so many ranks, and how many images networks were shown on each."""
    called = [sys.executable, PROGRAM.with_name("commands_ranked.py"), *map(str, words)]
    if ranks is not None:
        called = [LAUNCHER, "-n", str(ranks), *called]
    done = subprocess.run(called, capture_output=True, encoding="utf-8", timeout=600, cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("shown ")]
    return done.stdout, [int(line.removeprefix("shown ")) for line in lines]


def written(folder, pictures, ranks):
    """The files that train, draw and evaluate write, as bytes by their names."""
    command(ranks, folder, "train", pictures, "--size", "8", "--epochs", "2")
    own = "runs/pictures/checkpoint.safetensors"
    command(ranks, folder, "draw", *["dark", "light"] * 20, "--checkpoint", own)
    command(ranks, folder, "evaluate", own, "--pictures", pictures, "--count", "20")
    names = ("checkpoint.safetensors", "judge.safetensors", "drawn.png")
    files = {name: (folder / "runs/pictures" / name).read_bytes() for name in names}
    files["asked for"] = (folder / "drawn.png").read_bytes()
    results = json.loads((folder / "runs/pictures/results.json").read_text(encoding="utf-8"))
    for row in results["rows"]:
        del row["seconds_per_1000"]
    return files | {"results": results}


def test_the_command_makes_the_same_on_any_number_of_ranks(tmp_path, pictures):
    folders = {ranks: tmp_path / str(ranks) for ranks in (None, 2)}
    made = {}
    for ranks, folder in folders.items():
        folder.mkdir()
        made[ranks] = written(folder, pictures, ranks)
    for name, content in made[None].items():
        assert made[2][name] == content, name


def test_ranks_that_draw_speak_once_and_divide_what_they_draw(tmp_path):
    words = ("draw", "0123456789" * 4, "--guidance", "1")
    said, (alone,) = command(None, tmp_path, *words)
    said_by_two, shown = command(2, tmp_path, *words)
    assert said_by_two == said == "written: drawn.png\n"
    assert sum(shown) == alone and min(shown) >= alone / 4


def test_ranks_that_evaluate_divide_what_is_drawn(tmp_path, pictures):
    command(None, tmp_path, "train", pictures, "--size", "8", "--epochs", "1")
    words = ("runs/pictures/checkpoint.safetensors", "--pictures", pictures, "--count", "20")
    shown = {}
    for ranks in (2, None):
        shown[ranks] = command(ranks, tmp_path, "evaluate", *words)[1]
        shutil.rmtree(next((tmp_path / "runs/pictures").glob("checkpoint-*")))
    assert sum(shown[2]) == sum(shown[None]) > 0
