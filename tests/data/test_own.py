"""Arrays in .npz files and files in the IDX format: what was written is what is read."""

import gzip
import re
import subprocess
import sys

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


# --- more than memory holds ---


@settings(deadline=None, max_examples=50)
@given(
    labelled=LABELLED,
    kind=st.sampled_from(["uint8", "<f4", ">f4", "<f8"]),
    draw=st.data(),
)
def test_arrays_by_need_are_those_in_memory(tmp_path_factory, labelled, kind, draw):
    images, labels = labelled
    folder = tmp_path_factory.mktemp("own")
    if kind != "uint8":
        images = (images / 127.5 - 1).astype(kind)
    path = folder / "x.npz"
    np.savez(path, first=7, images=images, labels=labels)
    pairs = [(data.npz(path), data.npz(path, in_memory=False))]
    if kind == "uint8":
        paths = [folder / "images", folder / "labels"]
        for place, array in zip(paths, (images, np.array(labels, np.uint8))):
            place.write_bytes(idx_format.encode(array))
        pairs.append((data.idx(*paths), data.idx(*paths, in_memory=False)))
    rows = draw.draw(st.lists(st.integers(-len(labels), len(labels) - 1), max_size=5))
    for whole, by_need in pairs:
        np.testing.assert_array_equal(by_need.labels, whole.labels)
        assert by_need.names == whole.names
        found = by_need.images
        assert (found.shape, found.dtype, len(found)) == (
            whole.images.shape,
            np.float32,
            len(labels),
        )
        np.testing.assert_array_equal(np.asarray(found), whole.images)
        for chosen in (rows, slice(None, None, 2), -1):
            read = found[np.array(rows, int) if chosen is rows else chosen]
            expected = whole.images[np.array(rows, int) if chosen is rows else chosen]
            np.testing.assert_array_equal(read, expected)
        some = np.array(rows, int) % len(labels)
        np.testing.assert_array_equal(np.asarray(found.take(some)), whole.images[some])


def test_the_same_numbers_by_need_have_the_same_fingerprint_and_no_others(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4)).astype(np.uint8)

    def read(name, images):
        np.savez(tmp_path / name, images=images, labels=np.arange(9) % 2)
        return data.npz(tmp_path / name, in_memory=False).images

    first = read("a.npz", images)
    assert first.fingerprint() == read("b.npz", images).fingerprint()
    assert first.fingerprint() != read("c.npz", images[::-1]).fingerprint()
    assert first.take(np.arange(5)).fingerprint() != first.take(np.arange(4, 9)).fingerprint()


def test_what_cannot_be_read_by_need_is_told_with_what_mends_it(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **GOOD)
    with pytest.raises(ValueError, match=r"images is compressed in .*x.npz, .* by np.savez, not"):
        data.npz(path, in_memory=False)
    np.savez(path, images=np.asfortranarray(np.zeros((2, 3, 4, 3), np.uint8)), labels=[0, 1])
    with pytest.raises(ValueError, match=r"Fortran.*np\.ascontiguousarray"):
        data.npz(path, in_memory=False)
    path.write_bytes(gzip.compress(idx_format.encode(GOOD["images"])))
    labels = tmp_path / "labels"
    labels.write_bytes(idx_format.encode(np.array([0, 1], np.uint8)))
    with pytest.raises(ValueError, match=r"compressed, wanted .*: unpack it by gunzip"):
        data.idx(path, labels, in_memory=False)
    path.write_bytes(idx_format.encode(GOOD["images"])[:-1])
    with pytest.raises(ValueError, match=f"images: given {re.escape(str(path))}: given 39 bytes"):
        data.idx(path, labels, in_memory=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_that_are_seen_in_memory_are_seen_by_need(tmp_path, fault):
    change, message = FAULTS[fault]
    written = {name: value for name, value in (GOOD | change).items() if value is not None}
    np.savez(tmp_path / "x.npz", **written)
    with pytest.raises(ValueError, match=message):
        data.npz(tmp_path / "x.npz", in_memory=False)


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "x.npz"
    images = np.zeros((500, 4, 4), np.float32)
    images[3, 2, 1] = np.nan  # between those that are looked at when it is opened
    np.savez(path, images=images, labels=np.arange(500) % 2)
    found = data.npz(path, in_memory=False).images
    assert found[4:].shape == (496, 4, 4, 1)
    with pytest.raises(ValueError, match=f"NaN or infinity in {re.escape(str(path))}"):
        found[:9]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}, which ends before image 499"):
        found[-1]


LARGER_THAN_MEMORY = """
import resource, sys
import numpy as np
from minidiff import data
np.ones((64, 64)) @ np.ones((64, 64))  # BLAS has its buffers

held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + {room}, -1))
read = data.{call}
(images, labels), _ = data.split_validation(*read[:2])
seen = 0.0
for x, y in data.minibatches((images, labels), 64, seed=0):
    seen += float(x.sum()) + len(y)
print(len(images), seen)
"""


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_a_file_that_is_larger_than_memory_is_trained_on(tmp_path, kind):
    """The file has 96 MiB, and 384 as floats; the process may take 64 MiB more than it has."""
    count = 2**15
    images = np.full((count, 32, 32, 3), 255, np.uint8)
    labels = (np.arange(count) % 2).astype(np.uint8)
    if kind == "npz":
        path = tmp_path / "x.npz"
        np.savez(path, images=images, labels=labels)
        given = repr(str(path))
    else:
        for name, array in (("images", images), ("labels", labels)):
            (tmp_path / name).write_bytes(idx_format.encode(array))
        given = f"{str(tmp_path / 'images')!r}, {str(tmp_path / 'labels')!r}"

    def ends(call):
        code = LARGER_THAN_MEMORY.format(room=64 * 2**20, call=call)
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    done = ends(f"{kind}({given}, in_memory=False)")
    assert done.returncode == 0, done.stderr
    kept = count - count // 10
    assert [float(number) for number in done.stdout.split()] == [kept, kept * (32 * 32 * 3 + 1)]
    refused = ends(f"{kind}({given})")
    assert "type in_memory=False" in refused.stderr
