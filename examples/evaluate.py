"""How good are the digits? Draw thousands, by one or more networks and settings, and judge them.

python examples/evaluate.py                           the network that ships, plain and guided
python examples/evaluate.py runs/mnist/checkpoint.safetensors --guidance 1 1.25 2 \\
    --sampler ddpm dpmpp_2m --steps 100 20            each network by each guidance, sampler, steps

Results go to runs/evaluate/NAME/: results.json, and report.html for a browser, with pictures. The
work is kept in small files: if it is stopped, the same command goes on. Start that command several
times and the processes share the work.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import minidiff as md
from minidiff import command_line, diffusion, distributed
from minidiff.diffusion import guidance
from minidiff.evaluation import MEAN_FLOW, Court, Network, Setting, sweep

SHIPPED = ("mnist_adm", "mnist", "mnist_one_pass")
JUDGES = ("lenet", "judge")
SAMPLERS = (*diffusion.samplers.SAMPLERS, MEAN_FLOW)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoints",
        metavar="CHECKPOINT",
        nargs="*",
        type=checkpoint,
        help=f"networks for MNIST; {' and '.join(SHIPPED)} ship (default: {SHIPPED[0]})",
    )
    parser.add_argument(
        "--guidance",
        nargs="+",
        type=command_line.real(-100, 100),
        default=[1.0, 2.0],
        help="scales (default: 1 2); the null label is drawn as well, without guidance",
    )
    parser.add_argument(
        "--interval",
        nargs=2,
        action="append",
        metavar=("LOW", "HIGH"),
        type=command_line.real(0, 1e6),
        help="guide only at times LOW < t <= HIGH; may be given again, for another interval",
    )
    parser.add_argument(
        "--rescale",
        nargs="+",
        metavar="PHI",
        type=command_line.real(0, 1),
        help="guide with noise that is rescaled, from 0, which is plain guidance, to 1",
    )
    parser.add_argument(
        "--sampler",
        nargs="+",
        default=["ddpm"],
        choices=SAMPLERS,
        metavar="SAMPLER",
        help=f"of {', '.join(SAMPLERS)} (default: ddpm)",
    )
    parser.add_argument(
        "--steps",
        nargs="+",
        type=command_line.whole(1),
        default=[100],
        help="of each sampler (default: 100)",
    )
    parser.add_argument(
        "--spacing",
        nargs="+",
        default=["trailing"],
        choices=diffusion.grids.SPACINGS,
        metavar="SPACING",
        help=f"of the times, of {', '.join(diffusion.grids.SPACINGS)} (default: trailing)",
    )
    parser.add_argument(
        "--count",
        type=command_line.whole(20),
        default=10_000,
        help="digits to draw by each setting (default: %(default)s)",
    )
    parser.add_argument(
        "--name", default="mnist", help="results go to runs/evaluate/NAME (default: %(default)s)"
    )
    command_line.add_seed(parser)
    command_line.add_mnist(parser)
    command_line.add_threads(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    args.folder = Path("runs/evaluate") / args.name
    try:
        command_line.new_file(str(args.folder / "results.json"))
        args.networks = named(args.checkpoints or [checkpoint(SHIPPED[0])])
        for network in args.networks:
            network.model.to(args.device)
        args.settings = list(dict.fromkeys(settings(args)))
        check_times(args)
    except (argparse.ArgumentTypeError, ValueError) as error:
        parser.error(str(error))
    return args


def checkpoint(text: str) -> tuple[str, md.nn.Module]:
    """What the user called it, and the network."""
    model = md.pretrained(text) if text in SHIPPED else command_line.digits_network(text)
    return text, model


def named(checkpoints: list[tuple[str, md.nn.Module]]) -> list[Network]:
    """Networks with names as short as tells them apart: the last folder and the file's stem."""
    short = [(Path(text).parent / Path(text).stem).parts[-2:] for text, _ in checkpoints]
    names = ["/".join(parts) for parts in short]
    if len(set(names)) < len(names):
        names = [text for text, _ in checkpoints]
    return [Network(name, model) for name, (_, model) in zip(names, checkpoints)]


def settings(args: argparse.Namespace) -> Iterator[Setting]:
    """Each guidance by each sampler; then, by each, the null label."""
    rules = [{"interval": (low, high)} for low, high in args.interval or []]
    rules += [{"rescale": phi} if phi else {} for phi in args.rescale or []]
    samplers = list(product(args.sampler, args.steps, args.spacing))
    for sampler, scale, rule in product(samplers, args.guidance, rules or [{}]):
        if sampler[0] == MEAN_FLOW and scale != 1:
            raise ValueError(
                f"--guidance: given {scale:g} with {MEAN_FLOW}, wanted 1: such a network has "
                "learned to draw guided"
            )
        yield Setting(scale, *sampler, **(rule if scale != 1 else {}))
    for sampler in samplers:
        yield Setting(None, *sampler)


def check_times(args: argparse.Namespace) -> None:
    """ValueError for steps that a schedule has not, empty intervals, and networks of one time."""
    for network in args.networks:
        if MEAN_FLOW in args.sampler and not isinstance(network.model, md.models.MeanFlowUNet):
            raise ValueError(
                f"--sampler: given {MEAN_FLOW} for {network.name}, wanted a MeanFlowUNet, as "
                "examples/one_pass.py trains it"
            )
    for low, high in args.interval or []:
        guidance.interval(2.0, low, high)
    for network, steps, spacing in product(args.networks, args.steps, args.spacing):
        diffusion.times(network.model.parameterization.schedule, steps, spacing)


def main() -> None:
    args = arguments()
    if args.threads:
        md.set_num_threads(args.threads)
    court = Court(
        judges={name: md.pretrained(name) for name in JUDGES},
        names=[str(digit) for digit in range(10)],
        real=lambda split: command_line.mnist(split, args.data),
    )
    try:
        with distributed.apart():
            sweep(args.networks, args.settings, court, args.folder, args.count, args.seed)
    except KeyboardInterrupt:
        raise SystemExit(
            f"\nstopped; what is in {args.folder} is whole, and the same command goes on from it"
        ) from None


if __name__ == "__main__":
    main()
