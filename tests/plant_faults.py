"""Plants faults in the derivatives, one at a time, and sees whether the tests notice them.

    python tests/plant_faults.py [name of a row …]

Faults are planted in

    every rule         its sign and a factor of two (a joint rule's gradients one by one); faults in
                       its source and in that of the private functions that it calls
    every reference    the same: it is what is differentiated for a second derivative
    every way forward  the sign and a factor of two of the tangent; faults in the source of a
                       forward rule
    every kernel       of `generic`, the loops and the CPU's, and those that a primitive brings
                       along: each result's sign, all or the last of it lost; and faults in the
                       source of what is plain Python

`mutants` says what a fault in a source is. Each time the operation's own row of `OPS` must be red,
or for a kernel that no operation uses its check in `test_updates`.

Prints what went unseen, and what has fewer than two faults, and exits with 1 then.
"""

import ast
import importlib
import inspect
import os
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "kernels"))
from mutants import (
    at_argument,
    at_output,
    doubled,
    flipped,
    mutants,
    without_last,
    written,
    zeroed,
)
from ops_table import OPS
from ops_table.row import primitives
from test_updates import CHECKS

import minidiff
from minidiff import kernels
from minidiff.kernels import generic
from minidiff.testing import promises

DERIVATIVES = promises.first_derivative, promises.forward_derivative, promises.second_derivative
QUICK = promises.values, promises.dtypes, *DERIVATIVES

# Changes of a source that change no result, and why.
EQUIVALENT = {
    ("generic: mse_loss", "'x - y' becomes 'y - x'"): "the difference is squared",
}
_BELL = "'x * 16' becomes 'x'", "'xp.round(x * 16) / 16' becomes '16 / xp.round(x * 16)'"
for _kernel in ("erfc", "inverse_mills"):
    for _what in _BELL:
        EQUIVALENT[f"generic: {_kernel}", f"_bell: {_what}"] = "any head will do, to rounding"
for _kernel in ("erfc", "inverse_mills", "log_ndtr"):
    _what = "_scaled_erfc: '1 - xp.exp(-turns)' becomes '1'"
    EQUIVALENT[f"generic: {_kernel}", _what] = (
        "what it changes is below the digits that are compared"
    )

HANDS_ON = {"generic: ema_all"}  # it calls `ema` for each, and has little of its own


class Fault(NamedTuple):
    place: str  # the rule, reference, way forward or kernel
    row: str  # of `OPS` or `CHECKS`, that must be red
    what: str
    planted: AbstractContextManager  # it holds inside


# --- what needs faults ---


def places() -> set[str]:
    """All that can have a fault, as faults name it: from the tables, not from the faults.

    Kernels are what the sets offer, what primitives bring along, and whatever name the package's
    source has in `call("…")`.
    """
    found = set()
    for name, primitive in primitives().items():
        found.update(f"{name}: rule for {of}" for of in differentiated(name))
        if primitive.reference:
            found.add(f"{name}: reference")
        if primitive.forward and primitive.rules:
            found.add(f"{name}: forward")
        if primitive.kernel:
            found.add(f"{name}: own kernel")
    for setting, names in kernels_of_sets().items():
        found.update(f"{setting}: {name}" for name in names)
    return found


def differentiated(name: str) -> list[str]:
    """The operands of a primitive that have a rule of their own, or a share in a joint one."""
    primitive = primitives()[name]
    if not primitive.joint:
        return list(primitive.rules)
    return [of for k, of in enumerate(primitive.operands) if k not in primitive.takes_integers]


@cache
def kernels_of_sets() -> dict[str, list[str]]:
    """The names of the kernels that each set has itself."""
    named = {name for name, primitive in primitives().items() if not primitive.kernel}
    for path in Path(minidiff.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("call", "kernels.call"):
                named.update(arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))
    sets = {"generic": sorted(name for name in named if hasattr(generic, name))}
    for setting, module in kernels.SETS.items():
        if module:
            sets[setting] = sorted(importlib.import_module(module).KERNELS)
    return sets


def too_few(faults: list[Fault]) -> list[str]:
    """The places that have fewer than two different faults."""
    different = defaultdict(set)
    for fault in faults:
        different[fault.place].add(fault.what)
    return sorted(place for place in places() - HANDS_ON if len(different[place]) < 2)


# --- planting ---


