"""How a network learns to draw images of any kind, and another to judge them: what served well.

`benchmarks/quality.md` says what the parts of the recipe give on digits. A class of a few hundred
images is learned in as many steps as matter, not epochs, so a small data set has small batches.
"""

import os
from typing import Any

import numpy as np

from . import data, ops
from .autograd.threads import sharded
from .data.on_disk import OnDisk
from .diffusion import cosine_schedule, label_dropout, loss, losses
from .models import ADMUNet, LeNet
from .optim import EMA, Adam, PowerLaw, warmup_cosine
from .training import Trainer

TIMESTEPS = 100
WIDTHS = (32, 64, 64)
TIMES = (0.3, 1.2)  # of the log-normal distribution of noise levels
FIRST_RATE = 2e-3
BETAS = (0.9, 0.99)
LAST_RATE = 4e-5
LABEL_DROPOUT = 0.1
MEASURED = 2000  # images whose pixels are measured
AVERAGED = 0.1  # the width of the averaged weights' shape
JUDGE_EPOCHS = 15
# Noise that is drawn anew at each step undoes the network's errors; times are even in log-SNR. Of
# digits 20 steps are as good as more; figures with sharp edges are all whole in 50.
SAMPLER: dict[str, Any] = {"sampler": "dpmpp_2m_sde", "steps": 50, "spacing": "log_snr"}
SAMPLER_OF_DIGITS = SAMPLER | {"steps": 20}

Images = np.ndarray | OnDisk


def batch_size_for(count: int) -> int:
    """16 for so many images that an epoch has few steps, else 64."""
    return 16 if count < 20_000 else 64


def painter(images: Images, classes: int, seed: int) -> ADMUNet:
    """A new network for images like these, which knows the mean and the spread of their pixels."""
    rows = np.random.default_rng(seed).permutation(len(images))[:MEASURED]
    some = images[rows]
    return ADMUNet(
        cosine_schedule(TIMESTEPS).alpha_bar,
        channels=images.shape[-1],
        widths=WIDTHS,
        classes=classes,
        mean=float(some.mean()),
        std=float(min(some.std(), 1.0)),
        rng=seed,
    )


def painting(
    model: ADMUNet,
    count: int,
    epochs: int,
    seed: int,
    path: str | os.PathLike | None,
    flip: bool = False,
    tensorboard: str | os.PathLike | None = None,
    times: tuple[float, float] = TIMES,
    betas: tuple[float, float] = BETAS,
    **notes: Any,
) -> Trainer:
    """The training of a network on `count` images, by `fit((images, labels), epochs)`.

    Every tenth label is dropped, the rate falls to the end of `epochs`, and the weights are
    averaged. `flip` shows half of the images mirrored. `times` are the mean and the deviation of
    `losses.log_normal`, `betas` are Adam's; the rest is `Trainer`'s.
    """
    size = batch_size_for(count)
    steps = epochs * data.batch_count(count, size)
    rate = warmup_cosine(FIRST_RATE, min(200, steps // 10), steps, LAST_RATE)
    schedule = cosine_schedule(TIMESTEPS)
    draw = losses.log_normal(schedule, *times)

    def step_loss(x: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Any:
        if flip:
            x = data.flipped(x, rng)
        dropped = label_dropout(labels, LABEL_DROPOUT, rng)
        return loss(model, schedule, x, dropped, rng, "v", draw=draw)

    optimizer = Adam(model.parameters(), lr=rate, betas=betas)
    ema = EMA(model, PowerLaw(AVERAGED))
    return Trainer(
        model,
        step_loss,
        optimizer,
        ema,
        batch_size=size,
        seed=seed,
        path=path,
        tensorboard=tensorboard,
        **notes,
    )


def judging(
    model: LeNet,
    count: int,
    epochs: int,
    seed: int,
    path: str | os.PathLike | None,
    flip: bool = False,
    tensorboard: str | os.PathLike | None = None,
) -> Trainer:
    """The training of a judge on `count` images, by `fit((images, classes), epochs)`.

    They are shifted anew each time. Classes count from 0: they are labels − 1.
    """
    size = batch_size_for(count)
    steps = epochs * data.batch_count(count, size)
    mean_loss = sharded(lambda x, y: ops.cross_entropy(model(x), y))

    def step_loss(x: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> Any:
        x = data.shifted(data.flipped(x, rng) if flip else x, rng)
        return mean_loss(x, classes)

    rate = warmup_cosine(1e-3, min(100, steps // 10), steps)
    ema = EMA(model, decay=0.99)
    optimizer = Adam(model.parameters(), lr=rate)
    return Trainer(
        model,
        step_loss,
        optimizer,
        ema,
        batch_size=size,
        seed=seed,
        path=path,
        tensorboard=tensorboard,
    )
