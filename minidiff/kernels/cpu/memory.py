"""Freed memory is kept for the next array.

glibc hands large blocks back to the system when they are freed, and the next step's arrays of the
same sizes then come as untouched pages, each of which costs a fault and a clearing at its first
write: a fifth of a training step.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h
_GIB = 1 << 30


def keep_freed_memory() -> None:
    """Tell glibc's malloc to reuse blocks up to 1 GiB itself; on other systems, do nothing."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _GIB)
        mallopt(_TRIM_THRESHOLD, _GIB)
