"""Images as arrays in files: the forms that are taken, and rows that are read by need."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .. import checks
from . import idx_format
from .on_disk import OnDisk
from .scaling import from_pixels

CHANNELS = (1, 3)
_LOOKED_AT = 64  # images of a file, to see whether they are what they should be
_ZIP_HEAD = 30  # bytes before the name of a file within a zip file; two lengths are the last four


def shape_of_images(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int, int, int]:
    """(n, height, width, channels); ValueError, with what mends it, where these are no images."""
    whole = (*shape, 1) if len(shape) == 3 else shape
    if len(whole) != 4 or whole[-1] not in CHANNELS or 0 in whole:
        channels_first = len(whole) == 4 and whole[1] in CHANNELS
        mend = ": save images.transpose(0, 2, 3, 1)" if channels_first else ""
        raise ValueError(
            f"images: given shape {whole}, wanted (n, height, width) or (n, height, width, "
            f"channels) with 1 or 3 channels{mend}"
        )
    if dtype != np.uint8 and dtype.kind != "f":
        raise ValueError(
            f"images: given {dtype}, wanted uint8 from 0 to 255, or floats in [-1, 1]: save "
            "images.astype('uint8')"
        )
    count, height, width, channels = whole
    return count, height, width, channels


def as_images(stored: np.ndarray) -> np.ndarray:
    """What a file holds, in the form that images have here: float32 in [-1, 1], 4 axes."""
    if stored.ndim == 3:
        stored = stored[..., None]
    return from_pixels(stored) if stored.dtype == np.uint8 else stored.astype(np.float32)


class Stored(NamedTuple):
    """Where an array lies in a file, plain and in C's order: its first byte is at `start`."""

    path: Path
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype


class ArrayFile(OnDisk):
    """Images in one array of a file, read by need.

    It is read by offset, not mapped: a file that was cut off meanwhile raises a ValueError.
    """

    def __init__(self, stored: Stored, rows: np.ndarray | None = None):
        """The images of these rows of the array, or all.

        ValueError where they have not the form of images, or some that are looked at not the range.
        """
        shape = shape_of_images(stored.shape, stored.dtype)
        self.stored = stored
        self.rows = np.arange(shape[0]) if rows is None else rows
        self.shape = (len(self.rows), *shape[1:])
        if rows is None:
            checks.clean_samples("images", self._read(self._some()))

    def __repr__(self) -> str:
        return f"ArrayFile({self.stored.path}, shape {self.shape})"

    def _read(self, rows: np.ndarray) -> np.ndarray:
        stored = self.stored
        values = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
        with stored.path.open("rb") as file:
            for place, row in zip(values, self.rows[rows]):
                file.seek(stored.start + int(row) * place.nbytes)
                if file.readinto(place) != place.nbytes:  # type: ignore[arg-type]
                    raise ValueError(
                        f"images: given {stored.path}, which ends before image {row}, wanted it as "
                        "it was when it was opened"
                    )
        images = as_images(values)
        if not np.isfinite(images).all():
            raise ValueError(f"images: given NaN or infinity in {stored.path}, wanted finite ones")
        return images

    def _some(self) -> np.ndarray:
        """Rows that stand for all."""
        return np.unique(np.linspace(0, len(self) - 1, min(_LOOKED_AT, len(self)), dtype=int))

    def take(self, rows: np.ndarray) -> "ArrayFile":
        return ArrayFile(self.stored, self.rows[rows])

    def fingerprint(self) -> str:
        """Of the rows, and of the pixels of some."""
        of_rows = zlib.crc32(self.rows.tobytes())
        return f"{self.shape} {zlib.crc32(self._read(self._some()).tobytes(), of_rows):08x}"


# --- where an array lies in a file ---


def stored_in_npz(path: Path, name: str) -> Stored:
    """The array of that name in an .npz file, of which the head alone is read.

    ValueError, with what mends it, for one that does not lie there plainly.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(
                f"in_memory: given False, and {name} is compressed in {path}, wanted an array that "
                "can be read in parts: write the file by np.savez, not by np.savez_compressed"
            )
        with archive.open(member) as content:
            shape, in_columns, dtype = _npy_head(content)
            head = content.tell()
        if in_columns and len(shape) > 1:
            raise ValueError(
                f"in_memory: given False, and {name} is in Fortran's order in {path}, wanted C's: "
                f"save np.ascontiguousarray({name})"
            )
        file.seek(member.header_offset)
        lengths = struct.unpack("<HH", file.read(_ZIP_HEAD)[-4:])
    return Stored(path, member.header_offset + _ZIP_HEAD + sum(lengths) + head, shape, dtype)


def _npy_head(content: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape, whether the first axis is the fastest, and the dtype that an .npy file has."""
    version = np.lib.format.read_magic(content)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(content)
    return np.lib.format.read_array_header_2_0(content)


def stored_in_idx(path: Path) -> Stored:
    """The array of an IDX file, of which the head alone is read; ValueError, as above."""
    with path.open("rb") as file:
        shape, start = idx_format.head(_beginning(path, file), path.stat().st_size)
    return Stored(path, start, shape, np.dtype(np.uint8))


def _beginning(path: Path, file: BinaryIO) -> bytes:
    raw = file.read(idx_format.LONGEST_HEAD)
    if raw.startswith(idx_format.GZIP):
        raise ValueError(
            f"in_memory: given False, and {path} is compressed, wanted a file that can be read in "
            "parts: unpack it by gunzip"
        )
    return raw
