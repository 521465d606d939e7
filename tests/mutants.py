"""Faulty forms of a function: of its result, and of its source.

Of its result: the sign, twice as much, all of it or the last element lost. Of its source: a term or
a factor is left out, operands are swapped, a sum over axes is missing, a loop ends one early.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FunctionType

import numpy as np

ORDERED = ast.Sub | ast.Div | ast.MatMult | ast.Pow  # whose operands may not be swapped
REDUCTIONS = {"sum", "total", "mean", "sum_to"}


# --- what a fault does to a result ---


def _of_each(change: Callable) -> Callable:
    """The change, done to each part of a tuple or list; None stays."""

    def changed(result):
        if isinstance(result, tuple | list):
            return type(result)(changed(part) for part in result)
        return None if result is None else change(result)

    changed.__name__ = change.__name__
    return changed


def _is_zero(result) -> bool:
    return not np.any(getattr(result, "data", result))


@_of_each
def flipped(result):
    """Its sign changed, or ones for zeros."""
    return result + 1 if _is_zero(result) else -result


@_of_each
def doubled(result):
    """Twice as large, or minus ones for zeros."""
    return result - 1 if _is_zero(result) else result * 2


@_of_each
def zeroed(result):
    return result * 0


@_of_each
def without_last(result):
    """An array whose last element is 0, as if a loop had ended one early."""
    result = np.array(result, order="C")
    result.reshape(-1)[-1:] = 0
    return result


def at_output(f: Callable, k: int | None, change: Callable) -> Callable:
    """f with its result changed, or its k-th result."""

    def faulty(*args, **kwargs):
        result = f(*args, **kwargs)
        if k is None:
            return change(result)
        return tuple(change(part) if i == k else part for i, part in enumerate(result))

    return faulty


def at_argument(f: Callable, k: int, change: Callable) -> Callable:
    """f, which writes to its k-th argument, with a change in what it has written."""

    def faulty(*args, **kwargs):
        f(*args, **kwargs)
        args[k][...] = change(args[k])

    return faulty


def written(f: FunctionType) -> list[int]:
    """The places of the parameters that f, which returns nothing, updates."""
    tree = _definition(f)
    if any(isinstance(node, ast.Return) and node.value for node in ast.walk(tree)):
        return []
    parameters = list(inspect.signature(f).parameters)
    updates = [node.target for node in ast.walk(tree) if isinstance(node, ast.AugAssign)]
    names = [target.id for target in updates if isinstance(target, ast.Name)]
    return [parameters.index(name) for name in names if name in parameters]


# --- faults in source ---


def mutants(f: FunctionType) -> Iterator[tuple[str, FunctionType]]:
    """(what became what, f with that fault) for each place in the source of f that has a fault."""
    tree = _definition(f)
    names = {**f.__globals__, **inspect.getclosurevars(f).nonlocals}
    for node, parent, field, place in list(_places(tree)):
        for faulty in _faulty(node):
            before = getattr(parent, field)
            after = faulty
            if place is not None:
                after = [faulty if i == place else item for i, item in enumerate(before)]
            setattr(parent, field, after)
            mutant = copy.deepcopy(tree)
            setattr(parent, field, before)
            name = f"{ast.unparse(node)!r} becomes {ast.unparse(faulty)!r}"
            yield name, _compiled(mutant, dict(names), f.__name__)


def _faulty(node: ast.AST) -> list[ast.AST]:
    """What the node is replaced by, one at a time."""
    found: list[ast.AST] = []
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            found += [node.left, node.right]
        if isinstance(node.op, ORDERED):
            found.append(ast.BinOp(node.right, node.op, node.left))
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        found.append(ast.Pass())
    elif isinstance(node, ast.Call) and node.args:
        if _called(node) in REDUCTIONS:
            found.append(node.args[0])
        if _called(node) == "range" and len(node.args) == 1:
            one_less = ast.BinOp(node.args[0], ast.Sub(), ast.Constant(1))
            found.append(ast.Call(node.func, [one_less], []))
    return [ast.copy_location(faulty, node) for faulty in found]


def _called(call: ast.Call) -> str:
    return getattr(call.func, "id", None) or getattr(call.func, "attr", "")


@cache
def _parsed(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _definition(f: FunctionType) -> ast.AST:
    """The smallest def or lambda in the file of f whose text spans the positions of its code."""
    positions = [p for p in f.__code__.co_positions() if None not in p and p[3]]
    first = min((p[0], p[2]) for p in positions)
    last = max((p[1], p[3]) for p in positions)
    spans = [
        node
        for node in ast.walk(_parsed(f.__code__.co_filename))
        if isinstance(node, ast.Lambda | ast.FunctionDef)
        and (node.lineno, node.col_offset) <= first
        and last <= (node.end_lineno, node.end_col_offset)
    ]
    return copy.deepcopy(max(spans, key=lambda node: (node.lineno, node.col_offset)))


def _places(tree: ast.AST, parent=None, field="", place=None) -> Iterator[tuple]:
    """(node, its parent, the field and place there) of values, not of indices or axes."""
    if parent is not None:
        yield tree, parent, field, place
    if isinstance(tree, ast.Subscript | ast.keyword | ast.arguments | ast.Compare | ast.Raise):
        return
    for name, value in ast.iter_fields(tree):
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _places(child, tree, name, i)


def _compiled(tree: ast.AST, names: dict, name: str) -> FunctionType:
    if isinstance(tree, ast.Lambda):
        expression = ast.fix_missing_locations(ast.Expression(tree))
        return eval(compile(expression, "<fault>", "eval"), names)
    tree.decorator_list = []
    module = ast.fix_missing_locations(ast.Module([tree], []))
    exec(compile(module, "<fault>", "exec"), names)
    return names[name]
