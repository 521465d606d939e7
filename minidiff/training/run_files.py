"""The checkpoints of a run: the newest at its path, older ones beside it, as "path.1", "path.2".

An older one is never given up for one that is damaged, and the newest is written beside all of
them before it takes its place. So whenever the process ends, at least one good one is there.
"""

import os
import warnings
from pathlib import Path

from .. import checks, storage
from ..disk import place_of, write_whole
from ..nn import Module
from ..storage import Checkpoint
from ..storage.file_format import DamagedError


def write(path: Path, content: bytes, keep: int) -> None:
    """Put a new checkpoint at `path`, and move the older ones on; `keep` are kept, the new one too.

    What is damaged at `path` is not worth keeping.
    """
    place = place_of(path)
    if keep > 1 and _is_good(place):
        for age in range(keep - 1, 1, -1):
            if _older(place, age - 1).exists():
                os.replace(_older(place, age - 1), _older(place, age))
        write_whole(_older(place, 1), place.read_bytes())
    write_whole(place, content)


def check_places(path: Path, keep: int) -> None:
    """ValueError where what is no file stands where a checkpoint is to be."""
    place = place_of(path)
    for age in range(1, keep):
        place_of(_older(place, age))


def newest_checkpoint(path: str | os.PathLike, model: Module | None = None) -> Checkpoint:
    """The newest good checkpoint of a run: the one at `path`, else, with a warning, an older one.

    What the disk cannot read is damaged. Raises as `storage.read`: FileNotFoundError where there is
    none, ValueError where all are damaged, or for one of another model.
    """
    path = checks.path("path", path)
    place = place_of(path)
    try:
        return storage.read(path, model)
    except (OSError, DamagedError) as error:
        reason = error
    for older in _olders(place):
        try:
            checkpoint = storage.read(older, model)
        except (OSError, DamagedError):
            continue
        step = checkpoint.notes.get("step")
        warnings.warn(
            f"{reason}; going on from an older one, {older}, of step {step}", stacklevel=2
        )
        return checkpoint
    raise reason


def _older(place: Path, age: int) -> Path:
    return place.with_name(f"{place.name}.{age}")


def _olders(place: Path) -> list[Path]:
    """The older ones, the newest of them first; one may be missing between two."""
    files = {path.name for path in place.parent.glob("*") if path.is_file()}
    ends = [name.removeprefix(f"{place.name}.") for name in files]
    ages = sorted(int(end) for end in ends if end.isdecimal())
    return [_older(place, age) for age in ages if _older(place, age).name in files]


def _is_good(place: Path) -> bool:
    try:
        storage.read(place)
    except (OSError, ValueError):
        return False
    return True
