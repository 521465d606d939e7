"""Files are whole or not there: leftovers go, links and modes stay, one process has a place."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from minidiff import disk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def child(code: str, *arguments: object) -> subprocess.Popen:
    """A Python of its own that has this tree's `disk`, and says "ready" when it is."""
    command = [sys.executable, "-c", "from minidiff import disk\n" + code, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


# writes half of a file, and waits to be killed
WRITER = """
import os, pathlib, sys
def wait(handle):
    print("ready", flush=True)
    sys.stdin.read()
os.fsync = wait
disk.write_whole(pathlib.Path(sys.argv[1]), b"half")
"""

HOLDER = """
import pathlib, sys
with disk.alone(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_file_is_not(tmp_path):
    path = tmp_path / "a.bin"
    dead = child(WRITER, path)
    end(dead)
    alive = child(WRITER, path)
    left = [name for name in names(tmp_path) if name.endswith(".part")]
    assert len(left) == 1, "the second writer removed what the first one left"
    disk.write_whole(path, b"whole")
    assert names(tmp_path) == sorted([*left, "a.bin"])
    alive.communicate("")  # it goes on, and its file takes the place
    assert path.read_bytes() == b"half"
    assert names(tmp_path) == ["a.bin"]


def test_names_of_files_on_their_way_are_never_the_same(tmp_path, monkeypatch):
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        disk.os, "replace", lambda old, new: (seen.append(old.name), replace(old, new))
    )
    for _ in range(20):
        disk.write_whole(tmp_path / "a.bin", b"")
    assert len(set(seen)) == 20


def test_file_then_folder_are_flushed(tmp_path, monkeypatch):
    """The folder's entry changes by the renaming, so it is flushed after it."""
    events = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}

    def fsync(handle):
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        events.append(f"flush {kind}")
        real["fsync"](handle)

    def replace(old, new):
        events.append("rename")
        real["replace"](old, new)

    monkeypatch.setattr(disk.os, "fsync", fsync)
    monkeypatch.setattr(disk.os, "replace", replace)
    disk.write_whole(tmp_path / "a.bin", b"whole")
    assert events == ["flush file", "rename", "flush folder"]


def test_a_private_file_is_private_before_anything_is_in_it(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o600)
    modes = []

    def fsync(handle):
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))

    monkeypatch.setattr(disk.os, "fsync", fsync)
    disk.write_whole(path, b"new")
    assert modes[0] == 0o600 and stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_an_error_of_the_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, step):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((Path, "chmod") if step == "chmod" else (disk.os, step)), fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.bin'"):
        disk.write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def no_files(folder: Path) -> dict[str, Path]:
    """Places at which no file can be."""
    (folder / "circle").symlink_to(folder / "circle")
    os.mkfifo(folder / "pipe")
    (folder / "file").write_bytes(b"")
    return {
        "a folder": folder,
        "which is no file": folder / "pipe",
        "[Ss]ymlink loop|symbolic links": folder / "circle",
        "name too long": folder / ("x" * 300),
        "too long": folder / ("x" * 251),  # as the lock and the file on its way are called
        "null byte": folder / "a\0b",
        "Not a directory|File exists": folder / "file" / "a.bin",
    }


def test_what_is_no_file_is_left_as_it_is(tmp_path):
    """A pipe or a device would be replaced, and the system may need it."""
    places = no_files(tmp_path)
    before = names(tmp_path)
    for reason, path in places.items():
        for act in (
            lambda path: disk.write_whole(path, b"new"),
            lambda path: disk.check_room(path, 10),
            lambda path: disk.alone(path).__enter__(),
        ):
            with pytest.raises(ValueError, match=rf"path: given .*({reason}).*, wanted the name"):
                act(path)
    assert names(tmp_path) == before
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_place_is_one_processs_until_it_ends_however_it_ends(tmp_path):
    path = tmp_path / "runs" / "a.bin"
    other = child(HOLDER, path)
    with pytest.raises(disk.InUseError, match=r"path: given .*a\.bin, at which another run is"):
        disk.alone(path).__enter__()
    end(other)
    with disk.alone(path):
        with pytest.raises(disk.InUseError):
            disk.alone(path).__enter__()
        with disk.alone(tmp_path / "runs" / "b.bin"):
            pass
    assert names(path.parent) == []


def test_a_link_and_its_file_are_one_place(tmp_path):
    file = tmp_path / "a.bin"
    link = tmp_path / "link.bin"
    link.symlink_to(file)
    with disk.alone(file), pytest.raises(disk.InUseError):
        disk.alone(link).__enter__()


LIMITED = """
import pathlib, resource, sys
print("ready", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    disk.check_room(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
except OSError as error:
    print(error)
"""


def test_room_is_looked_for_by_taking_it(tmp_path):
    path = tmp_path / "new" / "a.bin"
    for size, said in ((1000, ""), (1001, f"[Errno {errno.EFBIG}] File too large: '{path}'")):
        assert child(LIMITED, path, size).communicate()[0].strip() == said
        assert names(path.parent) == []
