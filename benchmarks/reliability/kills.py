"""Kill a training again and again, also in the middle of a write, and see what it ends with.

    python benchmarks/reliability/kills.py       500 SIGKILLs
    python benchmarks/reliability/kills.py 25    as many as that

A tiny network is trained for 24 steps, and a checkpoint is written after each. The run is broken
off a few times, each time in one of these ways, and goes on from its checkpoint:

    killed              SIGKILL at a random moment
    killed in a write   SIGKILL before, in or after one of the operations of a file's writing
    a write error       one of these operations fails
    a full disk         the system refuses to write beyond a random size (RLIMIT_FSIZE)
    a signal            Ctrl-C, twice, or SIGTERM

In the end its checkpoint must be that of the unbroken run, byte for byte, and the lines of its log
too, but for the times of day; nothing else may lie there but the two older checkpoints. The loss
draws times by what it has seen, and a layer drops.
"""

import argparse
import errno
import json
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import diffusion, disk, nn, optim
from minidiff.training import Trainer

EPOCHS = 3
SAMPLES = 64
BATCH = 8
MOST_BREAKS = 6  # of one run
# how a child ends
FINISHED = 0
BROKEN_OFF = 3
WRONG = 1
OPERATIONS = 30  # of the disk, among which one fails; a save has 15


class Network(nn.Module):
    """ConditionalMLP, and a layer that drops."""

    def __init__(self):
        self.mlp = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=10, rng=0)
        self.dropout = nn.Dropout(0.2, rng=np.random.default_rng(0))

    def __call__(self, x, t, condition):
        return self.dropout(self.mlp(x, t, condition))


def trainer(path: Path) -> Trainer:
    model = Network()
    schedule = diffusion.cosine_schedule(10)
    sampler = diffusion.losses.ImportanceSampler(10, history=2)

    def loss(x, labels, rng):
        watched = {"draw": sampler.draw, "callback": sampler.update}
        return diffusion.loss(model, schedule, x, labels, rng, **watched)

    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, 3, EPOCHS * 8))
    ema = optim.EMA(model)
    return Trainer(model, loss, optimizer, ema, batch_size=BATCH, path=path, save_every=0)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (SAMPLES, 2)).astype(np.float32), rng.integers(1, 4, SAMPLES)


def train(path: Path) -> None:
    """From the newest checkpoint, where there is one, to the end."""
    run = trainer(path)
    # it may have been killed before there was one, and be told that it goes on from an older one
    with suppress(FileNotFoundError), warnings.catch_warnings(action="ignore"):
        run.resume()
    samples, labels = data()
    run.fit((samples, labels), EPOCHS, (samples[:16], labels[:16]), progress=False)


# --- ways to break it off; each prepares the child and may give what the parent does to it ---


def kill(rng: random.Random, seconds: float) -> Callable[[int], None]:
    return lambda pid: send(pid, rng.uniform(0, seconds), signal.SIGKILL)


def kill_in_a_write(rng: random.Random, seconds: float) -> None:
    at_an_operation(rng, lambda: os.kill(os.getpid(), signal.SIGKILL))


def fail_a_write(rng: random.Random, seconds: float) -> None:
    number = rng.choice([errno.ENOSPC, errno.EIO, errno.EDQUOT])

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    at_an_operation(rng, fail)


