"""Patches CuPy at its first import, so that programs need not know of the emulator.

build.py puts this where Python imports it as it starts.
"""

import importlib
import importlib.util
import os
import sys


class CupyFinder:
    """Finds CuPy where it is, and makes its import end with the emulator's patches."""

    def find_spec(self, name, path=None, target=None):
        if name != "cupy":
            return None
        sys.meta_path.remove(self)
        os.environ["CUPY_ACCELERATORS"] = ""  # the reductions of CUB are machine code
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # compiler.py keeps a cache of its own
        importlib.import_module("gpu_emulator")  # has the libraries that CuPy is to look for
        spec = importlib.util.find_spec("cupy")
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            importlib.import_module("gpu_emulator.compiler").install()
            importlib.import_module("gpu_emulator.sorting").install()
            importlib.import_module("gpu_emulator.linalg").install()
            if os.environ.get("GPU_EMULATOR_POOL", "0") in ("", "0"):
                module.cuda.set_allocator(None)

        spec.loader.exec_module = execute_and_patch
        return spec


sys.meta_path.insert(0, CupyFinder())
