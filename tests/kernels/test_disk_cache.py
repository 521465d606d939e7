"""Compiled kernels on disk: damage, a full disk and company cost a compilation, and no more."""

import errno
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import pytest

from minidiff.kernels import disk_cache


def doubled(x):
    return 2.0 * x


def tripled(x):
    return 3.0 * x


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_cache.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(disk_cache, "_said", [])
    return tmp_path


def compiled(function=doubled, stamp="as it is"):
    """Compiled, or loaded; says whether it was loaded."""
    dispatcher = numba.njit(function)
    disk_cache.keep(dispatcher, stamp)
    dispatcher.compile((numba.float64,))
    assert dispatcher(21.0) == function(21.0)
    return sum(dispatcher.stats.cache_hits.values()) == 1


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def one_sentence_about(folder):
    with pytest.warns(RuntimeWarning) as said:
        yield
    (warning,) = said
    text = str(warning.message)
    assert str(folder) in text and "\n" not in text


def test_a_function_is_loaded_until_what_it_is_made_of_changes(folder):
    assert [compiled(), compiled()] == [False, True]
    assert [compiled(stamp="edited"), compiled(stamp="edited"), compiled()] == [False, True, False]
    assert len(files(folder)) == 1


DAMAGE = {
    "no bytes": lambda raw: b"",
    "one byte": lambda raw: raw[:1],
    "half": lambda raw: raw[: len(raw) // 2],
    "one byte less": lambda raw: raw[:-1],
    "more bytes": lambda raw: raw + b"\n",
    "noise": lambda raw: np.random.default_rng(0).bytes(len(raw)),
    "zeros": lambda raw: bytes(len(raw)),
    "another pickle": lambda raw: b"\x80\x04K\x01.",
}
DAMAGE |= {
    f"bit {place}": lambda raw, place=place: (
        raw[: (i := place % len(raw))] + bytes([raw[i] ^ 8]) + raw[i + 1 :]
    )
    for place in (0, 31, 32, 63, 64, 200, 1001, 2003, -1)
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_compiled_again(folder, damage):
    compiled()
    (path,) = files(folder)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with one_sentence_about(folder):
        assert not compiled()
    assert compiled()


def test_a_folder_or_a_pipe_in_a_files_place_is_no_error(folder):
    compiled()
    (path,) = files(folder)
    path.unlink()
    path.mkdir()
    with one_sentence_about(folder):
        assert not compiled()
    path.rmdir()
    os.mkfifo(path)
    assert not compiled()
    assert compiled(), "the file took the pipe's place"


def test_anothers_file_is_not_taken(folder):
    compiled()
    (path,) = files(folder)
    compiled(tripled)
    (other,) = set(files(folder)) - {path}
    path.write_bytes(other.read_bytes())
    assert not compiled()


def test_a_file_that_numba_cannot_rebuild_is_compiled_again(folder):
    """It is whole, but Numba's own layout may have changed."""
    compiled()
    (path,) = files(folder)
    dispatcher = numba.njit(doubled)
    disk_cache.keep(dispatcher, "as it is")
    kept = dispatcher._cache
    key = kept._index_key((numba.float64,), dispatcher.targetctx.codegen())
    assert kept._cache_file._path(key) == path
    kept._cache_file.save(key, ("something", "else"))
    with one_sentence_about(folder):
        assert not compiled()
    assert compiled()


def failing(number):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["write_bytes", "read_bytes"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_costs_a_compilation(folder, monkeypatch, call, number):
    if call == "read_bytes":
        compiled()
    with monkeypatch.context() as patch, one_sentence_about(folder):
        patch.setattr(Path, call, failing(number))
        assert not compiled()
        assert not compiled(tripled)
    assert not [path for path in files(folder) if path.suffix == ".part"]


def test_a_folder_that_is_a_file_is_no_error(folder, monkeypatch):
    """Then Numba takes the next folder; where there is none, each process compiles for itself."""
    (folder / "taken").write_bytes(b"")
    monkeypatch.setattr(disk_cache.config, "CACHE_DIR", str(folder / "taken"))
    monkeypatch.setattr(disk_cache.KernelCache._impl_class, "_locator_classes", [])
    with one_sentence_about(folder):
        assert not compiled()


def test_it_is_no_error_where_warnings_are(folder):
    compiled()
    (path,) = files(folder)
    path.write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not compiled()


CODE = """
import resource, sys
if sys.argv[1:]:  # a disk that is full after so many bytes of each file
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
import numpy as np
from minidiff import ops
print(ops.silu(np.arange(5, dtype="f")).tobytes().hex())
"""


def processes(folder, *arguments, count=1):
    """What so many processes print, started at once."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", CODE, *arguments]
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, encoding="utf-8")
        for _ in range(count)
    ]
    return [(*process.communicate(timeout=100), process.returncode) for process in started]


def test_processes_share_an_empty_a_damaged_and_a_full_folder(tmp_path):
    fresh = processes(tmp_path, count=3)
    wanted, _, _ = fresh[0]
    assert fresh == [(wanted, "", 0)] * 3
    for path in files(tmp_path):
        path.write_bytes(path.read_bytes()[:100])
    for printed, said, code in processes(tmp_path, count=2):
        assert (printed, code) == (wanted, 0)
        assert said.count("RuntimeWarning") == said.count(str(tmp_path)) <= 1
    assert processes(tmp_path) == [(wanted, "", 0)]
    for path in files(tmp_path):
        path.unlink()
    ((printed, said, code),) = processes(tmp_path, "1000")
    assert (printed, code) == (wanted, 0)
    assert said.count("RuntimeWarning") == said.count(str(tmp_path)) == 1
    assert not files(tmp_path)
