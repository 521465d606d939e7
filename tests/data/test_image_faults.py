"""What is wrong with a folder of pictures is told, with what mends it."""

import os
import re

import numpy as np
import pytest
from picture_folders import noise, write
from PIL import Image

from minidiff import checks, data

SQUARE = Image.new("RGB", (4, 4), "red")
TALL = Image.new("RGB", (4, 5), "red")
FAULTS = {
    "an empty folder": ({}, "which is empty, wanted a folder with a subfolder of pictures"),
    "an empty class": (
        {"a/1.png": SQUARE, "b": None},
        r"b, which has no pictures, wanted .*: put some there, or remove it",
    ),
    "no classes": (
        {"1.png": SQUARE, "2.png": SQUARE},
        "with 2 files and no folder in it, .*: move the pictures of each kind into a folder",
    ),
    "one class": (
        {"a/1.png": SQUARE},
        "with the one class 'a', wanted two or more.*: put pictures of another kind",
    ),
    "a folder too many": (
        {"flowers/rose/1.png": SQUARE, "flowers/tulip/1.png": SQUARE},
        r"with the one class 'flowers', .*: type images\('.*flowers'\)",
    ),
    "parts and no classes": (
        {"train/a/1.png": SQUARE, "test/a/1.png": SQUARE},
        r"with test, train in it, .*: type images\('.*test'\)",
    ),
    "a picture beside the classes": (
        {"a/1.png": SQUARE, "b/1.png": SQUARE, "1.png": SQUARE},
        "with 1.png beside the folders of the classes, .*: move it into one of them",
    ),
    "no picture": (
        {"a/1.png": SQUARE, "b/notes.txt": b"a rose"},
        "notes.txt, which cannot be read as a picture .*: mend the file or take it out",
    ),
    "an empty file": ({"a/1.png": SQUARE, "b/1.png": b""}, "b/1.png, which cannot be read"),
    "mixed sizes": (
        {"a/1.png": SQUARE, "b/1.png": TALL},
        r"size: given None, and .*b/1.png has 5 × 4 pixels, wanted 4 × 4 as .*a/1.png has: "
        r"type size=\(4, 4\), and fit='crop' or",
    ),
}


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_with_what_mends_it(tmp_path, fault, in_memory):
    files, message = FAULTS[fault]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        data.images(write(tmp_path, files), in_memory=in_memory)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_picture_that_is_cut_short_is_no_picture(tmp_path, cut):
    for name in ("1.png", "1.jpg"):
        write(
            tmp_path / name, {f"{part}/{name}": Image.fromarray(noise(40, 40, 3)) for part in "ab"}
        )
        path = tmp_path / name / "b" / name
        path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
        with pytest.raises(ValueError, match=f"folder: given .*b/{name}, which cannot be read"):
            data.images(tmp_path / name)


def test_what_is_no_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere, which is not there, wanted a folder"):
        data.images(tmp_path / "nowhere")
    for name, mend in {
        "x.npz": r"data.npz\(path\)",
        "x.zip": "unpack it first",
        "x": "class$",
    }.items():
        write(tmp_path, {name: b"anything"})
        with pytest.raises(ValueError, match=f"{name}, a file, wanted a folder .*{mend}"):
            data.images(tmp_path / name)


def test_values_of_no_known_range_are_told(tmp_path):
    for name, values in {
        "floats": np.zeros((4, 4), np.float32),
        "more than 16 bits": np.full((4, 4), 70_000, np.int32),
    }.items():
        folder = write(
            tmp_path / name, {f"{part}/1.tiff": Image.fromarray(values) for part in "ab"}
        )
        with pytest.raises(ValueError, match=f"{name}.*: save it as PNG"):
            data.images(folder)


def test_names_that_are_no_text(tmp_path):
    """A file may have any bytes for a name; a class must have letters that can be written."""
    write(tmp_path, {"a/1.png": SQUARE, "b/1.png": SQUARE})
    odd = b"\xff\xfe.png".decode("utf-8", "surrogateescape")
    (tmp_path / "b/1.png").rename(tmp_path / "b" / odd)
    assert len(data.images(tmp_path).images) == 2
    assert data.images(tmp_path, in_memory=False).images.fingerprint()
    (tmp_path / "b" / odd).write_bytes(b"broken")
    with pytest.raises(ValueError, match=re.escape(r"b/\udcff\udcfe.png, which cannot")) as caught:
        data.images(tmp_path)
    str(caught.value).encode()
    (tmp_path / "b").rename(tmp_path / "\udcff")
    with pytest.raises(
        ValueError, match=r"\\udcff, whose name is no text, .*: rename it"
    ) as caught:
        data.images(tmp_path)
    str(caught.value).encode()


def test_links_and_pipes(tmp_path):
    """A class may be a link to a folder; a link in a circle is not followed; a pipe would wait."""
    write(tmp_path, {"set/a/1.png": SQUARE, "elsewhere/1.png": SQUARE})
    folder = tmp_path / "set"
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    (folder / "a/circle").symlink_to(folder)
    assert data.images(folder).labels.tolist() == [1, 2]
    os.mkfifo(folder / "a/2.png")
    with pytest.raises(ValueError, match=r"a/2.png, which leads to no file, wanted pictures alone"):
        data.images(folder)
    (folder / "a/2.png").unlink()
    (folder / "a/2.png").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"a/2.png, which leads to no file"):
        data.images(folder)


def test_more_than_fits_into_memory_is_told(tmp_path, monkeypatch):
    write(tmp_path, {"a/1.png": SQUARE, "b/1.png": SQUARE})
    monkeypatch.setattr(checks, "MOST_NUMBERS", 95)
    with pytest.raises(ValueError, match=r"in_memory: given True .*: type in_memory=False"):
        data.images(tmp_path)
    assert data.images(tmp_path, in_memory=False).images.shape == (2, 4, 4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: given 0, wanted an integer from 1 to"),
        ({"size": (3, 4, 5)}, r"size: given \(3, 4, 5\), wanted \(height, width\)"),
        ({"channels": 4}, "channels: given 4, wanted one of 1, 3"),
        ({"fit": "stretch"}, "fit: given 'stretch', wanted one of 'crop', 'pad'"),
        ({"background": "no colour"}, "background: given 'no colour', wanted a colour"),
    ],
)
def test_wrong_options_are_told(tmp_path, options, message):
    write(tmp_path, {"a/1.png": SQUARE, "b/1.png": SQUARE})
    with pytest.raises(ValueError, match=message):
        data.images(tmp_path, **options)
