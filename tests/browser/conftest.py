"""A page that is served, and visitors who look at it in a Chromium."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from chromium import chromium
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
START = 300  # seconds that a server may take, on a machine that is busy


@contextmanager
def served(folder, *words):
    """The address of `minidiff play`, in a process that notes whom it asks; see `watched.py`."""
    asked = folder / "asked.txt"
    command = [sys.executable, str(HERE / "watched.py"), str(asked), *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    ) as process:
        too_long = threading.Timer(START, process.kill)
        too_long.start()
        try:
            line = process.stdout.readline()
            too_long.cancel()
            assert line.startswith("open http://"), f"minidiff play said {line!r}"
            yield line.split()[1]
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The page of the networks that ship."""
    folder = tmp_path_factory.mktemp("served")
    with served(folder) as address:
        yield address
    asked = (folder / "asked.txt").read_text(encoding="utf-8").split()
    assert asked, "nothing was noted"
    assert set(asked) <= {"127.0.0.1", "::1"}, "the server asked other machines"


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens an address; in the end no page has had an error, or asked anyone but its own."""
    contexts = []
    wrong = []

    def visit(address, **options):
        def look(request):
            if not request.url.startswith((address, f"blob:{address}", "data:")):
                wrong.append(request.url)

        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("request", look)
        page.on("websocket", look)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.get_by_role("tab", name="Draw").wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not wrong
