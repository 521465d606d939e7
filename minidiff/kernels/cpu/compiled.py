"""Compiling: one signature for each kernel, a disk cache that knows all sources, scratch memory.

A kernel is a vector body, or one of Numba's plain loops. Either is compiled once, for one
signature: no call compiles anything by accident. Numba's disk cache cannot see into the functions
that a kernel is made of, so each variant is cached under a name of its own, and the cache is void
when any file here changes.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from ..disk_cache import keep
from . import plans
from .vector import JIT, vector

# Without "nnan" and "ninf": a NaN or an infinity must come out where one goes in.
FAST = {"contract", "arcp", "nsz", "reassoc", "afn"}

# Types of arguments.
number = numba.float64  # a Python float
whole = numba.intp
integers = numba.int64[::1]
numbers = numba.float32[::1]
matrix = numba.float32[:, ::1]
cube = numba.float32[:, :, ::1]
images = weights = numba.float32[:, :, :, ::1]

settings: Any = config
_jit = partial(
    numba.njit,
    nogil=True,
    error_model="numpy",
    boundscheck=False,
    fastmath=FAST,
    no_cfunc_wrapper=True,
)


def digest(folder: Path) -> str:
    """A digest of every source file in a folder, and in the folders in it."""
    sources = b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))
    return hashlib.sha256(sources).hexdigest()


@cache
def _sources() -> str:
    """The digest of the kernels' own sources: Numba would miss edits in all files but one."""
    return digest(Path(__file__).parent)


def compiled(function: Callable, arguments: tuple, name: str = "", **bound: Any) -> Callable:
    """`function` compiled for arguments of these types, under that name; as it is without a JIT.

    `bound` are values for names that the function has as globals.
    """
    variant = FunctionType(
        function.__code__, {**function.__globals__, **bound}, name or function.__name__
    )
    variant.__qualname__ = variant.__name__
    variant.__module__ = function.__module__
    if not JIT:
        return variant
    dispatcher: Any = _jit()(variant)
    keep(dispatcher, stamp=_sources())
    with global_compiler_lock, ExitStack() as undo:
        undo.callback(setattr, settings, "OPT", settings.OPT)
        # LLVM's level 3 takes a fifth longer, and finds nothing more in vectors
        settings.OPT = settings._OptLevel(2)
        dispatcher.compile(arguments)
    dispatcher.disable_compile()
    return dispatcher


def _run(arguments: tuple) -> None:
    """What is compiled of a vector body; `compiled` binds its name."""
    body(arguments)  # type: ignore[name-defined] # noqa: F821


def compiled_body(body: Callable, types: tuple, lanes: int, name: str) -> Callable:
    """A vector body as a kernel: a function of one value of each type.

    A type may be the class of a plan, a NamedTuple of whole numbers: the kernel takes it packed,
    and the body gets it by name (see `plans`).
    """
    kinds = {k: kind for k, kind in enumerate(types) if not isinstance(kind, numba.types.Type)}

    def by_name(e: Any, *values: Any) -> None:
        body(
            e, *(plans.unpacked(e, kinds[k], v) if k in kinds else v for k, v in enumerate(values))
        )

    passed = tuple(integers if k in kinds else kind for k, kind in enumerate(types))
    by_name.__qualname__ = name
    taken = (numba.types.Tuple(passed),)
    run = compiled(_run, taken, f"{name}_x{lanes}", body=vector(by_name, lanes))
    return lambda *arguments: run(arguments)


def kernel(*types: Any) -> Callable[[Callable], Callable]:
    """A decorator: the vector body becomes a function that compiles it for a number of lanes."""
    return lambda body: cache(lambda lanes: compiled_body(body, types, lanes, body.__name__))


def contiguous(a: np.ndarray) -> np.ndarray:
    """C-contiguous, aligned and writeable, as compiled code wants it: `a` itself, or a copy."""
    return a if a.flags.carray else np.array(a, order="C")


class _Scratch(threading.local):
    memory = np.empty(0, np.float32)


_scratch = _Scratch()


def scratch(size: int) -> np.ndarray:
    """`size` float32 of this thread's own memory, aligned to 64 bytes.

    The next call may give the same memory out again.
    """
    if _scratch.memory.size < size:
        memory = np.empty(size + 16, np.float32)
        start = -memory.ctypes.data % 64 // 4
        _scratch.memory = memory[start : start + size]
    return _scratch.memory
