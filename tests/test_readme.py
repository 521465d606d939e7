"""The README's and the pages' Python examples run as they stand, top to bottom, in one namespace a page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]
)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text()
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert blocks, "a page without examples"
    namespace = {"__name__": page}
    for block in blocks:
        line = text[: block.start(1)].count("\n")  # so that a traceback shows the page's own lines
        exec(compile("\n" * line + block[1], ROOT / page, "exec"), namespace)


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not missing


def test_named_functions_stand_in_the_files_that_are_linked():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\[`(\w+)`\]\((minidiff/[\w/]+\.py)\)", text)
    assert links
    wrong = [
        name
        for name, path in links
        if not re.search(rf"^(def |class )?{name}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert not wrong
