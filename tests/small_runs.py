"""A small training, and what its folder holds."""

import random

import numpy as np

import minidiff as md
from minidiff import diffusion, optim, storage
from minidiff.training import Trainer

SCHEDULE = diffusion.linear_schedule(40)


def points(n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (n, 2)).astype(np.float32), rng.integers(1, 4, n)


def trainer(path, rng: int = 0, after_step=lambda step: None, **options) -> Trainer:
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40, rng=rng)

    def loss(x, labels, rng):
        after_step(made.step)
        return diffusion.loss(model, SCHEDULE, x, diffusion.label_dropout(labels, 0.2, rng), rng)

    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, warmup=3, total=15))
    options = {"batch_size": 16, "seed": 5, "save_every": 0} | options
    made = Trainer(model, loss, optimizer, optim.EMA(model), path=path, **options)
    return made


class CutError(Exception):
    """As if the process had ended."""


def cut_at(step: int):
    def after_step(now: int) -> None:
        if now == step:
            raise CutError

    return after_step


def steps_of(folder) -> dict[str, int]:
    """The files of a folder, but for the log, and the steps of the checkpoints in them."""
    checkpoints = [path for path in folder.iterdir() if path.suffix != ".jsonl"]
    return {path.name: storage.read(path).notes["step"] for path in checkpoints}


def flip_a_bit(path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(0).randrange(len(content))] ^= 4
    path.write_bytes(content)