def fill_the_disk(rng: random.Random, seconds: float) -> None:
    step = rng.randrange(EPOCHS * SAMPLES // BATCH)
    size = rng.randrange(20_000)
    train_step = Trainer.train_step

    def limited(run, *batch):
        if run.step == step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return train_step(run, *batch)

    Trainer.train_step = limited


def ask_to_stop(rng: random.Random, seconds: float) -> Callable[[int], None]:
    number, times = rng.choice([(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)])
    return lambda pid: send(pid, rng.uniform(0, seconds), number, times)


WAYS = {
    "killed": (kill, 5),
    "killed in a write": (kill_in_a_write, 5),
    "a write error": (fail_a_write, 2),
    "a full disk": (fill_the_disk, 1),
    "a signal": (ask_to_stop, 1),
}


def send(pid: int, seconds: float, number: int, times: int = 1) -> None:
    time.sleep(seconds)
    for _ in range(times):
        os.kill(pid, number)


def at_an_operation(rng: random.Random, act: Callable[[], None]) -> None:
    """Let `act` happen before or after a flush or renaming, or in the middle of a write."""
    countdown = rng.randrange(OPERATIONS)

    def passed() -> None:
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            act()

    def watched(operation: Callable) -> Callable:
        def call(*args):
            passed()
            result = operation(*args)
            passed()
            return result

        return call

    class HalfWritten:
        """A file that is written in two halves."""

        def __init__(self, file):
            self.file = file

        def write(self, content: bytes) -> None:
            middle = rng.randrange(len(content) + 1)
            self.file.write(content[:middle])
            self.file.flush()
            passed()
            self.file.write(content[middle:])

        def __getattr__(self, name: str):
            return getattr(self.file, name)

    beside = disk._beside

    @contextmanager
    def in_halves(place: Path):
        with beside(place) as (temporary, file):
            yield temporary, HalfWritten(file)

    disk._beside = in_halves
    os.fsync = watched(os.fsync)
    os.replace = watched(os.replace)


# --- one run ---


def in_a_child(path: Path, way: Callable | None, seed: int, seconds: float) -> int:
    """Train in a forked process, which is broken off in some way; gives its wait status."""
    rng = random.Random(seed)
    # what the parent does is drawn in the parent, what the child does in the child
    parents_part = way(rng, seconds) if way in (kill, ask_to_stop) else None
    pid = os.fork()
    if pid == 0:
        os._exit(child(path, way if parents_part is None else None, rng, seconds))
    if parents_part is not None:
        parents_part(pid)
    return os.waitpid(pid, 0)[1]


def child(path: Path, way: Callable | None, rng: random.Random, seconds: float) -> int:
    try:
        if way is not None:
            way(rng, seconds)
        train(path)
    except (KeyboardInterrupt, SystemExit, OSError):
        return BROKEN_OFF
    except BaseException:
        traceback.print_exc()
        return WRONG
    return FINISHED


def broken_run(folder: Path, seed: int, seconds: float, count: Counter) -> None:
    """Train with breaks; AssertionError where a process ended as none should."""
    rng = random.Random(seed)
    path = folder / "run"
    for _ in range(rng.randint(1, MOST_BREAKS)):
        name = rng.choices([*WAYS], [weight for _, weight in WAYS.values()])[0]
        status = in_a_child(path, WAYS[name][0], rng.randrange(2**30), seconds)
        was_killed = os.WIFSIGNALED(status)
        assert was_killed or os.WEXITSTATUS(status) != WRONG, f"seed {seed}, {name}: an exception"
        if was_killed or os.WEXITSTATUS(status) == BROKEN_OFF:
            count[name] += 1
    status = in_a_child(path, None, 0, seconds)
    assert status == 0, f"seed {seed}: the last run ended with status {status}"


def left_by(path: Path) -> tuple[bytes, list]:
    """The checkpoint of a run, and the lines of its log without the times of day."""
    lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_bytes().splitlines()]
    return path.read_bytes(), [line | {"time": None} for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kills", type=int, nargs="?", default=500, help="SIGKILLs")
    args = parser.parse_args()
    md.set_num_threads(1)  # a process with threads should not be forked
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole" / "run"
        train(Path(folder) / "first" / "run")  # compiles what must be compiled
        start = time.monotonic()
        train(whole)
        seconds = time.monotonic() - start
        wanted = left_by(whole)
        count: Counter = Counter()
        differ = []
        left = []
        runs = 0
        while count["killed"] + count["killed in a write"] < args.kills:
            runs += 1
            at = Path(folder) / str(runs)
            broken_run(at, runs, seconds, count)
            if left_by(at / "run") != wanted:
                differ.append(runs)
            if sorted(os.listdir(at)) != ["run", "run.1", "run.2", "run.jsonl"]:
                left.append(runs)
    in_writes = count["killed in a write"]
    found = f"{runs - len(differ)} of {runs} runs end bit-identical, {len(left)} leave a file"
    what = f"a training killed, {in_writes} times in a write, resumed; also {others(count)}"
    print(f"| {what} | {count['killed'] + in_writes} SIGKILLs | {found} |")
    if differ or left:
        raise SystemExit(f"of these seeds the files differ: {differ}; these leave others: {left}")


def others(count: Counter) -> str:
    return ", ".join(f"{name} {count[name]} times" for name in [*WAYS][2:])


if __name__ == "__main__":
    main()
