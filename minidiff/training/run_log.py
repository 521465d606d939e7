"""What a run reports: lines of JSON beside its checkpoint, and TensorBoard's files if asked for.

    {"time": 1764481200.5, "step": 41, "epoch": 1, "loss": 0.31, "rate": 0.001}     of each step
    {"time": 1764481260.1, "step": 89, "epoch": 1, "training": 0.29, "validation": 0.3}    … epoch

Lines are written when a checkpoint is, just before it, and the checkpoint holds how many there are.
So a run that goes on from it knows which lines are its own: what a killed process wrote behind them
is taken off, and written again as those steps are taken again. None is lost, and none comes twice.
"""

import json
import math
import os
import time
from os import PathLike
from pathlib import Path
from typing import Any

from ..disk import named, write_whole


class RunLog:
    """The lines of a run: those in the file, and those that are not written yet."""

    def __init__(self, tensorboard: str | PathLike | None):
        self.tensorboard = tensorboard
        self._written = 0  # lines of the file that are ours
        self._new: list[dict[str, Any]] = []
        self._others_behind = True  # whether the file may have more than these
        self._writer: Any = None

    @property
    def count(self) -> int:
        return self._written + len(self._new)

    def add(self, step: int, epoch: int, **numbers: float) -> None:
        """A line; of numbers that are not finite it has null."""
        finite = {
            name: number if math.isfinite(number) else None for name, number in numbers.items()
        }
        entry = {"time": round(time.time(), 3), "step": step, "epoch": epoch}
        self._new.append(entry | finite)

    def go_back(self, count: int) -> None:
        """Forget all but the first `count` lines."""
        if self._written <= count <= self.count:
            del self._new[count - self._written :]
            return
        self._written = count
        self._new = []
        self._others_behind = True

    def write(self, path: Path | None) -> None:
        """Bring the new lines to the disk. They stay new until `settle`, in case it fails."""
        text = "".join(json.dumps(entry) + "\n" for entry in self._new)
        if path is not None:
            self._append(path, text.encode())
        if self.tensorboard is not None:
            self._show(Path(self.tensorboard))

    def settle(self) -> None:
        """The new lines, and the checkpoint that counts them, are on the disk."""
        self._written = self.count
        self._new = []
        self._others_behind = False

    def close(self) -> None:
        """Close TensorBoard's file; later lines begin another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _append(self, path: Path, lines: bytes) -> None:
        if self._others_behind:
            write_whole(path, _first_lines(path, self._written) + lines)
            return
        self._others_behind = True  # a part of them, should this fail
        with named(path), path.open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _show(self, folder: Path) -> None:
        """As scalars by step. TensorBoard drops what an earlier process wrote from there on."""
        if not self._new:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        if self._writer is None:
            self._writer = _writer(folder, self._new[0]["step"])
        for entry in self._new:
            for name, number in entry.items():
                if name not in ("time", "step") and number is not None:
                    summary = scalar(name, number)
                    event = Event(step=entry["step"], wall_time=entry["time"], summary=summary)
                    self._writer.write_event(event)
        self._writer.flush()


def log_path(checkpoint: Path) -> Path:
    """Where the lines of a run are: "run.jsonl" beside "run.safetensors"."""
    return checkpoint.with_suffix(".jsonl")


def check_tensorboard() -> None:
    """ImportError that says what to install, where the package for it is missing."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise ImportError(
            'tensorboard: needs tensorboardX: type pip install "minidiff[tensorboard]"'
        ) from None


def _writer(folder: Path, step: int) -> Any:
    """A file of events that begins anew at a step.

    The one below SummaryWriter, whose `flush` does not wait for the events in its queue.
    """
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    folder.mkdir(parents=True, exist_ok=True)
    # Files are named by the second, and two of one name would be one.
    writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{step}")
    begin = SessionLog(status=SessionLog.START)
    writer.write_event(Event(step=step, wall_time=time.time(), session_log=begin))
    return writer


def _first_lines(path: Path, count: int) -> bytes:
    """The first lines of a file, whole ones, as far as there are so many."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return b"".join(
        [line for line in content.splitlines(keepends=True) if line[-1:] == b"\n"][:count]
    )
