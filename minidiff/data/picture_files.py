"""Pictures in files: one as an array, and many as if they were an array that is read by need.

Pillow reads them. It is imported when it is first needed.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .on_disk import OnDisk
from .scaling import from_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, width and height are exchanged
# A JPEG is read at so many times the size that is wanted, or little more, and scaled down: of
# photographs of 12 megapixels 87 in a second of a processor's time, in place of 6.
_DRAFT = 2


class View(NamedTuple):
    """How pictures are looked at: the size (height, width) that they get, or None for their own.

    `channels` is 1 for grey and 3 for colour. `fit` says what happens to a picture of another
    shape: "crop" cuts its sides off, "pad" puts `background` beside it. `background` is also seen
    through what is transparent.
    """

    size: tuple[int, int] | None
    channels: int
    fit: str
    background: str

    def read(self, path: Path) -> np.ndarray:
        """The picture as (height, width, channels), uint8. ValueError where it is none, or broken.

        Of an animation it is the first frame.
        """
        from PIL import Image

        try:
            with Image.open(path) as image:
                return self._pixels(image)
        except Exception as error:  # Pillow's many formats meet what nobody foresees
            raise no_picture(path, error) from None

    def _pixels(self, image: "Image") -> np.ndarray:
        from PIL import ImageOps

        if self.size is not None:
            side = _DRAFT * max(self.size)
            image.draft(None, (side, side))
        image = ImageOps.exif_transpose(image)
        image = _in_8_bits(image)
        if image.has_transparency_data:
            image = _on_background(image, self.background)
        image = image.convert("L" if self.channels == 1 else "RGB")
        if self.size is not None:
            image = self._fitted(image, *self.size)
        return np.asarray(image).reshape(image.height, image.width, self.channels)

    def _fitted(self, image: "Image", height: int, width: int) -> "Image":
        from PIL import Image, ImageOps

        if self.fit == "crop":
            return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS, color=self.background)


def _in_8_bits(image: "Image") -> "Image":
    """Grey pictures of 16 bits lose the lower ones; Pillow itself does so with coloured ones."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its values are floats, whose range nobody knows: save it as PNG")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values have more than 16 bits: save it as PNG")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _on_background(image: "Image", background: str) -> "Image":
    from PIL import Image

    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image)


def own_size(path: Path) -> tuple[int, int]:
    """The height and width of a picture, of which only the head is read; ValueError for none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            lies_on_its_side = image.getexif().get(_ORIENTATION, 1) >= 5
            width, height = image.size
    except Exception as error:  # as above
        raise no_picture(path, error) from None
    return (width, height) if lies_on_its_side else (height, width)


def no_picture(path: Path, error: Exception) -> ValueError:
    """What is said of a file that cannot be read as a picture."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    reason = reason.replace(str(path), path.name)
    return ValueError(
        f"folder: given {shown(path)}, which cannot be read as a picture ({shown(reason)}), wanted "
        "whole pictures alone: mend the file or take it out of the folder"
    )


def shown(text: Any) -> str:
    """The text, or a path, with escapes for what no encoding has: a name may be any bytes."""
    return str(text).encode("utf-8", "backslashreplace").decode()


class PictureFiles(OnDisk):
    """Pictures in files, read by need.

    A file that was there, and is broken or gone when it is read, raises a ValueError that names it.
    """

    def __init__(self, folder: Path, paths: Sequence[Path], view: View, size: tuple[int, int]):
        """The pictures at these paths below the folder, which have that size in this view."""
        self.folder = folder
        self.paths = paths
        self.view = view
        self.shape = (len(paths), *size, view.channels)

    def __repr__(self) -> str:
        return f"PictureFiles({shown(self.folder)}, shape {self.shape})"

    def _read(self, rows: np.ndarray) -> np.ndarray:
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, row in zip(pixels, rows):
            place[...] = self._read_one(self.paths[row])
        return from_pixels(pixels)

    def _read_one(self, path: Path) -> np.ndarray:
        pixels = self.view.read(path)
        if pixels.shape != self.shape[1:]:
            raise other_size(path, pixels.shape, self.paths[0], self.shape[1:])
        return pixels

    def take(self, rows: np.ndarray) -> "PictureFiles":
        paths = [self.paths[row] for row in rows]
        return PictureFiles(self.folder, paths, self.view, self.shape[1:3])

    def fingerprint(self) -> str:
        """Of names and sizes of files, and how they are seen."""
        checksum = 0
        for path in self.paths:
            line = f"{path.relative_to(self.folder).as_posix()} {path.stat().st_size}\n"
            checksum = zlib.crc32(line.encode("utf-8", "surrogateescape"), checksum)
        return f"{self.shape} {tuple(self.view)} {checksum:08x}"


def other_size(path: Path, given: tuple, first: Path, wanted: tuple) -> ValueError:
    """What is said of a picture that has not the size of the first one."""
    return ValueError(
        f"size: given None, and {shown(path)} has {given[0]} × {given[1]} pixels, wanted "
        f"{wanted[0]} × {wanted[1]} as {shown(first)} has: "
        f"type size=({wanted[0]}, {wanted[1]}), and fit='crop' or fit='pad'"
    )
