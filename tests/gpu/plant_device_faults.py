"""Plants faults that are typical of device code, one at a time, and sees whether they are noticed.

    build/gpu/run tests/gpu/plant_device_faults.py              all of them, on all cores
    build/gpu/run tests/gpu/plant_device_faults.py --every 5    a fifth of them

Faults are planted in the texts of the kernels in CUDA C++ and in the Python around them: a barrier
is left out, a bound is one off, the wrong axis of threads or blocks is asked, everyone writes what
one is to write, memory is taken as if it lay in order, … (`IN_KERNELS`, `AROUND`). Each time a case
of `test_kernels` must be red: wrong numbers, or what the emulated device has noticed.

Prints what went unseen, and exits with 1 then.
"""

import argparse
import importlib
import inspect
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import FunctionType
from typing import NamedTuple

import numpy as np

# The faulty kernels are compiled into a folder of their own. Processes that plant inherit it.
os.environ.setdefault("GPU_EMULATOR_KERNELS", tempfile.mkdtemp(prefix="planted-"))
sys.path.insert(0, str(Path(__file__).parent))
import test_kernels as tests

from minidiff import kernels
from minidiff.kernels.cuda import KERNELS
from minidiff.kernels.cuda.source import Kernel

# what is done → where, and what stands there then
IN_KERNELS = {
    "a barrier is missing": (r"__syncthreads\(\);", ""),
    "one too many": (r" < (?=\w)", " <= "),
    "one too few": (r"(?<=; )(\w+) < ([\w.]+)(?=;)", r"\1 + 1 < \2"),
    "another axis of threads": (r"threadIdx\.x", "threadIdx.y"),
    "the other axis of threads": (r"threadIdx\.y", "threadIdx.x"),
    "the other axis of blocks": (r"blockIdx\.x", "blockIdx.y"),
    "the same block for all": (r"blockIdx\.\w", "0"),
    "all threads do all": (r"\+= blockDim\.\w", "+= 1"),
    "everyone writes": (r"if \(threadIdx[^\n]*\) (?=\w)", ""),
    "a sum begins with 1": (r"(?<=\bsum) = 0", " = 1"),
    "a sum keeps the last": (r"(?<=sum) \+= ", " = "),
    "the place after it": (r"(?<=\w)\[(?!256)([^\[\]]+)\](?! =)", r"[\1 + 1]"),
    "written to the place after it": (r"(?<=\w)\[(?!256)([^\[\]]+)\](?= =)", r"[\1 + 1]"),
    "what is null is read": (r"(\w+) \? (\1\[\w+\]) : T\(0\)", r"\2"),
    "outside is read": (r"inside \? ", "true ? "),
    "rows and columns change places": (r"\bk\.(taps|stride|padding|dilation)_y", r"k.\1_x"),
}
AROUND = {
    "taken as if it lay in order": (r"\bcontiguous\(", "("),
    "the last block is missing": (r"-\(-(\w+) // (\w+)\)", r"(\1 // \2)"),
    "one block too few": (r"\[batch \* (\w+)\]", r"[batch * \1 - 1]"),
    "ids of another size": (r'ids\.astype\("i8", copy=False\)', 'ids.astype("i4")'),
    "blocks too large": (r"THREADS // 32\b", "THREADS // 4"),
}

# Changes that change no result, and why.
EQUIVALENT = {
    ("layers: _as_matrix", "taken as if it lay in order"): "`reshape` copies what does not",
    ("convolution: _as_matrix", "taken as if it lay in order"): "`reshape` copies what does not",
    ("attention: _heads", "taken as if it lay in order"): "cuBLAS takes strides",
    ("source: sum_columns", "taken as if it lay in order"): "who calls it gives what does",
    ("attention: _block", "the last block is missing"): "fewer threads do all of it",
    ("convolution: _threads", "the last block is missing"): "fewer threads do all of it",
    (
        "source: sum_columns",
        "the last block is missing: height = -(-rows // MOST_SLICES)",
    ): "the slices are more and lower",
    (
        "norm: group_norm_grads",
        "one too many: for (long long next = 0; next < depth; next += blockDim.x) {",
    ): "in the last round no channel is anyone's",
}


class Fault(NamedTuple):
    place: str  # the module, and the function or text
    what: str
    line: str
    patches: list  # (owner, name, value)


@cache
def modules() -> dict:
    names = sorted({*KERNELS.data.values(), "source"})
    return {name: importlib.import_module(f"minidiff.kernels.cuda.{name}") for name in names}


def edited(text: str, edits: dict) -> Iterator[tuple[str, str, str]]:
    """(what, the line, the text with one place changed), for every place that an edit fits."""
    for what, (pattern, replacement) in edits.items():
        for match in re.finditer(pattern, text):
            changed = text[: match.start()] + match.expand(replacement) + text[match.end() :]
            begin = text.rfind("\n", 0, match.start()) + 1
            line = text[begin : text.find("\n", match.start())].strip()
            if not line.startswith(("//", "def ")):
                yield what, line, changed


