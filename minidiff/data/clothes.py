"""Fashion-MNIST, clothes in ten classes, in the form of MNIST: what it has instead of digits."""

from pathlib import Path

import numpy as np

from . import debian, files, mirrors
from .idx_sets import VARIABLE, IdxSet

FASHION_NAMES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
WAYS = f"""Ways to get Fashion-MNIST:
- put {", ".join(f"{files.base(name)}.gz" for name in files.FASHION_MNIST)} into a folder (gzipped
  or not) and name it, with fashion_mnist(folder=...); or into the folder fashion-mnist within the
  one that the environment variable {VARIABLE} names;
- on Debian and Ubuntu: apt-get install {debian.PACKAGE};
- let this machine reach one of {", ".join(mirrors.FASHION_MIRRORS)}."""

FASHION_MNIST = IdxSet(
    folder="fashion-mnist",
    fetchers=(
        debian.fetch_installed,
        lambda cache, missing: mirrors.fetch(cache, missing, mirrors.FASHION_MIRRORS),
        debian.fetch,
    ),
    ways=WAYS,
)


def fashion_mnist(
    split: str = "train", folder: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28, 1), float32 in [-1, 1], and labels (n,), int64 in 1..10.

    Label 1 is a T-shirt; `FASHION_NAMES` are the names of all ten. n is 60,000 for "train" and
    10,000 for "test", in the original order. The files have the names of MNIST's, and other
    contents. They are looked for in this order:

    1. `folder`, or else the folder fashion-mnist in the one that the environment variable
       MINIDIFF_DATA names, if there is one; and nowhere else where one of the two is given;
    2. the user's cache folder;
    3. where Debian's package dataset-fashion-mnist puts them;
    4. public mirrors, for 15 seconds at most;
    5. that package, fetched by `apt-get download`. No package of PyPI has them.

    They are checked as those of `mnist` are, and the same is raised. Source: Xiao, Rasul and
    Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms"
    (2017, arXiv 1708.07747).
    """
    return FASHION_MNIST.arrays(split, folder)
