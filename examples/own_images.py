"""Your own images: train on a folder, draw what you ask for, and judge what was drawn.

python examples/own_images.py FOLDER            a folder with a subfolder of pictures for each class
python examples/own_images.py FOLDER --resume   go on with a run that was stopped

Try it on what `python examples/coloured_shapes.py shapes` makes. Results go to runs/NAME/:
drawn.png, with the names of the classes; report.html, with all figures; the checkpoints of the
network and of the judge, which learned from the same pictures.
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, diffusion, distributed, metrics, plot, recipes
from minidiff.diffusion.guidance import classifier_free
from minidiff.evaluation import Court, Network, Setting, sweep
from minidiff.kernels import to_host

ROW = 8  # pictures of each class in drawn.png
COUNT = 1000  # pictures that are judged, of each guidance
REAL = 10_000  # real pictures that they are held against, at most
CHECKPOINT = "checkpoint.safetensors"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command_line.add_pictures(parser)
    command_line.add_learning(parser)
    command_line.add_threads(parser)
    args = parser.parse_args()
    args.folder = command_line.results_folder(args)
    args.path = args.folder / CHECKPOINT
    return args


def main() -> None:
    args = arguments()
    if args.threads:
        md.set_num_threads(args.threads)
    images, labels, names = command_line.pictures(args)
    # a tenth is kept aside: nothing learns from it
    training, test = data.split_validation(images, labels, seed=args.seed)
    print(f"{len(images):,} images of {', '.join(names)}")
    painter = learn_to_draw(args, training, test, names)
    judge = learn_to_judge(args, training, test, names)

    draw(painter, names, args.seed, args.folder / "drawn.png")
    real = {"train": training, "test": test}
    court = Court(
        {"a LeNet": judge},
        names,
        real=lambda split: (np.asarray(real[split][0][:REAL]), real[split][1][:REAL]),
    )
    settings = [Setting(scale, **recipes.SAMPLER) for scale in (1.0, 2.0, None)]
    count = max(min(COUNT, len(training[0])), 20, len(names))
    network = Network(args.folder.name, painter)
    try:
        with distributed.apart():
            sweep([network], settings, court, args.folder, count, args.seed)
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; --resume goes on from it") from None


def learn_to_draw(args: argparse.Namespace, training, test, names) -> md.models.ADMUNet:
    """The network that draws, with its averaged weights."""
    model = recipes.painter(training[0], len(names), args.seed).to(args.device)
    print(f"{model.num_parameters:,} parameters, {md.get_num_threads()} threads")
    count = len(training[0])
    notes = {"names": names, "size": args.size, "grey": args.grey, "pad": args.pad}
    run = recipes.painting(
        model,
        count,
        args.epochs,
        args.seed,
        args.path,
        args.flip,
        args.tensorboard,
        **notes,
    )
    if args.resume:
        command_line.resume(run)
    with command_line.training(args.path):
        run.fit(training, args.epochs, test)
    if distributed.rank() == 0:
        plot.loss_curve(run.history, args.folder / "loss.png")
    return md.load(args.path).to(args.device)


def learn_to_judge(args: argparse.Namespace, training, test, names) -> md.models.LeNet:
    """The network that tells the classes apart; what it makes of the tenth is printed."""
    path = args.folder / "judge.safetensors"
    images, labels = training
    model = md.models.LeNet(images.shape[1:], len(names), args.seed)
    epochs = recipes.JUDGE_EPOCHS
    board = args.tensorboard and args.tensorboard / "judge"
    run = recipes.judging(model, len(images), epochs, args.seed, path, args.flip, board)
    if args.resume and distributed.on_first(path.exists):
        command_line.resume(run)
    with command_line.training(path):
        run.fit((images, labels - 1), epochs)  # a classifier counts from 0
    judge = md.load(path)
    read = metrics.predict(judge, np.asarray(test[0]))
    print(
        f"the judge reads {metrics.accuracy(test[1] - 1, read):.1%} of {len(read):,} images right"
    )
    return judge


def draw(model, names: tuple[str, ...], seed: int, path: Path) -> None:
    """A row of each class at guidance 2."""
    denoise = classifier_free(diffusion.denoiser(model), 2.0)
    labels = np.repeat(np.arange(1, len(names) + 1), ROW)
    images = to_host(diffusion.sample(denoise, labels, rng=seed, **recipes.SAMPLER))
    if distributed.rank() == 0:
        plot.grid(images.reshape(len(names), ROW, *images.shape[1:]), path, row_labels=names)
    print(f"drawn: {path}")


if __name__ == "__main__":
    with distributed.ranks():
        main()
