"""Plants faults in the derivatives, one at a time, and sees whether the tests notice them.

    python tests/plant_faults.py [name of a row …]

For every primitive: the sign of each rule is flipped (one that gives zeros gives ones instead), and
for a joint rule that of each of its gradients; that of its reference; and in the source of each
rule, and of the private functions that it calls, each term of a sum is left out in turn. For every
gradient kernel, generic and Numba: each output is flipped, then zeroed; and terms of the generic
ones are left out. Each time the operation's own row of `OPS` must be red.

Prints what went unseen, and exits with 1 then.
"""

import ast
import copy
import importlib
import inspect
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from ops_table import OPS
from ops_table.row import primitives

from minidiff import kernels
from minidiff.kernels import cpu, generic

GRADIENT = re.compile(r"_(d[a-z]+|grads|dw_db)$")


# --- what a fault does to a result ---


def flipped(result):
    """Its sign changed, or ones for zeros."""
    if result is None:
        return None
    return -result if np.any(getattr(result, "data", result)) else result + 1


def zeroed(result):
    return None if result is None else result * 0


def at_output(f: Callable, k: int | None, change: Callable) -> Callable:
    """f with its result changed, or its k-th result."""

    def faulty(*args, **kwargs):
        result = f(*args, **kwargs)
        if k is None:
            return change(result)
        return [change(part) if i == k else part for i, part in enumerate(result)]

    return faulty


# --- faults in source: a term left out ---


def without_terms(f: FunctionType) -> Iterator[tuple[str, FunctionType]]:
    """(what was left out, f without it) for each term of each sum in the source of f."""
    tree = _definition(f)
    names = {**f.__globals__, **inspect.getclosurevars(f).nonlocals}
    for node, parent, field, place in list(_sums(tree)):
        if isinstance(node, ast.BinOp):
            remainders = [node.left, node.right]
        else:  # an augmented assignment
            remainders = [ast.copy_location(ast.Pass(), node)]
        for remainder in remainders:
            before = getattr(parent, field)
            after = remainder
            if place is not None:
                after = [remainder if i == place else item for i, item in enumerate(before)]
            setattr(parent, field, after)
            mutant = copy.deepcopy(tree)
            setattr(parent, field, before)
            name = f"{ast.unparse(node)!r} becomes {ast.unparse(remainder)!r}"
            yield name, _compiled(mutant, dict(names), f.__name__)


def _definition(f: FunctionType) -> ast.AST:
    """The smallest def or lambda in the file of f whose text spans the positions of its code."""
    positions = [p for p in f.__code__.co_positions() if None not in p and p[3]]
    first = min((p[0], p[2]) for p in positions)
    last = max((p[1], p[3]) for p in positions)
    source = ast.parse(Path(f.__code__.co_filename).read_text(encoding="utf-8"))
    spans = [
        node
        for node in ast.walk(source)
        if isinstance(node, ast.Lambda | ast.FunctionDef)
        and (node.lineno, node.col_offset) <= first
        and last <= (node.end_lineno, node.end_col_offset)
    ]
    return max(spans, key=lambda node: (node.lineno, node.col_offset))


