"""The Python examples of the README and of the pages in docs/ run as they stand.

They run from top to bottom, each page in a namespace of its own.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


# Pages without a line of Python have nothing to run.
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md"))
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/*.md"))
EXAMPLES = [page for page in PAGES if "```python" in read(page)]


def test_the_pages_have_examples():
    assert {"README.md", "docs/engine.md"} <= set(EXAMPLES)


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = read(page)
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    namespace = {"__name__": page}
    for block in blocks:
        lines_before = text[: block.start(1)].count("\n")
        code = "\n" * lines_before + block[1]  # a traceback shows the page's own lines
        exec(compile(code, ROOT / page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    prose = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", prose)
    missing = [link for link in links if "://" not in link and not (folder / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_named_functions_stand_in_the_files_that_are_linked(page):
    """A link such as [`ddim`](minidiff/diffusion/samplers/discrete.py) names what stands there."""
    links = re.findall(r"\[`(\w+)`\]\(([\w/.]+\.py)\)", read(page))
    wrong = [
        f"{name} in {path}"
        for name, path in links
        if not re.search(
            rf"^(def |class )?{name}\b", read((ROOT / page).parent / path), re.MULTILINE
        )
    ]
    assert not wrong
