"""Distorted images: where each pixel came from is read off ramps, which interpolation keeps."""

import numpy as np
import pytest

from minidiff.data import distorted, flipped, shifted


def ramps(n, size=29):
    """Images (n, size, size, 2) whose values are their own coordinates, in [-1, 1]."""
    line = np.linspace(-1, 1, size)
    ramp = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    return np.repeat(ramp[None], n, axis=0)


def motions(images):
    """Where the middle of each distorted ramp came from, and a step of a row, a column; (n, 2)."""
    half = images.shape[1] // 2
    middle = images[:, half, half]
    down = images[:, half + 1, half] - middle
    right = images[:, half, half + 1] - middle
    return middle * half, down * half, right * half


@pytest.mark.parametrize("seed", range(5))
def test_pixels_are_turned_scaled_and_shifted_within_the_ranges(seed):
    origin, down, right = motions(distorted(ramps(200), seed, degrees=30, zoom=0.2, pixels=3))
    factor = 1 / np.hypot(*down.T)
    np.testing.assert_allclose(right, down[:, ::-1] * [-1, 1], atol=1e-12, err_msg="no similarity")
    angle = np.degrees(np.arctan2(down[:, 1], down[:, 0]))
    # the middle came from −shift, turned and scaled as the two directions are
    rows_shift = -np.sum(origin * down, axis=1) * factor**2
    columns_shift = -np.sum(origin * right, axis=1) * factor**2
    for values, limit in ((angle, 30), (factor - 1, 0.2), (rows_shift, 3), (columns_shift, 3)):
        assert np.abs(values).max() <= limit * (1 + 1e-9)
        assert values.min() < -0.8 * limit and values.max() > 0.8 * limit, "not the whole range"


def images(n=3, dtype=np.float32):
    return np.tanh(np.random.default_rng(n).standard_normal((n, 9, 7, 2))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_range_changes_nothing(dtype):
    given_images = images(dtype=dtype)
    before = given_images.copy()
    same = distorted(given_images, 0, degrees=0, zoom=0, pixels=0)
    assert same.dtype == dtype
    np.testing.assert_allclose(same, before, atol=1e-6)
    np.testing.assert_array_equal(given_images, before)


def test_the_seed_makes_the_draws_and_each_image_has_its_own():
    same = np.repeat(images(1), 4, axis=0)
    first = distorted(same, 5)
    np.testing.assert_array_equal(first, distorted(same, np.random.default_rng(5)))
    assert len(np.unique(first.reshape(4, -1), axis=0)) == 4
    assert not np.array_equal(first, distorted(same, 6))


def test_what_comes_from_beyond_the_border_is_black():
    white = np.ones((50, 8, 8, 1), np.float32)
    moved = distorted(white, 0, degrees=0, zoom=0, pixels=8)
    assert moved.min() == -1 and moved.max() == 1
    assert np.isin(np.round(np.unique(moved[:, 3:5, 3:5]), 3), [-1, 1]).any()
    assert distorted(np.zeros((0, 8, 8, 1), np.float32), 0).shape == (0, 8, 8, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": images()[0]}, ValueError, r"images: given shape \(9, 7, 2\), wanted \(n, hei"),
        ({"images": np.zeros((1, 4, 4, 1), int)}, TypeError, "images: given int64, wanted a float"),
        ({"rng": None}, TypeError, "rng: given None, wanted a seed"),
        ({"degrees": 181}, ValueError, r"degrees: given 181, wanted a number in \[0, 180\]"),
        ({"zoom": 1}, ValueError, r"zoom: given 1, wanted a number in \[0, 1\)"),
        ({"pixels": 10}, ValueError, r"pixels: given 10, wanted a number in \[0, 9\]"),
    ],
)
def test_what_cannot_be_distorted_is_named(change, error, message):
    with pytest.raises(error, match=message):
        distorted(**{"images": images(), "rng": 0} | change)


def test_half_of_the_images_are_flipped_left_to_right():
    drawn = images(400)
    turned = flipped(drawn, 0)
    is_same = (turned == drawn).all(axis=(1, 2, 3))
    is_mirrored = (turned == drawn[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (is_same ^ is_mirrored).all()
    assert 150 < is_mirrored.sum() < 250


@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_shifts_move_whole_pixels_and_repeat_the_border(pixels):
    drawn = images(200)
    moved = shifted(drawn, 0, pixels)
    wide = np.pad(drawn, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    height, width = drawn.shape[1:3]
    seen = set()
    for i in range(len(drawn)):
        places = [
            (down, right)
            for down in range(2 * pixels + 1)
            for right in range(2 * pixels + 1)
            if np.array_equal(moved[i], wide[i, down : down + height, right : right + width])
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == (2 * pixels + 1) ** 2, "all shifts occur"


@pytest.mark.parametrize("change", [flipped, shifted])
def test_flips_and_shifts_come_from_the_seed_and_leave_what_they_are_given(change):
    for dtype in (np.float32, np.float64):
        drawn = images(dtype=dtype)
        before = drawn.copy()
        first = change(drawn, 5)
        assert first.dtype == dtype and first.shape == drawn.shape
        np.testing.assert_array_equal(first, change(drawn, np.random.default_rng(5)))
        np.testing.assert_array_equal(drawn, before)
    assert change(np.zeros((0, 8, 8, 1), np.float32), 0).shape == (0, 8, 8, 1)
    with pytest.raises(ValueError, match=r"images: given shape \(9, 7, 2\), wanted \(n, height"):
        change(images()[0], 0)


def test_a_shift_is_no_longer_than_the_image():
    with pytest.raises(ValueError, match="pixels: given 8, wanted an integer from 0 to 7"):
        shifted(images(), 0, 8)
