"""The reader's files: where they are, what they hold, how often each was tried, and copies."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from .. import disk
from .declared import GROUPS, Exercise
from .marking import Mark, marked_once, tries_after

PLACES = ("lessons/exercises", "exercises", ".")
TRIES = ".tries.json"  # beside the exercises: {"ddim_step": 2}
NOT_FOR_STUDENTS = shutil.ignore_patterns("solutions", TRIES, "__pycache__", ".ipynb_checkpoints")


def found(folder: Path | None = None) -> Path:
    """The folder of the exercises: the one that was given, or one of `PLACES` from here.

    Raises FileNotFoundError where none of their files is there.
    """
    places = [folder] if folder else [Path(place) for place in PLACES]
    for place in places:
        if any((place / f"{group}.py").is_file() for group in GROUPS):
            return place
    searched = ", ".join(map(str, places))
    raise FileNotFoundError(
        f"folder: given {searched} in {Path.cwd()}, wanted one with the exercises' files, such as "
        f"{GROUPS[0]}.py: go to where lessons/ is, or type --folder FOLDER"
    )


def marks(folder: Path, exercises: list[Exercise]) -> Iterator[Mark]:
    """The marks of these exercises, as they stand in a folder; wrong tries are counted there."""
    groups: dict[str, ModuleType | Exception] = {}
    tries = _read_tries(folder)
    try:
        for each in exercises:
            if each.group not in groups:
                groups[each.group] = _loaded(folder / f"{each.group}.py")
            marked = _marked(groups[each.group], each)
            tries[each.name] = tries_after(marked, tries.get(each.name, 0))
            yield marked.with_hint(tries[each.name])
    finally:  # also where somebody's loop never ends, and is stopped
        _write_tries(folder, tries)


def _marked(file: ModuleType | Exception, exercise: Exercise) -> Mark:
    if isinstance(file, Exception):
        sentence = f"{exercise.group}.py does not run: {type(file).__name__}: {file}"
        return Mark(exercise.name, "wrong", sentence)
    function: Callable | None = getattr(file, exercise.name, None)
    if not callable(function):
        sentence = f"{exercise.group}.py has no function of this name."
        return Mark(exercise.name, "wrong", sentence)
    return marked_once(function, exercise.name)


def _loaded(path: Path) -> ModuleType | Exception:
    """What a file defines, or why it does not run. Nothing is cached: it may change any moment."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        exec(code, vars(module))
    except Exception as error:
        return error
    return module


def _read_tries(folder: Path) -> dict[str, int]:
    """The wrong tries by name; none where the file is missing or damaged."""
    with suppress(OSError, ValueError):
        counts = json.loads((folder / TRIES).read_text(encoding="utf-8"))
        if isinstance(counts, dict):
            return {name: n for name, n in counts.items() if isinstance(n, int)}
    return {}


def _write_tries(folder: Path, tries: dict[str, int]) -> None:
    """Where a folder cannot be written to, no hint comes."""
    with suppress(OSError):
        disk.write_whole(folder / TRIES, json.dumps(tries, indent=1).encode())


def copied(exercises: Path, to: Path) -> Path:
    """A copy of the lessons, or of the exercises where they stand alone, without solutions.

    Raises ValueError where there is something already, or where `to` lies in what is copied. It is
    there whole or not at all.
    """
    source = exercises.resolve().parent
    if not any(source.glob("[0-9]*.ipynb")):  # no lessons beside them
        source = exercises.resolve()
    target = to.resolve()
    if target.exists():
        raise ValueError(f"folder: given {to}, which exists, wanted a new one")
    if target.is_relative_to(source):
        raise ValueError(
            f"folder: given {to}, inside {source}, wanted one outside of what is copied"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        whole = Path(temporary) / "copy"
        shutil.copytree(source, whole, ignore=NOT_FOR_STUDENTS)
        os.replace(whole, target)
    return to
