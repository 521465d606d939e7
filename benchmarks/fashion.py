"""Fashion-MNIST beside the digits: the demo's network and recipe, on clothes.

python benchmarks/fashion.py            train, draw and judge; it goes on where it was stopped

A LeNet learns from the training images and judges; figures are against all 10,000 test images, in
runs/fashion/report.html.
"""

import argparse
import time
from pathlib import Path

import minidiff as md
from minidiff import command_line, data, diffusion, recipes
from minidiff.evaluation import Court, Network, Setting, sweep
from minidiff.training import Trainer

FOLDER = Path("runs/fashion")
TIMES = (0.7, 1.3)  # as examples/mnist_guided.py has them
BETAS = (0.9, 0.999)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=command_line.whole(1), default=6, help="of the painter")
    parser.add_argument("--judge-epochs", type=command_line.whole(1), default=15)
    parser.add_argument("--count", type=command_line.whole(20), default=10_000, help="to draw")
    command_line.add_threads(parser)
    args = parser.parse_args()
    if args.threads:
        md.set_num_threads(args.threads)

    images, labels = data.fashion_mnist("train")
    training, _ = data.split_validation(images, labels)
    schedule = diffusion.cosine_schedule(recipes.TIMESTEPS)
    model = md.models.ADMUNet(
        schedule.alpha_bar, mean=float(images.mean()), std=float(images.std())
    )
    path = FOLDER / "checkpoint.safetensors"
    names = list(data.FASHION_NAMES)
    fit(
        recipes.painting(
            model,
            len(training[0]),
            args.epochs,
            0,
            path,
            times=TIMES,
            betas=BETAS,
            names=names,
        ),
        training,
        args.epochs,
    )

    judge = md.models.LeNet(images.shape[1:], len(names), 0)
    beside = FOLDER / "judge.safetensors"
    judging = recipes.judging(judge, len(images), args.judge_epochs, 0, beside)
    fit(judging, (images, labels - 1), args.judge_epochs)

    court = Court({"a LeNet": md.load(beside)}, names, real=data.fashion_mnist)
    settings = [Setting(scale, **recipes.SAMPLER_OF_DIGITS) for scale in (1.0, 2.0, None)]
    sweep([Network("fashion", md.load(path))], settings, court, FOLDER, args.count, seed=0)


def fit(trainer: Trainer, images: tuple, epochs: int) -> None:
    if trainer.path.exists():
        trainer.resume()
    begin = time.process_time()
    with command_line.training(trainer.path):
        trainer.fit(images, epochs)
    print(f"{trainer.path}: {time.process_time() - begin:.0f} s of one processor")


if __name__ == "__main__":
    main()
