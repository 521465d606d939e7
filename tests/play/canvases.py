"""What a browser sends of a canvas."""

import base64
import io

import numpy as np
from PIL import Image

from minidiff.play.strokes import START


def address(pixels):
    """Pixels (height, width, 4), uint8, as a browser gives a canvas."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return START + base64.b64encode(content.getvalue()).decode()


def canvas(side=28):
    return np.zeros((side, side, 4), np.uint8)
