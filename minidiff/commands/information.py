"""minidiff info CHECKPOINT: what a file holds, in words."""

import argparse
from collections.abc import Iterator

from .. import checks, storage
from ..networks import names_in
from ..storage import Checkpoint

LONGEST = 60  # of a value that is shown


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT")


def run(args: argparse.Namespace) -> None:
    checkpoint = storage.read(args.checkpoint)
    lines = list(lines_of(checkpoint))
    lines.append(("file", f"{checks.path('path', args.checkpoint).stat().st_size:,} bytes, whole"))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}}  {value}")


def lines_of(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    count = sum(array.size for array in checkpoint.arrays["model"].values())
    yield "network", f"{checkpoint.model}, {count:,} numbers"
    for name, value in checkpoint.config.items():
        yield f"  {name}", shortened(value)
    own = checkpoint.parameterization
    if own is not None:
        size = " × ".join(map(str, own.sample_shape or ()))
        yield "draws", f"{size or 'samples of any size'}, in {own.schedule.timesteps} times"
        yield "predicts", own.predicts
        if checkpoint.config.get("classes") and "channels" in checkpoint.config:
            yield "classes", ", ".join(names_in(checkpoint))
    yield "weights", "averaged, and as trained" if checkpoint.arrays["ema"] else "one set"
    for name, value in checkpoint.notes.items():
        if name == "history":
            for part, losses in value.items():
                yield f"{part} loss", ", ".join(f"{loss:.4f}" for loss in losses[-5:]) or "none"
        elif name not in ("names", "data", "epoch_loss"):
            yield name, shortened(value)


def shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
