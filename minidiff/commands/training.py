"""minidiff train FOLDER: a network that draws one's own pictures, and one that judges them."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import command_line, data, diffusion, distributed, metrics, models, plot, recipes, storage
from ..diffusion.guidance import classifier_free
from ..kernels import to_host

ROW = 8  # pictures of each class that are drawn in the end
CHECKPOINT = "checkpoint.safetensors"
JUDGE = "judge.safetensors"


def add_options(parser: argparse.ArgumentParser) -> None:
    command_line.add_pictures(parser)
    command_line.add_learning(parser)


def run(args: argparse.Namespace) -> Path:
    folder = command_line.results_folder(args)
    images, labels, names = command_line.pictures(args)
    training, test = data.split_validation(images, labels, seed=args.seed)
    view = {"size": args.size, "grey": args.grey, "pad": args.pad}

    count = len(training[0])
    painter = recipes.painter(training[0], len(names), args.seed).to(args.device)
    painting = recipes.painting(
        painter,
        count,
        args.epochs,
        args.seed,
        folder / CHECKPOINT,
        args.flip,
        args.tensorboard,
        names=names,
        **view,
    )
    fit(painting, training, args.epochs, args.resume)
    judge = models.LeNet(images.shape[1:], len(names), args.seed)
    board = args.tensorboard and args.tensorboard / "judge"
    judging = recipes.judging(
        judge, count, recipes.JUDGE_EPOCHS, args.seed, folder / JUDGE, args.flip, board
    )
    classes = (training[0], training[1] - 1)  # a classifier counts from 0
    fit(judging, classes, recipes.JUDGE_EPOCHS, args.resume)

    read = metrics.predict(storage.load(folder / JUDGE), np.asarray(test[0]))
    print(
        f"the judge reads {metrics.accuracy(test[1] - 1, read):.1%} of {len(read):,} images right"
    )
    rows = np.repeat(np.arange(1, len(names) + 1), ROW)
    trained = storage.load(folder / CHECKPOINT).to(args.device)  # with the averaged weights
    denoise = classifier_free(diffusion.denoiser(trained), 2.0)
    drawn = to_host(diffusion.sample(denoise, rows, rng=args.seed, **recipes.SAMPLER))
    if distributed.rank() == 0:
        plot.grid(drawn.reshape(len(names), ROW, *drawn.shape[1:]), folder / "drawn.png", names)
    print(f"drawn: {folder / 'drawn.png'}")
    return folder / CHECKPOINT


def fit(trainer: Any, images: Any, epochs: int, resume: bool) -> None:
    if resume and distributed.on_first(trainer.path.exists):
        command_line.resume(trainer)
    with command_line.training(trainer.path):
        trainer.fit(images, epochs)
