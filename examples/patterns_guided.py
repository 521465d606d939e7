"""Three patterns in the plane from one network of 5,826 parameters, guided by a label.

    python examples/patterns_guided.py          results go to runs/patterns/

The label says which pattern, the guidance scale how strictly. The null label draws all three, less
sharply: it sees every fifth point.
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, diffusion, optim, plot
from minidiff.diffusion.guidance import classifier_free
from minidiff.training import Trainer

TIMESTEPS = 100
BATCH = 256
POINTS = 30_000  # of each pattern
PATTERNS = {"spiral": data.spiral, "s-curve": data.s_curve, "moons": data.moons}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        default=200,
        help="passes over the 90,000 points (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=command_line.whole(),
        default=0,
        help="of all that is random (default: %(default)s)",
    )
    parser.add_argument(
        "--guidance",
        type=command_line.real(-100, 100),
        default=1.0,
        help="the guidance scale (default: %(default)s)",
    )
    args = parser.parse_args()
    folder = Path("runs/patterns")

    rng = np.random.default_rng(args.seed)
    patterns = [pattern(POINTS, rng) for pattern in PATTERNS.values()]
    scalings = [data.Scaling.fit(points) for points in patterns]
    points = np.concatenate([scaling.apply(points) for scaling, points in zip(scalings, patterns)])
    labels = np.repeat(np.arange(1, len(PATTERNS) + 1), POINTS)  # label 0 is the null label
    training, validation = data.split_validation(points, labels, seed=args.seed)

    model = md.models.ConditionalMLP(
        hidden=32, classes=len(PATTERNS), timesteps=TIMESTEPS, rng=args.seed
    )
    # its alpha_bar ends at 2e-7: samples may start from pure noise
    schedule = diffusion.cosine_schedule(TIMESTEPS)
    steps = args.epochs * data.batch_count(len(training[0]), BATCH)
    optimizer = optim.Adam(
        model.parameters(), lr=optim.warmup_cosine(1e-2, min(100, steps // 10), steps)
    )
    ema = optim.EMA(model, decay=0.999)

    # Points are not clipped, so v: an error in the noise would be an error in x_0 of sigma / alpha
    # times as much, and that is 2,000 where sampling begins.
    def loss(x, labels, rng):
        dropped = diffusion.label_dropout(labels, 0.2, rng)
        return diffusion.loss(model, schedule, x, dropped, rng, predicts="v")

    notes = {"scaling": [{"low": s.low.tolist(), "high": s.high.tolist()} for s in scalings]}
    path = folder / "checkpoint.safetensors"
    trainer = Trainer(
        model, loss, optimizer, ema, batch_size=BATCH, seed=args.seed, path=path, **notes
    )
    trainer.fit(training, args.epochs, validation)
    plot.loss_curve(trainer.history, folder / "loss.png")

    labels = np.repeat(np.arange(len(PATTERNS) + 1), 1000)
    denoise = classifier_free(diffusion.denoiser(md.load(path)), args.guidance)
    drawn = diffusion.sample_steps(
        denoise, labels, shape=(2,), sampler="ddpm", steps=TIMESTEPS, rng=args.seed
    )
    t, xs, _ = diffusion.all_steps(drawn)
    keep = [*range(0, len(xs) - 1, 4), len(xs) - 1]
    plot.points_video(
        xs[keep],
        folder / "patterns.gif",
        labels=labels,
        titles=["null label", *PATTERNS],
        times=t[keep],
    )
    print(f"written: {folder}")


if __name__ == "__main__":
    main()
