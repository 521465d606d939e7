"""Every guidance rule at growing scale, in one picture.

    python examples/guidance.py            pictures go to runs/guidance/

On points whose exact denoiser is known, without any network, and on MNIST.
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, diffusion, metrics, plot
from minidiff.diffusion import guidance
from minidiff.diffusion.exact import GaussianMixture
from minidiff.kernels import to_host

SCALES = (0, 1, 1.5, 2, 3, 5, 10)
TIMESTEPS = 100


def rules(weak=None) -> dict:
    """Each rule's name and how it guides: (denoise, scale) -> Denoise."""
    named = {
        "classifier-free": guidance.classifier_free,
        "interval": lambda d, s: guidance.guided(
            d, guidance.interval(s, 0.2 * TIMESTEPS, 0.8 * TIMESTEPS)
        ),
        "rescaled": lambda d, s: guidance.guided(d, s, combine=guidance.rescaled(0.7)),
        "projected": lambda d, s: guidance.guided(d, s, combine=guidance.projected()),
        "CFG++ (s / 10)": lambda d, s: guidance.guided(d, s / 10, combine=guidance.cfg_pp),
        "against label 2": lambda d, s: guidance.guided(d, s, against=2),
    }
    if weak is not None:
        named["weak model"] = lambda d, s: guidance.guided(d, s, against=weak)
    return named


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
    parser.add_argument(
        "--weak",
        metavar="FILE",
        type=command_line.digits_network,
        help="an early checkpoint of it, to guide against; default: none",
    )
    parser.add_argument(
        "--count",
        type=command_line.whole(1),
        help="samples in each panel (default: 2000 points, 100 digits)",
    )
    command_line.add_seed(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    folder = Path("runs/guidance")
    points(args, folder / "points.png")
    digits(args, folder / "digits.png")


def points(args: argparse.Namespace, path: Path) -> None:
    """Class 1, two of four overlapping Gaussians; the weak model knows it only blurred."""
    count = args.count or 2000
    schedule = diffusion.cosine_schedule(TIMESTEPS)
    means = [[-0.5, 0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, -0.5]]
    labels = [1, 1, 2, 2]
    mixture = GaussianMixture(means, 0.25, labels=labels)
    denoise = mixture.denoiser(schedule)
    weak = GaussianMixture(means, 0.5, labels=labels).denoiser(schedule)
    print("points: how sure the exact classifier is of class 1 on the average")
    log_prob = mixture.log_prob(schedule)
    sure = lambda x: f"{np.exp(log_prob(x, 1, np.ones(len(x), np.int64))).mean():.1%}"
    draw = lambda rule, s: diffusion.sample(
        rule(denoise, s),
        condition=1,
        n=count,
        shape=(2,),
        steps=50,
        rng=args.seed,
        device=args.device,
    )
    picture(rules(weak), draw, sure, path)


def digits(args: argparse.Namespace, path: Path) -> None:
    """Digits 0 to 9 again and again; how many of them a LeNet recognises."""
    lenet = md.pretrained("lenet")
    model = (args.checkpoint or md.pretrained("mnist")).to(args.device)
    denoise = diffusion.denoiser(model)
    weak = diffusion.denoiser(args.weak.to(args.device)) if args.weak else None
    classes = np.arange(args.count or 100) % 10
    print("digits: how many a LeNet reads as wanted")
    agreement = lambda x: f"{metrics.accuracy(classes, metrics.predict(lenet, x)):.1%}"
    draw = lambda rule, s: diffusion.sample(rule(denoise, s), classes + 1, steps=25, rng=args.seed)
    picture(rules(weak), draw, agreement, path)


def picture(named_rules: dict, draw, caption, path: Path) -> None:
    """One row for each rule, one column for each scale."""
    cells = []
    captions = []
    for name, rule in named_rules.items():
        cells.append([to_host(draw(rule, scale)) for scale in SCALES])
        captions.append([caption(x) for x in cells[-1]])
        print(f"{name:>16}" + "".join(f"{text:>9}" for text in captions[-1]), flush=True)
    plot.table(cells, path, list(named_rules), [f"scale {scale}" for scale in SCALES], captions)
    print(f"drawn: {path}")


if __name__ == "__main__":
    main()
