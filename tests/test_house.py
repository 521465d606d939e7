"""The house: imports go down its floors only, a file is a room, and a line says one thing.

What these rules buy is said in CONTRIBUTING.md. A rule is a function: it gives what breaks it in
one file, and its docstring tells what to do instead. Line length is ruff's. Rules of style turn no
result wrong, so `make test` leaves them out; `pytest -m style` and CI keep them. The rules
themselves are tried in test_house_rules.py.
"""

import ast
import inspect
import io
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Lowest floor first. A room imports from the rooms below its floor, and from itself.
FLOORS = [
    {"checks", "data", "disk", "first_guesses", "messages", "pictures"},
    {"kernels"},
    {"tape"},
    {"ops"},
    {"autograd", "tools"},
    {"nn"},
    {"optim", "metrics", "models"},
    {"diffusion"},
    {"storage", "plot", "distributed"},
    {"training", "testing", "evaluation", "export"},
    {"command_line", "exercises", "networks", "recipes"},
    {"play"},
    {"commands"},
    {"__main__"},
]
# Neighbours on one floor: the first may import from the second.
NEIGHBOURS = {
    ("tools", "autograd"),
    ("data", "checks"),
    ("data", "disk"),
    ("messages", "first_guesses"),
    ("pictures", "checks"),
    ("pictures", "disk"),
}
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def may_import(upper, lower):
    """Whether the room `upper` may import from the room `lower`."""
    return upper == lower or LEVEL[lower] < LEVEL[upper] or (upper, lower) in NEIGHBOURS


# Tables of derivatives and lists of exports may keep a layout of their own.
FORMATTED_BY_HAND = {
    "minidiff/nn/__init__.py",
    "minidiff/ops/__init__.py",
    "minidiff/ops/convolution.py",
    "minidiff/ops/elementwise.py",
    "minidiff/ops/layers.py",
    "minidiff/ops/losses.py",
    "minidiff/ops/norms.py",
    "minidiff/ops/pooling.py",
    "minidiff/ops/products.py",
    "minidiff/ops/reductions.py",
    "minidiff/ops/shapes.py",
}

SKIPS = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.skip"}
SKIPS |= {"pytest.xfail", "pytest.importorskip", "collect_ignore", "collect_ignore_glob"}
# These two run once more without Numba's compiler, where nothing can be said of what it compiles.
MAY_SKIP = defaultdict(set)
MAY_SKIP["tests/kernels/test_cpu_tiny.py"] = {"pytest.mark.skipif"}
MAY_SKIP["tests/kernels/test_loops.py"] = {"pytest.mark.skipif"}
MAY_SKIP["tests/test_forks.py"] = {"pytest.mark.skipif"}  # Windows has none

LONGEST_FILE = 400
# Imported when they are first needed: `import minidiff` stays quick.
SLOW_TO_IMPORT = {
    "numba",
    "matplotlib",
    "safetensors",
    "pooch",
    "requests",
    "tqdm",
    "hypothesis",
    "filelock",
    "PIL",
    "mpi4py",
    "tensorboardX",
    "onnx",
    "torch",
    "gradio",
}


@dataclass
class Source:
    """A Python file: its path below the root, such as "minidiff/ops/shapes.py", and its text."""

    name: str
    text: str

    @cached_property
    def tree(self):
        return ast.parse(self.text)

    @property
    def comments(self):
        """(line, text) of each comment."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string

    @property
    def is_package(self):
        return self.name.endswith("__init__.py")

    @property
    def module(self):
        """The dotted name without the package's own: "ops.shapes"; "" for minidiff/__init__.py."""
        name = self.name.removeprefix("minidiff/").removesuffix(".py").removesuffix("__init__")
        return name.rstrip("/").replace("/", ".")

    @property
    def room(self):
        return self.module.split(".")[0]


def sources(*folders):
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(p.relative_to(ROOT).as_posix(), p.read_text(encoding="utf-8")) for p in paths]


ROOMS = sources("minidiff")
SCRIPTS = sources("examples", "lessons", "benchmarks", "docs", ".ci")
TESTS = sources("tests")


def imports(source):
    """(line, name) of each import from minidiff, wherever in the file the statement stands.

    The name is dotted, without the package's own: `from ..ops import add` and
    `from minidiff.ops import add` give "ops.add", `import minidiff` gives "".
    """
    package = source.module.split(".") if source.module else []
    if package and not source.is_package:
        package.pop()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                above = package[: len(package) - node.level + 1]
                module = ["minidiff", *above, *module]
            names = [[*module, alias.name] for alias in node.names]
        else:
            continue
        for top, *rest in names:
            if top == "minidiff":
                yield node.lineno, ".".join(rest)


# --- the rules ---


def upward_imports(source):
    """Import from the rooms below (FLOORS), and never from `minidiff` itself.

    An import inside a function counts, and so does a module's name in a string ("minidiff.ops"),
    since `import_module` takes it. Write such a name in full, so that this rule can read it.
    """
    names = list(imports(source))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and re.fullmatch(r"minidiff\.[\w.]*", str(node.value)):
            names.append((node.lineno, node.value.removeprefix("minidiff.")))
        if isinstance(node, ast.Call) and re.search(r"import_module\('\.", ast.unparse(node)):
            yield node.lineno, "a relative name in import_module"
    for line, name in names:
        room = name.split(".")[0]
        if room not in LEVEL:
            yield line, f"minidiff.{name} is in no room"
        elif not may_import(source.room, room):
            yield line, f"{source.room} imports {name}, which is not below it"


