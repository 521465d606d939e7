"""Run the lessons from start to end, and keep them as notebooks with their outputs.

    python lessons/build.py                 all of them
    python lessons/build.py 03 --check      the third; nothing is written

A lesson is a text, NN_name.py, which jupytext reads, and a notebook of the same name, which is made
of it here. So change the text. Needs the extra `lessons`. The exit status is not 0 where a cell
fails, where a notebook has more than 400 kB, and with --check where it is not that of its text.
"""

import argparse
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parent
LARGEST = 400_000  # bytes
LONGEST = 900  # seconds that a cell may take, on a machine that is busy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "lessons", nargs="*", help="the first characters of their names, such as 03"
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    faults = []
    for text in sorted(FOLDER.glob("[0-9]*.py")):
        if text.name.startswith(tuple(args.lessons) or ""):
            faults += faults_of(text, args.check)
    if faults:
        raise SystemExit("\n".join(faults))


def faults_of(text: Path, check: bool) -> list[str]:
    """Run a lesson, write its notebook unless only checked, and say what is wrong with it."""
    path = text.with_suffix(".ipynb")
    notebook = jupytext.read(text)
    start = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=LONGEST,
        resources={"metadata": {"path": FOLDER}},
        store_widget_state=False,
        coalesce_streams=True,  # what is printed a piece at a time is one output
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return [f"{text.name}: {error}"]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # by default they are random, and every build a change
        cell.metadata.pop("execution", None)  # when each cell ran
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if not is_progress(out)]
    written = nbformat.writes(notebook)
    print(f"{text.name}: {time.perf_counter() - start:.0f} s, {len(written) / 1000:.0f} kB")
    faults = []
    if len(written) > LARGEST:
        faults.append(f"{path.name}: {len(written):,} bytes, wanted {LARGEST:,} at most")
    if not check:
        path.write_text(written + "\n", encoding="utf-8")
    elif not path.exists() or sources(nbformat.read(path, 4)) != sources(notebook):
        faults.append(
            f"{path.name}: not that of its text; type python lessons/build.py {text.stem}"
        )
    return faults


def is_progress(output: nbformat.NotebookNode) -> bool:
    """A progress bar, as text or as a widget: kept, it is pages of numbers, or dead."""
    widget = "application/vnd.jupyter.widget-view+json"
    return output.get("name") == "stderr" or widget in output.get("data", {})


def sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells]


if __name__ == "__main__":
    main()
