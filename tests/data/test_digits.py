"""MNIST from a folder and from the cache: right files are read, wrong ones named and never used."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidiff.data import files, idx_format, mirrors, mnist, registry

LABELS = "t10k-labels-idx1-ubyte"
IMAGES = "t10k-images-idx3-ubyte"


@pytest.fixture(scope="module")
def test_set():
    """The two raw files of the test split, rebuilt from what `mnist` gave."""
    images, labels = mnist("test")
    pixels = np.rint((images[..., 0] + 1) * 127.5).astype(np.uint8)
    return {
        IMAGES: idx_format.encode(pixels),
        LABELS: idx_format.encode((labels - 1).astype(np.uint8)),
    }


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, no folder named in the environment, and no source that answers."""
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(mirrors, "fetch", lambda cache, names, addresses: ["mirror: unreachable"])
    monkeypatch.setattr(registry, "fetch", lambda cache: ["registry: unreachable"])
    return tmp_path / "minidiff"


@pytest.mark.parametrize("split, n", [("train", 60_000), ("test", 10_000)])
def test_arrays(split, n):
    images, labels = mnist(split)
    assert images.shape == (n, 28, 28, 1) and images.dtype == np.float32
    assert images.min() == -1 and images.max() == 1
    assert labels.shape == (n,) and labels.dtype == np.int64
    assert set(labels) == set(range(1, 11))


def test_first_digits_of_the_original_order():
    assert list(mnist("test")[1][:8] - 1) == [7, 2, 1, 0, 4, 1, 4, 9]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_folder(test_set, cache, tmp_path, monkeypatch, compressed, by):
    for name, raw in test_set.items():
        path = tmp_path / (f"{name}.gz" if compressed else name)
        path.write_bytes(gzip.compress(raw, 1) if compressed else raw)
    if by == "environment":
        monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path))
    images, labels = mnist("test", tmp_path if by == "argument" else None)
    assert idx_format.encode((labels - 1).astype(np.uint8)) == test_set[LABELS]
    assert len(images) == 10_000


def test_folder_without_the_file(cache, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"holds neither {IMAGES}.gz nor {IMAGES}"
    ) as caught:
        mnist("test", tmp_path)
    assert all(
        way in str(caught.value) for way in ["MINIDIFF_DATA", "https://", registry.REQUIREMENT]
    )
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        mnist("test", tmp_path / "nowhere")


def test_wrong_files_in_the_folder(test_set, cache, tmp_path):
    (tmp_path / IMAGES).write_bytes(test_set[IMAGES])
    whole = gzip.compress(test_set[LABELS])
    changed = bytearray(test_set[LABELS])
    changed[5000] ^= 1
    wrong = {
        "cut short": whole[:-10],
        "no gzip": b"<html>not here</html>",
        "empty": b"",
        "damaged": whole[:2000] + bytes(8) + whole[2008:],
        "another file": gzip.compress(test_set[IMAGES], 1),
        "one bit": gzip.compress(bytes(changed)),
    }
    for contents in wrong.values():
        (tmp_path / f"{LABELS}.gz").write_bytes(contents)
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(tmp_path / LABELS))}.gz.*given.*bytes.*wanted"
        ):
            mnist("test", tmp_path)
        assert (tmp_path / f"{LABELS}.gz").read_bytes() == contents, (
            "somebody's own file was touched"
        )


def test_a_good_file_beside_a_damaged_one_will_do(test_set, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, raw in test_set.items():
        (tmp_path / name).write_bytes(raw)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw, 1)[:-9])
    for folder in (tmp_path, "~"):
        assert len(mnist("test", folder)[0]) == 10_000
    monkeypatch.setenv("MINIDIFF_DATA", "~")
    assert len(mnist("test")[0]) == 10_000


def test_cache_is_used_and_a_wrong_file_leaves_it(test_set, cache):
    for name, raw in test_set.items():
        files.store(cache, name, raw)
    assert len(mnist("test")[0]) == 10_000
    (cache / LABELS).write_bytes(test_set[LABELS][:-1])
    with pytest.raises(
        FileNotFoundError,
        match=r"(?s)t10k-labels.*given 10,007 bytes.*removed.*mirror: un.*registry: un.*Ways",
    ):
        mnist("test")
    assert [path.name for path in cache.iterdir()] == [IMAGES]


def test_registry_is_asked_after_the_mirrors_and_only_then(test_set, cache, monkeypatch):
    asked = []

    def answer(source, served):
        def fetch(folder, names=None, addresses=()):
            asked.append((source, names))
            for name in served:
                files.store(folder, name, test_set[name])
            return []

        return fetch

    monkeypatch.setattr(mirrors, "fetch", answer("mirrors", [IMAGES]))
    monkeypatch.setattr(registry, "fetch", answer("registry", [IMAGES, LABELS]))
    mnist("test")
    assert asked == [("mirrors", [IMAGES, LABELS]), ("registry", None)]
    mnist("test")
    assert len(asked) == 2


def test_store_refuses_wrong_bytes_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="given 5 bytes with SHA-256"):
        files.store(tmp_path, LABELS, b"wrong")
    assert not list(tmp_path.iterdir())


def test_interrupted_store_leaves_nothing(test_set, tmp_path, monkeypatch):
    def interrupt(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.store(tmp_path, LABELS, test_set[LABELS])
    assert not list(tmp_path.iterdir())


def test_split_is_named_in_the_error():
    with pytest.raises(ValueError, match=r"split: given 'val', wanted one of 'train', 'test'"):
        mnist("val")


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_idx_goes_there_and_back(array):
    raw = idx_format.encode(array)
    np.testing.assert_array_equal(idx_format.parse(raw), array)
    assert raw[:4] == bytes([0, 0, 8, array.ndim])


@given(st.binary(max_size=40))
def test_idx_refuses_or_reads_any_bytes(raw):
    try:
        array = idx_format.parse(raw)
    except ValueError as error:
        assert "raw: given" in str(error)
    else:
        assert idx_format.encode(array) == raw


def test_idx_refuses_other_types():
    with pytest.raises(ValueError, match="array: given dtype float32, wanted uint8"):
        idx_format.encode(np.zeros(3, np.float32))
