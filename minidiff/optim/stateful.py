"""What a checkpoint can keep of an optimiser, of averaged weights, of a sampler of times."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import kernels
from ..kernels import Array
from ..nn.module import fitting


class Stateful:
    """Something that a checkpoint can keep: arrays and counts, by name."""

    def _arrays(self) -> dict[str, Array]:
        """The arrays themselves, which `load_state_dict` overwrites."""
        raise NotImplementedError

    def _counts(self) -> dict[str, int]:
        return {}

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        """Take over the counts; there may be none."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies on the host. Settings such as `lr` are not in it."""
        counts = {name: np.array(count) for name, count in self._counts().items()}
        return counts | {
            name: kernels.to_host(array).copy() for name, array in self._arrays().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, which `state_dict` made.

        Raises ValueError that lists what does not fit; nothing is changed then.
        """
        arrays = self._arrays()
        counts = {name: np.array(count) for name, count in self._counts().items()}
        loaded = fitting(counts | arrays, state, type(self).__name__)
        self._set_counts({name: int(loaded[name]) for name in counts})
        for name, array in arrays.items():
            array[...] = kernels.from_host(loaded[name], like=array)
