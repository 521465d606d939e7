"""Pictures and videos that can be written to files and that a notebook shows as they are.

It imports matplotlib, so it is imported where it is first needed.
"""

import base64
import io
from collections.abc import Iterable
from os import PathLike

import numpy as np
from matplotlib.figure import Figure
from PIL import Image  # matplotlib's own dependency

from . import checks
from .disk import write_whole


class Picture(Figure):
    """A matplotlib figure that no window shows. A notebook shows it where a cell ends in it."""

    def __init__(self, width: float, height: float):
        """Of this size in inches."""
        super().__init__(figsize=(width, height), layout="constrained", dpi=120)

    def written(self, path: str | PathLike | None) -> "Picture":
        """Itself, after it was written to the path, if there is one; PNG unless the name says."""
        if path is None:
            return self
        path = checks.path("path", path)
        kind = path.suffix[1:].lower() or "png"
        kinds = self.canvas.get_supported_filetypes()
        if kind not in kinds:
            known = ", ".join(f".{name}" for name in kinds)
            raise ValueError(f"path: given {path}, wanted a name that ends in one of {known}")
        write_whole(path.with_suffix(path.suffix or ".png"), self._as(kind))
        return self

    def _repr_png_(self) -> bytes:
        return self._as("png")

    def _as(self, kind: str) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format=kind)
        return content.getvalue()


class Video:
    """A GIF that repeats for ever. A notebook shows it where a cell ends in it.

    frames: (H, W, 3), uint8, 80 milliseconds each; the last one stays for two seconds.
    """

    def __init__(self, frames: Iterable[np.ndarray]):
        # the method that leaves the smallest largest error, among those for 256 colours
        method = Image.Quantize.MAXCOVERAGE
        first, *others = [Image.fromarray(frame).quantize(256, method) for frame in frames]
        content = io.BytesIO()
        first.save(
            content,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=[80] * len(others) + [2000],
            loop=0,
        )
        self.content = content.getvalue()

    def written(self, path: str | PathLike | None) -> "Video":
        """Itself, after it was written to the path, if there is one."""
        if path is not None:
            write_whole(checks.path("path", path), self.content)
        return self

    def _repr_html_(self) -> str:
        return f'<img src="data:image/gif;base64,{base64.b64encode(self.content).decode()}">'

    def __repr__(self) -> str:
        return f"Video({len(self.content):,} bytes)"
