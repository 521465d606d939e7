"""The demo's network trained on the plain loops, which must go as it does on vectors.

Sixty steps on MNIST with `MINIDIFF_KERNELS=loops`, then the same with `vector`. The draws are the
same; only rounding differs, and it grows slowly.
"""

import os

import numpy as np

import minidiff as md
from minidiff import data, diffusion, kernels, optim

STEPS = 60
BATCH = 32
LARGEST_DIFFERENCE = 1e-3  # of mean losses of ten steps; reached: 9e-7
LARGEST_LOSS = 0.25  # in the last ten steps; reached: 0.166


def losses(setting: str) -> np.ndarray:
    """The mean loss of each ten steps of a training on these kernels."""
    os.environ["MINIDIFF_KERNELS"] = setting
    kernels.forget()
    print(f"{setting}: convolutions by {kernels.find('conv2d', np.ndarray).__module__}")
    images, labels = data.mnist("train")
    schedule = diffusion.cosine_schedule(100)
    model = md.models.UNet(rng=0)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    steps = []
    for step in range(STEPS):
        rng = np.random.default_rng([0, step])
        batch = slice(step * BATCH, (step + 1) * BATCH)
        loss = diffusion.loss(model, schedule, images[batch], labels[batch], rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(loss.item())
    return np.reshape(steps, (-1, 10)).mean(axis=1)


on_loops = losses("loops")
on_vectors = losses("vector")
difference = np.max(np.abs(on_loops / on_vectors - 1))
print(f"losses on loops {on_loops.round(4)}, on vectors {on_vectors.round(4)}")
print(f"they differ by {difference:.1e} at most (wanted at most {LARGEST_DIFFERENCE})")
print(f"the last is {on_loops[-1]:.3f} (wanted at most {LARGEST_LOSS})")
raise SystemExit(not (difference <= LARGEST_DIFFERENCE and on_loops[-1] <= LARGEST_LOSS))
