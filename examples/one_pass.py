"""A digit in one pass: a network that learns the mean velocity from noise to data.

python examples/one_pass.py                 train, draw, judge; results go to runs/one_pass/
python examples/one_pass.py --resume        go on with a run that was stopped
python examples/one_pass.py --pretrained    draw and judge by the network that ships
python examples/evaluate.py runs/one_pass/checkpoint.safetensors --sampler mean_flow --guidance 1 \\
    --steps 1 2 4                           judge 10,000 digits, against all test images
minidiff draw 31415 --checkpoint runs/one_pass/checkpoint.safetensors       draw more, in one pass
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, diffusion, metrics, optim, plot
from minidiff.diffusion import mean_flow
from minidiff.kernels import to_host
from minidiff.training import Trainer

TIMESTEPS = 1000
EPOCHS = 40
BATCH = 64
FIRST_RATE = 2e-3
LAST_RATE = 4e-5
LABEL_DROPOUT = 0.1
AVERAGED = 0.1  # the width of the averaged weights' shape
GUIDANCE = 1.35  # which the network learns to draw with
BETAS = (0.9, 0.99)
PASSES = (1, 2, 4)
STEPS = 1000  # of the flow, followed closely
COUNT = 1000  # digits that are judged
ROUNDS = 9  # in which the time is taken
SHIPPED = "mnist_one_pass"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        default=EPOCHS,
        help="passes over the training images (default: %(default)s)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--resume", action="store_true", help="go on with the run")
    which.add_argument("--pretrained", action="store_true", help="the network that ships")
    command_line.add_seed(parser)
    command_line.add_mnist(parser)
    command_line.add_threads(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    args.folder = Path("runs/one_pass")
    return args


def main() -> None:
    args = arguments()
    if args.threads:
        md.set_num_threads(args.threads)
    model = md.pretrained(SHIPPED) if args.pretrained else train(args)
    model = model.to(args.device)
    draw(model, args.seed, args.folder / "passes.png")
    say_how_long(model)
    judge(model, args.seed)


def train(args: argparse.Namespace) -> md.models.MeanFlowUNet:
    """The network with its averaged weights."""
    images, labels = command_line.mnist("train", args.data)
    training, validation = data.split_validation(images, labels, seed=args.seed)
    model = md.models.MeanFlowUNet(timesteps=TIMESTEPS, rng=args.seed).to(args.device)
    steps = args.epochs * data.batch_count(len(training[0]), BATCH)
    rate = optim.warmup_cosine(FIRST_RATE, min(200, steps // 10), steps, LAST_RATE)
    optimizer = optim.Adam(model.parameters(), lr=rate, betas=BETAS)
    ema = optim.EMA(model, optim.PowerLaw(AVERAGED))

    def loss(x, labels, rng):
        dropped = diffusion.label_dropout(labels, LABEL_DROPOUT, rng)
        return mean_flow.loss(model, x, dropped, rng, GUIDANCE)

    path = args.folder / "checkpoint.safetensors"
    trainer = Trainer(model, loss, optimizer, ema, batch_size=BATCH, seed=args.seed, path=path)
    if args.resume:
        command_line.resume(trainer)
    with command_line.training(path):
        trainer.fit(training, args.epochs, validation)
    return md.load(path)


def draw(model: md.models.MeanFlowUNet, seed: int, path: Path) -> None:
    """Ten digits from the same noise: in one pass, in a few, and along the flow."""
    labels = np.arange(1, 11)
    rows = [mean_flow.sample(model, labels, passes, rng=seed) for passes in PASSES]
    rows.append(diffusion.sample(model, labels, sampler="ddim", steps=STEPS, rng=seed))
    images = np.stack([to_host(row) for row in rows])
    names = [*PASSES, STEPS]
    plot.grid(images, path, row_labels=names, titles=range(10), ylabel="passes")
    print(f"drawn: {path}")


def say_how_long(model: md.models.MeanFlowUNet) -> None:
    """What ten digits in one pass take, and how many a second are drawn at a time."""
    for count in (10, COUNT):
        labels = np.arange(count) % 10 + 1
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            to_host(mean_flow.sample(model, labels))
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        print(f"{count} digits in one pass: {1000 * median:.1f} ms, {count / median:,.0f} a second")


def judge(model: md.models.MeanFlowUNet, seed: int) -> None:
    """What a LeNet reads; `examples/evaluate.py` says how far the digits are from real ones."""
    lenet = md.pretrained("lenet")
    classes = np.arange(COUNT) % 10
    for passes in PASSES:
        digits = to_host(mean_flow.sample(model, classes + 1, passes, rng=seed))
        agreement = metrics.accuracy(classes, metrics.predict(lenet, digits))
        print(f"{passes} passes: a LeNet reads {agreement:.1%} of {COUNT:,} digits as wanted")


if __name__ == "__main__":
    main()
