"""Images, pictures and errors as HTML that needs no other file."""

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..pictures import Picture


def title(text: str) -> str:
    return f'<p class="title">{html.escape(text)}</p>'


def tiles(rows: Sequence[np.ndarray], captions: Sequence[str]) -> str:
    """A tile for each caption: below each other, its image of each row.

    rows: each (n, height, width, channels) in [-1, 1], with 1 or 3 channels; values beyond are
    clipped.
    """
    figures = []
    for caption, *images in zip(captions, *rows, strict=True):
        text = html.escape(caption)
        shown = "".join(f'<img src="{_image(image)}" alt="{text}">' for image in images)
        figures.append(f"<figure>{shown}<figcaption>{text}</figcaption></figure>")
    return f'<div class="tiles">{"".join(figures)}</div>'


def picture(drawn: "Picture", text: str) -> str:
    """A picture; the text is for who cannot see it."""
    return f'<img class="picture" src="{_address(drawn._repr_png_())}" alt="{html.escape(text)}">'


def fault(error: Exception) -> str:
    """What is wrong, as a sentence in the place of what was to be seen."""
    return f'<p class="fault" role="alert">{html.escape(str(error))}</p>'


def _image(image: np.ndarray) -> str:
    """The address of one image (height, width, channels), a pixel for each of its own."""
    from PIL import Image

    colours = np.rint((image.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(colours[..., 0] if image.shape[-1] == 1 else colours).save(content, "PNG")
    return _address(content.getvalue())


def _address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
