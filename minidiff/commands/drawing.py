"""minidiff draw: digits or the classes of one's own pictures, by their names."""

import argparse
from pathlib import Path

from .. import command_line, diffusion, distributed, plot, recipes
from ..diffusion.guidance import classifier_free
from ..kernels import to_host
from ..networks import labels_of, painter

MOST = 1000  # pictures in one file
GUIDANCE = 2.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="+", help="digits, such as 31415, or names of classes: rose rose tulip"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="the network (default: the one for digits that ships)",
    )
    parser.add_argument(
        "--guidance",
        type=command_line.real(-100, 100),
        help="how strongly the class pulls; 1 is the plain network (default: "
        f"{GUIDANCE:g}; what draws in one pass has learned its own)",
    )
    command_line.add_device(parser)
    command_line.add_seed(parser)
    parser.add_argument(
        "--out",
        type=command_line.new_file,
        default=Path("drawn.png"),
        help="the picture (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> Path:
    drawer = painter(args.checkpoint)
    asked = list("".join(args.what)) if drawer.draws_digits else args.what
    labels = labels_of(drawer, asked, MOST)
    drawer.refuse_guidance(args.guidance)
    drawer.model.to(args.device)
    if drawer.draws_in_one_pass:
        images = diffusion.mean_flow.sample(drawer.model, labels, rng=args.seed)
    else:
        scale = GUIDANCE if args.guidance is None else args.guidance
        denoise = classifier_free(diffusion.denoiser(drawer.model), scale)
        sampler = recipes.SAMPLER_OF_DIGITS if drawer.draws_digits else recipes.SAMPLER
        images = diffusion.sample(denoise, labels, rng=args.seed, **sampler)
    images = to_host(images)
    if distributed.rank() == 0:
        plot.grid(images[None], args.out, titles=[drawer.names[label - 1] for label in labels])
    return args.out
