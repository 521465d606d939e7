"""Folders of pictures: what comes out is what was drawn, whatever the format and the order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from picture_folders import noise, write
from PIL import Image

from minidiff import data


def pixels(images):
    """Back from [-1, 1] to 0 … 255."""
    return np.rint((images + 1) * 127.5).astype(np.uint8)


def one(folder: Path, image, name="1.png", **options):
    """The pixels that are read from this picture; a second class has a like one."""
    write(folder, {f"a/{name}": image, f"b/{name}": image})
    return pixels(data.images(folder, **options).images[0])


# --- order, labels and names ---


def test_folders_are_classes_and_what_is_deeper_belongs_to_them(tmp_path):
    drawn = {
        "rose/2.png": noise(4, 5, 3, seed=1),
        "rose/10.png": noise(4, 5, 3, seed=2),
        "rose/old/deep/1.png": noise(4, 5, 3, seed=3),
        "Tulip/x.png": noise(4, 5, 3, seed=4),
        "ängstlich/x.png": noise(4, 5, 3, seed=5),
    }
    hidden = {
        "rose/.thumbnail.png": noise(4, 5, 3),
        "rose/.old/1.png": noise(4, 5, 3),
        ".git/x/1.png": noise(9, 9, 3),
        "rose/Thumbs.db": b"anything",
        "Tulip/desktop.ini": b"anything",
    }
    images, labels, names = data.images(write(tmp_path, drawn | hidden))
    assert names == ("Tulip", "rose", "ängstlich")
    assert labels.tolist() == [1, 2, 2, 2, 3] and labels.dtype == np.int64
    assert images.dtype == np.float32 and images.shape == (5, 4, 5, 3)
    wanted = ["Tulip/x.png", "rose/10.png", "rose/2.png", "rose/old/deep/1.png", "ängstlich/x.png"]
    np.testing.assert_array_equal(pixels(images), np.stack([drawn[name] for name in wanted]))
    assert images.min() >= -1 and images.max() <= 1


# --- formats ---


@settings(deadline=None, max_examples=60)
@given(
    drawn=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    kind=st.sampled_from(["png", "bmp", "tiff", "webp", "ppm"]),
)
def test_colours_come_through_every_lossless_format(tmp_path_factory, drawn, kind):
    folder = tmp_path_factory.mktemp("pictures")
    path = folder / f"a/1.{kind}"
    write(folder, {"b/1.png": drawn, "a": None})
    options = {"lossless": True, "exact": True} if kind == "webp" else {}
    Image.fromarray(drawn).save(path, **options)
    np.testing.assert_array_equal(pixels(data.images(folder).images[0]), drawn)


def test_grey_and_colour_become_each_other(tmp_path):
    grey = noise(6, 7)
    np.testing.assert_array_equal(one(tmp_path / "1", grey), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(one(tmp_path / "2", grey, channels=1)[..., 0], grey)
    luma = noise(6, 7, 3) @ [0.299, 0.587, 0.114]  # ITU-R 601
    read = one(tmp_path / "3", noise(6, 7, 3), channels=1)[..., 0]
    np.testing.assert_allclose(read, luma, atol=1)


def test_palettes_have_their_colours(tmp_path):
    colours = noise(5, 3)
    drawn = colours[np.random.default_rng(0).integers(0, 5, (6, 7))]
    image = Image.fromarray(drawn).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    assert image.mode == "P"
    np.testing.assert_array_equal(one(tmp_path, image, "1.gif"), drawn)


def test_16_bits_keep_the_upper_ones(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (6, 7), np.uint16)
    values[0, :2] = 0, 65535
    read = one(tmp_path, Image.fromarray(values), channels=1)[..., 0]
    np.testing.assert_array_equal(read, np.rint(values / 257))
    assert read[0, 0] == 0 and read[0, 1] == 255


@pytest.mark.parametrize("background", ["white", "#102030"])
def test_the_background_is_seen_through_what_is_transparent(tmp_path, background):
    drawn = noise(6, 7, 4)
    drawn[0, 0, 3] = 0
    drawn[0, 1, 3] = 255
    behind = np.array([255] * 3 if background == "white" else [0x10, 0x20, 0x30])
    share = drawn[..., 3:] / 255
    read = one(tmp_path / "1", drawn, background=background)
    np.testing.assert_allclose(read, share * drawn[..., :3] + (1 - share) * behind, atol=1)
    np.testing.assert_array_equal(read[0, 0], behind)
    np.testing.assert_array_equal(read[0, 1], drawn[0, 1, :3])

    palette = Image.fromarray(drawn[..., :3]).quantize(8)
    palette.info["transparency"] = 3
    colours = np.array(palette.getpalette()[:24]).reshape(8, 3)
    colours[3] = behind
    read = one(tmp_path / "2", palette, background=background)
    np.testing.assert_array_equal(read, colours[np.asarray(palette)])


TURNS = {  # how a viewer turns what a camera noted with each number
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_cameras_note_how_a_picture_is_to_be_turned(tmp_path, orientation):
    drawn = noise(5, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(drawn).save(tmp_path / name / "1.png", exif=exif)
    turned = TURNS[orientation](drawn)
    for in_memory in (True, False):
        images = data.images(tmp_path, in_memory=in_memory).images
        assert images.shape[1:] == turned.shape
        np.testing.assert_array_equal(pixels(images[0]), turned)


# --- sizes ---


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_what_has_the_size_is_left_alone(tmp_path, fit):
    drawn = noise(6, 7, 3)
    np.testing.assert_array_equal(one(tmp_path, drawn, size=(6, 7), fit=fit), drawn)


def test_cropping_cuts_both_sides_and_padding_fills_them(tmp_path):
    """A red picture with green left and right: 10 + 20 + 10 columns of 20 rows."""
    drawn = np.zeros((20, 40, 3), np.uint8)
    drawn[..., 1] = 255
    drawn[:, 10:30] = 255, 0, 0
    cropped = one(tmp_path / "1", drawn, size=20)
    np.testing.assert_array_equal(cropped, drawn[:, 10:30])
    padded = one(tmp_path / "2", drawn, size=(40, 40), fit="pad", background="#010203")
    np.testing.assert_array_equal(padded[10:30], drawn)
    assert (padded[:10] == [1, 2, 3]).all() and (padded[30:] == [1, 2, 3]).all()
    smaller = one(tmp_path / "3", drawn, size=(10, 20))
    assert abs(smaller[:, 8:12] - [255.0, 0, 0]).max() == 0, "it is scaled, and not cut out"
    assert abs(smaller[:, :2] - [0.0, 255, 0]).max() == 0


def test_photographs_are_scaled_down_as_if_read_whole(tmp_path):
    """JPEGs are read small: what comes out is near what the whole picture, scaled down, gives."""
    down, right = np.mgrid[:600, :800] / 100
    drawn = np.stack([np.sin(down), np.cos(right), np.sin(down + right)], axis=-1)
    image = Image.fromarray(pixels(drawn))
    read = one(tmp_path, image, "1.jpg", size=(30, 40))
    whole = np.asarray(image.resize((40, 30), Image.Resampling.LANCZOS))
    assert np.abs(read.astype(float) - whole).max() <= 4


# --- read by need ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes, 7 and 4 pictures of other sizes."""
    place = tmp_path_factory.mktemp("pictures")
    files = {f"a/{i}.png": noise(4 + i % 3, 6, 3, seed=i) for i in range(7)}
    files |= {f"b/{i}.png": noise(5, 4 + i, 3, seed=10 + i) for i in range(4)}
    return write(place, files)