def _sums(tree: ast.AST, parent=None, field="", place=None) -> Iterator[tuple]:
    """(node, its parent, the field and place there) of sums of values, not of indices or axes."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add | ast.Sub):
        yield tree, parent, field, place
    if isinstance(tree, ast.AugAssign) and isinstance(tree.op, ast.Add | ast.Sub):
        yield tree, parent, field, place
    if isinstance(tree, ast.Subscript | ast.keyword | ast.arguments | ast.Compare):
        return
    for name, value in ast.iter_fields(tree):
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _sums(child, tree, name, i)


def _compiled(tree: ast.AST, names: dict, name: str) -> FunctionType:
    if isinstance(tree, ast.Lambda):
        expression = ast.fix_missing_locations(ast.Expression(tree))
        return eval(compile(expression, "<fault>", "eval"), names)
    tree.decorator_list = []
    module = ast.fix_missing_locations(ast.Module([tree], []))
    exec(compile(module, "<fault>", "exec"), names)
    return names[name]


# --- where faults are planted ---


@contextmanager
def replaced(owner: object, name: str, value: object):
    before = getattr(owner, name)
    setattr(owner, name, value)
    kernels.forget()
    try:
        yield
    finally:
        setattr(owner, name, before)
        kernels.forget()


@contextmanager
def rule_replaced(primitive, of: str, rule: Callable):
    before = primitive.rules[of]
    primitive.rules[of] = rule
    primitive.recipes.clear()
    try:
        yield
    finally:
        primitive.rules[of] = before
        primitive.recipes.clear()


def private(f: FunctionType) -> dict[str, FunctionType]:
    """The private functions of the same file that f calls, and those that they call."""
    helpers: dict[str, FunctionType] = {}
    todo = [f]
    while todo:
        caller = todo.pop()
        for name in _names(caller.__code__):
            value = caller.__globals__.get(name)
            is_private = isinstance(value, FunctionType) and name.startswith("_")
            if not is_private or name in helpers:
                continue
            if value.__code__.co_filename == f.__code__.co_filename:
                helpers[name] = value
                todo.append(value)
    return helpers


def _names(code: CodeType) -> set[str]:
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def faults_of_rules() -> Iterator[tuple[str, str, object]]:
    """(name of the row that must be red, what the fault is, the context in which it holds)"""
    for name, primitive in primitives().items():
        for of, rule in list(primitive.rules.items()):
            for k in range(len(primitive.operands)) if of == "joint" else [None]:
                if k is None or OPS[name].differentiable(k):
                    what = f"rule for {of}" + f", gradient {k}" * (k is not None)
                    faulty = at_output(rule, k, flipped)
                    yield name, f"{what}: sign", rule_replaced(primitive, of, faulty)
            for what, mutant in without_terms(rule):
                yield name, f"rule for {of}: {what}", rule_replaced(primitive, of, mutant)
            for helper, function in private(rule).items():
                module = sys.modules[function.__module__]
                for what, mutant in without_terms(function):
                    yield name, f"{helper}: {what}", replaced(module, helper, mutant)
        if primitive.reference:
            faulty = at_output(primitive.reference, None, flipped)
            yield name, "reference: sign", replaced(primitive, "reference", faulty)


def faults_of_kernels() -> Iterator[tuple[str, str, object]]:
    users: dict[str, str] = {}
    for name, primitive in primitives().items():
        sources = list(primitive.rules.values())
        sources += [helper for source in sources for helper in private(source).values()]
        for text in {name}.union(*(_strings(source.__code__) for source in sources)):
            users.setdefault(text, name)
    # kernels that other kernels call
    for name, function in inspect.getmembers(generic, inspect.isfunction):
        for called in _names(function.__code__) if name in users else ():
            users.setdefault(called, users[name])
    homes = [(f"generic.{name}", generic, name) for name in vars(generic) if GRADIENT.search(name)]
    for name in cpu.KERNELS:
        if GRADIENT.search(name):
            cpu.KERNELS[name]  # imports its module
            module = importlib.import_module(f"{cpu.__name__}.{cpu.KERNELS._module[name]}")
            homes.append((f"numba {name}", module, name))
    for title, module, name in homes:
        if name not in users:
            yield "", f"{title}: no operation uses it", None
            continue
        row = users[name]
        kernel = getattr(module, name)
        outputs = [None]
        if name.endswith("_dw_db"):
            outputs = [0, 1]
        if name.endswith("_grads"):
            # "(dx, dweight, …"
            results, _, _ = inspect.getdoc(getattr(generic, name)).partition(")")
            outputs = [k for k in range(results.count(",") + 1) if OPS[row].differentiable(k)]
        for k in outputs:
            for change in (flipped, zeroed):
                what = f"{title}: {change.__name__}" + f", output {k}" * (k is not None)
                yield row, what, replaced(module, name, at_output(kernel, k, change))
        for what, mutant in without_terms(kernel) if module is generic else ():
            yield row, f"{title}: {what}", replaced(module, name, mutant)


def _strings(code: CodeType) -> set[str]:
    inner = [_strings(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {part for part in code.co_consts if isinstance(part, str)}.union(*inner)


def seen(row: str) -> bool:
    """Whether the row's checks notice that something is wrong."""
    for sample in OPS[row].drawn:
        try:
            OPS[row].check(*sample)
        except Exception:
            return True
    return False


def main(names: list[str]) -> int:
    start = time.perf_counter()
    counts = {}
    unseen = []
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for kind, faults in (("rules", faults_of_rules()), ("kernels", faults_of_kernels())):
        for row, what, planted in faults:
            if names and row not in names:
                continue
            counts[kind] = counts.get(kind, 0) + 1
            if planted is None:
                unseen.append(what)
                continue
            if not planted_is_seen(row, planted):
                unseen.append(f"{row}: {what}")
    # sound again, or never was
    sick = [name for name in OPS if (not names or name in names) and seen(name)]
    for text in unseen:
        print(f"unseen  {text}")
    for name in sick:
        print(f"red without a fault  {name}")
    planted = ", ".join(f"{count} in {kind}" for kind, count in counts.items())
    print(f"{planted}; {len(unseen)} unseen; {time.perf_counter() - start:.0f} s")
    return 1 if unseen or sick or not counts else 0


def planted_is_seen(row: str, planted) -> bool:
    with planted:
        return seen(row)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
