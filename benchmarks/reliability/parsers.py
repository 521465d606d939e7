"""What is read from files, given a million files that nobody wrote.

    python benchmarks/reliability/parsers.py                    1,000,000 inputs
    python benchmarks/reliability/parsers.py 10_000 --random    10,000, without atheris

atheris, of the extra `dev`, makes the inputs: it keeps those that reach new lines, and changes them
again, for each parser in a process of its own. With --random, something is changed in good files at
random, the same each time.

Each parser may raise its documented errors and no other, and take no more memory than some times
the size of its input, beside what a model of a few numbers takes.
"""

import argparse
import gzip
import hashlib
import importlib
import io
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

LIMIT = 8 << 20  # bytes that a small model, its tables and Python's own objects may take
TIMES = 32  # how many times its input a parser may take
EVERY = 16  # memory is measured for one input of so many: it makes all slower
LARGEST = 4096  # bytes of an input
MEMORY = Path("/dev/shm")  # where files are not on a disk

FOLDER = Path()  # files of this script: it works in a folder of its own


# --- parsers: each takes bytes, and raises what is documented or nothing ---


def read_idx(raw: bytes) -> None:
    from minidiff.data import idx_format

    try:
        array = idx_format.parse(raw)
    except ValueError:
        return
    if idx_format.encode(array) != raw:
        raise AssertionError("what was parsed is another file")


def read_gzip(raw: bytes) -> None:
    from minidiff.data import files

    with suppress(ValueError):
        files.decompress("t10k-labels-idx1-ubyte", raw, "a file")


def read_pickle(raw: bytes) -> None:
    """The wheel is opened after its checksum was right; here its reader is given anything."""
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

    path = FOLDER / "crafted.safetensors"
    path.write_bytes(with_metadata(raw))
    before = sorted(os.listdir(FOLDER))
    with suppress(ValueError):
        md.load(path)
    if sorted(os.listdir(FOLDER)) != before:
        raise AssertionError("a file was written")


def resume_run(raw: bytes) -> None:
    """The bytes as a whole file, sealed by a right checksum, from which a run goes on."""
    run = small_run()
    run.path.write_bytes(sealed(raw))
    before = state_of(run)
    try:
        with warnings.catch_warnings(action="ignore"):  # another learning rate
            run.resume()
    except ValueError:
        if state_of(run) != before:
            raise AssertionError("it refused the file, and took something of it") from None


# each with its share of the inputs, in hundredths
PARSERS = {
    read_idx: 20,
    read_gzip: 15,
    read_pickle: 20,
    read_checkpoint: 15,
    load_checkpoint: 15,
    resume_run: 15,
}


# --- checkpoints whose checksum is right ---


def good_checkpoint() -> bytes:
    import minidiff as md

    model = md.models.ConditionalMLP(hidden=4, classes=2, timesteps=5)
    schedule = md.diffusion.cosine_schedule(5)
    points = np.zeros((4, 2), np.float32)
    md.diffusion.loss(model, schedule, points, None, np.random.default_rng(0))
    return md.save(FOLDER / "good.safetensors", model, step=3).read_bytes()


@cache
def good_arrays() -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(good_checkpoint())


def with_metadata(metadata: bytes) -> bytes:
    """A checkpoint with these bytes as its metadata."""
    from safetensors.numpy import save

    from minidiff.storage.file_format import _BEFORE_HASHING

    text = metadata.decode("latin1")
    end = text.rstrip().removesuffix("}").rstrip(", ")
    about = f'{end}, "sha256": "{_BEFORE_HASHING}"}}'
    content = save(good_arrays(), {"minidiff": about})
    stop = 8 + int.from_bytes(content[:8], "little")
    return with_checksum(content, content.rindex(_BEFORE_HASHING.encode(), 0, stop))


def sealed(content: bytes) -> bytes:
    """The file with the checksum that it should have, where there is room for one."""
    from minidiff.storage.file_format import _about, _checksum_in

    try:
        start = _checksum_in(content, _about(content, Path("a file"))["sha256"])
    except (ValueError, KeyError, AttributeError):
        return content
    return with_checksum(content, start)


def with_checksum(content: bytes, start: int) -> bytes:
    from minidiff.storage.file_format import _BEFORE_HASHING

    before = content[:start]
    after = content[start + len(_BEFORE_HASHING) :]
    sha256 = hashlib.sha256(before + _BEFORE_HASHING.encode() + after).hexdigest()
    return before + sha256.encode() + after


# --- a run that goes on from a file ---


