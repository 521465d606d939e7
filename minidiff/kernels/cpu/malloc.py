"""malloc is told to keep freed memory for the next array.

By default glibc returns large blocks to the system when they are freed. The arrays of the next step
have the same sizes and come as untouched pages: the first write to each page costs a fault, and the
system clears it. That was a fifth of a training step.
"""

import ctypes
import sys

# from malloc.h
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_GIB = 1 << 30


def keep_freed_memory() -> None:
    """Let glibc's malloc reuse blocks of up to 1 GiB; on other systems, do nothing."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _GIB)
        mallopt(_TRIM_THRESHOLD, _GIB)
