"""Fashion-MNIST by the ways of MNIST, with small files in place of the real ones."""

import gzip
import hashlib

import numpy as np
import pytest

from minidiff.data import FASHION_NAMES, clothes, debian, fashion_mnist, files, idx_format, mirrors

COUNT = 20


@pytest.fixture
def raw(monkeypatch, tmp_path):
    """The four files; nothing is named, cached, installed, or to be reached."""
    rng = np.random.default_rng(0)
    made = {}
    for name in files.FASHION_MNIST:
        shape = (COUNT, 28, 28) if "images" in name else (COUNT,)
        made[name] = idx_format.encode(rng.integers(0, 10, shape, np.uint8))
        known = (len(made[name]), hashlib.sha256(made[name]).hexdigest())
        monkeypatch.setitem(files.FILES, name, known)
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setattr(debian, "INSTALLED", tmp_path / "usr/share/datasets/fashion-mnist")
    monkeypatch.setattr(mirrors, "fetch", lambda *arguments: ["mirror: unreachable"])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return made


def put(folder, raw, compressed=True):
    folder.mkdir(parents=True)
    for name, content in raw.items():
        content = gzip.compress(content, 1) if compressed else content
        (folder / (files.base(name) + ".gz" * compressed)).write_bytes(content)


def check(arrays, raw, split):
    images, labels = arrays
    assert images.shape == (COUNT, 28, 28, 1) and images.dtype == np.float32
    pixels = np.rint((images[..., 0] + 1) * 127.5).astype(np.uint8)
    assert idx_format.encode(pixels) == raw[f"fashion-mnist/{split}-images-idx3-ubyte"]
    classes = (labels - 1).astype(np.uint8)
    assert idx_format.encode(classes) == raw[f"fashion-mnist/{split}-labels-idx1-ubyte"]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_folder_that_is_named(raw, tmp_path, monkeypatch, compressed):
    put(tmp_path / "data/fashion-mnist", raw, compressed)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        check(fashion_mnist(split, tmp_path / "data/fashion-mnist"), raw, prefix)
        monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path / "data"))
        check(fashion_mnist(split), raw, prefix)
    assert not (tmp_path / "cache").exists()


def test_the_package_that_is_installed(raw, tmp_path, monkeypatch):
    put(debian.INSTALLED, raw)
    (tmp_path / "only MNIST").mkdir()
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path / "only MNIST"))
    check(fashion_mnist("test"), raw, "t10k")
    monkeypatch.setattr(debian, "fetch_installed", None)  # it is in the cache now
    check(fashion_mnist("test"), raw, "t10k")


def command(tmp_path, name, lines):
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_package_from_the_archive_is_only_unpacked(raw, tmp_path):
    put(tmp_path / "unpacked", raw)
    into = debian.INSTALLED.relative_to("/")
    command(tmp_path, "apt-get", f'[ "$*" = "download --quiet {debian.PACKAGE}" ] && : > it.deb')
    unpack = f'/bin/mkdir -p "$3/{into}" && /bin/cp {tmp_path}/unpacked/* "$3/{into}"'
    command(tmp_path, "dpkg-deb", f'[ "$1" = --extract ] && {unpack}')
    check(fashion_mnist("train"), raw, "train")
    assert not debian.INSTALLED.exists()


def test_what_failed_is_told_and_how_to_get_it(raw, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist("train")
    told = str(caught.value)
    assert "not installed" in told and "mirror: unreachable" in told and "'apt-get'" in told
    assert clothes.WAYS in told and "MINIDIFF_DATA" in told and "apt-get install" in told
    command(tmp_path, "apt-get", "echo no such package >&2; exit 100")
    with pytest.raises(
        FileNotFoundError, match="`apt-get download --quiet` failed: no such package"
    ):
        fashion_mnist("train")
    raw["fashion-mnist/train-labels-idx1-ubyte"] = b"others"
    put(debian.INSTALLED, raw)
    with pytest.raises(FileNotFoundError, match="given 6 bytes with SHA-256"):
        fashion_mnist("train")


def test_there_is_a_name_for_each_class():
    assert len(set(FASHION_NAMES)) == 10
    assert all(mirror.startswith("https://") for mirror in mirrors.FASHION_MIRRORS)
