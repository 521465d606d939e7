"""Teach 1,442 parameters a spiral: unconditional diffusion of points in the plane, the smallest whole example.

python examples/spiral.py           results go to runs/spiral/
"""

import argparse
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import data, diffusion, optim, plot
from minidiff.training import Trainer

TIMESTEPS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100, help="passes over the 3,000 points (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    args = parser.parse_args()
    folder = Path("runs/spiral")

    points = data.spiral(3000, np.random.default_rng(args.seed))
    (training, _), (validation, _) = data.split_validation(points, seed=args.seed)
    scaling = data.Scaling.fit(training)  # on the training points alone, and the same for all
    training, validation = scaling.apply(training), scaling.apply(validation)

    model = md.models.ConditionalMLP(hidden=16, classes=None, timesteps=TIMESTEPS, rng=args.seed)
    schedule = diffusion.linear_schedule(TIMESTEPS)  # its alpha_bar ends at 4e-6: samples may start from pure noise
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def loss(x, rng):
        return diffusion.loss(model, schedule, x, None, rng)

    notes = {"scaling": {"low": scaling.low.tolist(), "high": scaling.high.tolist()}}
    path = folder / "checkpoint.safetensors"
    trainer = Trainer(model, loss, optimizer, seed=args.seed, path=path, **notes)
    trainer.fit((training,), args.epochs, (validation,))
    plot.loss_curve(trainer.history, folder / "loss.png")

    denoise = diffusion.denoiser(model, schedule)
    steps = diffusion.sample_steps(
        denoise, schedule, shape=(2,), n=1000, sampler="ddpm", steps=TIMESTEPS, rng=args.seed
    )
    _, xs, _ = diffusion.all_steps(steps)
    plot.points_video(xs, folder / "spiral.gif")
    plot.scatter(scaling.inverse(xs[-1]), folder / "spiral.png")
    print(f"written: {folder}")


if __name__ == "__main__":
    main()
