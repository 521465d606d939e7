"""The rules of the house, tried: each sees lines that break it, and passes lines that keep it."""

import pytest
from test_house import (
    RULES,
    Source,
    circle,
    formatting_by_hand,
    ignored_tests,
    long_file,
    nested_conditionals,
    several_assignments,
    silenced_lint,
    text_without_encoding,
    upward_imports,
)

# (rule, file, its text)
BREAKS = [
    (upward_imports, "minidiff/ops/x.py", "from ..autograd.tensor import Tensor"),
    (upward_imports, "minidiff/ops/x.py", "from .. import autograd"),
    (upward_imports, "minidiff/ops/x.py", "import minidiff.autograd.tensor"),
    (upward_imports, "minidiff/ops/x.py", "from minidiff import autograd"),
    (upward_imports, "minidiff/ops/x.py", "from minidiff.autograd import tensor"),
    (upward_imports, "minidiff/ops/x.py", "import minidiff as md"),
    (upward_imports, "minidiff/ops/x.py", "from minidiff import Tensor"),
    (upward_imports, "minidiff/ops/x.py", "from .. import Tensor"),
    (upward_imports, "minidiff/ops/x.py", "from .. import *"),
    (upward_imports, "minidiff/ops/x.py", "def f():\n    from ..nn import Dense"),
    (upward_imports, "minidiff/ops/x.py", "import_module('minidiff.nn.layers')"),
    (upward_imports, "minidiff/ops/x.py", "import_module(f'minidiff.{room}')"),
    (upward_imports, "minidiff/ops/x.py", "importlib.import_module('..nn', __package__)"),
    (upward_imports, "minidiff/ops/__init__.py", "from ..nn import Dense"),
    (upward_imports, "minidiff/kernels/cpu/x.py", "from ... import ops"),
    (upward_imports, "minidiff/optim.py", "from . import diffusion"),
    (upward_imports, "minidiff/optim.py", "from .models import UNet"),
    (several_assignments, "x.py", "a, b = f(), 2"),
    (several_assignments, "x.py", "a, b = [f(), 2]"),
    (several_assignments, "x.py", "c = a, b = [], []"),
    (several_assignments, "x.py", "def f(self):\n    (self.a, self.b), c = f(), g()"),
    (nested_conditionals, "x.py", "a = 1 if b else 2 if c else 3"),
    (nested_conditionals, "x.py", "a = 1 if (b if c else d) else 3"),
    (nested_conditionals, "x.py", "a = 1 if b else [2 if c else 3 for c in d]"),
    (formatting_by_hand, "minidiff/tape/x.py", "a = [1,2]  # fmt: skip"),
    (formatting_by_hand, "tests/test_x.py", "# fmt: off"),
    (formatting_by_hand, "examples/x.py", "#isort:skip_file"),
    (silenced_lint, "x.py", "import os  # noqa"),
    (silenced_lint, "x.py", "# ruff: noqa"),
    (silenced_lint, "x.py", "a = 1  # noqa: E501"),
    (silenced_lint, "x.py", "a = 1  # noqa: F401, E501"),
    (long_file, "x.py", "a = 1\n" * 401),
    (text_without_encoding, "x.py", "path.read_text()"),
    (text_without_encoding, "x.py", "Path(a, b).write_text(text)"),
    (text_without_encoding, "x.py", "subprocess.run(command, text=True)"),
    (ignored_tests, "tests/tools/debug.py", "def test_a(): ..."),
    (ignored_tests, "tests/test_x.py", "class Case:\n    def test_a(self): ..."),
    (ignored_tests, "tests/test_x.py", "def check():\n    def test_a(): ..."),
    (ignored_tests, "tests/test_x.py", "@pytest.mark.skip\ndef test_a(): ..."),
    (ignored_tests, "tests/test_x.py", "@pytest.mark.skipif(True, reason='')\ndef test_a(): ..."),
    (ignored_tests, "tests/test_x.py", "torch = pytest.importorskip('torch')"),
    (ignored_tests, "tests/conftest.py", "collect_ignore = ['test_x.py']"),
]

KEEPS = [
    (upward_imports, "minidiff/ops/x.py", "from ..tape.tape import Value\nfrom .. import kernels"),
    (upward_imports, "minidiff/ops/x.py", "from . import y\nfrom .y import z\nimport numpy.linalg"),
    (upward_imports, "minidiff/ops/x.py", "import_module('minidiff.kernels.generic')"),
    (upward_imports, "minidiff/ops/x.py", "os_cache('minidiff')"),
    (upward_imports, "minidiff/kernels/cpu/x.py", "from .. import generic\nfrom . import y"),
    (upward_imports, "minidiff/optim.py", "from . import nn\nfrom .nn.module import Module"),
    (several_assignments, "x.py", "a, b = b, a\nc, d = f()\ne = f(), 2\ng, h = (x for x in e)"),
    (nested_conditionals, "x.py", "a = 1 if b else 2\nc = [1 if b else 2, 3 if b else 4]"),
    (formatting_by_hand, "minidiff/ops/norms.py", "a = [1,2]  # fmt: skip"),
    (silenced_lint, "x.py", "import os  # noqa: F401"),
    (long_file, "x.py", "a = 1\n" * 400),
    (text_without_encoding, "x.py", "path.read_text(encoding='utf-8')\naxes.set(text=1)"),
    (text_without_encoding, "x.py", "run(command, text=True, encoding='utf-8')\nrun(command)"),
    (ignored_tests, "tests/test_x.py", "@pytest.mark.parametrize('a', [1])\ndef test_a(a): ..."),
    (ignored_tests, "tests/a/test_x.py", "class TestCase:\n    def test_a(self): ..."),
]


@pytest.mark.parametrize("rule, name, text", BREAKS)
def test_a_rule_sees_what_breaks_it(rule, name, text):
    assert list(rule(Source(name, text)))


@pytest.mark.parametrize("rule, name, text", KEEPS)
def test_a_rule_lets_pass_what_keeps_it(rule, name, text):
    assert not list(rule(Source(name, text)))


def test_every_rule_is_tried():
    assert {rule for rule, *_ in BREAKS} == {rule for rule, *_ in KEEPS} == set(RULES)


def test_a_circle_of_files_is_seen():
    a = Source("minidiff/ops/a.py", "from .b import f")
    b = Source("minidiff/ops/b.py", "def f():\n    from . import a")
    assert set(circle([a, b])) == {"ops.a", "ops.b"}
    assert circle([a, Source("minidiff/ops/b.py", "from .. import kernels")]) is None
