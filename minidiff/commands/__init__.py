"""The command `minidiff`, for who writes no Python.

minidiff draw 31415 --guidance 2        digits, by the network that ships
minidiff train FOLDER                   learn from your own pictures
minidiff draw rose tulip --checkpoint runs/flowers/checkpoint.safetensors
minidiff play                           a page in the browser, to play with
minidiff evaluate                       judge a network: figures, and a page with pictures
minidiff info CHECKPOINT                what a file holds
minidiff export CHECKPOINT --to onnx    take a network to another tool
minidiff exercises tape                 mark what you wrote in a lesson's exercises

Each has its options: minidiff train --help. Several processes share what train, draw and evaluate
do: mpiexec -n 4 minidiff train FOLDER. The scripts in examples/ do the same and more, to be read.
"""

import argparse
import sys
from collections.abc import Sequence

from .. import distributed
from ..exercises import __main__ as exercises
from ..export import __main__ as export
from . import drawing, evaluating, information, playing, training

COMMANDS = {
    "draw": (drawing, "draw what you ask for"),
    "play": (playing, "draw on a page in the browser, and see what each setting does"),
    "train": (training, "learn to draw from a folder of pictures"),
    "evaluate": (evaluating, "judge what a network draws"),
    "info": (information, "say what a checkpoint holds"),
    "export": (export, "take a network to another tool, or back"),
    "exercises": (exercises, "mark the lessons' exercises"),
}


def main(words: Sequence[str] | None = None) -> None:
    """Do what the words say, which are the command line's unless given; a fault is one sentence."""
    parser = argparse.ArgumentParser(
        prog="minidiff", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chosen = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, what) in COMMANDS.items():
        module.add_options(chosen.add_parser(name, help=what, description=f"{what}."))
    with distributed.ranks():
        args = parser.parse_args(words)
        module, _ = COMMANDS[args.command]
        try:
            path = module.run(args)
        except (OSError, ValueError, ImportError) as error:
            print(f"minidiff {args.command}: error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        if path is not None:
            print(f"written: {path}")
