"""Work cut into cells that any number of processes share.

A cell is a file that holds the same whoever makes it. It is written whole or not at all, so a
process that is stopped loses the one cell that it was at. Whoever is at a cell says so by a claim:
a file beside it, made in one act, and touched again and again as long as its process lives. A claim
that nobody has touched for a while is that of a dead process, and anyone may take it over.

Claims save work, and nothing rests on them: two processes at one cell would write the same file.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..disk import place_of, write_whole

BEAT = 2.0  # seconds between two touches of a claim
SILENCE = 20.0  # after so many seconds without one its process is dead


@dataclass(frozen=True)
class Cell:
    """`make` gives the file's bytes; `parse` gives what they mean, or ValueError: damaged.

    `needs` are the cells that must be there before.
    """

    path: Path
    make: Callable[[], bytes]
    parse: Callable[[bytes], Any]
    needs: Sequence["Cell"] = ()

    def read(self) -> Any:
        return self.parse(self.path.read_bytes())

    @property
    def exists(self) -> bool:
        return self.path.exists()


def make_all(cells: Sequence[Cell]) -> None:
    """Make what is missing or damaged, beside any other process that does the same.

    Raises ValueError where something that is no file, such as a pipe, stands in a cell's place.
    """
    for cell in cells:
        _remove_if_damaged(cell)
    with tqdm(total=len(cells), unit="cell", dynamic_ncols=True) as bar:
        while missing := [cell for cell in cells if not cell.exists]:
            bar.update(len(cells) - len(missing) - bar.n)
            possible = (cell for cell in missing if all(need.exists for need in cell.needs))
            if not any(_made(cell) for cell in possible):
                time.sleep(BEAT / 4)  # others are at the rest
        bar.update(len(cells) - bar.n)


def _remove_if_damaged(cell: Cell) -> None:
    place_of(cell.path)
    try:
        cell.read()
    except FileNotFoundError:
        return
    except ValueError as error:
        tqdm.write(f"{cell.path}: {error}; it is made again")
        cell.path.unlink(missing_ok=True)


def _made(cell: Cell) -> bool:
    """Whether this process made the cell: not where another is at it, or was just before."""
    with _claimed(cell.path.with_name(f".{cell.path.name}.claim")) as ours:
        if ours and not cell.exists:
            write_whole(cell.path, cell.make())
            return True
    return False


@contextmanager
def _claimed(claim: Path) -> Iterator[bool]:
    """Whether the claim is ours; then it is kept alive until the block ends, and removed."""
    claim.parent.mkdir(parents=True, exist_ok=True)
    if _is_dead(claim):
        claim.unlink(missing_ok=True)
    try:
        claim.open("x", encoding="utf-8").close()
    except FileExistsError:
        yield False
        return
    end = threading.Event()
    pulse = threading.Thread(target=_touch_until, args=(end, claim), daemon=True)
    pulse.start()
    try:
        yield True
    finally:
        end.set()
        pulse.join()
        claim.unlink(missing_ok=True)


def _touch_until(end: threading.Event, claim: Path) -> None:
    while not end.wait(BEAT):
        try:
            os.utime(claim)
        except FileNotFoundError:
            return  # this process was asleep, and another took the claim over


def _is_dead(claim: Path) -> bool:
    try:
        return time.time() - claim.stat().st_mtime > SILENCE
    except FileNotFoundError:
        return False
