"""Builds CuPy for a GPU that is played on the CPU, so that CUDA code runs without one.

    python tests/standins/gpu/build.py               # under a minute; makes build/gpu
    build/gpu/run -m pytest -m "gpu or emulator"     # the tests of what runs on a device

Everything is made in one folder, from the package registry (through pip) and the sources beside
this file. What is there already is kept; run it again after a change here, which takes seconds.
README.md says how it works and what it proves.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
CUPY = "14.2.0"
PACKAGES = [
    f"cupy-cuda13x=={CUPY}",
    "cuda-pathfinder==1.*",
    "Cython==3.2.4",
    "nvidia-cuda-runtime==13.0.*",  # these three bring CUDA's headers
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-profiler-api==13.0.*",
    "nvidia-cuda-nvrtc==13.*",
]
SOURCES = [*HERE.glob("native/*"), *HERE.glob("device/*.h")]
# What CuPy links to and nobody wrote.
STUB = """
extern "C" int {name}(void) {{
  fprintf(stderr, "gpu-emulator: {name} is not emulated\\n");
  return {error};
}}
"""
START = """#!/bin/sh
export PYTHONPATH="{site}${{PYTHONPATH:+:$PYTHONPATH}}"
exec "{python}" "$@"
"""


def run(*parts: str | Path, env: dict | None = None, cwd: Path | None = None) -> str:
    """Runs a command, or ends the program with what it said. A string is split into words."""
    command: list[str] = []
    for part in parts:
        command += part.split() if isinstance(part, str) else [str(part)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", env=env, cwd=cwd)
    if result.returncode:
        said = result.stdout[-2000:] + result.stderr[-4000:]
        sys.exit(f"build.py: this failed: {' '.join(command)}\n{said}")
    return result.stdout


def check_machine() -> None:
    """Ends the program where something is missing that pip cannot bring."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        sys.exit("build.py: needs Linux on x86-64: fibres switch stacks in its assembly")
    for tool, package in {"g++": "g++", "nm": "binutils"}.items():
        if not shutil.which(tool):
            sys.exit(f"build.py: found no {tool}; install it (Debian: apt install {package})")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.exit("build.py: found no Python.h; install it (Debian: apt install python3-dev)")


def outdated(made: Path, *sources: Path) -> bool:
    """Whether the file is missing, or older than one of those that it is made from."""
    if not made.exists():
        return True
    return made.stat().st_mtime < max(source.stat().st_mtime for source in sources)


def install(target: Path) -> Path:
    """The folder of packages that stands before the others in the path of the one who runs it."""
    site = target / "site"
    installed = target / "installed"
    wanted = "\n".join(PACKAGES)
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(site, ignore_errors=True)
        pip = "-m pip install --quiet --disable-pip-version-check --no-deps --target"
        run(Path(sys.executable), pip, site, *PACKAGES)
        installed.write_text(wanted, encoding="utf-8")
    return site


def download_source(target: Path) -> Path:
    """CuPy's source, unpacked.

    pip runs its set-up to read the package's name, and that fails where CUDA's libraries are not
    installed, unless READTHEDOCS=True.
    """
    source = target / f"cupy-{CUPY}"
    if not source.exists():
        pip = f"-m pip download --quiet --no-deps --no-binary cupy cupy=={CUPY} --dest"
        run(Path(sys.executable), pip, target, env=os.environ | {"READTHEDOCS": "True"})
        with tarfile.open(target / f"cupy-{CUPY}.tar.gz") as archive:
            archive.extractall(target / "unpacking", filter="data")
        # whole or not at all
        (target / "unpacking" / source.name).rename(source)
    return source


def symbols(options: str, path: Path, prefix: str) -> set[str]:
    """The names in an object file or library that begin with the prefix."""
    lines = run("nm", options, path).splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines if line}
    return {name for name in names if name.startswith(prefix)}


def link(library: Path, sources: list[str], needed: set[str], error: int, build: Path) -> None:
    """Compiles a library that stands in for one of CUDA's.

    Functions that are needed and not written become stubs, which give that error.
    """
    headers = library.parents[2] / "nvidia/cu13/include"
    objects = []
    for name in sources:
        made = build / f"{name}.o"
        objects.append(made)
        if outdated(made, *SOURCES):
            source = HERE / f"native/{name}.cpp"
            run("g++ -std=c++17 -O3 -march=native -fPIC -I", headers, "-c", source, "-o", made)
    written = set().union(*(symbols("--defined-only", made, "cu") for made in objects))
    stubs = build / f"{library.name}_stubs.cpp"
    functions = [STUB.format(name=name, error=error) for name in sorted(needed - written)]
    stubs.write_text("#include <stdio.h>\n" + "".join(functions), encoding="utf-8")
    # CuPy asks for cuBLAS's names with the library's name as their version.
    versions = build / f"{library.name}.map"
    text = f"{library.name} {{ global: cu*; emulator_*; __tsan_*; local: *; }};\n"
    versions.write_text(text, encoding="utf-8")
    names = f"-Wl,-rpath,$ORIGIN -Wl,-soname,{library.name} -Xlinker --version-script -Xlinker"
    others = "-ldl" if "cudart" in library.name else "-ldl -lcudart_emulated"
    parts = [*objects, stubs, "-L", library.parent, others, names, versions]
    run("g++ -O1 -fPIC -shared -o", library, *parts)


