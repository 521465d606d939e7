"""Strokes on a canvas, as an image: what a browser sends, and what nobody should."""

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from canvases import address, canvas
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidiff.play.strokes import LARGEST, START, strokes_of


def test_white_ink_on_black_for_a_grey_network():
    drawn = canvas(280)
    drawn[100:120, 50:90] = 255  # whole pixels of the image
    image, mask = strokes_of(address(drawn), (28, 28, 1))
    wanted = np.full((28, 28, 1), -1, np.float32)
    wanted[10:12, 5:9] = 1
    assert image.dtype == mask.dtype == np.float32
    assert np.array_equal(image, wanted) and np.array_equal(mask, (wanted + 1) / 2)


def test_a_pixel_in_part_covered_is_grey_and_known():
    drawn = canvas(280)
    drawn[100:105, 50:60] = 255
    image, mask = strokes_of(address(drawn), (28, 28, 1))
    assert image[10, 5, 0] == pytest.approx(0, abs=0.01) and mask.sum() == mask[10, 5] == 1


def test_a_grey_network_sees_the_mean_of_the_colours():
    drawn = canvas()
    drawn[:7] = 30, 60, 240, 255
    image, _ = strokes_of(address(drawn), (28, 28, 1))
    assert np.allclose(image[:7], 2 * 110 / 255 - 1) and np.all(image[7:] == -1)


def test_the_largest_canvas_is_read():
    drawn = canvas(1000)
    drawn[..., :] = 255
    image, mask = strokes_of(address(drawn), (8, 8, 1))
    assert np.all(image == 1) and np.all(mask == 1)


def test_coloured_ink_on_white_for_a_network_in_colour():
    drawn = canvas(64)
    drawn[:32, :, 0] = 255
    drawn[:32, :, 3] = 255
    drawn[32:48, :, 3] = 128  # half of black
    image, mask = strokes_of(address(drawn), (16, 32, 3))
    assert image.shape == (16, 32, 3) and mask.shape == (16, 32, 1)
    assert np.array_equal(image[:8], np.broadcast_to([1, -1, -1], (8, 32, 3)))
    assert np.allclose(image[8:12], 0, atol=0.02) and np.all(image[12:] == 1)
    assert np.all(mask[:12] == 1) and np.all(mask[12:] == 0)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("", "strokes: given .*, wanted a small PNG"),
        (address(canvas()), "given none, wanted some: draw on the canvas"),
        ("nonsense", "strokes: given .*, wanted a small PNG"),
        (START + "AAAA", "strokes: given .*, wanted a small PNG"),
        (START + "é", "strokes: given .*, wanted a small PNG"),
        (address(canvas() + np.uint8(9)) + "!", "strokes: given .*, wanted a small PNG"),
        (address(canvas(1001)[1:]), "given a canvas of 1001 × 1000, wanted a small PNG"),
        ("A" * LARGEST, "strokes: given cannot identify"),
        ("A" * (LARGEST + 1), "given 1,000,001 letters, wanted a small PNG"),
        (START + "A" * 2_000_000, "given 2,000,022 letters, wanted a small PNG"),
    ],
)
def test_what_is_no_canvas_is_told(sent, message):
    with pytest.raises(ValueError, match=message):
        strokes_of(sent, (28, 28, 1))


def test_other_formats_are_not_opened():
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "GIF")
    with pytest.raises(ValueError, match="wanted a small PNG"):
        strokes_of(START + base64.b64encode(content.getvalue()).decode(), (8, 8, 1))


GOOD = base64.b64decode(address(canvas(8) + np.uint8(9)).removeprefix(START))


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_png_is_read_or_told(place, other):
    damaged = GOOD[:place] + other + GOOD[place + len(other) :]
    try:
        strokes = strokes_of(START + base64.b64encode(damaged).decode(), (8, 8, 1))
    except ValueError as error:
        assert str(error).startswith("strokes: given ")
    else:
        assert strokes.image.shape == (8, 8, 1)


def test_a_png_that_claims_to_be_huge_is_told():
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + GOOD[24:29]
    huge = GOOD[:12] + header + struct.pack(">I", zlib.crc32(header)) + GOOD[33:]
    with pytest.raises(ValueError, match=r"strokes: given .*pixels.*, wanted a small PNG"):
        strokes_of(START + base64.b64encode(huge).decode(), (8, 8, 1))
