"""How long the code is: lines that hold code, without blanks, comments and docstrings.

The vector kernels have a budget of their own beside the package's.
"""

import ast
import tokenize
from pathlib import Path

import pytest

import minidiff

HOUSE = Path(minidiff.__file__).parent
KERNELS = HOUSE / "kernels/cpu"  # what CUDA sources are elsewhere: counted apart
BUDGETS = {".": 5000, "kernels/cpu": 1700, "autograd": 900, "diffusion": 1000, "autograd/tape.py": 200}
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
          tokenize.ENDMARKER}  # fmt: skip


def lines_of_code(path):
    docstrings = set()
    for node in ast.walk(ast.parse(path.read_text())):
        for statement in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                docstrings.update(range(statement.lineno, statement.end_lineno + 1))
    with path.open("rb") as file:
        held = [range(t.start[0], t.end[0] + 1) for t in tokenize.tokenize(file.readline) if t.type not in SILENT]
    return len({line for lines in held for line in lines} - docstrings)


def files(place):
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


@pytest.mark.parametrize("part", BUDGETS)
def test_lines_of_code(part, capsys):
    counted = [path for path in files(HOUSE / part) if part == "kernels/cpu" or KERNELS not in path.parents]
    count = sum(map(lines_of_code, counted))
    with capsys.disabled():
        print(f"\n{count} of {BUDGETS[part]} lines of code in minidiff/{part} ", end="")
    assert count <= BUDGETS[part]


def test_no_file_is_long():
    house, tests = HOUSE, Path(__file__).parent
    long = {
        path: n for root in (house, tests) for path in files(root) if (n := len(path.read_text().splitlines())) > 400
    }
    assert not long


def test_what_is_counted(tmp_path):
    path = tmp_path / "text.py"
    path.write_text('"""A docstring.\n\nOf three lines."""\n\n# a comment\nx = 1  # one\n\n\ndef f():\n    """No."""\n'
                    '    return """two\nlines"""\n')  # fmt: skip
    assert lines_of_code(path) == 4
