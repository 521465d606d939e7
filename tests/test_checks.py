"""The questions that all rooms ask: what is right passes, what is wrong is named."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import checks
from minidiff.checks import Between

LABELS = np.array([1, 2, 0])


@given(st.integers(-5, 5), st.integers(-5, 5), st.integers(-5, 5))
def test_whole_numbers_from_low_to_high(value, low, high):
    if low <= value <= high:
        made = checks.whole("n", np.int32(value), low, high)
        assert made == value and type(made) is int
    else:
        with pytest.raises(ValueError, match=f"n: given {value}, wanted an integer from {low} to"):
            checks.whole("n", value, low, high)


@given(st.floats(-2, 2), st.sampled_from(["[]", "(]", "[)", "()"]))
def test_between_is_an_interval(value, ends):
    above = value >= -1 if ends[0] == "[" else value > -1
    below = value <= 1 if ends[1] == "]" else value < 1
    assert (value in Between(-1, 1, ends)) == (above and below)
    assert (np.float64(value) in Between(-1, 1, ends)) == (above and below)


@pytest.mark.parametrize("value", [math.nan, "1", None, [0.5], np.array([0.5]), 1j, True])
def test_what_is_no_number_is_in_no_interval(value):
    with pytest.raises(ValueError, match=r"share: given .*, wanted a number in \(0, 1\]"):
        checks.among("share", value, Between(0, 1, "(]"))


@given(st.integers(0, 10**30))
def test_a_seed_is_a_generator_and_a_generator_goes_on(seed):
    want = np.random.default_rng(seed)
    rng = checks.generator("rng", seed)
    assert rng.random() == want.random()
    assert checks.generator("rng", rng) is rng
    assert (
        checks.generator("rng", np.int64(seed % 99)).random()
        == np.random.default_rng(seed % 99).random()
    )


@pytest.mark.parametrize("value", [None, True, 1.0, "0", [0], np.random.RandomState(0), np.random])
def test_what_is_neither_seed_nor_generator_is_told_what_to_type(value):
    with pytest.raises(TypeError, match=r"^rng: given .*, wanted a seed such as 0 or a numpy Gen"):
        checks.generator("rng", value)
    with pytest.raises(ValueError, match=r"^rng: given -1, wanted a seed of at least 0$"):
        checks.generator("rng", -1)


@pytest.mark.parametrize("value", ["c", 1, None, ["a"], np.array(["a", "b"]), {}])
def test_one_of_several_names(value):
    assert checks.among("name", "b", {"a": 1, "b": 2}) == "b"
    with pytest.raises(ValueError, match=r"name: given .*, wanted one of 'a', 'b'"):
        checks.among("name", value, {"a": 1, "b": 2})


def test_every_error_names_the_argument_what_came_and_what_was_wanted():
    x = np.zeros((2, 3), np.float32)
    bad = x.copy()
    bad[1, 2] = np.inf
    for call, error, words in [
        (lambda: checks.whole("n", 2.0, 1), ValueError, "n: given 2.0, wanted an integer of at"),
        (lambda: checks.whole("n", True), ValueError, "n: given True, wanted an integer"),
        (
            lambda: checks.among("eta", -1, Between(0)),
            ValueError,
            "eta: given -1, wanted a number >= 0",
        ),
        (
            lambda: checks.same_shape_and_dtype("b", x, "a", x[:1]),
            ValueError,
            r"b: given shape \(2, 3\), wanted \(1, 3\), the shape of a",
        ),
        (
            lambda: checks.same_shape_and_dtype("b", x, "a", x.astype(float)),
            TypeError,
            "b: given float32, wanted float64, the dtype of a",
        ),
        (
            lambda: checks.samples("x", [1.0]),
            TypeError,
            "x: given list, wanted a float32 or float64",
        ),
        (lambda: checks.samples("x", x.astype(int)), TypeError, "x: given int64, wanted a float32"),
        (lambda: checks.samples("x", x[0, 0]), ValueError, r"x: given shape \(\), wanted \(batch"),
        (
            lambda: checks.samples("x", bad),
            ValueError,
            r"x: given NaN or infinity in 1 of 6 values, the first at \(1, 2\), wanted",
        ),
        (
            lambda: checks.data_set("x", x[0]),
            ValueError,
            r"x: given shape \(3,\), wanted \(n, ..., channels\)",
        ),
        (lambda: checks.data_set("x", x[:0]), ValueError, r"x: given shape \(0, 3\), wanted"),
        (
            lambda: checks.labels("y", LABELS, 2),
            ValueError,
            r"y: given shape \(3,\), wanted \(2,\): one label per sample",
        ),
        (
            lambda: checks.labels("y", LABELS * 1.0, 3),
            TypeError,
            "y: given float64, wanted integer labels",
        ),
        (
            lambda: checks.labels("y", LABELS, 3, low=1),
            ValueError,
            r"y: given 0 … 2, wanted labels from 1 \(0 is the null label\) up",
        ),
        (
            lambda: checks.labels("y", LABELS, 3, high=1),
            ValueError,
            r"y: given 0 … 2, wanted labels in 0 \(null\) … 1",
        ),
        (lambda: checks.times("t", -1, 9), ValueError, "t: given -1, wanted times in 0 … 9"),
        (
            lambda: checks.times("t", [0, 9.5], 9),
            ValueError,
            "t: given 0.0 … 9.5, wanted times in 0 … 9",
        ),
        (lambda: checks.times("t", math.nan, 9), ValueError, "t: given nan, wanted times"),
        (lambda: checks.times("t", "1", 9), TypeError, "t: given <U1, wanted integers or floats"),
        (
            lambda: checks.times("t", [1, 2], 9, 3),
            ValueError,
            r"t: given shape \(2,\), wanted one time, or \(3,\)",
        ),
    ]:
        with pytest.raises(error, match=words):
            call()


def test_what_is_right_comes_back_on_the_host():
    x = np.zeros((0, 3), np.float32)
    assert checks.samples("x", x) is x
    np.testing.assert_array_equal(checks.labels("y", [1, 2, 0], 3), LABELS)
    assert checks.labels("y", np.zeros(0, int), 0, low=1).shape == (0,)
    assert checks.times("t", [[0, 9]], 9).shape == (1, 2)
    assert checks.times("t", 4.5, 9, 3) == 4.5


@given(
    low=st.floats(-3, 3),
    high=st.floats(-3, 3),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_images_are_scaled_to_1_or_refused_with_the_words_that_mend_them(
    low, high, channels, dtype
):
    """Only images without any value below 0 are refused, and what is proposed mends them."""
    images = np.linspace(low, high, 4 * 6 * channels).reshape(4, 3, 2, channels).astype(dtype)
    refused = images.min() >= 0 and images.max() > images.min()
    for factor in (1, 255):
        if not refused and factor == 1:
            assert checks.clean_samples("x", images) is images
        if refused:
            x = images / images.max() * factor
            with pytest.raises(
                ValueError, match=r"x: given .*wanted images in \[-1, 1\]"
            ) as caught:
                checks.clean_samples("x", x)
            mended = eval(str(caught.value).split("type ")[1], {"x": x})
            assert mended.min() >= -1 and mended.max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bright_pictures_from_files_are_no_mistake(dtype):
    """Pastel drawings: no pixel of many is below the middle grey."""
    pixels = np.random.default_rng(0).integers(128, 256, (9, 8, 8, 3))
    images = (pixels / 127.5 - 1).astype(dtype)
    assert checks.clean_samples("x", images) is images
    for wrong in (pixels / 255, (pixels - 128) / 127, pixels.astype(float)):
        with pytest.raises(ValueError, match=r"x: given .*, wanted images in \[-1, 1\]"):
            checks.clean_samples("x", wrong.astype(dtype))


def test_bright_images_points_and_constants_are_no_mistake():
    bright = np.array([0.2, 0.9]).reshape(1, 2, 1, 1)
    for x in (bright, np.zeros((9, 2, 2, 1)), np.ones((9, 2, 2, 3)), np.array([[0.0, 200.0]])):
        assert checks.clean_samples("x", x) is x
    with pytest.raises(ValueError, match=r"given -128 … 127.*md.data.Scaling.fit\(x\).apply\(x\)"):
        checks.clean_samples("x", np.array([-128.0, 127.0]).reshape(1, 2, 1, 1))


def test_labels_from_0_are_told_to_count_from_1():
    with pytest.raises(ValueError, match=r"given 0 … 9, wanted labels from 1.*: type y \+ 1"):
        checks.labels("y", np.arange(10), 10, low=1)
