"""A folder with a subfolder of pictures for each class: what is in it, what is wrong with it."""

import os
from pathlib import Path

from .picture_files import shown

# What systems put beside pictures, and nobody means.
_OF_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx"}
_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}


def pictures_by_class(folder: Path) -> dict[str, list[Path]]:
    """The files of each class by its name, both in alphabetical order; subfolders count with it.

    What begins with a dot is left out. FileNotFoundError where there is no such folder, ValueError
    for one that holds no classes.
    """
    _check_is_folder(folder)
    entries = [entry for entry in sorted(folder.iterdir()) if _is_meant(entry.name)]
    classes = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if not entry.is_dir()]
    if not entries:
        raise ValueError(f"folder: given {shown(folder)}, which is empty, wanted {_WANTED}")
    if not classes:
        raise ValueError(
            f"folder: given {shown(folder)} with {len(files)} files and no folder in it, wanted "
            f"{_WANTED}: move the pictures of each kind into a folder of its own"
        )
    if files:
        raise ValueError(
            f"folder: given {shown(folder)} with {shown(files[0].name)} beside the folders of the "
            f"classes, wanted {_WANTED}: move it into one of them, or elsewhere"
        )
    for entry in classes:
        _check_name(entry)
    found = {entry.name: pictures_below(entry) for entry in classes}
    _check_classes(folder, found)
    return found


_WANTED = "a folder with a subfolder of pictures for each class"


def pictures_below(folder: Path) -> list[Path]:
    """All files of a folder, also deeper ones; links to folders are not followed."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(filter(_is_meant, folders))
        found += [Path(here, name) for name in sorted(filter(_is_meant, names))]
    for path in found:
        if not path.is_file():
            raise ValueError(
                f"folder: given {shown(path)}, which leads to no file, wanted pictures alone: take "
                "it out of the folder"
            )
    return found


def _is_meant(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _OF_SYSTEMS


def _check_is_folder(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(
            f"folder: given {shown(folder)}, which is not there, wanted {_WANTED}"
        )
    if folder.is_dir():
        return
    mend = {
        ".npz": ": type data.npz(path)",
        ".zip": ": unpack it first",
        ".gz": ": unpack it first",
        ".tar": ": unpack it first",
    }
    raise ValueError(
        f"folder: given {shown(folder)}, a file, wanted {_WANTED}{mend.get(folder.suffix, '')}"
    )


def _check_name(entry: Path) -> None:
    """The name of a class is written on pictures, so it must be text."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"folder: given {shown(entry)}, whose name is no text, wanted the name of a class: "
            "rename it"
        ) from None


def _check_classes(folder: Path, found: dict[str, list[Path]]) -> None:
    for name, files in found.items():
        if not files:
            raise ValueError(
                f"folder: given {shown(folder / name)}, which has no pictures, wanted one or more "
                "for each class: put some there, or remove it"
            )
    if {name.lower() for name in found} <= _PARTS:
        first = folder / next(iter(found))
        raise ValueError(
            f"folder: given {shown(folder)} with {', '.join(found)} in it, wanted {_WANTED}: "
            f"type images({shown(first)!r})"
        )
    if len(found) == 1:
        (name,) = found
        inner = [
            path for path in (folder / name).iterdir() if path.is_dir() and _is_meant(path.name)
        ]
        mend = "put pictures of another kind into a second folder"
        if len(inner) > 1:
            mend = f"type images({shown(folder / name)!r})"
        raise ValueError(
            f"folder: given {shown(folder)} with the one class {name!r}, wanted two or more, to "
            f"ask for one of them: {mend}"
        )
