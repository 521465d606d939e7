"""What somebody drew with a pen on a page, as an image for a network."""

import base64
import io
from typing import NamedTuple

import numpy as np

LARGEST = 1_000_000  # letters; a canvas of 280 × 280 pixels has some thousands
MOST_PIXELS = 1000 * 1000
START = "data:image/png;base64,"


class Strokes(NamedTuple):
    """The strokes as an image, and where they are.

    image: (height, width, channels) in [-1, 1], on black where it is grey, on white where it has
    colours; mask: (height, width, 1), 1 where there is ink, be it on a part
    of a pixel: so the network knows the edges, and puts no more ink beside them.
    """

    image: np.ndarray
    mask: np.ndarray


def strokes_of(address: str, shape: tuple[int, ...]) -> Strokes:
    """The strokes on a transparent canvas, which is a PNG in a data: address.

    shape: (height, width, channels) of the image. Raises ValueError for anything else, and where
    there are no strokes.
    """
    from PIL import Image

    height, width, channels = shape
    if len(address) > LARGEST:
        raise ValueError(f"strokes: given {len(address):,} letters, wanted a small PNG")
    try:
        content = base64.b64decode(address.removeprefix(START), validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as canvas:
            if canvas.width * canvas.height > MOST_PIXELS:
                raise ValueError(f"a canvas of {canvas.width} × {canvas.height}")
            small = canvas.convert("RGBA").resize((width, height), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"strokes: given {error}, wanted a small PNG") from None
    ink = np.asarray(small, np.float32) / 255
    cover = ink[..., 3:]
    if not cover.any():
        raise ValueError("strokes: given none, wanted some: draw on the canvas")
    colour = ink[..., :3] if channels == 3 else ink[..., :3].mean(axis=-1, keepdims=True)
    ground = 1 if channels == 3 else 0
    image = cover * colour + (1 - cover) * ground
    return Strokes(image * 2 - 1, (cover > 0).astype(np.float32))
