"""The site of `make docs`, on a small repository. Needs the extra `docs`."""

import runpy
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_messages import PUBLIC

ROOT = Path(__file__).parents[2]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
NOTEBOOK = new_notebook(
    cells=[
        new_markdown_cell("# Noise\n\n$$x^2 < y$$"),
        new_code_cell(
            "picture", outputs=[new_output("display_data", {"image/png": DOT, "text/plain": "_"})]
        ),
    ]
)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Builds the site of these files, by their places; gives its folder."""
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")

    def built(**pages):
        for name in ("docs/site", "docs/theme"):
            shutil.copytree(ROOT / name, tmp_path / name)
        hook = (ROOT / "docs" / "site_pages.py").read_text(encoding="utf-8")
        own = hook.replace("made = reference()", "made: dict = {}")  # no package is there
        assert own != hook
        (tmp_path / "docs" / "site_pages.py").write_text(own, encoding="utf-8")
        settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[0]
        (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
        for place, text in pages.items():
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_text(text, encoding="utf-8")
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
        subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
        config = load_config(str(tmp_path / "mkdocs.yml"), watch=[])
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        return tmp_path / "build" / "site"

    return built


def test_what_is_linked_becomes_a_page_in_its_place(site):
    pages = site(
        **{
            "README.md": "# Home\n\n[code](room/code.py), [folder](room), [page](docs/engine.md)",
            "docs/engine.md": "# Engine\n\n[code](../room/code.py) [home](../README.md#home)",
            "room/code.py": '"""What it is."""\n\nx = [1](2) < 3  # ~~~~~\n',
            "room/other.py": '"""Another."""\n',
            "room/unlinked.txt": "no",
        }
    )
    home = (pages / "index.html").read_text(encoding="utf-8")
    assert 'href="room/code.py/"' in home and 'href="docs/engine/"' in home
    code = (pages / "room" / "code.py" / "index.html").read_text(encoding="utf-8")
    assert "~~~~~" in code and "What it is." in code
    listed = (pages / "room" / "index.html").read_text(encoding="utf-8")
    assert 'href="other.py/"' in listed and "Another." in listed
    assert (pages / "room" / "other.py" / "index.html").is_file()
    assert not (pages / "room" / "unlinked.txt").exists()


def test_a_lesson_has_its_text_its_outputs_and_its_equations(site):
    pages = site(
        **{
            "README.md": "# Home\n\n[text](lessons/05_noise.py)",
            "lessons/05_noise.ipynb": nbformat.writes(NOTEBOOK),
            "lessons/05_noise.py": "# %%\npicture\n",
        }
    )
    lesson = (pages / "lessons" / "05_noise" / "index.html").read_text(encoding="utf-8")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"' in lesson
    assert "<msup>" in lesson and "arithmatex" not in lesson
    assert list((pages / "lessons").glob("*.png")) and "05_noise_output_1_0.png" in lesson
    text = (pages / "lessons" / "05_noise.py" / "index.html").read_text(encoding="utf-8")
    assert "<h1" in text and "lessons/05_noise.py" in text


@pytest.mark.parametrize(
    "text",
    ["[gone](docs/gone.md)", "[gone](room/gone.py)", "![gone](docs/gone.png)", "[here](#nowhere)"],
)
def test_a_link_that_leads_nowhere_stops_the_build(site, text):
    with pytest.raises(Abort, match="strict"):
        site(**{"README.md": f"# Home\n\n{text}"})


@pytest.mark.parametrize(
    "text",
    [
        "![p](https://example.org/p.png)",
        '<script src="//example.org/s.js"></script>',
        '<iframe src="http://example.org/"></iframe>',
        '<img srcset="https://example.org/p.png 2x">',
        '<p style="background: url(https://example.org/p.png)">x</p>',
        "<style>@import 'https://example.org/s.css';</style>",
        '<link rel="stylesheet" href="https://example.org/s.css">',
        '<video poster="https://example.org/p.png"></video>',
    ],
)
def test_a_page_that_would_load_something_from_elsewhere_stops_the_build(site, text, caplog):
    with pytest.raises(Abort):
        site(**{"README.md": f"# Home\n\n{text}"})
    assert "index.html: loads" in caplog.text and "example.org" in caplog.text


def test_a_link_to_elsewhere_is_none_that_is_loaded(site):
    pages = site(**{"README.md": "# Home\n\n[paper](https://arxiv.org/abs/2006.11239) `url(//x)`"})
    assert "https://arxiv.org" in (pages / "index.html").read_text(encoding="utf-8")


def test_the_reference_has_every_public_module():
    hook = runpy.run_path(str(ROOT / "docs" / "site_pages.py"))
    shown = {module for _, modules in hook["REFERENCE"].values() for module in modules}
    assert {module.__name__ for module in PUBLIC} <= shown


def test_every_page_of_the_navigation_is_there():
    """So that a new lesson is not forgotten."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    shown = {entry.split()[-1] for entry in text.splitlines() if "." in entry}
    lessons = {f"lessons/{path.name}" for path in (ROOT / "lessons").glob("*.ipynb")}
    assert lessons <= shown
    assert yaml.safe_load("nav:" + text)["nav"]
