"""The mean loss over a data set, with the same draws at every call."""

from collections.abc import Callable, Sequence

import numpy as np

from ..autograd.tensor import Tensor
from ..data.batches import minibatches
from ..nn import Module
from .data_sets import arrays_of, check_call, check_labels
from .stopping import StopRequest

# a tag above any step, so that evaluations draw nothing that a step draws
_EVALUATION = 2_000_000_011


def evaluate(
    model: Module,
    loss: Callable[..., Tensor],
    data: np.ndarray | Sequence,
    seed: int = 0,
    chunk: int = 256,
) -> float:
    """The mean loss over a data set, in eval mode.

    Chunk c draws from `[seed, tag, c]`, the same at every call. Raises TypeError and ValueError for
    data as `Trainer.fit` does.
    """
    data = arrays_of("data", data)
    check_call(loss, data)
    mean = mean_loss(model, loss, data, seed, chunk)
    check_labels("data", model, data)
    assert mean is not None
    return mean


def mean_loss(
    model: Module,
    loss: Callable[..., Tensor],
    data: Sequence,
    seed: int,
    chunk: int = 256,
    stop: StopRequest | None = None,
) -> float | None:
    """`evaluate`, of data that was looked at; None where a request to stop came meanwhile."""
    total = 0.0
    with model.evaluating():
        for c, batch in enumerate(minibatches(data, chunk)):
            if stop:
                return None
            rng = np.random.default_rng([seed, _EVALUATION, c])
            total += len(batch[0]) * loss(*batch, rng).item()
    return total / len(data[0])
