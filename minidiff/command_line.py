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
from .data.own import Labelled
from .models import ADMUNet, UNet
from .nn import Module
from .training import Trainer
from .training.run_log import check_tensorboard

T = TypeVar("T")
FEWEST_PICTURES = 60


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option --device: where the script computes."""
    parser.add_argument(
        "--device",
        default="cpu",
        choices=kernels.devices(),
        help="where to compute: cpu, or cuda, by CuPy (default: %(default)s)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """The option --seed."""
    parser.add_argument(
        "--seed",
        type=whole(),
        default=0,
        help="of all that is random (default: %(default)s)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """The option --threads: None unless it is given."""
    parser.add_argument(
        "--threads",
        type=whole(1),
        help="how many to use (default: one for each processor)",
    )


def add_mnist(parser: argparse.ArgumentParser) -> None:
    """The option --data: where MNIST is, for `mnist`."""
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=mnist_folder,
        help="where the four MNIST files are, if you have them",
    )


def add_tensorboard(parser: argparse.ArgumentParser) -> None:
    """The option --tensorboard: a folder for TensorBoard's files, for `Trainer`."""
    parser.add_argument(
        "--tensorboard",
        metavar="FOLDER",
        type=tensorboard_folder,
        help="write TensorBoard's files there",
    )


def _option(read: Callable[[str], T]) -> Callable[[str], T]:
    """What `read` raises, as argparse's error of the option."""

    @wraps(read)
    def option(text: str) -> T:
        try:
            return read(text)
        except (TypeError, ValueError, OSError, ImportError) as error:
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
def tensorboard_folder(text: str) -> Path:
    """A folder for TensorBoard's files, where the package that writes them is installed."""
    check_tensorboard()
    return new_file(str(checks.path("value", text) / "events")).parent


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


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The options that say where one's own pictures are, and how they are seen; see `pictures`."""
    parser.add_argument("pictures", metavar="FOLDER", help="has a subfolder of pictures per class")
    parser.add_argument(
        "--size",
        type=whole(4, 256),
        default=32,
        help="pictures are scaled to squares of so many pixels (default: %(default)s)",
    )
    parser.add_argument("--grey", action="store_true", help="without colours")
    parser.add_argument(
        "--pad",
        action="store_true",
        help="put white beside a picture that is no square; else its sides are cut off",
    )
    parser.add_argument(
        "--from-disk", action="store_true", help="read by need: for more than fit into memory"
    )
    parser.add_argument("--name", help="results go to runs/NAME (default: the folder's name)")


def add_learning(parser: argparse.ArgumentParser) -> None:
    """The options that say how one's own pictures are learned."""
    parser.add_argument(
        "--epochs",
        type=whole(1),
        default=8,
        help="passes over the pictures (default: %(default)s, for some thousands of them)",
    )
    parser.add_argument(
        "--flip", action="store_true", help="learn from mirrored pictures, too: not for letters"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run of that name")
    add_tensorboard(parser)
    add_seed(parser)
    add_device(parser)


def results_folder(args: argparse.Namespace) -> Path:
    """runs/NAME; the script ends where no folder can be, or where the pictures are."""
    source = Path(args.pictures).resolve()
    folder = Path("runs") / (args.name or source.name)
    try:
        new_file(str(folder / "results"))
    except argparse.ArgumentTypeError as error:
        raise _refused(f"argument --name: {error}") from None
    if folder.resolve() == source:
        raise _refused(
            f"argument --name: given {folder}, where the pictures are, wanted another folder for "
            "the results: type --name NAME"
        )
    return folder


def pictures(args: argparse.Namespace) -> Labelled:
    """`data.images` by these options; a fault ends the script with one sentence."""
    try:
        found = data.images(
            args.pictures,
            args.size,
            channels=1 if args.grey else 3,
            fit="pad" if args.pad else "crop",
            in_memory=not args.from_disk,
        )
    except (FileNotFoundError, ValueError) as error:
        reason = str(error).replace("type in_memory=False", "type --from-disk")
    else:
        if len(found.labels) >= FEWEST_PICTURES:
            return found
        reason = (
            f"folder: given {len(found.labels)} pictures, wanted {FEWEST_PICTURES} or more: a "
            "tenth is kept aside, to judge by"
        )
    raise _refused(f"argument {reason.replace('folder:', 'FOLDER:', 1)}")


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
    """A block that trains, or draws afterwards: stopped or refused, it ends with one sentence.

    `path` is the checkpoint's.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        said = str(stop) or "stopped"  # where the Trainer says nothing: nothing is trained there
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
