"""Averaged weights: they draw better than those of the last step."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from threading import RLock
from typing import Any

from .. import checks, kernels
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..nn import Module
from .stateful import Stateful

_data = attrgetter("_data")
# One lock for all averages: a lock of its own would not be pickled.
_APPLYING = RLock()
if hasattr(os, "register_at_fork"):  # in a child nobody would give it back
    os.register_at_fork(
        before=_APPLYING.acquire,
        after_in_parent=_APPLYING.release,
        after_in_child=_APPLYING.release,
    )


class EMA(Stateful):
    """An exponential moving average of a model's weights: average ← d·average + (1 − d)·weights.

    Call `update` after each step of the optimiser. At update k, from 1, d is the smaller of `decay`
    and k / (9 + k): a young average forgets the start faster (the warm-up of TensorFlow's
    ExponentialMovingAverage). `decay` may also be a function of k that gives d, such as
    `power_law(0.1)`. Buffers are not averaged but copied. A checkpoint has "updates", and
    "average.<name>" for each parameter and buffer.

    Raises ValueError unless 0 ≤ decay < 1, TypeError for what is no Module.
    """

    def __init__(self, model: Module, decay: float | Callable[[int], float] = 0.999):
        if not isinstance(model, Module):
            raise TypeError(f"model: given {type(model).__name__}, wanted a Module")
        self.decay = decay
        if not callable(decay):
            self.decay = float(checks.among("decay", decay, checks.Between(0, 1, "[)")))
        self.updates = 0
        self.blocks = 0  # how many blocks of `applied` have begun and not ended
        self.weights: dict[Tensor, Array] = {}  # the model's own, meanwhile
        self.model = model
        self.parameters = dict(model.named_parameters())
        self.average = {name: _copy(p.data) for name, p in self.parameters.items()}
        # Looking for them takes a while, and few models have any.
        self.has_buffers = any(module.buffer_names for module in model.modules())
        self._copy_buffers()

    def update(self) -> None:
        """Take the weights as they are now into the average.

        Raises TypeError where a parameter has another dtype by now.
        """
        self.updates += 1
        decay = self._decay_at(self.updates)
        weights = list(map(_data, self.parameters.values()))
        averages: list[Any] = list(map(self.average.get, self.parameters))
        for i, name in enumerate(self.parameters):
            if type(weights[i]) is not type(averages[i]) or weights[i].dtype != averages[i].dtype:
                averages[i] = self._moved(name, self.parameters[name])
        if averages:
            kernels.call("ema_all", *averages, *weights, decay=decay)
        self._copy_buffers()

    def _decay_at(self, k: int) -> float:
        """The share of the average that update k keeps."""
        if not callable(self.decay):
            return min(self.decay, k / (9 + k))
        return checks.among(f"decay({k})", self.decay(k), checks.Between(0, 1))

    def _moved(self, name: str, p: Tensor) -> Array:
        """The average on the device that the model was moved to since."""
        average = self.average[name]
        if p.dtype != average.dtype:
            raise TypeError(
                f"{name}: given {p.dtype}, wanted {average.dtype}, which it had when the EMA was "
                f"made; make a new EMA after such a change"
            )
        self.average[name] = kernels.to_device(average, p.device)
        return self.average[name]

    def _copy_buffers(self) -> None:
        for name, buffer in self._buffers().items():
            self.average[name] = _copy(buffer.data)

    def _buffers(self) -> dict[str, Tensor]:
        return dict(self.model.named_buffers()) if self.has_buffers else {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A block in which the model has the averaged weights: `with ema.applied(): …`.

        Where blocks overlap, one inside another or in several threads, the last to end gives the
        weights back. All threads see the averages meanwhile: do not train inside.
        """
        with _APPLYING:
            self.blocks += 1
            if self.blocks == 1:
                self._apply()
        try:
            yield
        finally:
            with _APPLYING:
                self.blocks -= 1
                if not self.blocks:
                    self._give_back()

    def _apply(self) -> None:
        """Give the averages to the model, whose own weights and buffers are kept meanwhile."""
        tensors = self.parameters | self._buffers()
        self.weights = {tensor: tensor.data for tensor in tensors.values()}
        for name, tensor in tensors.items():
            tensor.data = kernels.to_device(self.average[name], tensor.device)

    def _give_back(self) -> None:
        for tensor, array in self.weights.items():
            tensor.data = array
        self.weights = {}

    def _arrays(self) -> dict[str, Array]:
        return {f"average.{name}": array for name, array in self.average.items()}

    def _counts(self) -> dict[str, int]:
        return {"updates": self.updates}

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        self.updates = counts["updates"]


def _copy(array: Array) -> Array:
    return kernels.namespace(array).array(array)
