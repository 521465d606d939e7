"""python -m minidiff.export CHECKPOINT --to onnx | torch | safetensors      for another tool
python -m minidiff.export FILE --to minidiff [--like CHECKPOINT]           and back
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import storage
from . import files, load, save

KINDS = ("onnx", "torch", "safetensors", "minidiff")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is exported, to what, and where to."""
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="a checkpoint of minidiff; with --to minidiff an .onnx, .pt or .safetensors file of "
        "a network of minidiff's",
    )
    parser.add_argument("--to", choices=KINDS, required=True, help="for which tool")
    parser.add_argument(
        "--out", metavar="PATH", type=Path, help="where to (default: beside FILE, by its name)"
    )
    parser.add_argument(
        "--like",
        metavar="CHECKPOINT",
        type=Path,
        help="a checkpoint of the network that a bare state dict of PyTorch is of",
    )


def run(args: argparse.Namespace) -> Path:
    """Write the file; gives its path. Raises as `save` and `load`."""
    if args.to == "minidiff":
        like = storage.load(args.like) if args.like else None
        model = load(args.file, like)
        return storage.save(
            args.out or args.file.with_name(f"{args.file.stem}-minidiff.safetensors"), model
        )
    model = storage.load(args.file)
    out = args.out or args.file.with_name(f"{args.file.stem}-{args.to}").with_suffix(
        files.SUFFIXES[args.to]
    )
    return save(out, model)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m minidiff.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    args = parser.parse_args(words)
    try:
        path = run(args)
    except (OSError, ValueError, ImportError) as error:
        print(f"minidiff.export: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"written: {path}")


if __name__ == "__main__":
    main()
