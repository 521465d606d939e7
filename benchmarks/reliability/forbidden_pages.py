"""Arrays that end where a forbidden page begins: one number beyond ends the process."""

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

PAGE = mmap.PAGESIZE
LARGEST = 1 << 26  # bytes of one array


class Region:
    """Memory between two forbidden pages."""

    def __init__(self, size: int):
        self.memory = mmap.mmap(-1, size + 2 * PAGE)
        self.end = PAGE + size
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for place in (0, self.end):
            if libc.mprotect(ctypes.c_void_p(address + place), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def hold(self, array: np.ndarray, at_end: bool) -> np.ndarray:
        """A copy of the array that ends where the region ends, or begins where it begins."""
        place = self.end - array.nbytes if at_end else PAGE
        held = np.ndarray(array.shape, array.dtype, self.memory, place)
        held[...] = array
        return held


class Guard:
    """Where arrays lie, and what fresh memory holds."""

    def __init__(self) -> None:
        self.regions: list[Region] = []
        self.at_end = True
        self.garbage = np.nan

    def around(self, function: Callable) -> Callable:
        """Compiled code that sees no arrays but those beside forbidden pages."""

        def run(*arguments: Any) -> None:
            packed = len(arguments) == 1 and isinstance(arguments[0], tuple)
            given = arguments[0] if packed else arguments
            while len(self.regions) < len(given):
                self.regions.append(Region(LARGEST))
            held = [
                region.hold(a, self.at_end) if isinstance(a, np.ndarray) else a
                for region, a in zip(self.regions, given)
            ]
            function(tuple(held)) if packed else function(*held)
            for a, copy in zip(given, held):
                if isinstance(a, np.ndarray):
                    a[...] = copy

        return run

    def fresh(self, empty: Callable) -> Callable:
        """np.empty that does not happen to give zeros."""

        def filled(*arguments: Any, **options: Any) -> np.ndarray:
            array = empty(*arguments, **options)
            if array.dtype.kind == "f":
                array.fill(self.garbage)
            return array

        return filled


def guard_kernels() -> Guard:
    """Put the guard around all that is compiled from now on; before any kernel is looked up."""
    from minidiff.kernels import loops
    from minidiff.kernels.cpu import compiled

    guard = Guard()
    compile_ = compiled.compiled
    compiled.compiled = lambda *arguments, **bound: guard.around(compile_(*arguments, **bound))
    compiled.scratch = lambda size: np.full(size, guard.garbage, np.float32)
    np.empty = guard.fresh(np.empty)
    np.empty_like = guard.fresh(np.empty_like)
    for name, value in list(vars(loops).items()):
        if name.endswith("_loop"):
            setattr(loops, name, guard.around(value))
    return guard
