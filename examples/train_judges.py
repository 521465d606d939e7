"""Train a judge of drawn digits: the LeNet-5, or a small residual network as the second opinion.

python examples/train_judges.py --judge lenet        write runs/judges/lenet.safetensors
python examples/train_judges.py --judge resnet       write runs/judges/resnet.safetensors
python examples/train_judges.py --judge resnet --resume   go on with a run that was stopped

Both that ship with the package (`md.pretrained("lenet")`, `md.pretrained("judge")`) were made by
these commands. No test image is seen in training, and nothing is chosen by them.
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, metrics, ops, optim
from minidiff.kernels import to_device
from minidiff.training import Trainer

BATCH = 64
# of each judge: the class, passes over the training images, and the highest learning rate
JUDGES = {"lenet": (md.models.LeNet5, 15, 2e-3), "resnet": (md.models.ResNet, 6, 2e-3)}
COUNT = 10_000  # images on both sides of the floor


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--judge", choices=JUDGES, default="lenet", help="which (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=command_line.new_file,
        help="the file to write (default: runs/judges/JUDGE.safetensors)",
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        help="passes over the training images (default: 15 for lenet, 6 for resnet)",
    )
    command_line.add_seed(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run of that judge")
    command_line.add_mnist(parser)
    command_line.add_tensorboard(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    args.out = args.out or Path("runs/judges") / f"{args.judge}.safetensors"
    args.checkpoint = args.out.with_suffix(".checkpoint")
    return args


def main() -> None:
    args = arguments()
    train(args)
    model = md.load(args.checkpoint).to(args.device)  # with the averaged weights
    accuracy = judge(model, args.data)
    path = md.save(args.out, model, test_accuracy=accuracy)
    print(f"written: {path}")


def train(args: argparse.Namespace) -> None:
    """On all training images, distorted anew in every epoch; the checkpoint is kept."""
    kind, epochs, rate = JUDGES[args.judge]
    epochs = args.epochs or epochs
    images, labels = command_line.mnist("train", args.data)
    # labels count from 1, since 0 is the null condition; a classifier's classes from 0
    classes = labels - 1
    model = kind(rng=args.seed).to(args.device)
    steps = epochs * data.batch_count(len(images), BATCH)
    optimizer = optim.Adam(
        model.parameters(), lr=optim.warmup_cosine(rate, warmup=min(100, steps // 10), total=steps)
    )
    ema = optim.EMA(model, decay=0.999)
    mean_loss = md.sharded(lambda x, y: ops.cross_entropy(model(x), y))

    def loss(x, y, rng):
        return mean_loss(to_device(data.distorted(x, rng), args.device), y)

    trainer = Trainer(
        model,
        loss,
        optimizer,
        ema,
        batch_size=BATCH,
        seed=args.seed,
        path=args.checkpoint,
        tensorboard=args.tensorboard,
    )
    if args.resume:
        command_line.resume(trainer)
    print(f"{args.judge}: {model.num_parameters:,} parameters, {steps:,} steps of {BATCH} images")
    with command_line.training(args.checkpoint):
        trainer.fit((images, classes), epochs)


def judge(model, folder) -> float:
    """Print what the network reads in test images, and its distances between real images."""
    images, labels = command_line.mnist("test", folder)
    read = metrics.predict(model, images)
    print(metrics.classification_report(labels - 1, read))
    hits = read == labels - 1
    error = metrics.standard_error(np.mean, hits, rng=0, rounds=1000)
    print(f"test accuracy {np.mean(hits):.2%} ± {error:.2%}")

    training, _ = command_line.mnist("train", folder)
    count = min(COUNT, len(images))
    chosen = np.random.default_rng(0).choice(training, count, replace=False)
    real = metrics.features(model.features, images[:count])
    other = metrics.features(model.features, chosen)
    floor = metrics.frechet_distance(other, real)
    error = metrics.standard_error(metrics.frechet_distance, other, real, rng=0)
    at_infinity = metrics.extrapolated_frechet(real, other, rng=0)
    print(
        f"Fréchet distance of {count:,} training images to the test images: {floor:.3f} ± "
        f"{error:.3f}; of infinitely many, {at_infinity:.3f}"
    )
    return float(np.mean(hits))


if __name__ == "__main__":
    main()
