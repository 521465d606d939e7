"""What is read from files, given a million files that nobody wrote.

    python benchmarks/reliability/parsers.py            1,000,000 inputs, guided by coverage
    python benchmarks/reliability/parsers.py --quick    some thousands, from one seed

atheris, of the extra `dev`, makes the inputs: it keeps those that reach new lines, and changes them
again. --quick does without it, and changes good files at random.

Each parser may raise its documented errors and no other, and take no more memory than some times
the size of its input, beside what a model of a few numbers takes.
"""

import argparse
import gzip
import importlib
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np

LIMIT = 8 << 20  # bytes that a small model, its tables and Python's own objects may take
TIMES = 32  # how many times its input a parser may take
EVERY = 16  # memory is measured for one input of so many: it makes all slower


# --- parsers: each takes bytes, and raises what is documented or nothing ---


def read_idx(raw: bytes) -> None:
    from minidiff.data import idx

    try:
        array = idx.parse(raw)
    except ValueError:
        return
    if idx.encode(array) != raw:
        raise AssertionError("what was parsed is another file")


def read_gzip(raw: bytes) -> None:
    from minidiff.data import files

    with suppress(ValueError):
        files.decompress("t10k-labels-idx1-ubyte", raw, "a file")


def read_pickle(raw: bytes) -> None:
    """The wheel is opened after its checksum was right; here its reader is given anything."""
    import io

    from minidiff.data.registry import ArrayUnpickler

    class Watched(ArrayUnpickler):
        def find_class(self, module: str, name: str) -> object:
            found = super().find_class(module, name)
            if (module, name) not in self.NAMES:
                raise AssertionError(f"{module}.{name} was found")
            return found

    try:
        Watched(io.BytesIO(raw), encoding="latin1").load()
    except AssertionError:
        raise
    except Exception:
        return  # `rebuild` reads no pickle but one, whose checksum it knows


def read_checkpoint(raw: bytes) -> None:
    """The bytes as they are."""
    from minidiff.storage.file_format import parsed

    with suppress(ValueError):
        parsed(raw, Path("a file"))


def load_checkpoint(raw: bytes) -> None:
    """The bytes as the metadata of a file with weights and a right checksum, then built."""
    import minidiff as md

    path = Path(FOLDER) / "crafted.safetensors"
    path.write_bytes(crafted(raw))
    before = sorted(os.listdir(FOLDER))
    with suppress(ValueError):
        md.load(path)
    if sorted(os.listdir(FOLDER)) != before:
        raise AssertionError("a file was written")


PARSERS = [read_idx, read_gzip, read_pickle, read_checkpoint, load_checkpoint]
BUILDS = 250  # first bytes from here on: building takes a hundred times as long as parsing


def parser_of(first: int) -> Callable[[bytes], None]:
    """Which parser an input is for, by its first byte."""
    return load_checkpoint if first >= BUILDS else PARSERS[first % (len(PARSERS) - 1)]


FOLDER = tempfile.mkdtemp()


# --- good files, to begin with ---


def about() -> dict:
    """The metadata of a small checkpoint."""
    from minidiff.storage.file_format import _about

    return _about(good_checkpoint(), Path("good"))


def good_checkpoint() -> bytes:
    import minidiff as md

    model = md.models.ConditionalMLP(hidden=4, classes=2, timesteps=5)
    schedule = md.diffusion.cosine_schedule(5)
    points = np.zeros((4, 2), np.float32)
    md.diffusion.loss(model, schedule, points, None, np.random.default_rng(0))
    return md.save(Path(FOLDER) / "good.safetensors", model, step=3).read_bytes()


_GOOD: dict[str, bytes] = {}


def crafted(metadata: bytes) -> bytes:
    """A checkpoint with these bytes as its metadata, sealed by a right checksum."""
    import hashlib

    from safetensors.numpy import load, save

    from minidiff.storage.file_format import _BEFORE_HASHING

    if not _GOOD:
        _GOOD["file"] = good_checkpoint()
    text = metadata.decode("latin1")
    end = text.rstrip().removesuffix("}").rstrip(", ")
    sealed = f'{end}, "sha256": "{_BEFORE_HASHING}"}}'
    content = save(load(_GOOD["file"]), {"minidiff": sealed})
    start = content.rindex(_BEFORE_HASHING.encode(), 0, 8 + int.from_bytes(content[:8], "little"))
    sha256 = hashlib.sha256(content).hexdigest().encode()
    return content[:start] + sha256 + content[start + len(sha256) :]


