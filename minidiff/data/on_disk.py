"""Images that stay in files, and are read when they are needed."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np


class OnDisk(ABC):
    """Images in files as if they were an array (n, height, width, channels), float32 in [-1, 1].

    Rows are read when they are asked for, `images[3]`, `images[[5, 2]]` or `images[:100]`, and are
    arrays then. `len`, `shape`, `ndim` and `dtype` are an array's; `np.asarray(images)` reads
    everything. `data.minibatches`, `split_validation`, `Trainer` and `training.evaluate` take it
    where they take an array, and read the next batch in a thread while one is worked on.
    """

    dtype = np.dtype(np.float32)
    ndim = 4
    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        return self._read(chosen.ravel()).reshape(*chosen.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    @abstractmethod
    def _read(self, rows: np.ndarray) -> np.ndarray:
        """The images of rows (k,), each from 0 to n − 1."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Self:
        """The same of these rows only; nothing is read."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What tells these images from others; it is found without reading all of them.

        It knows no folder, so a run goes on where its files were copied to.
        """
