"""CuPy's arrays as a backend: the kernels of `cuda`, on a CUDA device.

Nothing but these two knows of CuPy.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import cache

from . import Backend, register


@cache
def load() -> str:
    """Register `cupy.ndarray` as device "cuda"; give the reason if that cannot be done, else "".

    CuPy imports on machines without a driver, so the device itself is asked for.
    """
    try:
        import cupy
    except ImportError:
        return (
            "CuPy is not installed; for CUDA 12 type: pip install cupy-cuda12x (13: cupy-cuda13x)"
        )
    if not cupy.is_available():
        return "CuPy is installed, but finds no CUDA driver or device"
    register(Backend(cupy.ndarray, "cuda", cupy, _kernels, cupy.asarray, cupy.asnumpy))
    return ""


def _kernels() -> Mapping[str, Callable]:
    return importlib.import_module("minidiff.kernels.cuda").KERNELS
