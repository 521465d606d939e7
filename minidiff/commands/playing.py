"""minidiff play: a page in the browser, where everything follows the sliders."""

import argparse

from .. import command_line
from ..networks import any_painter, painter, painter_of_points
from ..play.views import Images, Plane


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="a network of images or of points in the plane (default: those that ship)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0 lets other machines see the page (default: %(default)s, this one alone)",
    )
    parser.add_argument(
        "--port",
        type=command_line.whole(1, 65535),
        help="(default: the first that is free from 7860 up)",
    )


def run(args: argparse.Namespace) -> None:
    images = painter(None)
    points = painter_of_points()
    first = "draw"
    if args.checkpoint is not None:
        own = any_painter(args.checkpoint)
        if own.model.parameterization.sample_shape == (2,):
            points = own
            first = "plane"
        else:
            images = own
    try:
        from ..play.page import page, serve
    except ModuleNotFoundError as error:
        raise ImportError(f'{error.name} is missing: type pip install "minidiff[play]"') from None
    blocks = page(Images(images), Plane(points), first)
    address = serve(blocks, args.host, args.port)
    print(f"open {address} in a browser; Ctrl-C ends it", flush=True)
    blocks.block_thread()
