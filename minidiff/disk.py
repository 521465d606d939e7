"""Files that are written whole or not at all; places that one process has alone; room on a disk.

A file is written beside its place under a random name, flushed and renamed, and the folder is
flushed: whoever looks sees the old file or the new one, whole, also after a power cut. The process
that writes holds a lock on it, which the system takes back when the process dies. So a file of
such a name without a lock is a leftover, and the next one who writes there removes it.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

_RANDOM_BYTES = 8


class InUseError(RuntimeError):
    """A place at which another process is at work."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it, rename it.

    A link stays one, to the new file, and a file that is replaced leaves the new one its mode. An
    OSError names the file; an older one is untouched then. ValueError where no file can be.
    """
    place = place_of(path)
    with named(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(place)
        with _beside(place) as (temporary, file):
            if place.exists():
                temporary.chmod(place.stat().st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":  # where no open file can be renamed
                file.close()
            os.replace(temporary, place)
        _flush_folder(place.parent)


def check_room(path: Path, size: int) -> None:
    """OSError unless so many bytes can be written beside `path`: they are, and removed again."""
    place = place_of(path)
    with named(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(place)
        with _beside(place) as (_, file):
            file.write(bytes(size))
            file.flush()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """A block for one process at a time; InUseError where another one is in such a block.

    It ends with the process, however that ends.
    """
    place = place_of(path)
    with named(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = place.with_name(f".{place.name}.lock")
        file = _opened_and_locked(lock)
    if file is None:
        raise InUseError(
            f"path: given {path}, at which another run is at work, wanted one of its own"
        )
    with file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def place_of(path: Path) -> Path:
    """Where links lead to; ValueError where there is something that is no file, or can be none."""
    try:
        place = path.resolve()
        mode = place.stat().st_mode
    except FileNotFoundError:
        return place
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name too long, …
        reason = getattr(error, "strerror", None) or str(error)
    else:
        if stat.S_ISREG(mode):
            return place
        reason = "a folder" if stat.S_ISDIR(mode) else "which is no file"
    raise ValueError(f"path: given {path}, {reason}, wanted the name of a file")


_OF_THE_PATH = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


@contextmanager
def named(place: Path) -> Iterator[None]:
    """An OSError of the block names the file: «No space left on device: 'run.safetensors'».

    ValueError where no file can be: a folder in the path is none, or the name is too long.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        renamed: Exception = OSError(error.errno, error.strerror, os.fspath(place))
        if error.errno in _OF_THE_PATH:
            renamed = ValueError(
                f"path: given {place}, {error.strerror}, wanted the name of a file"
            )
    else:
        return
    raise renamed


@contextmanager
def _beside(place: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside a place, locked, which is gone in the end unless it was renamed."""
    while True:
        temporary = place.with_name(f".{place.name}.{secrets.token_hex(_RANDOM_BYTES)}.part")
        with temporary.open("xb") as file:
            try:
                _lock(file, wait=True)
                if _has_name(file):
                    yield temporary, file
                    return
            finally:
                temporary.unlink(missing_ok=True)


def _remove_leftovers(place: Path) -> None:
    """Files that nobody is writing any more."""
    for path in place.parent.glob(f".{escape(place.name)}.{'?' * 2 * _RANDOM_BYTES}.part"):
        with suppress(OSError), path.open("rb") as file:
            if _lock(file, wait=False, without_locks=False):
                path.unlink()


def _opened_and_locked(lock: Path) -> BinaryIO | None:
    """The file `lock`, made if need be; None where another one has locked it."""
    while True:
        file = lock.open("ab")
        if not _lock(file, wait=False):
            file.close()
            return None
        if _has_name(file):
            return file
        file.close()


def _lock(file: BinaryIO, wait: bool, without_locks: bool = True) -> bool:
    """Whether the lock is ours until the file is closed or the process dies.

    `without_locks` is the answer on a file system that has none.
    """
    from filelock import lock_descriptor

    try:
        return lock_descriptor(file.fileno(), blocking=wait)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        return without_locks


def _has_name(file: BinaryIO) -> bool:
    """Whether nobody removed the file between our opening it and our locking it."""
    return os.fstat(file.fileno()).st_nlink > 0


def _flush_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that flushes no folders
            raise
    finally:
        os.close(handle)
