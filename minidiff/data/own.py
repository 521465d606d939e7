"""Data sets of one's own: a folder of pictures, arrays in an .npz file, files in the IDX format."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import checks
from . import idx_format
from .array_file import (
    CHANNELS,
    ArrayFile,
    as_images,
    shape_of_images,
    stored_in_idx,
    stored_in_npz,
)
from .class_folders import pictures_by_class
from .on_disk import OnDisk
from .picture_files import PictureFiles, View, other_size, own_size

FITS = ("crop", "pad")
T = TypeVar("T")


class Labelled(NamedTuple):
    """Images, their labels, and the names of the classes.

    images (n, height, width, channels), float32 in [-1, 1]; labels (n,), int64 in 1 … k; the name
    of label l is names[l − 1]. `Trainer.fit(data[:2], …)` trains on it.
    """

    images: np.ndarray | OnDisk
    labels: np.ndarray
    names: tuple[str, ...]


def images(
    folder: str | os.PathLike,
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
    fit: str = "crop",
    background: str = "white",
    in_memory: bool = True,
) -> Labelled:
    """The pictures of a folder: each of its subfolders is a class, and has its name.

    Classes and files are in alphabetical order; files deeper in a subfolder belong to it. Pictures
    may have any format that Pillow reads, of 8 or 16 bits, with palettes and transparency, and are
    turned as a camera noted it. What begins with a dot is left out, and anything else that is no
    picture is refused.

    - `size`: of all pictures, (height, width) or one number for both; they are scaled to it. None:
      they have one size already, and keep it;
    - `channels`: 3 for colour, 1 for grey;
    - `fit`: "crop" cuts off what does not fit into the shape of `size`, at both sides alike; "pad"
      fills up with `background`;
    - `background`: the name of a colour, or "#rrggbb"; seen through transparent parts, too;
    - `in_memory`: False for pictures that are read when they are needed, see `OnDisk`.
      Only the heads of the files are looked at now.

    Raises FileNotFoundError and ValueError, saying which file is wrong and how to mend it: for a
    folder that is none or is empty, one class only, a file that is no picture or is broken, sizes
    that differ, and more than fits into memory.
    """
    place = checks.path("folder", folder)
    view = View(
        _as_size(size),
        checks.among("channels", channels, CHANNELS),
        checks.among("fit", fit, FITS),
        _as_colour(background),
    )
    checks.flag("in_memory", in_memory)
    classes = pictures_by_class(place)
    paths = [path for files in classes.values() for path in files]
    counts = [len(files) for files in classes.values()]
    labels = np.repeat(np.arange(1, len(classes) + 1), counts)
    pictures = PictureFiles(place, paths, view, view.size or own_size(paths[0]))
    if not in_memory:
        _check_heads(pictures)
        return Labelled(pictures, labels, tuple(classes))
    numbers = len(paths) * np.prod(pictures.shape[1:], dtype=int)
    if numbers > checks.MOST_NUMBERS:
        raise ValueError(
            f"in_memory: given True for {pictures.shape} numbers, wanted at most "
            f"{checks.MOST_NUMBERS:,}: type in_memory=False, or a smaller size"
        )
    return Labelled(pictures[:], labels, tuple(classes))


def _as_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size: given {size!r}, wanted (height, width), or one number for both")
    height, width = (checks.whole("size", side, 1, MOST_PIXELS) for side in pair)
    return height, width


MOST_PIXELS = 4096  # of a side: networks here are for hundreds at most


def _as_colour(background: Any) -> str:
    from PIL import ImageColor

    try:
        ImageColor.getrgb(background)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"background: given {background!r}, wanted a colour, such as 'white' or '#ff8800'"
        ) from None
    return background


def _check_heads(pictures: PictureFiles) -> None:
    """ValueError for a file that does not begin as a picture does, or has another size."""
    for path in pictures.paths:
        size = own_size(path)
        if pictures.view.size is None and size != pictures.shape[1:3]:
            raise other_size(path, size, pictures.paths[0], pictures.shape[1:3])


def npz(
    path: str | os.PathLike, images: str = "images", labels: str = "labels", in_memory: bool = True
) -> Labelled:
    """The arrays `images` and `labels` of a file that `np.savez` wrote.

    images (n, height, width) or (n, height, width, channels) with 1 or 3 channels: uint8 from 0 to
    255, or floats in [-1, 1]. labels (n,): integers or strings, which are the names of the classes;
    in their order they become labels 1 … k. `in_memory` is False for images that are read when they
    are needed, see `OnDisk`; those of `np.savez_compressed` cannot be. Raises FileNotFoundError and
    ValueError, which says what to mend.
    """
    place = checks.path("path", path)
    names = [_as_key("images", images), _as_key("labels", labels)]
    checks.flag("in_memory", in_memory)
    if not place.is_file():
        raise FileNotFoundError(f"path: given {place}, where there is no file, wanted an .npz file")
    try:
        with place.open("rb") as opened, np.load(opened) as file:
            keys = list(getattr(file, "files", []))
            read = names if in_memory else names[1:]
            arrays = [file[name] for name in read if name in keys]
    except MemoryError as error:
        raise _too_large("path", place, error) from None
    except Exception as error:  # zip, zlib and the reader of headers meet what nobody foresees
        raise ValueError(
            f"path: given {place}, which cannot be read ({error}), wanted a whole file that "
            "np.savez wrote, of plain numbers and strings"
        ) from None
    if not set(names) <= set(keys):
        raise ValueError(
            f"path: given {place} with the arrays {keys}, wanted {names}: "
            f"type npz(path, images=…, labels=…) with their names"
        )
    if not in_memory:
        return _labelled(ArrayFile(stored_in_npz(place, images)), *arrays)
    return _labelled(*arrays)


def _as_key(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: given {type(value).__name__}, wanted the name of an array")
    return value


def _too_large(name: str, place: Path, error: MemoryError) -> ValueError:
    return ValueError(
        f"{name}: given {place}, which does not fit into memory ({error}): type in_memory=False"
    )


def idx(images: str | os.PathLike, labels: str | os.PathLike, in_memory: bool = True) -> Labelled:
    """Two files in MNIST's format, gzipped or not: images of bytes, and a label for each.

    The classes are called by their numbers, such as "0" … "9", and in their order become labels
    1 … k. `in_memory` is False for images that are read when they are needed, see `OnDisk`; gzipped
    ones cannot be. Raises FileNotFoundError and ValueError, which says what to mend.
    """
    places = [checks.path("images", images), checks.path("labels", labels)]
    checks.flag("in_memory", in_memory)
    for name, place in zip(("images", "labels"), places):
        if not place.is_file():
            raise FileNotFoundError(
                f"{name}: given {place}, where there is no file, wanted one in the IDX format"
            )
    found: np.ndarray | ArrayFile
    if in_memory:
        found = _idx_array("images", places[0])
    else:
        found = ArrayFile(_told("images", places[0], stored_in_idx))
    return _labelled(found, _idx_array("labels", places[1]))


def _idx_array(name: str, place: Path) -> np.ndarray:
    return _told(
        name, place, lambda place: idx_format.parse(idx_format.unpacked(place.read_bytes()))
    )


def _told(name: str, place: Path, read: Callable[[Path], T]) -> T:
    """What is read there; what is wrong with the file is told with its name."""
    try:
        return read(place)
    except MemoryError as error:
        raise _too_large(name, place, error) from None
    except ValueError as error:
        if not str(error).startswith("raw: "):
            raise
        raise ValueError(f"{name}: given {place}: {str(error).removeprefix('raw: ')}") from None


def _labelled(images: np.ndarray | ArrayFile, labels: np.ndarray) -> Labelled:
    """Images and labels of a file, checked, in the form that they have here."""
    if isinstance(images, np.ndarray):
        shape_of_images(images.shape, images.dtype)
        images = as_images(images)
        checks.clean_samples("images", images)
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iuU":
        raise ValueError(
            f"labels: given {labels.dtype} of shape {labels.shape}, wanted integers or strings "
            f"({len(images)},): one for each image"
        )
    found, places = np.unique(labels, return_inverse=True)
    if len(found) < 2:
        raise ValueError(
            f"labels: given {found.tolist()} alone, wanted two classes or more, to ask for one of "
            "them"
        )
    return Labelled(images, places.astype(np.int64) + 1, tuple(map(str, found)))
