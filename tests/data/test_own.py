"""Arrays in .npz files and files in the IDX format: what was written is what is read."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff import data
from minidiff.data import idx_format

IMAGES = st.one_of(
    st.tuples(st.integers(2, 6), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(2, 6), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3])),
).flatmap(lambda shape: arrays.arrays(np.uint8, shape))


def two_or_more(n):
    """Labels for n images, of two classes at least."""
    labels = st.lists(st.integers(0, 30), min_size=n, max_size=n)
    return labels.filter(lambda labels: len(set(labels)) > 1)


LABELLED = IMAGES.flatmap(lambda images: st.tuples(st.just(images), two_or_more(len(images))))


def check(read, images, labels, called=str):
    """Whether images are in [−1, 1], and labels count the classes in their order, from 1."""
    assert read.images.dtype == np.float32 and read.labels.dtype == np.int64
    pixels = (read.images.astype(float) + 1) * 127.5
    wanted = images if images.ndim == 4 else images[..., None]
    np.testing.assert_allclose(pixels, wanted, atol=1e-4)
    assert read.images.min() >= -1 and read.images.max() <= 1
    assert set(read.labels) == set(range(1, len(read.names) + 1))
    assert [read.names[label - 1] for label in read.labels] == [called(label) for label in labels]
    values = sorted(set(labels))
    assert read.names == tuple(called(value) for value in values)


@settings(deadline=None, max_examples=50)
@given(labelled=LABELLED, words=st.booleans())
def test_arrays_go_there_and_back(tmp_path_factory, labelled, words):
    images, labels = labelled
    path = tmp_path_factory.mktemp("own") / "x.npz"
    called = (lambda label: f"class {label:02}") if words else str
    written = [called(label) for label in labels] if words else labels
    np.savez(path, images=images, labels=written)
    check(data.npz(path), images, labels, called)
    np.savez_compressed(path, x_train=images, y_train=written, x_test=0)
    check(data.npz(path, "x_train", "y_train"), images, labels, called)


def test_floats_are_kept(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5, 3))
    np.savez(tmp_path / "x.npz", images=images, labels=[0, 1, 1])
    read = data.npz(tmp_path / "x.npz").images
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, images, atol=1e-7)


@settings(deadline=None, max_examples=50)
@given(labelled=LABELLED, zipped=st.booleans())
def test_idx_files_go_there_and_back(tmp_path_factory, labelled, zipped):
    images, labels = labelled
    folder = tmp_path_factory.mktemp("own")
    for name, array in (("images", images), ("labels", np.array(labels, np.uint8))):
        raw = idx_format.encode(array)
        (folder / name).write_bytes(gzip.compress(raw, 1) if zipped else raw)
    check(data.idx(folder / "images", folder / "labels"), images, labels)


GOOD = {"images": np.zeros((2, 3, 4), np.uint8), "labels": [0, 1]}
FAULTS = {
    "other names": (
        {"images": None, "x": GOOD["images"]},
        r"arrays \['labels', 'x'\], wanted .*: type npz",
    ),
    "whole numbers": (
        {"images": np.zeros((2, 3, 4), int)},
        r"images: given int64, .*: save images.astype",
    ),
    "from 0": (
        {"images": np.linspace(0, 1, 24).reshape(2, 3, 4)},
        r"images: given 0 … 1, .*images \* 2 - 1",
    ),
    "not finite": ({"images": np.full((2, 3, 4), np.nan)}, "images: given NaN or infinity"),
    "channels first": (
        {"images": np.zeros((2, 3, 8, 8), np.uint8)},
        r"images: given shape \(2, 3, 8, 8\), .*: save images.transpose\(0, 2, 3, 1\)",
    ),
    "four channels": ({"images": np.zeros((2, 8, 8, 4), np.uint8)}, "with 1 or 3 channels$"),
    "no images": (
        {"images": np.zeros((0, 8, 8), np.uint8), "labels": []},
        r"images: given shape \(0,",
    ),
    "another count": (
        {"labels": [0, 1, 2]},
        r"labels: given int64 of shape \(3,\), wanted .*\(2,\)",
    ),
    "one class": ({"labels": [4, 4]}, r"labels: given \[4\] alone, wanted two classes or more"),
    "floats for labels": ({"labels": [0.0, 1.0]}, "labels: given float64"),
    "objects": ({"labels": np.array(["a", None], object)}, "which cannot be read .*plain numbers"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_arrays_is_told_with_what_mends_it(tmp_path, fault):
    change, message = FAULTS[fault]
    written = {name: value for name, value in (GOOD | change).items() if value is not None}
    np.savez(tmp_path / "x.npz", **written)
    with pytest.raises(ValueError, match=message):
        data.npz(tmp_path / "x.npz")


def test_files_that_are_none_are_told(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(FileNotFoundError, match=r"path: given .*x.npz, where there is no file"):
        data.npz(path)
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    for content in (whole[:-40], b"", b"anything", whole[:100] + bytes(8) + whole[108:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"path: given {re.escape(str(path))}, which cannot"):
            data.npz(path)
    with pytest.raises(FileNotFoundError, match=r"images: given .*nowhere, where there is no file"):
        data.idx(tmp_path / "nowhere", path)
    for content in (b"", b"anything", gzip.compress(b"anything"), gzip.compress(whole)[:20]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"images: given {re.escape(str(path))}: given"):
            data.idx(path, path)
