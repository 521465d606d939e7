"""Has the real NVRTC compile every kernel of minidiff's that the emulator has met.

    build/gpu/run tests/standins/gpu/compile_with_nvrtc.py 75 90    # for these architectures

It needs no GPU; run the tests before. g++ takes some sources that NVRTC refuses. Templates are only
parsed. NVRTC is called directly: it crashes in a process that has loaded the emulated driver.
"""

import ctypes
import importlib.util
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

SITE = Path(importlib.util.find_spec("gpu_emulator").origin).parent.parent
KERNELS = Path(os.environ.get("GPU_EMULATOR_KERNELS", SITE / "gpu_emulator/kernels"))
# Those that CuPy writes, and the tests' own.
OTHERS = re.compile(r"__global__\s+void\s+(cupy_|tests_)")


def load_nvrtc():
    library = SITE / "nvidia/cu13/lib/libnvrtc.so.13"
    if not library.exists():
        raise SystemExit(f"NVRTC is missing: {library}")
    return ctypes.CDLL(str(library))


def refusal(nvrtc, path, architecture):
    """What NVRTC says against the kernel in that file; "" for nothing."""
    first, source = path.read_text(encoding="utf-8").split("\n", 1)
    options = json.loads(first.removeprefix("// "))
    options += [f"-arch=sm_{architecture}", "-default-device"]
    words = (ctypes.c_char_p * len(options))(*map(os.fsencode, options))
    program = ctypes.c_void_p()
    size = ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    failed = nvrtc.nvrtcCompileProgram(program, len(options), words)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return (log.value.decode() or f"error {failed}") if failed else ""


def main():
    nvrtc = load_nvrtc()
    architectures = sys.argv[1:] or ["75"]
    paths = sorted(KERNELS.glob("*.cu"))
    ours = [path for path in paths if not OTHERS.search(path.read_text(encoding="utf-8"))]
    work = list(product(ours, architectures))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda part: refusal(nvrtc, *part), work))
    refused = [
        (path, architecture, said) for (path, architecture), said in zip(work, found) if said
    ]
    for path, architecture, said in refused:
        print(f"{path.name} for sm_{architecture}: {said[:500]}")
    print(f"{len(ours)} kernels for sm_{', sm_'.join(architectures)}: {len(refused)} refused")
    raise SystemExit(bool(refused) or not ours)


if __name__ == "__main__":
    main()
