"""Compiles CuPy's kernels with g++ in place of NVRTC.

The compiled kernel is a shared library; what CuPy takes for machine code is the path of that file.
"""

import hashlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from cupy.cuda import compiler, nvrtc

from . import HERE, is_checked

FLAGS = ["-std=c++17", "-O1", "-w", "-fpermissive", "-fPIC"]
# A call before each access to memory, which native/accesses.cpp answers; not the library that the
# option is for.
CHECKED = ["-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0", "-nodefaultlibs"]
HEADERS = HERE / "device"
if is_checked:
    FLAGS += CHECKED
KERNELS = Path(os.environ.get("GPU_EMULATOR_KERNELS", HERE / "kernels"))

BOUNDS = r"(?:__launch_bounds__\s*\([^)]*\)\s*)?"
KERNEL = re.compile(
    r"(template\s*<[^;{}]*>\s*)?"
    rf'(?:extern\s+"C"\s*)?__global__\s+{BOUNDS}void\s+{BOUNDS}(\w+)\s*\('
)
COMPLEX = re.compile(r"CArray<\s*(thrust::)?complex<")
DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\([^)]*\)\s*)?([\w:<> ]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
HEADERS_KEY = b"".join(
    path.read_bytes() for path in sorted(HEADERS.rglob("*")) if path.suffix in (".h", ".cuh")
)


def translate(source, name_expressions):
    """CUDA C++ as g++ takes it, and each name of a kernel → the name to look it up by."""
    code = DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)emulator_dynamic_shared;", source)
    plain = {name: name for template, name in KERNEL.findall(source) if not template}
    looked_up = {wanted: f"instance_{i}" for i, wanted in enumerate(name_expressions)}
    for kernel, name in (plain | looked_up).items():
        thread = f"emulated_call_{name}(void** arguments)"
        code += f'\nextern "C" void {thread} {{ emulated::call({kernel}, arguments); }}\n'
    return code, looked_up or plain


def compile_kernel(
    source, options=(), arch=None, filename="kern.cu", name_expressions=None, *_, **__
):
    """The path of the compiled library, as bytes that end in a zero, and its kernels' names."""
    if COMPLEX.search(source):
        raise compiler.CompileException(
            "complex arrays are not emulated", source, filename, options, "g++"
        )
    code, names = translate(source, name_expressions or ())
    options = [option for option in options if option.startswith(("-I", "-D"))]
    parts = [code.encode(), HEADERS_KEY, *map(os.fsencode, FLAGS + options)]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    library = KERNELS / f"{key}.so"
    if not library.exists():
        KERNELS.mkdir(parents=True, exist_ok=True)
        keep_source(library.with_suffix(".cu"), source, options)
        call_compiler(code, options, library)
    return os.fsencode(library) + b"\0", names


def keep_source(path, source, options):
    """What compile_with_nvrtc.py reads: the options in a first line, then the source."""
    path.write_text(f"// {json.dumps(options)}\n{source}", encoding="utf-8")


def call_compiler(code, options, library):
    """Make the library whole or not at all: other processes may be at the same kernel."""
    with tempfile.TemporaryDirectory(dir=KERNELS) as folder:
        text = Path(folder, library.stem + ".cpp")
        text.write_text(code, encoding="utf-8")
        made = Path(folder, "kernel.so")
        headers = ["-include", "emulated_device.h", f"-I{HEADERS}"]
        command = ["g++", *FLAGS, "-shared", *headers, *options, text, "-o", made]
        result = subprocess.run(command, capture_output=True, encoding="utf-8")
        if result.returncode:
            raise compiler.CompileException(result.stderr, code, str(text), options, "g++")
        made.rename(library)


def precompile_header():
    """Compile what stands before every kernel, which halves the time that one takes."""
    header = HEADERS / "emulated_device.h"
    folder = Path(f"{header}.gch")  # of which g++ takes what fits its options
    folder.mkdir(exist_ok=True)
    made = folder / ("checked" if is_checked else "plain")
    subprocess.run(["g++", *FLAGS, "-x", "c++-header", header, "-o", made], check=True)


def install():
    """Replace the places where CuPy asks for NVRTC."""
    compiler._compile_using_nvrtc_no_warning = compile_kernel
    compiler.compile_using_nvrtc = compile_kernel
    compiler._preprocess = lambda *_, **__: ""
    nvrtc.getVersion = lambda: (13, 0)
    compiler._get_nvrtc_version = lambda: (13, 0)
    compiler._get_arch = lambda: "80"
    compiler._get_arch_for_options_for_nvrtc = lambda arch=None: ("-arch=sm_80", "cubin")


if __name__ == "__main__":
    precompile_header()
