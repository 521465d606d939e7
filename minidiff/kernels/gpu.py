"""CuPy's arrays as a backend: the kernels of `cuda`, on a CUDA device.

Nothing but these two knows of CuPy.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import cache

from . import Backend, register

INSTALL = 'type: pip install "minidiff[cuda]", or "minidiff[cuda12]" for CUDA 12'


@cache
def load() -> str:
    """Register `cupy.ndarray` as device "cuda"; give the reason if that cannot be done, else "".

    CuPy imports on machines without a driver, so the device itself is asked for, and then the
    libraries that CuPy brings only where it is installed with its option [ctk].
    """
    try:
        import cupy
    except ModuleNotFoundError:
        return f"CuPy is not installed; {INSTALL}"
    except ImportError as error:
        return f"CuPy is installed, but cannot be imported: {_first_line(error)}"
    if not cupy.is_available():
        return "CuPy is installed, but finds no CUDA driver or device"
    try:
        cupy.cuda.nvrtc.getVersion()
        cupy.cuda.device.get_cublas_handle()
    except (ImportError, RuntimeError) as error:
        return f"CuPy finds a device, but not all it needs ({_first_line(error)}); {INSTALL}"
    register(Backend(cupy.ndarray, "cuda", cupy, _kernels, cupy.asarray, cupy.asnumpy))
    return ""


def description() -> str:
    """What the device is, such as "NVIDIA H200, 139 GiB, sm_90, CUDA 13.0, CuPy 14.2.0"."""
    import cupy

    device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    size = f"{device['totalGlobalMem'] / 2**30:.0f} GiB"
    version = cupy.cuda.runtime.driverGetVersion()
    parts = [
        device["name"].decode(),
        size,
        f"sm_{device['major']}{device['minor']}",
        f"CUDA {version // 1000}.{version % 1000 // 10}",
        f"CuPy {cupy.__version__}",
    ]
    return ", ".join(parts)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _kernels() -> Mapping[str, Callable]:
    return importlib.import_module("minidiff.kernels.cuda").KERNELS