def own_part(kernel: Kernel) -> str:
    """The function that the kernel is, of a text that may hold others."""
    begin = kernel.text.rindex("__global__", 0, kernel.text.index(f"void {kernel.name}("))
    end = kernel.text.index("\n}\n", begin)
    return kernel.text[begin:end]


def shared_parts(text: str) -> str:
    """What stands in a text beside its kernels: functions and types that they use."""
    return re.sub(r'extern "C" __global__.*?\n}\n', "", text, flags=re.DOTALL)


def faults_in_kernels() -> Iterator[Fault]:
    every = [
        (module, name, kernel)
        for module, content in modules().items()
        for name, kernel in vars(content).items()
        if isinstance(kernel, Kernel)
    ]
    met = set()
    for module, _, kernel in every:
        part = own_part(kernel)
        if part in met:
            continue
        met.add(part)
        twins = [k for _, _, k in every if part in k.text]
        for what, line, changed in edited(part, IN_KERNELS):
            patches = [(k, "text", k.text.replace(part, changed)) for k in twins]
            yield Fault(f"{module}: {kernel.name}", what, line, patches)
    for module, _, kernel in every:
        for part in re.findall(
            r"\n(?:__device__|struct Channel).*?\n}", shared_parts(kernel.text), re.DOTALL
        ):
            if part in met:
                continue
            met.add(part)
            users = [k for _, _, k in every if part in k.text]
            for what, line, changed in edited(part, IN_KERNELS):
                patches = [(k, "text", k.text.replace(part, changed)) for k in users]
                yield Fault(f"{module}: what its kernels share", what, line, patches)


def faults_around() -> Iterator[Fault]:
    for module, content in modules().items():
        for name, function in vars(content).items():
            if isinstance(function, FunctionType) and function.__module__ == content.__name__:
                for what, line, changed in edited(inspect.getsource(function), AROUND):
                    made = dict(vars(content))
                    exec(compile(changed, content.__file__, "exec"), made)
                    faulty = FunctionType(made[name].__code__, vars(content), name)
                    faulty.__defaults__ = function.__defaults__
                    faulty.__kwdefaults__ = function.__kwdefaults__
                    homes = [m for m in modules().values() if vars(m).get(name) is function]
                    patches = [(home, name, faulty) for home in homes]
                    yield Fault(f"{module}: {name}", what, line, patches)


@cache
def all_faults() -> list[Fault]:
    every = [*faults_in_kernels(), *faults_around()]
    return [fault for fault in every if not is_equivalent(fault)]


def is_equivalent(fault: Fault) -> bool:
    told = {(fault.place, fault.what), (fault.place, f"{fault.what}: {fault.line}")}
    return bool(told & EQUIVALENT.keys())


# --- whether they are seen ---


def forget() -> None:
    for content in modules().values():
        for value in vars(content).values():
            if isinstance(value, Kernel):
                value.compiled.clear()
    kernels.forget()


def cases() -> Iterator[tuple]:
    for room in tests.ROOMS:
        yield from room()


def users(place: str) -> set[str]:
    """The kernels of the module that a place is in; all that sum, where it is what they share."""
    module = place.partition(":")[0]
    if module == "source" or "share" in place:
        pointwise = {name for name, home in KERNELS.data.items() if home == "pointwise"}
        return set(KERNELS.data) - pointwise | {"mse_loss"}
    return {name for name, home in KERNELS.data.items() if home == module}


def seen(wanted: set[str]) -> bool:
    """Whether a case of one of these kernels is red, in an order that is drawn."""
    os.environ["GPU_EMULATOR_ORDER"] = "1"
    tests.rng = np.random.default_rng(0)
    for name, operands, statics in cases():
        if name not in wanted:
            continue
        for lay in (tests.in_order, tests.apart):
            try:
                tests.check(name, operands, statics, np.float64, lay)
            except Exception:
                return True
    return False


def is_seen(number: int) -> bool:
    fault = all_faults()[number]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in fault.patches]
    try:
        for owner, name, value in fault.patches:
            setattr(owner, name, value)
        forget()
        return seen(users(fault.place))
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        forget()


def be_quiet() -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="plant one in so many (default: 1)")
    start = time.perf_counter()
    be_quiet()
    numbers = range(0, len(all_faults()), parser.parse_args().every)
    if seen(set(KERNELS.data)):
        print("red without a fault")
        return 1
    with ProcessPoolExecutor(initializer=be_quiet, mp_context=get_context("spawn")) as pool:
        red = list(pool.map(is_seen, numbers))
    shutil.rmtree(os.environ["GPU_EMULATOR_KERNELS"])
    unseen = [all_faults()[number] for number, is_red in zip(numbers, red) if not is_red]
    for fault in unseen:
        print(f"unseen  {fault.place}: {fault.what}: {fault.line}")
    for what, count in Counter(all_faults()[number].what for number in numbers).items():
        print(f"{count:4} × {what}")
    print(f"{len(numbers)} planted; {len(unseen)} unseen; {time.perf_counter() - start:.0f} s")
    return 1 if unseen or len(numbers) < 20 else 0


if __name__ == "__main__":
    sys.exit(main())