@contextmanager
def replaced(owner: object, name: str, value: object, setting: str = "vector"):
    """Something else under that name, an attribute or a key; that set of kernels is chosen."""
    is_table = isinstance(owner, dict)
    put = owner.__setitem__ if is_table else partial(setattr, owner)
    before = owner[name] if is_table else getattr(owner, name)
    chosen = os.environ.get("MINIDIFF_KERNELS")
    put(name, value)
    os.environ["MINIDIFF_KERNELS"] = setting
    forget()
    try:
        yield
    finally:
        put(name, before)
        os.environ.pop("MINIDIFF_KERNELS")
        if chosen:
            os.environ["MINIDIFF_KERNELS"] = chosen
        forget()


def forget() -> None:
    """Have kernels and rules looked up again."""
    kernels.forget()
    for primitive in primitives().values():
        primitive.recipes.clear()


def helpers(f: FunctionType, wanted: Callable[[str], bool]) -> dict[str, FunctionType]:
    """The wanted functions of the same file that f calls, and those that they call."""
    found: dict[str, FunctionType] = {}
    todo = [f]
    while todo:
        caller = todo.pop()
        for name in sorted(_names(caller.__code__)):
            value = caller.__globals__.get(name)
            value = getattr(value, "py_func", value)  # what Numba has compiled
            if not isinstance(value, FunctionType) or not wanted(name) or name in found:
                continue
            if value.__code__.co_filename == f.__code__.co_filename:
                found[name] = value
                todo.append(value)
    return found


def is_private(name: str) -> bool:
    return name.startswith("_")


