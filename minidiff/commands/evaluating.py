"""minidiff evaluate: thousands of images drawn and judged, a table, and a page with pictures."""

import argparse
from pathlib import Path

import numpy as np

from .. import command_line, data, distributed, recipes, storage
from ..evaluation import MEAN_FLOW, Court, Network, Setting, sweep
from ..networks import Painter, painter
from .training import JUDGE

REAL = 10_000  # real pictures that are held against those drawn, at most
JUDGES_OF_DIGITS = ("lenet", "judge")
GUIDANCE = (1.0, 2.0)
PASSES = (1, 2, 4)  # of a network of two times


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT", help="(default: the one that ships)"
    )
    parser.add_argument(
        "--pictures",
        metavar="FOLDER",
        help="those that it learned from; not for digits, which are looked for as MNIST",
    )
    parser.add_argument(
        "--guidance",
        nargs="+",
        type=command_line.real(-100, 100),
        help="scales (default: 1 2; what draws in one pass has learned its own); any class is "
        "drawn as well, without guidance",
    )
    parser.add_argument(
        "--count",
        type=command_line.whole(20),
        default=1000,
        help="images to draw by each (default: %(default)s)",
    )
    command_line.add_device(parser)
    command_line.add_seed(parser)


def run(args: argparse.Namespace) -> Path:
    drawer = painter(args.checkpoint)
    drawer.refuse_guidance(args.guidance and args.guidance[0])
    if drawer.draws_digits:
        court = Court(
            {name: storage.pretrained(name) for name in JUDGES_OF_DIGITS},
            drawer.names,
            real=lambda split: command_line.mnist(split, None),
        )
        sampler = recipes.SAMPLER_OF_DIGITS
        folder = Path("runs/evaluate/digits")
    else:
        court = own_court(drawer, args.pictures, Path(args.checkpoint).with_name(JUDGE))
        sampler = recipes.SAMPLER
        folder = Path(args.checkpoint).parent
        # sets of unequal counts do not compare: the floor has no more than there are
        args.count = min(args.count, max(20, len(court.training[1])))
    if drawer.draws_in_one_pass:
        settings = [Setting(scale, MEAN_FLOW, passes) for scale in (1.0, None) for passes in PASSES]
    else:
        scales = args.guidance or GUIDANCE
        settings = [Setting(scale, **sampler) for scale in (*scales, None)]
    network = Network(Path(args.checkpoint or "mnist_adm").stem, drawer.model.to(args.device))
    try:
        with distributed.apart():
            sweep([network], settings, court, folder, args.count, args.seed)
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on") from None
    return folder / "report.html"


def own_court(drawer: Painter, pictures: str | None, judge: Path) -> Court:
    """The judge beside the checkpoint, and the pictures as the network saw them."""
    if pictures is None:
        raise ValueError(
            "pictures: given none, wanted the folder that the network learned from: "
            "type --pictures FOLDER"
        )
    notes = drawer.notes
    images, labels, names = data.images(
        pictures,
        notes["size"],
        channels=1 if notes["grey"] else 3,
        fit="pad" if notes["pad"] else "crop",
        in_memory=False,
    )
    if list(names) != drawer.names:
        raise ValueError(
            f"pictures: given the classes {list(names)}, wanted those of the network, "
            f"{drawer.names}"
        )
    training, test = data.split_validation(images, labels, seed=notes["seed"])
    parts = {"train": training, "test": test}

    def real(split: str) -> tuple[np.ndarray, np.ndarray]:
        files, labels = parts[split]
        return np.asarray(files[:REAL]), labels[:REAL]

    return Court({"a LeNet": storage.load(judge)}, names, real)
