"""Folders of pictures, as tests need them."""

from pathlib import Path

import numpy as np
from PIL import Image


def write(folder: Path, files: dict[str, Image.Image | np.ndarray | bytes]) -> Path:
    """Files at these paths below the folder; arrays become PNGs, None an empty folder."""
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            image = Image.fromarray(content) if isinstance(content, np.ndarray) else content
            image.save(path)
    return folder


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