def _names(code: CodeType) -> set[str]:
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def _strings(code: CodeType) -> set[str]:
    inner = [_strings(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {part for part in code.co_consts if isinstance(part, str)}.union(*inner)


# --- faults ---


def faults_of_rules() -> Iterator[Fault]:
    for name, primitive in primitives().items():
        for of, rule in list(primitive.rules.items()):
            put = partial(replaced, primitive.rules, of)
            for operand in differentiated(name) if of == "joint" else [of]:
                k = primitive.operands.index(operand) if of == "joint" else None
                place = f"{name}: rule for {operand}"
                for change in (flipped, doubled):
                    yield Fault(place, name, change.__name__, put(at_output(rule, k, change)))
            yield from faults_of_source(f"{name}: rule for {of}", name, rule, put)


def faults_of_references() -> Iterator[Fault]:
    for name, primitive in primitives().items():
        if primitive.reference:
            place = f"{name}: reference"
            put = partial(replaced, primitive, "reference")
            for change in (flipped, doubled):
                faulty = at_output(primitive.reference, None, change)
                yield Fault(place, name, change.__name__, put(faulty))
            yield from faults_of_source(place, name, primitive.reference, put)


def faults_of_forward() -> Iterator[Fault]:
    for name, primitive in primitives().items():
        if primitive.forward and primitive.rules:
            place = f"{name}: forward"
            for change in (flipped, doubled):
                faulty = at_output(primitive.jvp, None, change)
                yield Fault(place, name, change.__name__, replaced(primitive, "jvp", faulty))
        if callable(primitive.forward):
            put = partial(replaced, primitive, "forward")
            yield from faults_of_source(place, name, primitive.forward, put)


def faults_of_source(
    place: str,
    row: str,
    f: FunctionType,
    put: Callable,
    wanted: Callable[[str], bool] = is_private,
    setting: str = "vector",
) -> Iterator[Fault]:
    """Those in f and in the functions of its file that it calls, if their names are wanted."""
    for what, mutant in mutants(f):
        yield Fault(place, row, what, put(mutant))
    for helper, function in helpers(f, wanted).items():
        home = sys.modules[function.__module__]
        for what, mutant in mutants(function):
            yield Fault(place, row, f"{helper}: {what}", replaced(home, helper, mutant, setting))


def faults_of_kernels() -> Iterator[Fault]:
    for name, primitive in primitives().items():
        if primitive.kernel:
            for k in [0, 1] if primitive.has_aux else [None]:
                for change in (flipped, zeroed, without_last):
                    what = change.__name__ + f", output {k}" * (k is not None)
                    faulty = at_output(primitive.kernel, k, change)
                    planted = replaced(primitive, "kernel", faulty)
                    yield Fault(f"{name}: own kernel", name, what, planted)
    rows = users()
    for setting, names in kernels_of_sets().items():
        for name in names:
            if name in rows:
                yield from faults_of_kernel(setting, name, rows[name])


def faults_of_kernel(setting: str, name: str, row: str) -> Iterator[Fault]:
    kernel, owner = home_of(setting, name)
    put = partial(replaced, owner, name, setting=setting)
    place = f"{setting}: {name}"
    for change in (flipped, zeroed, without_last):
        for k in written(getattr(generic, name)):
            what = f"{change.__name__}, argument {k}"
            yield Fault(place, row, what, put(at_argument(kernel, k, change)))
        for k in outputs(name, row):
            what = change.__name__ + f", output {k}" * (k is not None)
            yield Fault(place, row, what, put(at_output(kernel, k, change)))
    if setting != "vector":  # whose kernels are compiled from other than Python
        own = kernels_of_sets()[setting]
        yield from faults_of_source(place, row, kernel, put, lambda f: f not in own, setting)


def home_of(setting: str, name: str) -> tuple[Callable, ModuleType | dict]:
    """The set's kernel of that name, and where to put another one."""
    if setting == "generic":
        return getattr(generic, name), generic
    table = importlib.import_module(kernels.SETS[setting]).KERNELS
    kernel = table[name]
    return kernel, table if isinstance(table, dict) else sys.modules[kernel.__module__]


def outputs(name: str, row: str) -> list[int | None]:
    """Which of a kernel's results are looked at: None for the only one."""
    kernel = getattr(generic, name)
    if written(kernel) or "return" not in inspect.getsource(kernel):  # it works in place
        return []
    if name in primitives():
        return [0, 1] if primitives()[name].has_aux else [None]
    if name.endswith("_dw_db"):
        return [0, 1]
    if name.endswith("_grads"):  # its docstring begins with "(dx, dweight, …)"
        results, _, _ = inspect.getdoc(getattr(generic, name)).partition(")")
        return [k for k in range(results.count(",") + 1) if OPS[row].differentiable(k)]
    return [None]


def users() -> dict[str, str]:
    """Kernel → the row of an operation that uses it; of one that none uses, its check."""
    rows = {name: name for name in (*CHECKS, *primitives())}
    for name, primitive in primitives().items():
        sources = list(primitive.rules.values())
        sources += [primitive.forward] if callable(primitive.forward) else []
        sources += [helper for f in sources for helper in helpers(f, is_private).values()]
        for text in set().union(*(_strings(source.__code__) for source in sources)):
            rows.setdefault(text, name)
    return rows


# --- whether they are seen ---


def seen(row: str) -> bool:
    """Whether the row's checks notice that something is wrong; those that are quick come first."""
    if row in CHECKS:
        checks = [partial(CHECKS[row], dtype) for dtype in (np.float32, np.float64)]
    else:
        # "cross_entropy (in full)" is of cross_entropy, too
        rows = [op for name, op in OPS.items() if name == row or name.startswith(f"{row} (")]
        samples = [(op, sample) for op in rows for sample in op.drawn]
        cases = [op.case(*sample) for op, sample in samples]
        checks = [partial(promise, case) for promise in QUICK for case in cases]
        checks += [partial(op.check, *sample) for op, sample in samples]
    for check in checks:
        try:
            check()
        except Exception:
            return True
    return False


@cache
def all_faults() -> list[tuple[str, Fault]]:
    """Each with its kind, always in the same order: a process is told the number of a fault."""
    return [
        *(("rules", fault) for fault in faults_of_rules()),
        *(("references", fault) for fault in faults_of_references()),
        *(("ways forward", fault) for fault in faults_of_forward()),
        *(("kernels", fault) for fault in faults_of_kernels()),
    ]


def is_seen(number: int) -> bool:
    _, fault = all_faults()[number]
    with fault.planted:
        return seen(fault.row)


def be_quiet() -> None:
    """Many faults make numbers that are not finite."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")


def main(names: list[str]) -> int:
    start = time.perf_counter()
    be_quiet()
    few = too_few([fault for _, fault in all_faults()])
    numbers = [
        number
        for number, (_, fault) in enumerate(all_faults())
        if (not names or fault.row in names) and (fault.place, fault.what) not in EQUIVALENT
    ]
    with ProcessPoolExecutor(initializer=be_quiet) as pool:
        red = list(pool.map(is_seen, numbers, chunksize=8))
        # In the processes that planted: sound again, or never was.
        rows = [name for name in (*OPS, *CHECKS) if not names or name in names]
        sick = [name for name, is_red in zip(rows, pool.map(seen, rows)) if is_red]
    for place in few:
        print(f"fewer than two faults  {place}")
    unseen = [all_faults()[number][1] for number, is_red in zip(numbers, red) if not is_red]
    for fault in unseen:
        print(f"unseen  {fault.place}: {fault.what}")
    for name in sick:
        print(f"red without a fault  {name}")
    counts = Counter(all_faults()[number][0] for number in numbers)
    planted = ", ".join(f"{count} in {kind}" for kind, count in counts.items())
    print(f"{planted}; {len(unseen)} unseen; {time.perf_counter() - start:.0f} s")
    return 1 if few or unseen or sick or not counts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
