"""Three patterns in the plane from one network of 5,826 parameters, guided by a label.

    python examples/patterns_guided.py             results go to runs/patterns/
    python examples/patterns_guided.py --resume    go on with a run that was stopped
    python examples/patterns_guided.py --flow      flow matching: the straight path, its velocity

The label says which pattern, the guidance scale how strictly. The null label draws all three: it
has half of the points. `md.pretrained("patterns")` is the network of a run at the defaults.
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, diffusion, metrics, optim, plot
from minidiff.diffusion.guidance import classifier_free
from minidiff.training import Trainer

TIMESTEPS = 100
BATCH = 256
POINTS = 30_000  # of each pattern
DRAWN = 1000  # samples of each label
PATTERNS = {"spiral": data.spiral, "s-curve": data.s_curve, "moons": data.moons}
TITLES = ["null label", *PATTERNS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        default=150,
        help="passes over the 90,000 points (default: %(default)s)",
    )
    command_line.add_seed(parser)
    parser.add_argument(
        "--guidance",
        type=command_line.real(-100, 100),
        default=1.0,
        help="the guidance scale (default: %(default)s)",
    )
    parser.add_argument(
        "--flow", action="store_true", help="flow matching; results go to runs/patterns_flow/"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run of that seed")
    command_line.add_tensorboard(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    folder = Path("runs/patterns_flow" if args.flow else "runs/patterns")

    rng = np.random.default_rng(args.seed)
    patterns = [pattern(POINTS, rng) for pattern in PATTERNS.values()]
    scalings = [data.Scaling.fit(points) for points in patterns]
    points = np.concatenate([scaling.apply(points) for scaling, points in zip(scalings, patterns)])
    labels = np.repeat(np.arange(1, len(PATTERNS) + 1), POINTS)  # label 0 is the null label
    training, validation = data.split_validation(points, labels, seed=args.seed)

    model = md.models.ConditionalMLP(
        hidden=32, classes=len(PATTERNS), timesteps=TIMESTEPS, rng=args.seed
    ).to(args.device)
    schedule = diffusion.straight_schedule(TIMESTEPS) if args.flow else even_schedule()
    low_noise = times_of_little_noise(schedule)
    steps = args.epochs * data.batch_count(len(training[0]), BATCH)
    optimizer = optim.Adam(
        model.parameters(), lr=optim.warmup_cosine(1e-2, min(100, steps // 10), steps)
    )
    ema = optim.EMA(model, decay=0.999)

    # Points are not clipped, so v: an error in the noise would be an error in x_0 of sigma / alpha
    # times as much, and that is 90 where sampling begins. On the straight path it is infinite.
    predicts = "velocity" if args.flow else "v"

    def loss(x, labels, rng):
        dropped = diffusion.label_dropout(labels, 0.5, rng)
        return diffusion.loss(model, schedule, x, dropped, rng, predicts, draw=low_noise)

    notes = {"scaling": [{"low": s.low.tolist(), "high": s.high.tolist()} for s in scalings]}
    path = folder / "checkpoint.safetensors"
    trainer = Trainer(
        model,
        loss,
        optimizer,
        ema,
        batch_size=BATCH,
        seed=args.seed,
        path=path,
        tensorboard=args.tensorboard,
        **notes,
    )
    if args.resume:
        command_line.resume(trainer)
    with command_line.training(path):
        trainer.fit(training, args.epochs, validation)
    plot.loss_curve(trainer.history, folder / "loss.png")
    averaged = md.load(path)
    md.save(folder / "patterns.safetensors", averaged, **notes)

    asked = np.repeat(np.arange(len(TITLES)), DRAWN)
    denoise = classifier_free(diffusion.denoiser(averaged.to(args.device)), args.guidance)
    walk = diffusion.sample_steps(denoise, asked, sampler="ddpm", steps=TIMESTEPS, rng=args.seed)
    t, xs, _ = diffusion.all_steps(walk)
    drawn = xs[-1].reshape(len(TITLES), DRAWN, 2)
    print_distances(drawn, training, validation)
    nearest = nearest_labels(drawn[0], *training)
    print(f"the null label draws: {shares(nearest)}")
    plot.scatter(drawn[0], folder / "null_label.png", labels=nearest, titles=list(PATTERNS))
    keep = [*range(0, len(xs) - 1, 4), len(xs) - 1]
    plot.points_video(xs[keep], folder / "patterns.gif", labels=asked, titles=TITLES, times=t[keep])
    print(f"written: {folder}")


def even_schedule() -> diffusion.Schedule:
    """The log-SNR falls evenly, from 7, where sigma is 0.03, to -9, where alpha is 0.01.

    Below sigma = 0.1, where it is decided how sharp a line becomes, a cosine schedule has 5 steps,
    and this one has 15.
    """
    log_snr = np.linspace(7, -9, TIMESTEPS)
    return diffusion.Schedule.from_alpha_bar(np.append(1, 1 / (1 + np.exp(-log_snr))))


def times_of_little_noise(schedule: diffusion.Schedule):
    """A `draw` for the loss: times with a probability ∝ SNR^(1/3).

    Their factors are 1, so the network learns most where there is little noise.
    """
    alpha_bar = schedule.alpha_bar[1:]
    weights = np.cbrt(alpha_bar / (1 - alpha_bar))
    probabilities = weights / weights.sum()

    def draw(rng: np.random.Generator, batch: int) -> tuple[np.ndarray, np.ndarray]:
        t = 1 + rng.choice(TIMESTEPS, batch, p=probabilities)
        return t, np.ones(batch)

    return draw


def print_distances(drawn: np.ndarray, training: tuple, validation: tuple) -> None:
    """How far samples (label, n, 2) lie from the data, and how far the data from them.

    Samples look for their nearest training point, so a smeared pattern is far. Validation points
    look for their nearest sample, so a pattern of which a part is not drawn is far. In brackets is
    the same for real points in place of samples.
    """
    print(f"{'mean distance':<14}{'of samples to data':>22}{'of data to samples':>22}")
    for label in [*range(1, len(TITLES)), 0]:
        known = of_label(label, *training)
        unseen = of_label(label, *validation)
        real, others = np.split(np.random.default_rng(0).permutation(unseen), [DRAWN])
        there = f"{distance(drawn[label], known):.4f} ({distance(real, known):.4f})"
        back = f"{distance(others, drawn[label]):.4f} ({distance(others, real):.4f})"
        print(f"{TITLES[label]:<14}{there:>22}{back:>22}")


def nearest_labels(drawn: np.ndarray, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The label (n,) of the point that is nearest to each sample."""
    return labels[metrics.nearest(drawn, points)[1]]


def shares(labels: np.ndarray) -> str:
    """How many of the labels stand for each pattern, in per cent."""
    named = enumerate(PATTERNS, 1)
    return ", ".join(f"{name} {np.mean(labels == label):.0%}" for label, name in named)


def of_label(label: int, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The points of a label; the null label is that of all."""
    return points if label == 0 else points[labels == label]


def distance(points: np.ndarray, others: np.ndarray) -> float:
    """The mean distance of points to the nearest of the others."""
    return metrics.nearest(points, others)[0].mean()


if __name__ == "__main__":
    main()
