"""The training loop, which can be stopped anywhere and goes on as if it had not been.

Step k draws from `default_rng([seed, k])` and epoch e shuffles with `[seed, tag, e]`. Seed and step
are then all that a checkpoint must know of randomness.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import numpy as np

from .. import checks, disk, distributed
from ..data.batches import epoch_order, rows_of
from ..kernels import call, namespace, on_a_device
from ..storage.file_format import to_bytes
from ..tools.debug import detect_anomaly
from . import data_sets, run_files
from .evaluation import mean_loss
from .first_fault import first_fault
from .history import History
from .run import Run, check_loss
from .stopping import StopRequest, stop_requests

# a tag of what layers draw in a step
_LAYERS = 2_000_000_033
LOOK_EVERY = 50  # steps, at their losses on a device: a look waits for all that it was given


class Trainer(Run):
    """A model, how it is trained, and how far.

    `loss(*batch, rng) -> Tensor` gives the mean loss over a batch, drawing what it needs from
    `rng`. Data and batches are on the host, wherever the model is: `diffusion.loss` and the models
    of `minidiff.models` move a batch once.

    - `batch_size` is 32, or that of the checkpoint that is resumed.
    - `seed` is 0, or that of the checkpoint that is resumed; data is split by it, too, so a
      checkpoint of another seed is refused.
    - `path` is the checkpoint's. It is written every `save_every` seconds, after every epoch, and
      when the run is stopped; `keep` are kept, the older ones as "path.1" and so on.
    - `skip_nonfinite`: a step whose loss or gradient is not finite changes nothing; `skipped`
      counts these. Otherwise the run ends there.
    - `parts` are further things that a step depends on and changes, by name, with `state_dict` and
      `load_state_dict`. What the loss itself uses, such as an `ImportanceSampler`, is found.
    - `tensorboard` is a folder for TensorBoard's files. A log of JSON lines is beside the
      checkpoint in any case: `run_log` says what it holds.
    - `notes` are kept in the checkpoint.
    """

    # --- a step ---

    def train_step(self, *batch: Any) -> Any:
        """One step on one batch; gives its mean loss, NaN where the step was skipped.

        Raises FloatingPointError where the loss is no longer finite. On a device the loss is an
        array there, which nobody has looked at: that would wait for the step. With `skip_nonfinite`
        each step is waited for.
        """
        for i, generator in enumerate(self._generators):
            kind: Any = type(generator.bit_generator)
            generator.bit_generator.state = kind([self.seed, self.step, _LAYERS, i]).state
        loss = self.loss(*batch, np.random.default_rng([self.seed, self.step]))
        self.optimizer.zero_grad()
        loss.backward()
        looks_later = on_a_device(loss.data) and not self.skip_nonfinite
        value = loss.data if looks_later else loss.item()
        if self.skip_nonfinite and not (np.isfinite(value) and self._gradients_are_finite()):
            self.skipped += 1
            self.step += 1
            return float("nan")
        if not looks_later:
            check_loss(value, self.step)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        return value

    def _gradients_are_finite(self) -> bool:
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if gradients and on_a_device(gradients[0]):
            gradients = [call("flattened", *gradients)]  # to wait once
        return all(bool(namespace(g).isfinite(g).all()) for g in gradients)

    # --- epochs ---

    def fit(
        self,
        data: np.ndarray | Sequence,
        epochs: int,
        validation: np.ndarray | Sequence | None = None,
        progress: bool = True,
    ) -> History:
        """Train until `epochs` epochs are done in all; gives the history of mean losses, per epoch.

        `data` and `validation` are tuples of arrays with one first axis, such as (images, labels),
        or one array; pictures in files are read while others are trained on. Ctrl-C, once or twice,
        ends the step under way, writes the checkpoint and then raises KeyboardInterrupt, with a
        message that says what was written; SIGTERM and SIGHUP raise SystemExit. A third Ctrl-C
        raises at once.

        An epoch that was stopped goes on behind the samples that were seen, with any batch size.
        With other data it begins anew.

        Raises TypeError or ValueError for data that is not finite floats, for labels that count
        from 0 where 0 is the null label, for a loss that does not take a batch of it, and for fewer
        epochs than are done; OSError where `path` cannot be written; `disk.InUseError` where
        another run is writing there. All of that is looked at before the first step, but for what
        only the loss can say of the training data.

        Raises FloatingPointError where the loss, the validation loss, a weight, an average or a
        number of the optimiser is not finite, and says which step and operation made it; that is
        found by training again from the last state that was good. The run is in that state then,
        and so is the checkpoint.
        """
        data = self._checked_data("data", data)
        if validation is not None:
            validation = self._checked_data("validation", validation)
        checks.whole("batch_size", self.batch_size, 1)
        if checks.whole("epochs", epochs, 1) < self.epoch:
            raise ValueError(
                f"epochs: given {epochs}, wanted {self.epoch} or more: "
                f"all epochs count, and {self.epoch} are done"
            )
        with distributed.ranks(), self._alone(), closing(self._log), stop_requests() as stop:
            self._begin(data, validation)
            try:
                while self.epoch < epochs:
                    self._run_epoch(data, validation, epochs, stop, progress)
                    self.save()
                    if stop:
                        stop.obey(self._stopped())
            except FloatingPointError as error:
                raise FloatingPointError(self._explained(error, data, validation)) from None
            except KeyboardInterrupt as interrupt:
                if interrupt.args:
                    raise
                self._restore(self._good)
                raise KeyboardInterrupt(self._stopped()) from None
        return self.history

    def _alone(self) -> AbstractContextManager:
        """A block in which no other run writes to the path."""
        place = self._place
        if place is None:
            return nullcontext()
        return distributed.block_on_first(lambda: disk.alone(place))

    def _checked_data(self, name: str, data: np.ndarray | Sequence) -> Sequence:
        arrays = data_sets.arrays_of(name, data)
        data_sets.check_call(self.loss, arrays)
        data_sets.check_range(name, self.model, arrays)
        data_sets.check_labels(name, self.model, arrays)
        return arrays

    def _begin(self, data: Sequence, validation: Sequence | None) -> None:
        """What is done before the first step, so that no work is lost by what it finds."""
        fingerprint = data_sets.fingerprint(data)
        if fingerprint != self._data:  # an epoch that began with other data begins anew
            self._seen = 0
            self._counted = 0
            self._epoch_loss = 0.0
            self._data = fingerprint
        state = self._state()
        place = self._place
        if place is not None:
            size = len(to_bytes(state))
            distributed.on_first(lambda: run_files.check_places(place, self.keep))
            distributed.on_first(lambda: disk.check_room(place, self.keep * size))
        if validation is not None:
            data_sets.try_extremes("validation", self.model, self.loss, validation)
            data_sets.check_labels("validation", self.model, validation)
            self._restore(state)  # the loss may have kept something
        self._good = state
        self._saved_at = time.monotonic()
        self.model.train()

    def _run_epoch(
        self,
        data: Sequence,
        validation: Sequence | None,
        epochs: int,
        stop: StopRequest,
        progress: bool,
    ) -> None:
        """The rest of the epoch that is under way, until its end or a request to stop."""
        from tqdm.auto import tqdm

        with tqdm(
            desc=f"epoch {self.epoch + 1}/{epochs}",
            total=len(data[0]),
            initial=self._seen,
            unit="img",
            disable=not progress,
        ) as bar:
            for batch in self._batches(data):
                self._take_in(batch)
                if self.step == 1:
                    data_sets.check_labels("data", self.model, data)
                bar.update(len(batch[0]))
                bar.set_postfix(self._losses(), refresh=False)
                if stop:
                    return
                if self._save_is_due():
                    self.save()
            self._end_epoch(validation, stop)
            bar.set_postfix(
                {name: f"{each[-1]:.4f}" for name, each in self.history.items() if each}
            )

    def _save_is_due(self) -> bool:
        """By the first rank's clock."""
        return distributed.on_first(lambda: time.monotonic() - self._saved_at >= self.save_every)

    def _batches(self, data: Sequence) -> Iterator[tuple]:
        """What the epoch under way has not seen yet."""
        unseen = epoch_order(len(data[0]), self.seed, self.epoch)[self._seen :]
        return rows_of(data, unseen, self.batch_size)

    def _take_in(self, batch: Sequence) -> None:
        """One step of an epoch."""
        step = self.step
        value = self.train_step(*batch)
        self._seen += len(batch[0])
        self._unread.append((step, len(batch[0]), value))
        if not on_a_device(value) or len(self._unread) == LOOK_EVERY:
            self._read_losses()

    def _losses(self) -> dict[str, str]:
        """For the progress bar."""
        shown = {"loss": f"{self._epoch_loss / max(self._counted, 1):.4f}"}
        return shown | ({"skipped": str(self.skipped)} if self.skipped else {})

    def _end_epoch(self, validation: Sequence | None, stop: StopRequest) -> None:
        """Note the mean losses of an epoch, unless a request to stop comes meanwhile."""
        self._read_losses()
        if self._counted == 0:
            raise FloatingPointError(
                f"loss: given none that is finite in epoch {self.epoch + 1}, wanted one"
            )
        if validation is not None:
            mean = mean_loss(self.model, self.loss, validation, self.seed, stop=stop)
            if mean is None:
                return
            if not np.isfinite(mean):
                raise FloatingPointError(
                    f"validation loss: given {mean} after step {self.step}, wanted a finite one"
                )
            self.history["validation"].append(mean)
        self.history["training"].append(self._epoch_loss / self._counted)
        self.epoch += 1
        means = {name: losses[-1] for name, losses in self.history.items() if losses}
        self._log.add(self.step - 1, self.epoch, **means)
        self._seen = 0
        self._counted = 0
        self._epoch_loss = 0.0

    # --- a number that is not finite ---

    def _explained(
        self, error: FloatingPointError, data: Sequence, validation: Sequence | None
    ) -> str:
        """The error, and what made the number; the run is in the last good state afterwards."""
        end = self.step
        self._restore(self._good)
        begin = self.step
        found = first_fault(self._batches(data), self._take_in, self._state, self._restore)
        if found is None and validation is not None:
            found = self._fault_in(validation)
        self._restore(self._good)
        found = found or f"steps {begin} to {end}, taken again, did not show it again"
        return f"{error}; {found}\nThe run is at step {begin} again, the last one that was good."

    def _fault_in(self, validation: Sequence) -> str | None:
        try:
            with detect_anomaly():
                mean_loss(self.model, self.loss, validation, self.seed)
        except FloatingPointError as error:
            return f"in validation, {error}"
        return None