def seeds() -> list[bytes]:
    """Good inputs, each with the number of its parser before it."""
    from minidiff.data import idx

    metadata = {key: value for key, value in about().items() if key != "sha256"}
    good = [
        [idx.encode(np.zeros((2, 3, 4), np.uint8)), idx.encode(np.zeros(3, np.uint8))],
        [gzip.compress(bytes(10_008)), gzip.compress(bytes(1 << 20))],
        [pickle.dumps([np.zeros((2, 2), np.float32), (1, "a")], protocol=2)],
        [good_checkpoint()],
        [json.dumps(metadata).encode()],
    ]
    for name in "UNet", "LeNet5", "ResNet":
        good[4].append(json.dumps(metadata | {"model": name, "config": {}}).encode())
    good[4].append(json.dumps(metadata | {"config": {"timesteps": 20_000_000}}).encode())
    first = [*range(len(PARSERS) - 1), BUILDS]
    return [bytes([k]) + raw for k, of_parser in zip(first, good) for raw in of_parser]


# --- one input ---

made = count()


def one(data: bytes) -> None:
    """Give it to the parser that its first byte names."""
    if not data:
        return
    parser = parser_of(data[0])
    raw = data[1:]
    if next(made) % EVERY:
        parser(raw)
        return
    tracemalloc.start()
    parser(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if peak > LIMIT + TIMES * len(raw):
        raise AssertionError(f"{peak:,} bytes were taken for {len(raw):,}")


def changed(raw: bytes, rng: random.Random) -> bytes:
    """A good input with a few bytes changed, cut out, doubled, or replaced by a number."""
    content = bytearray(raw)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(1, len(content) + 1)
        length = min(rng.randrange(1, 9), len(content) - place)
        kind = rng.randrange(5)
        if kind == 0:
            content[place : place + length] = rng.randbytes(length)
        elif kind == 1:
            del content[place : place + rng.randrange(1, 200)]
        elif kind == 2:
            content[place:place] = content[place : place + length] * rng.randrange(1, 50)
        elif kind == 3:
            content[place : place + length] = str(
                rng.randrange(10 ** rng.randrange(1, 12))
            ).encode()
        else:
            content[place:place] = rng.choice(
                [b"[" * 2000, b"NaN", b"null", b'"a"', b"-1", b"1e400"]
            )
    return bytes(content)


def by_chance(inputs: int) -> int:
    """That many inputs from one seed; how many broke a promise."""
    rng = random.Random(0)
    good = seeds()
    broken = 0
    for raw in good * EVERY:  # each is measured once
        one(raw)
    for _ in range(inputs):
        data = changed(rng.choice(good), rng)
        try:
            one(data)
        except Exception as error:
            broken += 1
            print(f"{parser_of(data[0]).__name__}: {error!r}: {data[1:][:2000]!r}")
    return broken


# --- guided by coverage ---


def guided(arguments: list[str]) -> None:
    """In a process of its own, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports():
        for name in "data.files", "data.idx", "data.registry", "storage.file_format":
            importlib.import_module(f"minidiff.{name}")
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def fuzz(inputs: int) -> tuple[int, str]:
    """(inputs that broke a promise, how many lines and edges were reached): atheris's words."""
    with tempfile.TemporaryDirectory() as folder:
        for k, raw in enumerate(seeds()):
            (Path(folder) / str(k)).write_bytes(raw)
        options = [f"-runs={inputs}", "-max_len=8192", "-print_final_stats=1", "-rss_limit_mb=4096"]
        command = [sys.executable, __file__, "--guided", *options, folder]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, cwd=FOLDER
        )
    lines = done.stderr.splitlines()
    reached = [line for line in lines if " cov: " in line]
    if done.returncode:
        print(*lines[-40:], sep="\n")
    return int(done.returncode != 0), reached[-1].split("corp")[0] if reached else "nothing"


def report(what: str, inputs: int, broken: int) -> None:
    print(f"| {what} | {inputs:,} | {broken} other errors, or too much memory |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="some thousands, not guided")
    parser.add_argument("--inputs", type=int, help="how many")
    parser.add_argument("--guided", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.guided:
        guided(args.guided)
        return 0
    chance = args.inputs or (3000 if args.quick else 20_000)
    broken = by_chance(chance)
    report("crafted IDX, gzip, pickle, checkpoint and metadata, changed at random", chance, broken)
    if args.quick:
        return int(broken > 0)
    inputs = args.inputs or 1_000_000
    found, reached = fuzz(inputs)
    report(f"the same, guided by coverage ({reached.strip()})", inputs, found)
    return int(broken + found > 0)


if __name__ == "__main__":
    sys.exit(main())