def several_assignments(source):
    """Give each value a line of its own. Swaps, and unpacking one value, are one idea."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple | ast.List):
            for target in node.targets:
                if isinstance(target, ast.Tuple | ast.List):
                    names = {ast.unparse(part) for part in target.elts}
                    values = {ast.unparse(part) for part in node.value.elts}
                    if names != values:
                        yield node.lineno, ast.unparse(target)


def nested_conditionals(source):
    """Write an `if` statement, or name the inner value: a conditional expression has one `if`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.IfExp):
            inner = [part for part in ast.walk(node) if isinstance(part, ast.IfExp)]
            if len(inner) > 1:
                yield node.lineno, ast.unparse(node)[:60]


def formatting_by_hand(source):
    """Let ruff format the file. Only tables of derivatives and lists of exports may differ."""
    for line, comment in source.comments:
        if re.match(r"#\s*(fmt|isort):", comment) and source.name not in FORMATTED_BY_HAND:
            yield line, comment


def silenced_lint(source):
    """Mend what ruff says, or name the rule: `noqa` alone hides everything, and E501 long lines."""
    for line, comment in source.comments:
        _, noqa, rules = comment.partition("noqa")
        if noqa and ("E501" in rules or not re.match(r": [A-Z]+\d+", rules)):
            yield line, comment


def long_file(source):
    """Cut the file where its subject changes: 400 lines are the most."""
    count = len(source.text.splitlines())
    if count > LONGEST_FILE:
        yield LONGEST_FILE + 1, f"{count} lines"


def text_without_encoding(source):
    """Say encoding="utf-8" wherever text goes in or out: elsewhere the default is another one.

    Ruff (PLW1514) sees `open`; this sees `read_text`, `write_text` and the text of subprocesses.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            options = {keyword.arg for keyword in node.keywords}
            is_text = name in {"read_text", "write_text"}
            is_text_of_process = name in {"run", "Popen", "check_output"} and "text" in options
            if (is_text or is_text_of_process) and "encoding" not in options:
                yield node.lineno, ast.unparse(node)[:60]


def ignored_tests(source):
    """Let pytest see every test: in a file test_*.py, at its top or in a class Test…, unskipped."""
    classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef)]
    collected = [node for c in classes if c.name.startswith("Test") for node in c.body]
    if Path(source.name).name.startswith("test_"):
        collected += source.tree.body
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            if node not in collected:
                yield node.lineno, f"{node.name} is not collected"
        elif isinstance(node, ast.expr) and ast.unparse(node) in SKIPS - MAY_SKIP[source.name]:
            yield node.lineno, ast.unparse(node)


RULES = {
    upward_imports: [source for source in ROOMS if source.room],
    several_assignments: [*ROOMS, *SCRIPTS],
    nested_conditionals: [*ROOMS, *SCRIPTS, *TESTS],
    formatting_by_hand: [*ROOMS, *SCRIPTS, *TESTS],
    silenced_lint: [*ROOMS, *SCRIPTS, *TESTS],
    long_file: [*ROOMS, *SCRIPTS, *TESTS],
    text_without_encoding: [*ROOMS, *SCRIPTS, *TESTS],
    ignored_tests: TESTS,
}


STYLE = {several_assignments, nested_conditionals, formatting_by_hand, silenced_lint, long_file}


def marked(rule):
    marks = [pytest.mark.style] if rule in STYLE else []
    return pytest.param(rule, id=rule.__name__, marks=marks)


def test_files_of_tests_have_names_of_their_own():
    """Pytest imports them by their names alone: two of one name are one module."""
    paths = defaultdict(list)
    for path in (ROOT / "tests").rglob("test_*.py"):
        paths[path.name].append(str(path.relative_to(ROOT)))
    assert not [same for same in paths.values() if len(same) > 1]


@pytest.mark.parametrize("rule", [marked(rule) for rule in RULES])
def test_the_rules_are_kept(rule):
    broken = [
        f"{source.name}:{line}: {what}" for source in RULES[rule] for line, what in rule(source)
    ]
    assert not broken, "\n".join([inspect.getdoc(rule), *broken])


# --- the house as a whole ---


def test_every_room_has_a_floor():
    rooms = {source.room for source in ROOMS} - {""}
    assert rooms == set(LEVEL), "FLOORS must name each room of minidiff/, and no other"


def circle(files):
    """Names of files that import each other in a circle, such as ["a", "b", "a"]; else None."""
    modules = {source.module for source in files}
    graph = {}
    for source in files:
        graph[source.module] = set()
        for _, name in imports(source):
            while name and name not in modules:  # an object's name: its module's is shorter
                name = name.rpartition(".")[0]
            graph[source.module].add(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]


def test_no_files_import_each_other():
    """A reader can take the files one after another, each from those before it."""
    files = [source for source in ROOMS if source.module]
    assert circle(files) is None, "move what both files need into a third, below them"


def run(code):
    """What a fresh Python prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


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
    assert not run(code), "rename these modules, or the functions of their names"


def test_what_is_slow_to_import_is_imported_when_it_is_needed():
    loaded = run("import sys, minidiff; print(*sys.modules)").split()
    assert "minidiff" in loaded and "numpy" in loaded
    early = SLOW_TO_IMPORT & set(loaded)
    assert not early, "import these inside the functions that need them"
