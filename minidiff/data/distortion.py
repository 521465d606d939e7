"""Images flipped, turned, scaled and shifted at random: more data, from the data there is.

Written hands do the same to digits: small distortions leave a digit what it is. Which of them leave
a picture what it is, only its owner knows: a flipped p is a q.
"""

import math

import numpy as np

from .. import checks


def flipped(images: np.ndarray, rng: int | np.random.Generator) -> np.ndarray:
    """Each image as it is or with left and right exchanged, by a coin that `rng` throws.

    images (n, height, width, channels), floats; the result is like them. Raises TypeError or
    ValueError for images that are no finite floats.
    """
    _check_images(images)
    heads = checks.generator("rng", rng).random(len(images)) < 0.5
    return np.where(heads[:, None, None, None], images[:, :, ::-1], images)


def shifted(images: np.ndarray, rng: int | np.random.Generator, pixels: int = 2) -> np.ndarray:
    """Each image moved by up to ±`pixels` whole pixels in both directions, as `rng` draws it.

    images (n, height, width, channels), floats; the result is like them. What comes in over a
    border repeats the border's pixels. Raises TypeError or ValueError for images that are no finite
    floats, and for `pixels` that are no integer from 0 to the shorter side.
    """
    _check_images(images)
    n, height, width, _ = images.shape
    checks.whole("pixels", pixels, 0, min(height, width))
    shift = checks.generator("rng", rng).integers(-pixels, pixels + 1, (2, n, 1, 1))
    rows = np.clip(np.arange(height)[:, None] - shift[0], 0, height - 1)
    columns = np.clip(np.arange(width) - shift[1], 0, width - 1)
    return images[np.arange(n)[:, None, None], rows, columns]


def distorted(
    images: np.ndarray,
    rng: int | np.random.Generator,
    degrees: float = 10.0,
    zoom: float = 0.1,
    pixels: float = 2.0,
) -> np.ndarray:
    """Each image turned about its middle, then scaled and shifted, as `rng` draws it.

    images (n, height, width, channels), floats in [-1, 1]; the result is like them. Angles are up
    to ±`degrees`, factors within 1 ± `zoom`, shifts up to ±`pixels` in both directions; all are
    uniform. Values between pixels are interpolated linearly; beyond the border all is −1, black.

    Raises TypeError or ValueError for images that are no finite floats, or ranges that cannot be:
    0 ≤ degrees ≤ 180, 0 ≤ zoom < 1, 0 ≤ pixels. Source: Simard, Steinkraus and Platt, "Best
    practices for convolutional neural networks applied to visual document analysis" (2003).
    """
    _check_images(images)
    rng = checks.generator("rng", rng)
    checks.among("degrees", degrees, checks.Between(0, 180))
    checks.among("zoom", zoom, checks.Between(0, 1, "[)"))
    checks.among("pixels", pixels, checks.Between(0, max(images.shape[1:3])))
    n = len(images)
    angle = math.radians(degrees) * rng.uniform(-1, 1, (n, 1, 1))
    factor = 1 + zoom * rng.uniform(-1, 1, (n, 1, 1))
    shift = pixels * rng.uniform(-1, 1, (2, n, 1, 1))

    middle_row = (images.shape[1] - 1) / 2
    middle_column = (images.shape[2] - 1) / 2
    rows, columns = np.indices(images.shape[1:3])
    # back from where a pixel is to where it came from
    down = (rows - middle_row - shift[0]) / factor
    right = (columns - middle_column - shift[1]) / factor
    from_row = middle_row + np.cos(angle) * down - np.sin(angle) * right
    from_column = middle_column + np.sin(angle) * down + np.cos(angle) * right
    return _interpolated(images, from_row, from_column)


def _check_images(images: np.ndarray) -> None:
    checks.samples("images", images)
    if images.ndim != 4:
        raise ValueError(f"images: given shape {images.shape}, wanted (n, height, width, channels)")


def _interpolated(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The images' values at real places (n, height, width), from the four pixels around each."""
    n, height, width, channels = images.shape
    bordered = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    rows = np.clip(rows + 1, 0, height + 1)
    columns = np.clip(columns + 1, 0, width + 1)
    above = np.minimum(rows.astype(int), height)
    left = np.minimum(columns.astype(int), width)
    below_share = (rows - above)[..., None].astype(images.dtype)
    right_share = (columns - left)[..., None].astype(images.dtype)
    pixels = bordered.reshape(-1, channels)
    place = (np.arange(n)[:, None, None] * (height + 2) + above) * (width + 2) + left
    next_row = place + width + 2
    upper = pixels[place] + right_share * (pixels[place + 1] - pixels[place])
    lower = pixels[next_row] + right_share * (pixels[next_row + 1] - pixels[next_row])
    return upper + below_share * (lower - upper)
