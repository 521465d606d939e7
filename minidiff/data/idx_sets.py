"""Data sets in four IDX files, as MNIST has them: found on this machine, or fetched once.

What is fetched stays in the user's cache folder.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import checks
from . import files, idx_format
from .scaling import from_pixels

SPLITS = {"train": "train", "test": "t10k"}
VARIABLE = "MINIDIFF_DATA"


class IdxSet(NamedTuple):
    """Its folder within others, "" for none; who can fetch it, in order; ways to get it, in words.

    Each of the `fetchers` is called with a folder and the names of the files that are missing in
    it. It puts there what it has, and gives its reasons for what it has not.
    """

    folder: str
    fetchers: Sequence[Callable[[Path, list[str]], list[str]]]
    ways: str

    def arrays(self, split: str, folder: str | Path | None) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, 28, 28, 1) in [-1, 1], labels (n,) from 1; see `mnist`."""
        prefix = SPLITS[checks.among("split", split, SPLITS)]
        start = f"{self.folder}/{prefix}" if self.folder else prefix
        names = [f"{start}-images-idx3-ubyte", f"{start}-labels-idx1-ubyte"]
        place = checks.path("folder", folder) if folder else self._named_by_the_environment()
        try:
            if place:  # nothing else is tried then: somebody meant this one
                images, labels = (files.read(place, name) for name in names)
            else:
                images, labels = self._from_cache(names)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{error}\n{self.ways}") from error
        pixels = idx_format.parse(images)[..., None]
        return from_pixels(pixels), idx_format.parse(labels).astype(np.int64) + 1

    def _named_by_the_environment(self) -> Path | None:
        """The folder that the variable names; a data set in a folder within it may be missing."""
        named = os.environ.get(VARIABLE)
        if not named:
            return None
        place = checks.path("folder", named) / self.folder
        return None if self.folder and not place.is_dir() else place

    def _from_cache(self, names: list[str]) -> list[bytes]:
        """The files from the cache folder; what is missing there is fetched.

        A wrong file is removed, and is missing.
        """
        import pooch

        cache = Path(pooch.os_cache("minidiff")) / self.folder
        reasons: list[str] = []
        contents: dict[str, bytes] = {}
        for fetch in (None, *self.fetchers):  # at first, what is there already
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
