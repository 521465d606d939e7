"""NumPy's matrix products on one thread, while several threads of ours compute.

The BLAS library under NumPy has threads of its own, one for each processor, and a product that they
share has other bits than that of one thread.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from ctypes import PyDLL
from dataclasses import dataclass
from threading import RLock, get_ident
from typing import Any

from threadpoolctl import ThreadpoolController


class _OneThread:
    """A block in which BLAS has one thread: `with one_thread: …`, in several threads at a time.

    The first to enter notes how many threads there were, and the last to leave gives them back.
    threadpoolctl's own context would do the same ten times as slowly, and for the thread alone that
    came first.

    A fork waits until no thread is at the door, and in the child only the blocks of the thread that
    forked go on: the others would never end.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.inside: dict[int, int] = {}  # in how many such blocks each thread is
        self.libraries: list[_Library] = []
        self.was_used = False

    def __enter__(self) -> None:
        with self.lock:
            if not self.was_used:
                self.libraries = _libraries()
                self.was_used = True
            for library in self.libraries:
                if not self.inside:
                    library.threads = library.get()
                library.set(1)  # each time: with OpenMP it holds for the calling thread alone
            me = get_ident()
            self.inside[me] = self.inside.get(me, 0) + 1

    def __exit__(self, *error: Any) -> None:
        me = get_ident()
        with self.lock:
            self.inside[me] -= 1
            if not self.inside[me]:
                del self.inside[me]
                self._give_back()

    def _give_back(self) -> None:
        if not self.inside:
            for library in self.libraries:
                library.set(library.threads)

    def after_fork(self) -> None:
        """In the child."""
        me = get_ident()
        others = self.inside.keys() - {me}
        for thread in others:
            del self.inside[thread]
        if others:
            self._give_back()
        self.lock.release()


one_thread = _OneThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=one_thread.lock.acquire,
        after_in_parent=one_thread.lock.release,
        after_in_child=one_thread.after_fork,
    )


def on_the_way_back() -> AbstractContextManager:
    """`one_thread`, in a program that has used it: what `sharded` did not cut has bits to keep.

    Until then BLAS is left alone.
    """
    return one_thread if one_thread.was_used else _AS_IT_IS


_AS_IT_IS = nullcontext()


@dataclass
class _Library:
    """How a BLAS library is asked for its number of threads, and told; and what it said last."""

    get: Callable[[], int]
    set: Callable[[int], Any]
    threads: int = 1


def _libraries() -> list[_Library]:
    found = []
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        get = library.get_num_threads
        set_ = library.set_num_threads
        # OpenBLAS is spoken to directly: threadpoolctl lets only one thread change it. PyDLL keeps
        # Python's lock, which is quicker than to give it up for so short a call.
        if library.internal_api == "openblas" and library.threading_layer != "openmp":
            functions = PyDLL(library.filepath)
            get = getattr(functions, library._get_symbol("openblas_get_num_threads").__name__)
            set_ = getattr(functions, library._get_symbol("openblas_set_num_threads").__name__)
        found.append(_Library(get, set_))
    return found
