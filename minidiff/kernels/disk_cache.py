"""Compiled kernels on disk, between one process and the next: whatever happens there is no error.

Numba's own cache believes what it reads: an index of 0 bytes stops every start, a flipped bit runs
as machine code, and two processes that write one index may swap two kernels. Here each compiled
function is a file of its own:

    32 bytes    SHA-256 of the rest: else the file is damaged
    32 bytes    SHA-256 of what it was compiled from and for: else it is out of date
    the rest    what Numba keeps, as a pickle

A file that is damaged, or cannot be read or written, costs a compilation, and one warning that
names the folder. Numba's `NUMBA_CACHE_DIR` says where the folder is.
"""

import hashlib
import os
import pickle
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numba
from numba.core import config as _config
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

config: Any = _config
DIGEST = hashlib.sha256().digest_size


class Files:
    """The files of one function, one for each signature; Numba's cache calls `save` and `load`."""

    def __init__(self, folder: Path, name: str, stamp: Any):
        self.folder = folder
        self.name = name
        self.stamp = stamp

    def save(self, key: tuple, data: Any) -> None:
        content = self._described(key) + dumps(data)
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{uuid4().hex}.part")
        try:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def load(self, key: tuple) -> Any:
        """What was saved for this key; None where nothing was, or it is out of date."""
        if not self._path(key).is_file():  # nothing, or a pipe, on which one would wait for ever
            return None
        raw = self._path(key).read_bytes()
        digest = raw[:DIGEST]
        content = raw[DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError(f"{self._path(key).name}: given a damaged file of {len(raw)} bytes")
        if content[:DIGEST] != self._described(key):
            return None
        return pickle.loads(content[DIGEST:])

    def _path(self, key: tuple) -> Path:
        signature = hashlib.sha256(repr(key[0]).encode()).hexdigest()[:12]
        return self.folder / f"{self.name}.{signature}.kernel"

    def _described(self, key: tuple) -> bytes:
        """A digest of what must be the same now and when it was compiled."""
        described = repr((numba.__version__, self.name, self.stamp, key))
        return hashlib.sha256(described.encode()).digest()


class KernelCache(FunctionCache):
    """A function's cache in which nothing is an error.

    Raises RuntimeError, as Numba does, where there is no folder that could be written to.
    """

    def __init__(self, function: Any, stamp: Any = None):
        super().__init__(function)
        self.folder = Path(self.cache_path)
        stamp = self._impl.locator.get_source_stamp() if stamp is None else stamp
        self._cache_file: Any = Files(self.folder, self._impl.filename_base, stamp)

    def load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return super().load_overload(signature, target)
        except Exception as error:
            _say(self.folder, error)
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            super().save_overload(signature, data)
        except Exception as error:
            _say(self.folder, error)


def keep(dispatcher: Any, stamp: Any = None) -> None:
    """Have a compiled function kept on disk, from one process to the next.

    `stamp` is what it depends on: its own file's time and size, unless given. Where no folder can
    be written to, each process compiles for itself.
    """
    try:
        dispatcher._cache = KernelCache(dispatcher.py_func, stamp)
    except (RuntimeError, OSError) as error:
        source = Path(dispatcher.py_func.__code__.co_filename)
        _say(Path(config.CACHE_DIR or source.with_name("__pycache__")), error)


_said: list[Path] = []


def _say(folder: Path, error: Exception) -> None:
    """Warn of what is wrong in a folder, once; where warnings are errors, it is none either."""
    if _said:
        return
    _said.append(folder)
    with suppress(RuntimeWarning):
        warnings.warn(
            f"{folder}: compiled kernels cannot be kept there ({error!r}), so they are compiled "
            f"again; if they are damaged, delete the folder",
            RuntimeWarning,
            stacklevel=2,
        )
