"""Types of options for argparse: a script that is given a wrong one ends with one sentence."""

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TypeVar

import numpy as np

from . import checks, data, disk, kernels, storage
from .data import files
from .models import ADMUNet, UNet
from .nn import Module
from .training import Trainer

T = TypeVar("T")


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option --device: where the script computes."""
    parser.add_argument(
        "--device",
        default="cpu",
        choices=kernels.devices(),
        help="where to compute: cpu, or cuda, by CuPy (default: %(default)s)",
    )


def _option(read: Callable[[str], T]) -> Callable[[str], T]:
    """What `read` raises, as argparse's error of the option."""

    @wraps(read)
    def option(text: str) -> T:
        try:
            return read(text)
        except (TypeError, ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("value: ")) from None

    return option


def whole(low: int = 0, high: float = math.inf) -> Callable[[str], int]:
    """An integer from low to high."""

    @_option
    def read(text: str) -> int:
        is_integer = text.removeprefix("-").isdecimal()
        return checks.whole("value", int(text) if is_integer else text, low, high)

    return read


def real(low: float, high: float) -> Callable[[str], float]:
    """A number from low to high."""

    @_option
    def read(text: str) -> float:
        try:
            value: float | str = float(text)
        except ValueError:
            value = text
        return float(checks.among("value", value, checks.Between(low, high)))

    return read


@_option
def new_file(text: str) -> Path:
    """The path of a file that can be written: it is no folder, and none of its folders a file."""
    path = checks.path("value", text)
    if path.is_dir():
        raise ValueError(f"given {path}, a folder, wanted the name of a file")
    for folder in path.parents:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"given {path}, wanted a file in a folder: {folder} is none")
    return path


@_option
def mnist_folder(text: str) -> Path:
    """A folder that holds the four files of MNIST, whole."""
    folder = checks.path("value", text)
    for name in files.MNIST:
        files.read(folder, name)
    return folder


def mnist(split: str, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """`data.mnist`; where it is not to be had, the script ends with one sentence, as for options.

    `folder` is what the option --data gave.
    """
    try:
        return data.mnist(split, folder)
    except (FileNotFoundError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
    raise _refused(
        f"MNIST is missing: {reason}; type --data FOLDER, with a folder that holds its four files"
    )


def resume(trainer: Trainer) -> None:
    """`trainer.resume`; where there is nothing to go on from, the script ends with one sentence."""
    try:
        trainer.resume()
    except (FileNotFoundError, ValueError) as error:
        reason = str(error).removeprefix("resume: ")
    else:
        return
    raise _refused(f"--resume: {reason}")


def _refused(reason: str) -> SystemExit:
    """The end of a script, as for an option that is wrong."""
    print(f"{Path(sys.argv[0]).name}: error: {reason}", file=sys.stderr)
    return SystemExit(2)


@contextmanager
def training(path: Path) -> Iterator[None]:
    """A block that trains: where it is stopped or refused, the script ends with one sentence.

    `path` is the checkpoint's.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        said = str(stop) or "stopped"  # by a Ctrl-C that came when the training had ended
        raise SystemExit(f"\n{said}{'; --resume goes on from it' * path.exists()}") from None
    except (disk.InUseError, OSError, FloatingPointError) as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: error: {error}") from None


@_option
def digits_network(text: str) -> Module:
    """The network of a checkpoint, which draws digits when it is given their labels."""
    model = storage.load(text)
    draws_digits = isinstance(model, UNet | ADMUNet) and model.parameterization is not None
    if not draws_digits or (model.config["channels"], model.config["classes"]) != (1, 10):
        raise ValueError(
            f"given {text}, which holds a {type(model).__name__}, wanted a UNet that learned to "
            "draw the ten digits, as examples/mnist_guided.py makes it"
        )
    return model