@pytest.fixture(scope="module")
def both(folder):
    """The same images in memory and in files."""
    in_memory = data.images(folder, size=5).images
    by_need = data.images(folder, size=5, in_memory=False).images
    return in_memory, by_need


INDICES = st.one_of(
    st.integers(-11, 10),
    st.slices(11),
    st.lists(st.integers(-11, 10)).map(lambda rows: np.array(rows, int)),
    arrays.arrays(bool, 11),
)


@settings(deadline=None)
@given(rows=INDICES)
def test_rows_of_files_are_rows_of_the_array(both, rows):
    in_memory, by_need = both
    read = by_need[rows]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, in_memory[rows])


def test_files_look_like_an_array(both):
    in_memory, by_need = both
    assert (by_need.shape, by_need.dtype, by_need.ndim) == (in_memory.shape, np.float32, 4)
    assert len(by_need) == 11
    np.testing.assert_array_equal(np.asarray(by_need), in_memory)
    with pytest.raises(IndexError):
        by_need[11]


@settings(deadline=None, max_examples=20)
@given(size=st.integers(1, 12), seed=st.none() | st.integers(0, 99), start=st.integers(0, 3))
def test_batches_of_files_are_those_of_the_array(both, size, seed, start):
    labels = np.arange(11)
    start = min(start, data.batch_count(11, size))
    wanted, found = (
        list(data.minibatches((images, labels), size, seed, epoch=2, start=start))
        for images in both
    )
    assert len(found) == len(wanted)
    for (x, y), (x_read, y_read) in zip(wanted, found):
        np.testing.assert_array_equal(x_read, x)
        np.testing.assert_array_equal(y_read, y)


def test_files_are_split_as_the_array_is_and_stay_files(both):
    labels = np.arange(1, 12)
    wanted, found = (data.split_validation(images, labels, 0.3, seed=4) for images in both)
    for (x, y), (files, y_read) in zip(wanted, found):
        assert not isinstance(files, np.ndarray)
        np.testing.assert_array_equal(files[:], x)
        np.testing.assert_array_equal(y_read, y)


def test_the_fingerprint_tells_other_files_and_other_views(folder, tmp_path):
    read = lambda place, **options: data.images(place, in_memory=False, **options).images
    first = read(folder, size=5).fingerprint()
    assert read(folder, size=5).fingerprint() == first
    for other in (
        read(folder, size=6),
        read(folder, size=5, channels=1),
        read(folder, size=5).take([1]),
    ):
        assert other.fingerprint() != first
    for path in folder.rglob("*.png"):
        write(tmp_path, {str(path.relative_to(folder)): path.read_bytes()})
    assert read(tmp_path, size=5).fingerprint() == first, "a copy of the folder is the same data"
    (tmp_path / "a/3.png").rename(tmp_path / "a/33.png")
    assert read(tmp_path, size=5).fingerprint() != first


def test_a_file_that_breaks_later_is_named(tmp_path):
    write(tmp_path, {f"{name}/{i}.png": noise(4, 4, 3) for name in "ab" for i in range(9)})
    images = data.images(tmp_path, in_memory=False).images
    whole = (tmp_path / "b/8.png").read_bytes()
    (tmp_path / "b/8.png").write_bytes(whole[:-30])
    batches = data.minibatches((images,), 6)
    next(batches), next(batches)
    with pytest.raises(ValueError, match=r"b/8.png, which cannot be read as a picture .*mend"):
        next(batches)
    (tmp_path / "b/8.png").unlink()
    with pytest.raises(ValueError, match=r"b/8.png, .*No such file"):
        images[17]
    write(tmp_path, {"b/8.png": noise(4, 5, 3)})
    with pytest.raises(ValueError, match=r"b/8.png has 4 × 5 pixels, wanted 4 × 4"):
        images[17]
