"""Every sampler at 5 to 100 steps, in one picture, with the distance to the data under each.

    python examples/samplers.py            pictures go to runs/samplers/

On points whose exact denoiser is known, without any network, and on MNIST. All start from the same
noise. Samplers that are one and the same stand in one row; `heun` and `edm` ask the network twice a
step.
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, diffusion, metrics, plot
from minidiff.diffusion import samplers
from minidiff.diffusion.exact import GaussianMixture
from minidiff.diffusion.grids import SPACINGS
from minidiff.kernels import to_host

STEPS = (5, 10, 20, 50, 100)
TIMESTEPS = 100
# One walk, written in several ways: a row for the first of them.
SAME = {"ddpm": ("euler_ancestral",), "ddim": ("euler", "dpmpp_1")}
SHOWN = 4  # digits in a panel, large enough to be seen
DIGITS = (2, 3, 5, 8, 0, 1, 4, 6, 7, 9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=command_line.digits_network,
        help="a network for MNIST (default: the one that ships)",
    )
    command_line.add_mnist(parser)
    parser.add_argument(
        "--count",
        type=command_line.whole(2),
        help="samples in each panel (default: 2000 points, 200 digits)",
    )
    parser.add_argument(
        "--spacing",
        default="trailing",
        choices=[name for name in SPACINGS if name != "leading"],  # starts too late in 5 steps
        help="of the times (default: %(default)s)",
    )
    command_line.add_seed(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    folder = Path("runs/samplers")
    points(args, folder / "points.png")
    digits(args, folder / "digits.png")


def ring() -> GaussianMixture:
    """Eight narrow Gaussians on a circle."""
    angle = np.arange(8) * np.pi / 4
    return GaussianMixture(np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.08)


def points(args: argparse.Namespace, path: Path) -> None:
    mixture = ring()
    count = args.count or 2000
    target = mixture.sample(count, np.random.default_rng(args.seed + 1))
    floor = energy_distance(mixture.sample(count, np.random.default_rng(args.seed + 2)), target)
    print(f"points: energy distance × 1000; two draws of the data: {1000 * floor:.2f}")
    denoise = mixture.denoiser(diffusion.cosine_schedule(TIMESTEPS))
    draw = lambda name, steps: diffusion.sample(
        denoise,
        n=count,
        shape=(2,),
        sampler=name,
        steps=steps,
        spacing=args.spacing,
        rng=args.seed,
        device=args.device,
    )
    distance = lambda x: f"{1000 * energy_distance(x, target):.2f}"
    picture(draw, distance, lambda x: x, path)


def digits(args: argparse.Namespace, path: Path) -> None:
    model = (args.checkpoint or md.pretrained("mnist")).to(args.device)
    lenet = md.pretrained("lenet")
    count = args.count or 200
    denoise = diffusion.denoiser(model)
    labels = np.resize(DIGITS, count) + 1
    features = lambda x: metrics.features(lenet.features, x)
    training = features(command_line.mnist("train", args.data)[0][:count])
    test = features(command_line.mnist("test", args.data)[0][:count])
    floor = metrics.frechet_distance(training, test)
    print(
        "digits: Fréchet LeNet distance, "
        f"in multiples of that of {count} training to test images ({floor:.2f})"
    )
    draw = lambda name, steps: diffusion.sample(
        denoise,
        labels,
        sampler=name,
        steps=steps,
        spacing=args.spacing,
        rng=args.seed,
    )
    distance = lambda x: f"{metrics.frechet_distance(features(x), test) / floor:.1f} ×"
    picture(draw, distance, lambda x: x[:SHOWN], path)


def picture(draw, distance, shown, path: Path) -> None:
    """A row for each sampler, a column for each number of steps.

    A panel has what is `shown` of the samples, and below it their `distance`.
    """
    others = {other for same in SAME.values() for other in same}
    cells = []
    captions = []
    rows = []
    for name in samplers.SAMPLERS:
        if name in others:
            continue
        drawn = [to_host(draw(name, steps)) for steps in STEPS]
        cells.append([shown(x) for x in drawn])
        captions.append([distance(x) for x in drawn])
        rows.append("\n= ".join([name, *SAME.get(name, ())]))
        print(f"{name:>16}" + "".join(f"{caption:>10}" for caption in captions[-1]), flush=True)
    plot.table(cells, path, rows, [f"{steps} steps" for steps in STEPS], captions)
    print(f"drawn: {path}")


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|: 0 for one distribution; it sees what moments do not."""
    between = lambda x, y: np.linalg.norm(x[:, None] - y[None], axis=2).mean()
    return float(2 * between(a, b) - between(a, a) - between(b, b))


if __name__ == "__main__":
    main()