@cache
def small_run():
    """A Trainer of very few numbers, and its checkpoint."""
    import minidiff as md
    from minidiff import nn, optim
    from minidiff.training import Trainer

    class Line(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(2, 1, rng=0)

        def __call__(self, x):
            return self.dense(x)

    def loss(x, rng):
        return md.ops.mean(model(x))

    model = Line()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    run = Trainer(model, loss, optimizer, optim.EMA(model), path=FOLDER / "run", keep=1)
    run.fit(np.ones((2, 2), np.float32), 1, progress=False)
    return run


def state_of(run) -> tuple:
    """What a file that is refused must leave."""
    owners = run.model, run.ema, run.optimizer
    arrays = [a for owner in owners for a in owner.state_dict().values()]
    return run.step, run.epoch, run.seed, b"".join(a.tobytes() for a in arrays)


# --- good files, to begin with ---


def seeds() -> dict[Callable, list[bytes]]:
    """Good inputs for each parser."""
    from minidiff.data import idx_format
    from minidiff.storage.file_format import _about

    checkpoint = good_checkpoint()
    about = _about(checkpoint, Path("good"))
    del about["sha256"]
    others = [about | {"model": name, "config": {}} for name in ("UNet", "LeNet5", "ResNet")]
    others.append(about | {"config": {"timesteps": 20_000_000}})
    return {
        read_idx: [idx_format.encode(np.zeros(shape, np.uint8)) for shape in [(2, 3, 4), (3,)]],
        read_gzip: [gzip.compress(bytes(size)) for size in (10_008, 1 << 20)],
        read_pickle: [pickle.dumps([np.zeros((2, 2), np.float32), (1, "a")], protocol=2)],
        read_checkpoint: [checkpoint],
        load_checkpoint: [json.dumps(each).encode() for each in [about, *others]],
        resume_run: [small_run().path.read_bytes()],
    }


# --- one input ---

made = count()


def measured(parser: Callable[[bytes], None], raw: bytes) -> None:
    """Give it to the parser, and look at its memory every now and then."""
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


def by_chance(parser: Callable[[bytes], None], good: list[bytes], inputs: int) -> int:
    """That many inputs from one seed; how many broke a promise."""
    rng = random.Random(0)
    broken = 0
    for raw in good * EVERY:  # each is measured once
        measured(parser, raw)
    for _ in range(inputs):
        raw = changed(rng.choice(good), rng)
        try:
            measured(parser, raw)
        except Exception as error:
            broken += 1
            print(f"{parser.__name__}: {error!r}: {raw[:2000]!r}")
    return broken


# --- guided by coverage ---


def guided(name: str, arguments: list[str]) -> None:
    """In a process of its own, which libFuzzer ends."""
    import atheris

    for module in "gzip", "pickle":  # they are read by Python's own library
        sys.modules.pop(module, None)
    with atheris.instrument_imports():
        for module in "data.files", "data.idx_format", "data.registry", "storage", "training":
            importlib.import_module(f"minidiff.{module}")
    parser = globals()[name]
    seeds()  # its memory is nobody's fault
    atheris.Setup([sys.argv[0], *arguments], lambda raw: measured(parser, raw))
    atheris.Fuzz()


def fuzz(parser: Callable[[bytes], None], good: list[bytes], inputs: int) -> tuple[int, str]:
    """(inputs that broke a promise, what was reached); it ends at the first."""
    with tempfile.TemporaryDirectory() as folder:
        for k, raw in enumerate(good):
            (Path(folder) / str(k)).write_bytes(raw)
        options = [f"-runs={inputs}", f"-max_len={LARGEST}", "-rss_limit_mb=4096", "-seed=1"]
        command = [sys.executable, __file__, "--guided", parser.__name__, *options, folder]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    lines = done.stderr.splitlines()
    reached = [line for line in lines if " cov: " in line]
    if done.returncode or not reached:
        print(*lines[-40:], sep="\n")
        return 1, "ended early"
    edges = reached[-1].split(" cov: ")[1].split()[0]
    return 0, f"guided by coverage: {edges} edges"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", type=int, nargs="?", default=1_000_000, help="for all parsers")
    parser.add_argument("--random", action="store_true", help="without atheris")
    parser.add_argument("--guided", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.guided:
        guided(args.guided[0], args.guided[1:])
        return 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        os.chdir(folder)
        return try_all(args.inputs, args.random)


def try_all(wanted: int, at_random: bool) -> int:
    """The exit status."""
    failed = 0
    for read, good in seeds().items():
        inputs = wanted * PARSERS[read] // 100
        if at_random:
            how = "changed at random"
            broken = by_chance(read, good, inputs)
        else:
            broken, how = fuzz(read, good, inputs)
        failed += broken
        what = f"`{read.__name__}`, files {how}"
        print(f"| {what} | {inputs:,} | {broken} other errors, or too much memory |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