def compile_runtime(source: Path, site: Path, build: Path) -> Path:
    """CuPy's module for the CUDA runtime, compiled again: the wheel's has the real one inside."""
    pyx = source / "cupy_backends/cuda/api/runtime.pyx"
    text = build / "cupy_runtime.cpp"
    if outdated(text, pyx):
        names = "CUPY_USE_CUDA_PYTHON=False,CUPY_CUDA_VERSION=13000,CUPY_HIP_VERSION=0"
        options = f"-m cython -3 --cplus -X embedsignature=True -E {names} --module-name"
        module = f"cupy_backends.cuda.api.runtime -I {source}"
        path = os.environ | {"PYTHONPATH": str(site)}
        run(Path(sys.executable), "-S", options, module, pyx, "-o", text, env=path)
    made = build / "cupy_runtime.o"
    if outdated(made, text):
        options = "g++ -std=c++17 -O1 -w -fPIC -c -I"
        python = Path(sysconfig.get_path("include"))
        headers = site / "nvidia/cu13/include"
        run(options, python, "-I", headers, "-I", pyx.parent, text, "-o", made)
    return made


def copy_package(site: Path) -> Path:
    """The emulator's own Python and headers, into the folder of packages."""
    package = site / "gpu_emulator"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE / "python", package, dirs_exist_ok=True, ignore=ignore)
    shutil.rmtree(package / "device", ignore_errors=True)  # with what was compiled of it
    shutil.copytree(HERE / "device", package / "device")
    shutil.copy(HERE / "sitecustomize.py", site)
    return package


def link_libraries(site: Path, package: Path, runtime: Path, build: Path) -> None:
    """CUDA's libraries, and CuPy's runtime module, which uses them in place of the real ones."""
    library = package / "lib"
    library.mkdir(exist_ok=True)
    cublas = next((site / "cupy_backends/cuda/libs").glob("cublas.*.so"))
    of_runtime = symbols("--undefined-only", runtime, "cuda")
    of_cublas = symbols("-D --undefined-only", cublas, "cublas")
    link(library / "libcudart_emulated.so", ["memory", "runtime"], of_runtime, 801, build)
    link(library / "libcuda.so.1", ["driver", "threads", "accesses"], set(), 801, build)
    link(library / "libcublas.so.13", ["blas"], of_cublas, 15, build)
    link(library / "libcublasLt.so.13", [], {"cublasLtGetVersion"}, 15, build)
    module = next((site / "cupy_backends/cuda/api").glob("runtime.*.so"))
    options = "-lcudart_emulated -Xlinker -rpath -Xlinker"
    run("g++ -shared", runtime, "-o", module, "-L", library, options, library)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    place = ROOT / "build/gpu"
    parser.add_argument("target", type=Path, nargs="?", default=place, help="the folder to make")
    target = parser.parse_args().target.resolve()
    began = time.time()

    def say(what: str) -> None:
        print(f"{time.time() - began:4.0f} s  {what}", flush=True)

    check_machine()
    build = target / "objects"
    build.mkdir(parents=True, exist_ok=True)
    say("fetching CuPy, its source, and CUDA's headers")
    with ThreadPoolExecutor() as pool:
        packages = pool.submit(install, target)
        sources = pool.submit(download_source, target)
        site = packages.result()
        source = sources.result()
    say("compiling CuPy's runtime module")
    runtime = compile_runtime(source, site, build)
    say("compiling the emulated libraries")
    package = copy_package(site)
    link_libraries(site, package, runtime, build)
    say("compiling the header of all kernels in advance")
    start = target / "run"
    start.write_text(START.format(site=site, python=sys.executable), encoding="utf-8")
    start.chmod(0o755)
    for check in ("0", "1"):
        environment = os.environ | {"GPU_EMULATOR_CHECK": check}
        run(start, "-m gpu_emulator.compiler", env=environment)
    say(f"done; run a program with: {start} program.py")


if __name__ == "__main__":
    main()
