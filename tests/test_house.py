"""The house: imports go down its floors only, a file is a room, and a line says one thing.

What these rules buy is said in CONTRIBUTING.md. Each rule is tried on a few lines that break it, too.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minidiff

HOUSE = Path(minidiff.__file__).parent
TESTS = Path(__file__).parent

# Lowest floor first. A room imports from the rooms below its floor, and from itself.
FLOORS = [
    {"checks", "data"},
    {"kernels"},
    {"tape"},
    {"ops"},
    {"autograd", "tools"},
    {"nn"},
    {"optim", "metrics", "models"},
    {"diffusion"},
    {"storage", "plot"},
    {"training", "testing"},
]
# Neighbours on one floor: the first may import from the second.
NEIGHBOURS = {("tools", "autograd"), ("data", "checks")}
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

# Tables of derivatives and lists of exports may keep a layout of their own.
FORMATTED_BY_HAND = {
    "__init__.py",
    "nn/__init__.py",
    "ops/__init__.py",
    "ops/convolution.py",
    "ops/elementwise.py",
    "ops/layers.py",
    "ops/losses.py",
    "ops/norms.py",
    "ops/pooling.py",
    "ops/products.py",
    "ops/reductions.py",
    "ops/shapes.py",
}

FILES = sorted(HOUSE.rglob("*.py"))


def name_of(path):
    return path.relative_to(HOUSE).as_posix()


def room_of(name):
    return name.split("/")[0].removesuffix(".py")


def imported_modules(name, tree):
    """The modules of minidiff that a file imports, as names such as "ops.shapes"."""
    package = name.removesuffix("__init__.py").removesuffix(".py").rstrip("/").split("/")
    if not name.endswith("__init__.py"):
        package = package[:-1]
    package = [part for part in package if part]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("minidiff."):
                    yield alias.name.removeprefix("minidiff.")
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".") if node.module else []
            if node.level:
                module = package[: len(package) - (node.level - 1)] + module
            elif module[:1] == ["minidiff"]:
                module = module[1:]
            else:
                continue
            if module:
                yield ".".join(module)
            else:  # from .. import kernels, ops
                yield from (alias.name for alias in node.names)


def upward_imports(name, tree):
    """The imports of a file that do not go down."""
    here = room_of(name)
    for module in imported_modules(name, tree):
        there = module.split(".")[0]
        if there != here and LEVEL[there] >= LEVEL[here] and (here, there) not in NEIGHBOURS:
            yield f"{name} imports {module}"


def several_assignments(tree):
    """Lines that assign several unrelated values: `a, b = f(), 2`. Swaps are one idea: `a, b = b, a`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                left = {ast.unparse(part) for part in target.elts}
                right = {ast.unparse(part) for part in node.value.elts}
                if left != right:
                    yield node.lineno


def nested_conditionals(tree):
    """Conditional expressions inside conditional expressions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.IfExp) and n is not node]
            if inner:
                yield node.lineno


def test_imports_go_down():
    rooms = {room_of(name_of(path)) for path in FILES} - {"__init__"}
    assert rooms == set(LEVEL)
    files = [path for path in FILES if name_of(path) != "__init__.py"]
    upward = [
        line
        for path in files
        for line in upward_imports(name_of(path), ast.parse(path.read_text()))
    ]
    assert not upward


@pytest.mark.parametrize("rule", [several_assignments, nested_conditionals])
def test_a_line_says_one_thing(rule):
    broken = [
        f"{name_of(path)}:{line}" for path in FILES for line in rule(ast.parse(path.read_text()))
    ]
    assert not broken


def test_only_tables_are_formatted_by_hand():
    by_hand = {name_of(path) for path in FILES if "# fmt: " in path.read_text()}
    assert by_hand <= FORMATTED_BY_HAND


def test_no_file_is_long():
    paths = [*FILES, *TESTS.rglob("*.py")]
    assert not [path for path in paths if len(path.read_text().splitlines()) > 400]


def test_no_module_has_the_name_of_an_exported_function():
    """Importing `minidiff.x` would replace the function `minidiff.x`; the same in each package."""
    code = """
import importlib, pkgutil, types, minidiff
for module in pkgutil.walk_packages(minidiff.__path__, "minidiff."):
    package, _, name = module.name.rpartition(".")
    before = getattr(importlib.import_module(package), name, None)
    if before is not None and not isinstance(before, types.ModuleType):
        print(module.name)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == ""


def test_the_rules_can_fail():
    assert list(upward_imports("ops/x.py", ast.parse("from ..autograd.tensor import Tensor")))
    assert list(upward_imports("kernels/cpu/x.py", ast.parse("from ... import ops")))
    assert not list(upward_imports("ops/x.py", ast.parse("from ..tape.tape import Value")))
    assert not list(upward_imports("kernels/cpu/x.py", ast.parse("from .. import generic")))
    assert list(several_assignments(ast.parse("a, b = f(), 2")))
    assert not list(several_assignments(ast.parse("a, b = b, a\nc, d = f()\n")))
    assert list(nested_conditionals(ast.parse("a = 1 if b else 2 if c else 3")))
    assert not list(nested_conditionals(ast.parse("a = 1 if b else 2")))
