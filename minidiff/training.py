"""The training loop, which can be stopped anywhere and goes on as if it had not been.

Step k draws from `default_rng([seed, k])` and epoch e shuffles with `[seed, tag, e]`. Seed and step
are then all that a checkpoint must know of randomness.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import checks, storage
from .autograd.tensor import Tensor
from .data import batch_count, minibatches
from .nn import Module
from .optim import EMA

# a tag above any step, so that evaluations draw nothing that a step draws
_EVALUATION = 2_000_000_011


class Trainer:
    """A model, how it is trained, and how far.

    `loss(*batch, rng) -> Tensor` gives the mean loss over a batch, drawing what it needs from
    `rng`. `path` is the checkpoint's, written after every epoch and when the run is interrupted;
    `notes` are kept in it.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        optimizer: Any,
        ema: EMA | None = None,
        batch_size: int = 32,
        seed: int = 0,
        path: str | os.PathLike | None = None,
        **notes: Any,
    ):
        taken = notes.keys() & {"step", "history", "epoch_loss"}
        if taken:
            raise ValueError(
                f"notes: given {sorted(taken)}, wanted other names: the Trainer notes these itself"
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.ema = ema
        self.batch_size = batch_size
        self.seed = seed
        self.path = path
        self.notes = notes
        self.step = 0
        self.history: dict[str, list[float]] = {"training": [], "validation": []}
        self._epoch_loss = 0.0  # the sum over the samples of the epoch that is under way

    def train_step(self, *batch: Any) -> float:
        """One step on one batch; gives its mean loss.

        Raises FloatingPointError where that is no longer finite.
        """
        loss = self.loss(*batch, np.random.default_rng([self.seed, self.step]))
        self.optimizer.zero_grad()
        loss.backward()
        value = loss.item()
        if not np.isfinite(value):
            raise FloatingPointError(
                f"loss: given {value} at step {self.step}, wanted a finite one; "
                "a smaller learning rate may help"
            )
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        return value

    def fit(
        self, data: Sequence, epochs: int, validation: Sequence | None = None, progress: bool = True
    ) -> dict:
        """Train until `epochs` epochs are done in all; gives the history of mean losses, per epoch.

        `data` and `validation` are tuples of arrays with one first axis, such as (images, labels).
        Ctrl-C ends the step under way, writes the checkpoint and then raises KeyboardInterrupt.
        """
        from tqdm import tqdm

        checks.data_set("data", data[0])
        n = len(data[0])
        per_epoch = batch_count(n, self.batch_size)
        self.model.train()
        with _interrupts() as interrupted:
            for epoch in range(self.step // per_epoch, epochs):
                start = self.step % per_epoch
                with tqdm(
                    desc=f"epoch {epoch + 1}/{epochs}",
                    total=n,
                    initial=start * self.batch_size,
                    unit="img",
                    disable=not progress,
                ) as bar:
                    self._run_epoch(epoch, start, data, interrupted, bar)
                    if self.step % per_epoch == 0:
                        self._end_epoch(n, validation, bar)
                self.save()
                if interrupted.is_set():
                    raise KeyboardInterrupt
        return self.history

    def _run_epoch(
        self, epoch: int, start: int, data: Sequence, interrupted: threading.Event, bar: Any
    ) -> None:
        """The batches of an epoch from `start` on, until its end or an interruption."""
        seen = start * self.batch_size
        for batch in minibatches(data, self.batch_size, self.seed, epoch, start):
            size = len(batch[0])
            self._epoch_loss += size * self.train_step(*batch)
            seen += size
            bar.update(size)
            bar.set_postfix(loss=f"{self._epoch_loss / seen:.4f}", refresh=False)
            if interrupted.is_set():
                break

    def _end_epoch(self, n: int, validation: Sequence | None, bar: Any) -> None:
        """Note the mean losses of an epoch of n samples."""
        self.history["training"].append(self._epoch_loss / n)
        self._epoch_loss = 0.0
        if validation is not None:
            mean = evaluate(self.model, self.loss, validation, self.seed)
            self.history["validation"].append(mean)
            bar.set_postfix({name: f"{losses[-1]:.4f}" for name, losses in self.history.items()})

    def save(self) -> None:
        """Write the checkpoint, if there is a path for it."""
        if self.path is None:
            return
        state = {
            "seed": self.seed,
            "step": self.step,
            "history": self.history,
            "epoch_loss": self._epoch_loss,
        }
        storage.save(self.path, self.model, self.ema, self.optimizer, **state, **self.notes)

    def resume(self) -> None:
        """Go on where the checkpoint at `path` stopped.

        Raises FileNotFoundError or ValueError, changing nothing, if it is missing, damaged, of
        another model or optimiser, of a model that predicts something else or by another schedule,
        without averages where there is an `ema` here, or no Trainer's.
        """
        if self.path is None:
            raise ValueError("path: given None, wanted a Trainer's checkpoint to resume from")
        checkpoint = storage.read(self.path, self.model)
        notes = checkpoint.notes
        if "epoch_loss" not in notes:
            raise ValueError(
                f"path: given {self.path}, which holds a model, wanted the state of a Trainer"
            )
        saved = checkpoint.parameterization
        own = self.model.parameterization
        if saved is not None and own is not None and saved != own:
            raise ValueError(
                f"path: given {self.path}, of a model of {saved}, wanted the model's own, {own}"
            )
        self._load(checkpoint.arrays)
        if saved is not None:
            self.model.parameterization = saved
        self.seed = notes["seed"]
        self.step = notes["step"]
        self.history = notes["history"]
        self._epoch_loss = notes["epoch_loss"]

    def _load(self, arrays: dict[str, dict[str, np.ndarray]]) -> None:
        """Take over the arrays of a checkpoint; all of them, or none where some do not fit."""
        parts = {"model": self.model, "optimizer": self.optimizer}
        if self.ema is not None:
            parts["ema"] = self.ema
        before = {name: part.state_dict() for name, part in parts.items()}
        try:
            for name, part in parts.items():
                part.load_state_dict(arrays[name])
        except ValueError:
            for name, part in parts.items():
                part.load_state_dict(before[name])
            raise


def evaluate(
    model: Module, loss: Callable[..., Tensor], data: Sequence, seed: int = 0, chunk: int = 256
) -> float:
    """The mean loss over a data set, in eval mode.

    Chunk c draws from `[seed, tag, c]`, the same at every call.
    """
    total = 0.0
    with model.evaluating():
        for c, batch in enumerate(minibatches(data, chunk)):
            rng = np.random.default_rng([seed, _EVALUATION, c])
            total += len(batch[0]) * loss(*batch, rng).item()
    return total / len(data[0])


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that no step is cut in two; a second one interrupts at once."""
    event = threading.Event()

    def ask(number: int, frame: Any) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
