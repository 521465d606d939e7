"""A run: what is trained, how far it is, and its checkpoints."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import checks, distributed, kernels, storage
from ..autograd.tensor import Tensor
from ..nn import Module
from ..optim import EMA
from ..storage import Checkpoint
from ..storage.checkpoints import taken
from ..storage.file_format import to_bytes
from . import run_files
from .history import History
from .kept import kept_by
from .run_log import RunLog, check_tensorboard, log_path
from .run_state import Progress, by_part, check_rates, progress_in, rate_at, rates_of

BATCH_SIZE = 32


class Run:
    """What a `Trainer` trains, how far it is, and its checkpoints."""

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        optimizer: Any,
        ema: EMA | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        path: str | os.PathLike | None = None,
        save_every: float = 60.0,
        keep: int = 3,
        skip_nonfinite: bool = False,
        parts: Mapping[str, Any] | None = None,
        tensorboard: str | os.PathLike | None = None,
        **notes: Any,
    ):
        own = notes.keys() & set(Progress._fields)
        if own:
            raise ValueError(
                f"notes: given {sorted(own)}, wanted other names: the Trainer notes these itself"
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.ema = ema
        self.batch_size = BATCH_SIZE if batch_size is None else batch_size
        self.seed = 0 if seed is None else checks.whole("seed", seed)
        self.path = path
        self.save_every = float(checks.among("save_every", save_every, checks.Between(0)))
        self.keep = checks.whole("keep", keep, 1)
        self.skip_nonfinite = checks.flag("skip_nonfinite", skip_nonfinite)
        self.parts = dict(parts or {})
        self.notes = notes
        self.step = 0
        self.epoch = 0  # how many are done
        self.skipped = 0
        self.history = History(training=[], validation=[])
        self._any_batch_size = batch_size is None
        self._any_seed = seed is None
        self._generators = model.generators()  # of Dropout, say: each step sets them
        # of the epoch that is under way: samples seen, how many of them have a loss, the sum of
        # these, and of which data
        self._seen = 0
        self._counted = 0
        self._epoch_loss = 0.0
        self._data = ""
        # the last steps whose losses are not in that sum yet: (step, samples, loss)
        self._unread: list[tuple[int, int, Any]] = []
        if tensorboard is not None:
            tensorboard = checks.path("tensorboard", tensorboard).absolute()
            check_tensorboard()
        self._log = RunLog(tensorboard)
        self._good: Checkpoint  # the newest state that was looked at; `fit` begins with one
        self._saved_at = 0.0  # seconds

    def __repr__(self) -> str:
        name = type(self.model).__name__
        return f"Trainer({name}, epochs done: {self.epoch}, steps: {self.step}, path: {self.path})"

    @property
    def path(self) -> str | os.PathLike | None:
        """Where the checkpoint is: from the folder in which the process was when it was set."""
        return self._path

    @path.setter
    def path(self, path: str | os.PathLike | None) -> None:
        self._path = path
        self._place = None if path is None else checks.path("path", path).absolute()

    def save(self) -> None:
        """Write the checkpoint, if there is a path for it.

        Raises FloatingPointError, and writes nothing, where a number in it is not finite.
        """
        self._good = self._state()
        distributed.on_first(self._write)
        self._log.settle()
        self._saved_at = time.monotonic()

    def _write(self) -> None:
        self._log.write(self._place and log_path(self._place))
        if self._place is not None:
            run_files.write(self._place, to_bytes(self._good), self.keep)

    def resume(self) -> None:
        """Go on where the checkpoint at `path` stopped; if it is damaged, the next older one.

        Then a warning says so. Another warns where the learning rate, which is the optimiser's, is
        another one than before: a schedule that is stretched over more steps would jump up again.
        Keep its `total`, and further steps have its last rate.

        Raises FileNotFoundError or ValueError, changing nothing, if all are missing or damaged, or
        if the newest is of another model or optimiser, of a model that predicts something else or
        by another schedule, without averages where there is an `ema` here, of a loss that keeps
        something else, or no Trainer's.
        """
        place = self._place
        if place is None:
            raise ValueError("path: given None, wanted a Trainer's checkpoint to resume from")
        checkpoint = distributed.on_first(lambda: run_files.newest_checkpoint(place, self.model))
        progress = progress_in(checkpoint.notes, place)
        if not self._any_seed and self.seed != progress.seed:
            raise ValueError(
                f"seed: given {self.seed}, wanted {progress.seed}, with which {self.path} began: "
                "it also says which samples are for validation"
            )
        saved = checkpoint.parameterization
        own = self.model.parameterization
        if saved is not None and own is not None and saved != own:
            raise ValueError(
                f"path: given {self.path}, of a model of {saved}, wanted the model's own, {own}"
            )
        self._restore(checkpoint)
        self.seed = progress.seed
        if self._any_batch_size:
            self.batch_size = progress.batch_size
        check_rates(progress.rates, rates_of(self.optimizer))

    def _state(self) -> Checkpoint:
        """All that the next step depends on; FloatingPointError where it is not finite."""
        self._read_losses()
        progress = Progress(
            seed=self.seed,
            step=self.step,
            epoch=self.epoch,
            seen=self._seen,
            counted=self._counted,
            epoch_loss=self._epoch_loss,
            skipped=self.skipped,
            history={name: list(losses) for name, losses in self.history.items()},
            data=self._data,
            batch_size=self.batch_size,
            rates=rates_of(self.optimizer),
            logged=self._log.count,
        )
        notes = progress._asdict() | self.notes
        return taken(self.model, self.ema, self.optimizer, self._stateful_parts(), notes)

    def _read_losses(self) -> None:
        """Count the losses of the last steps; FloatingPointError where a device's is not finite."""
        unread = list(self._unread)
        self._unread.clear()
        if not unread:
            return
        steps, counts, losses = zip(*unread)
        if kernels.on_a_device(losses[0]):
            losses = kernels.to_host(kernels.call("flattened", *losses)).tolist()
            for step, loss in zip(steps, losses):
                check_loss(loss, step)
        for step, count, loss in zip(steps, counts, losses):
            self._log.add(step, self.epoch + 1, loss=loss, **rate_at(self.optimizer, step))
            if np.isfinite(loss):
                self._counted += count
                self._epoch_loss += count * loss

    def _stateful_parts(self) -> dict[str, Any]:
        """What was given as parts, and what the loss keeps."""
        known = [self.model, self.ema, self.optimizer, *self.parts.values()]
        return kept_by(self.loss, but=known) | self.parts

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a state; all of it, or none where some does not fit."""
        self._load(checkpoint.arrays)
        if checkpoint.parameterization is not None:
            self.model.parameterization = checkpoint.parameterization
        progress = progress_in(checkpoint.notes, self.path or "")
        self.step = progress.step
        self.epoch = progress.epoch
        self.skipped = progress.skipped
        self.history = History((name, list(each)) for name, each in progress.history.items())
        self._seen = progress.seen
        self._counted = progress.counted
        self._epoch_loss = progress.epoch_loss
        self._data = progress.data
        self._unread.clear()
        self._log.go_back(progress.logged)

    def _load(self, arrays: dict[str, dict[str, np.ndarray]]) -> None:
        """Take over the arrays of a checkpoint; all of them, or none where some do not fit."""
        parts = self._stateful_parts()
        owners: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer}
        if self.ema is not None:
            owners["ema"] = self.ema
        states = {name: arrays[name] for name in owners} | by_part(arrays["parts"], list(parts))
        owners |= parts
        before = {name: owner.state_dict() for name, owner in owners.items()}
        try:
            for name, owner in owners.items():
                owner.load_state_dict(states[name])
        except BaseException:
            for name, owner in owners.items():
                owner.load_state_dict(before[name])
            raise

    def _stopped(self) -> str:
        """How far the run is, and how far what is on the disk."""
        if self._place is None:
            return f"stopped at step {self.step}; nothing was written, for there is no path"
        try:
            saved = storage.read(self._place).notes["step"]
        except (OSError, ValueError, KeyError):  # none, or what was there before and is no run's
            return f"stopped at step {self.step}; nothing was written to {self.path} yet"
        return f"stopped at step {self.step}; {self.path} holds step {saved}"


def check_loss(loss: float, step: int) -> None:
    """FloatingPointError unless it is finite."""
    if not np.isfinite(loss):
        raise FloatingPointError(
            f"loss: given {loss} at step {step}, wanted a finite one; "
            "a smaller learning rate may help"
        )
