"""Teach 1,442 parameters a spiral: the smallest whole example, unconditional, in the plane.

python examples/spiral.py           results go to runs/spiral/
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, diffusion, optim, plot
from minidiff.training import Trainer

TIMESTEPS = 100
BATCH = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        default=400,
        help="passes over the 30,000 points (default: %(default)s)",
    )
    command_line.add_seed(parser)
    command_line.add_tensorboard(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    folder = Path("runs/spiral")

    points = data.spiral(30_000, np.random.default_rng(args.seed))
    (training, _), (validation, _) = data.split_validation(points, seed=args.seed)
    scaling = data.Scaling.fit(training)  # on the training points alone, and the same for all
    training = scaling.apply(training)
    validation = scaling.apply(validation)

    model = md.models.ConditionalMLP(hidden=16, classes=None, timesteps=TIMESTEPS, rng=args.seed)
    model.to(args.device)
    # its alpha_bar ends at 2e-7: samples may start from pure noise
    schedule = diffusion.cosine_schedule(TIMESTEPS)
    steps = args.epochs * data.batch_count(len(training), BATCH)
    optimizer = optim.Adam(
        model.parameters(), lr=optim.warmup_cosine(1e-2, min(100, steps // 10), steps)
    )
    ema = optim.EMA(model, decay=0.999)

    # Points are not clipped, so v: an error in the noise would be an error in x_0 of sigma / alpha
    # times as much, and that is 2,000 where sampling begins.
    def loss(x, rng):
        return diffusion.loss(model, schedule, x, None, rng, predicts="v")

    notes = {"scaling": {"low": scaling.low.tolist(), "high": scaling.high.tolist()}}
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
    trainer.fit((training,), args.epochs, (validation,))
    plot.loss_curve(trainer.history, folder / "loss.png")

    denoise = diffusion.denoiser(md.load(path).to(args.device))
    drawn = diffusion.sample_steps(
        denoise, n=1000, shape=(2,), sampler="ddpm", steps=TIMESTEPS, rng=args.seed
    )
    t, xs, _ = diffusion.all_steps(drawn)
    keep = [*range(0, len(xs) - 1, 4), len(xs) - 1]
    plot.points_video(xs[keep], folder / "spiral.gif", times=t[keep])
    plot.scatter(scaling.inverse(xs[-1]), folder / "spiral.png")
    print(f"written: {folder}")


if __name__ == "__main__":
    main()
