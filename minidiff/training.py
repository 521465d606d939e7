"""The training loop, which can be stopped anywhere and goes on as if it had not been.

Step k draws from `default_rng([seed, k])` and epoch e shuffles with `[seed, tag, e]`. Seed and step
are then all that a checkpoint must know of randomness.
"""

import inspect
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import checks, storage
from .autograd.tensor import Tensor
from .data.batches import epoch_order, minibatches
from .nn import Module
from .optim import EMA

# a tag above any step, so that evaluations draw nothing that a step draws
_EVALUATION = 2_000_000_011
# a tag of what layers draw in a step
_LAYERS = 2_000_000_033
# what a checkpoint knows of a run, beside weights and the notes that were given
_OWN_NOTES = {"seed", "step", "epoch", "history", "seen", "epoch_loss", "data"}


class Trainer:
    """A model, how it is trained, and how far.

    `loss(*batch, rng) -> Tensor` gives the mean loss over a batch, drawing what it needs from
    `rng`. `path` is the checkpoint's, written after every epoch and when the run is interrupted;
    `notes` are kept in it. `seed` is 0, or that of the checkpoint that is resumed; data is split by
    it, too, so a checkpoint of another seed is refused.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        optimizer: Any,
        ema: EMA | None = None,
        batch_size: int = 32,
        seed: int | None = None,
        path: str | os.PathLike | None = None,
        **notes: Any,
    ):
        taken = notes.keys() & _OWN_NOTES
        if taken:
            raise ValueError(
                f"notes: given {sorted(taken)}, wanted other names: the Trainer notes these itself"
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.ema = ema
        self.batch_size = batch_size
        self.seed = 0 if seed is None else checks.whole("seed", seed)
        self._any_seed = seed is None
        self._generators = model.generators()  # of Dropout, say: each step sets them
        self.path = path
        self.notes = notes
        self.step = 0
        self.epoch = 0  # how many are done
        self.history: dict[str, list[float]] = {"training": [], "validation": []}
        # of the epoch that is under way: samples seen, the sum of their losses, and of which data
        self._seen = 0
        self._epoch_loss = 0.0
        self._data = ""

    def __repr__(self) -> str:
        name = type(self.model).__name__
        return f"Trainer({name}, epochs done: {self.epoch}, steps: {self.step}, path: {self.path})"

    def train_step(self, *batch: Any) -> float:
        """One step on one batch; gives its mean loss.

        Raises FloatingPointError where that is no longer finite.
        """
        for i, generator in enumerate(self._generators):
            kind: Any = type(generator.bit_generator)
            generator.bit_generator.state = kind([self.seed, self.step, _LAYERS, i]).state
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
        self,
        data: np.ndarray | Sequence,
        epochs: int,
        validation: np.ndarray | Sequence | None = None,
        progress: bool = True,
    ) -> dict:
        """Train until `epochs` epochs are done in all; gives the history of mean losses, per epoch.

        `data` and `validation` are tuples of arrays with one first axis, such as (images, labels),
        or one array. Ctrl-C ends the step under way, writes the checkpoint and then raises
        KeyboardInterrupt.

        An epoch that was stopped goes on behind the samples that were seen, with any batch size.
        With other data it begins anew.

        Raises TypeError or ValueError for data that is not finite floats, for labels that count
        from 0 where 0 is the null label, for a loss that does not take a batch of it, and for fewer
        epochs than are done.
        """
        from tqdm.auto import tqdm

        data = _data_set("data", data)
        _check_call(self.loss, data)
        n = len(data[0])
        checks.whole("batch_size", self.batch_size, 1)
        if checks.whole("epochs", epochs, 1) < self.epoch:
            raise ValueError(
                f"epochs: given {epochs}, wanted {self.epoch} or more: "
                f"all epochs count, and {self.epoch} are done"
            )
        if validation is not None:
            validation = _data_set("validation", validation)
        self._begin_on(data)
        self.model.train()
        with _interrupts() as interrupted:
            while self.epoch < epochs:
                with tqdm(
                    desc=f"epoch {self.epoch + 1}/{epochs}",
                    total=n,
                    initial=self._seen,
                    unit="img",
                    disable=not progress,
                ) as bar:
                    self._run_epoch(data, validation, interrupted, bar)
                    if self._seen == n:
                        self._end_epoch(validation, bar)
                self.save()
                if interrupted.is_set():
                    raise KeyboardInterrupt
        return self.history

    def _begin_on(self, data: Sequence) -> None:
        """An epoch is one data set's: one that began with another begins anew."""
        checksum = _checksum(data)
        if checksum != self._data:
            self._seen = 0
            self._epoch_loss = 0.0
            self._data = checksum

    def _run_epoch(
        self, data: Sequence, validation: Sequence | None, interrupted: threading.Event, bar: Any
    ) -> None:
        """The rest of the epoch that is under way, until its end or an interruption."""
        unseen = epoch_order(len(data[0]), self.seed, self.epoch)[self._seen :]
        for (rows,) in minibatches([unseen], self.batch_size):
            batch = [None if array is None else array[rows] for array in data]
            self._epoch_loss += len(rows) * self.train_step(*batch)
            if self._seen == 0:
                _check_labels("data", self.model, data)
                if validation is not None:
                    _check_labels("validation", self.model, validation)
            self._seen += len(rows)
            bar.update(len(rows))
            bar.set_postfix(loss=f"{self._epoch_loss / self._seen:.4f}", refresh=False)
            if interrupted.is_set():
                break

    def _end_epoch(self, validation: Sequence | None, bar: Any) -> None:
        """Note the mean losses of an epoch."""
        self.history["training"].append(self._epoch_loss / self._seen)
        self.epoch += 1
        self._seen = 0
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
            "epoch": self.epoch,
            "history": self.history,
            "seen": self._seen,
            "epoch_loss": self._epoch_loss,
            "data": self._data,
        }
        storage.save(self.path, self.model, self.ema, self.optimizer, **state, **self.notes)

    def resume(self) -> None:
        """Go on where the checkpoint at `path` stopped.

        The learning rate is the optimiser's: a schedule that is stretched over more steps than
        before would make it jump up again. Keep its `total`, and further steps have its last rate.

        Raises FileNotFoundError or ValueError, changing nothing, if it is missing, damaged, of
        another model or optimiser, of a model that predicts something else or by another schedule,
        without averages where there is an `ema` here, or no Trainer's.
        """
        if self.path is None:
            raise ValueError("path: given None, wanted a Trainer's checkpoint to resume from")
        checkpoint = storage.read(self.path, self.model)
        notes = checkpoint.notes
        if not notes.keys() >= _OWN_NOTES:
            raise ValueError(
                f"path: given {self.path}, which holds a model, wanted the state of a Trainer"
            )
        if not self._any_seed and self.seed != notes["seed"]:
            raise ValueError(
                f"seed: given {self.seed}, wanted {notes['seed']}, with which {self.path} began: "
                "it also says which samples are for validation"
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
        self.epoch = notes["epoch"]
        self.history = notes["history"]
        self._seen = notes["seen"]
        self._epoch_loss = notes["epoch_loss"]
        self._data = notes["data"]

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
    data = _data_set("data", data)
    _check_call(loss, data)
    total = 0.0
    with model.evaluating():
        for c, batch in enumerate(minibatches(data, chunk)):
            rng = np.random.default_rng([seed, _EVALUATION, c])
            total += len(batch[0]) * loss(*batch, rng).item()
        _check_labels("data", model, data)
    return total / len(data[0])


def _data_set(name: str, data: np.ndarray | Sequence) -> Sequence:
    """Its arrays, samples first; one array alone is samples without labels."""
    parts = data if isinstance(data, tuple | list) else (data,)
    arrays = [np.asarray(part) if isinstance(part, list) else part for part in parts]
    for array in arrays:
        checks.plain(name, array)
    if not arrays:
        raise ValueError(f"{name}: given no array, wanted one or more, such as (images, labels)")
    checks.data_set(name, arrays[0])
    for array in arrays[1:]:
        if array is not None and np.shape(array)[:1] != (len(arrays[0]),):
            raise ValueError(
                f"{name}: given an array of shape {np.shape(array)}, "
                f"wanted ({len(arrays[0])}, …): one row for each sample"
            )
    return arrays


def _check_labels(name: str, model: Module, data: Sequence) -> None:
    """Refuse labels 0 … classes - 1 where 0 is the null label: one class would be lost in it.

    Null labels alone, or some beside all the others, are a choice, and a handful of samples may
    well lack the last class. Classifiers count from 0. What the model is, `diffusion.loss` has
    noted on it.
    """
    classes = model.config.get("classes")
    if model.parameterization is None or classes is None or len(data[0]) < 2 * classes:
        return
    for array in data[1:]:
        is_labels = array is not None and array.ndim == 1 and array.dtype.kind in "iu"
        if is_labels and array.min() == 0 and min(1, classes - 1) <= array.max() < classes:
            raise ValueError(
                f"{name}: given labels 0 … {array.max()}, wanted labels in 1 … {classes} "
                "(0 is the null label): type labels + 1"
            )


def _check_call(loss: Callable, data: Sequence) -> None:
    """TypeError unless `loss` can be called with a batch of each array, and rng."""
    try:
        inspect.signature(loss).bind(*data, None)
    except TypeError as error:
        raise TypeError(
            f"loss: given a function that does not take (*batch, rng) ({error}), wanted one of "
            f"{len(data) + 1} arguments: data has {len(data)} array(s), and several are given as "
            "one tuple, (images, labels)"
        ) from None


def _checksum(data: Sequence) -> str:
    """What tells one data set from another."""
    arrays = [np.ascontiguousarray(array) for array in data if array is not None]
    return " ".join(f"{array.shape} {zlib.crc32(array.data):08x}" for array in arrays)


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
