"""How fast the network of recipes.py trains, by the size of the images.

    python benchmarks/image_sizes.py

Images per second of one processor's time, on one thread, so that what else runs on the machine
counts little: two threads on two free cores give nearly twice as many.
"""

import time

import numpy as np

import minidiff as md
from minidiff import recipes

SIZES = ((28, 28, 1), (32, 32, 3), (33, 47, 3), (64, 64, 3), (128, 128, 3))
BATCH = 16
STEPS = 3


def images_per_second(shape: tuple[int, int, int]) -> float:
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (BATCH, *shape)).astype(np.float32)
    labels = rng.integers(1, 11, BATCH)
    run = recipes.painting(recipes.painter(images, 10, 0), BATCH, 100, 0, None)
    run.train_step(images, labels)  # compiles
    times = []
    for _ in range(STEPS):
        begin = time.process_time()
        run.train_step(images, labels)
        times.append(time.process_time() - begin)
    return BATCH / float(np.median(times))


def main() -> None:
    md.set_num_threads(1)
    print("| images | of one core, per second |\n|---|---|")
    for shape in SIZES:
        kind = "grey" if shape[-1] == 1 else "colour"
        print(f"| {shape[0]} × {shape[1]}, {kind} | {images_per_second(shape):.0f} |")


if __name__ == "__main__":
    main()
