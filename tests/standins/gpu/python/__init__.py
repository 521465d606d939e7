"""What the emulated device has done so far: counts of launches, copies, waits and allocations.

    with gpu_emulator.counted() as counts:
        step()
    print(counts["launches"], counts["syncs"])

The environment chooses how it runs:

    GPU_EMULATOR_CHECK=0    kernels run without a check of each access to memory: much faster
    GPU_EMULATOR_ORDER=7    blocks and threads run in an order drawn from 7 (unset: in order)
    GPU_EMULATOR_POOL=1     CuPy's pool stays (unset: each array is fenced and starts as 0xFF)
    GPU_EMULATOR_KERNELS=…  the folder that keeps compiled kernels (unset: beside this file)
"""

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
is_checked = os.environ.get("GPU_EMULATOR_CHECK", "1") != "0"
NAMES = [
    "launches",
    "host_to_device",
    "device_to_host",
    "device_to_device",
    "memsets",
    "syncs",
    "allocations",
]


class _Counters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in NAMES]


def _load(name):
    """CuPy then finds this library instead of the one it would look for by that name."""
    return ctypes.CDLL(str(HERE / "lib" / name), ctypes.RTLD_GLOBAL)


driver = _load("libcuda.so.1")  # first: the others use it
runtime = _load("libcudart_emulated.so")
_load("libcublasLt.so.13")
_load("libcublas.so.13")
_counters = _Counters.in_dll(runtime, "emulator_counters")


def counters():
    """All counts since the program began, by name.

    A launch is one kernel, matrix product or sort. `device_to_device` are copies; memsets are
    apart.
    """
    return {name: getattr(_counters, name) for name in NAMES}


@contextmanager
def counted():
    """A dict that holds, once the block is left, what was counted inside it."""
    before = counters()
    inside = {}
    yield inside
    inside |= {name: count - before[name] for name, count in counters().items()}


def launches_by_kernel():
    """Kernel's name → launches since the program began, the most launched first."""
    found = {}

    @ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_long)
    def visit(name, count):
        found[name.decode()] = count

    driver.emulator_each_kernel(visit)
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def count_launch():
    """Count a launch that is played in Python (sorting.py)."""
    _counters.launches += 1


def wrote(pointer, size):
    """Note what Python has written in the device's memory."""
    runtime.emulator_wrote(ctypes.c_void_p(pointer), ctypes.c_size_t(size))
