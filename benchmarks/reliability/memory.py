"""Does memory grow? Training and drawing, again and again, in one process.

    python benchmarks/reliability/memory.py         20,000 steps and 5,000 drawings
    python benchmarks/reliability/memory.py 1000    as many steps, and drawings in proportion

After a warm-up the resident memory may grow by 1 MiB, the number of open files not at all, and
nothing may be left that only Python's search for cycles would free. The search is off meanwhile.
"""

import argparse
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import diffusion

LIBC = ctypes.CDLL(None)
MEBIBYTE = 1 << 20
WARM_UP = 0.2  # of the runs: caches fill, and the allocator finds its size


def resident() -> int:
    """Bytes of this process in memory, after what was freed has been given back."""
    LIBC.malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


def training() -> Callable[[], None]:
    """One step of the MLP's training, with averages."""
    model = md.models.ConditionalMLP(hidden=32, classes=3, timesteps=40)
    schedule = diffusion.cosine_schedule(40)
    optimizer = md.optim.Adam(model.parameters(), lr=1e-3)
    ema = md.optim.EMA(model)
    rng = np.random.default_rng(0)
    points = md.data.moons(256, rng)
    labels = np.ones(256, np.int64)

    def step() -> None:
        loss = diffusion.loss(model, schedule, points, labels, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update()

    return step


def drawing() -> Callable[[], None]:
    """One drawing of points by a sampler, each in its turn, with guidance."""
    schedule = diffusion.cosine_schedule(40)
    model = md.models.ConditionalMLP(hidden=32, classes=3, timesteps=40)
    denoise = diffusion.guidance.classifier_free(diffusion.denoiser(model, schedule), 2.0)
    samplers = ["ddim", "ddpm", "euler", "heun", "dpmpp_2m", "unipc"]
    turns = iter(range(1 << 60))

    def draw() -> None:
        turn = next(turns)
        name = samplers[turn % len(samplers)]
        labels = np.full(16, 1 + turn % 3)
        diffusion.sample(denoise, labels, shape=(2,), sampler=name, steps=5, rng=turn)

    return draw


def digits() -> Callable[[], None]:
    """One step of a UNet's training on small images."""
    model = md.models.UNet(width=8, multipliers=(1, 2), timesteps=20)
    schedule = diffusion.cosine_schedule(20)
    optimizer = md.optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (64, 8, 8, 1)).astype(np.float32)

    def step() -> None:
        loss = diffusion.loss(model, schedule, images, np.arange(64) % 11, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measured(run: Callable[[], None], count: int) -> tuple[int, int, int]:
    """Bytes, open files and objects in cycles that `count` runs leave, after a warm-up."""
    for _ in range(int(WARM_UP * count)):
        run()
    gc.collect()
    gc.disable()
    memory = resident()
    handles = files()
    for _ in range(count):
        run()
    left = gc.collect()
    gc.enable()
    return resident() - memory, files() - handles, left


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", type=int, nargs="?", default=20_000, help="of the MLP")
    args = parser.parse_args()
    failed = False
    for run, share in (training, 1), (drawing, 4), (digits, 20):
        count = args.steps // share
        grown, handles, left = measured(run(), count)
        what = f"{grown / MEBIBYTE:+.2f} MiB, {handles} files, {left} objects in cycles"
        print(f"| {run.__name__} | {count:,} | {what} |", flush=True)
        failed |= grown > MEBIBYTE or handles > 0 or left > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
