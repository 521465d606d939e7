"""Compiling: one explicit signature a kernel, a disk cache that knows all the kernels' sources,
scratch memory.

A kernel is a vector body, or a plain function that names the bodies it uses as globals; `compiled`
binds those names and compiles the result for one signature. So one text serves every width, a call
never compiles anything by accident, and Numba's disk cache, which cannot see into closures, sees a
name of its own for each variant.
"""

import hashlib
import inspect
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock

from .vector import JIT, vector

# Without "nnan" and "ninf": a NaN or an infinity must come out where one goes in.
FAST = {"contract", "arcp", "nsz", "reassoc", "afn"}
number, integers = numba.float32, numba.int64[::1]
images = numba.float32[:, :, :, ::1]
matrix = numba.float32[:, ::1]
numbers = numba.float32[::1]

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
    """A digest of every source file in a folder."""
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in sorted(folder.glob("*.py")))
    ).hexdigest()


@cache
def _sources() -> str:
    """Of the sources here: it stamps the entries of Numba's cache, which would miss edits in other files."""
    return digest(Path(__file__).parent)


def compiled(function: Callable, arguments: tuple, name: str = "", **bound: Any) -> Callable:
    """`function`, with the globals in `bound`, compiled for arguments of these types (or left alone without a JIT)."""
    variant = FunctionType(
        function.__code__, {**function.__globals__, **bound}, name or function.__name__
    )
    variant.__qualname__, variant.__module__ = variant.__name__, function.__module__
    if not JIT:
        return variant
    dispatcher: Any = _jit()(variant)
    # where no folder can be written to, each process compiles for itself
    with suppress(RuntimeError):
        dispatcher.enable_caching()
        dispatcher._cache._cache_file._source_stamp = _sources()
    with global_compiler_lock, ExitStack() as undo:
        undo.callback(setattr, settings, "OPT", settings.OPT)
        # LLVM's level 3 takes a fifth longer, and finds nothing more in vectors
        settings.OPT = settings._OptLevel(2)
        dispatcher.compile(arguments)
    dispatcher.disable_compile()
    return dispatcher


def compiled_body(body: Callable, arguments: tuple, lanes: int, name: str) -> Callable:
    """A vector body as a kernel; it takes an array for each place.

    After `arguments` it takes whole numbers.
    """
    arguments += (numba.intp,) * (len(inspect.signature(body).parameters) - 1 - len(arguments))
    names = ", ".join(f"a{k}" for k in range(len(arguments)))
    # there is no `*` in Numba
    function = eval(compile(f"lambda {names}: body({names})", __file__, "eval"), globals())
    return compiled(function, arguments, f"{name}_x{lanes}", body=vector(body, lanes))


def kernel(*arguments: Any) -> Callable[[Callable], Callable]:
    """A decorator: the vector body becomes a function that gives, for so many lanes, the body compiled."""
    return lambda body: cache(lambda lanes: compiled_body(body, arguments, lanes, body.__name__))


def for_lanes(arguments: tuple, **bodies: Callable) -> Callable[[Callable], Callable]:
    """A decorator: the loop becomes a function that gives, for so many lanes of `bodies` in it, the loop compiled."""
    bound = lambda lanes: {name: vector(body, lanes) for name, body in bodies.items()}
    return lambda loop: cache(
        lambda lanes=0: compiled(loop, arguments, f"{loop.__name__}_x{lanes}", **bound(lanes))
    )


def contiguous(a: np.ndarray) -> np.ndarray:
    """C-contiguous, aligned and writeable, as the compiled signatures want it: `a` itself, or a copy."""
    return a if a.flags.carray else np.array(a, order="C")


def unbound(*_arguments: Any) -> None:
    """Stands in a module for a tile that `compiled` binds."""
    raise NotImplementedError("bound by `compiled`")


class _Scratch(threading.local):
    memory = np.empty(0, np.float32)


_scratch = _Scratch()


def scratch(size: int) -> np.ndarray:
    """`size` float32 of this thread's scratch memory, aligned to 64 bytes; what it holds lasts until the next call."""
    if _scratch.memory.size < size:
        memory = np.empty(size + 16, np.float32)
        start = -memory.ctypes.data % 64 // 4
        _scratch.memory = memory[start : start + size]
    return _scratch.memory
