"""What a run keeps: several checkpoints, of which one is always good, and all that a step needs."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from small_runs import CutError, cut_at, flip_a_bit, points, steps_of, trainer

from minidiff import disk, optim, storage
from minidiff.training import newest_checkpoint


def test_the_newest_few_are_kept(tmp_path):
    trainer(tmp_path / "run").fit(points(), 2, progress=False)  # 8 steps, and a file after each
    assert steps_of(tmp_path) == {"run": 8, "run.1": 8, "run.2": 7}  # at an epoch's end once more
    trainer(tmp_path / "other" / "run", keep=1).fit(points(), 1, progress=False)
    assert steps_of(tmp_path / "other") == {"run": 4}
    trainer(tmp_path / "last" / "run", keep=5, save_every=1e9).fit(points(), 2, progress=False)
    assert steps_of(tmp_path / "last") == {"run": 8, "run.1": 4}


def test_resuming_takes_the_newest_good_one_and_says_so(tmp_path):
    path = tmp_path / "run"
    whole = trainer(tmp_path / "whole" / "run")
    whole.fit(points(), 2, progress=False)
    with pytest.raises(CutError):
        trainer(path, after_step=cut_at(6)).fit(points(), 2, progress=False)
    assert steps_of(tmp_path / "whole").keys() == {"run", "run.1", "run.2"}
    flip_a_bit(path)
    resumed = trainer(path, rng=9)
    with pytest.warns(UserWarning, match=r"run .*checksum.*going on from .*run\.1, of step 5"):
        resumed.resume()
    resumed.fit(points(), 2, progress=False)
    assert path.read_bytes() == (tmp_path / "whole" / "run").read_bytes()
    path.unlink()
    flip_a_bit(tmp_path / "run.1")
    with pytest.warns(UserWarning, match=r"no such file.*run\.2, of step 7"):
        assert newest_checkpoint(path).notes["step"] == 7
    flip_a_bit(tmp_path / "run.2")
    with pytest.raises(FileNotFoundError, match="no such file"):
        newest_checkpoint(path)


def test_a_damaged_one_never_takes_the_place_of_a_good_one(tmp_path):
    """Else the last good one could be the one that is replaced, and the process die then."""
    path = tmp_path / "run"
    run = trainer(path, keep=2)
    run.fit(points(), 1, progress=False)
    good = (tmp_path / "run.1").read_bytes()
    flip_a_bit(path)
    run.save()
    assert (tmp_path / "run.1").read_bytes() == good
    assert storage.read(path).notes["step"] == 4


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_whichever_operation_of_the_disk_fails_a_good_checkpoint_is_there(
    tmp_path, keep, monkeypatch
):
    """Each flush and each renaming of a save fails once, and what is found then is good."""
    path = tmp_path / "run"
    run = trainer(path, keep=keep)
    run.fit(points(), 1, progress=False)
    real = {name: getattr(os, name) for name in ("fsync", "replace")}
    fail_at = 0
    calls = 0

    def failing(name):
        def call(*args):
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(errno.ENOSPC, "No space left on device", str(args[0]))
            return real[name](*args)

        return call

    for name in real:
        monkeypatch.setattr(os, name, failing(name))
    failed = 0
    while failed == fail_at:
        fail_at += 1
        calls = 0
        before = newest_checkpoint(path).notes["step"]
        run.step = before + 1
        try:
            run.save()
        except OSError as error:
            failed += 1
            assert "No space left on device: " in str(error) and "run" in str(error)
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]
        assert newest_checkpoint(path).notes["step"] in (before, before + 1)
    assert failed >= 3


def test_links_lead_to_the_files(tmp_path):
    (tmp_path / "large").mkdir()
    path = tmp_path / "run"
    path.symlink_to(tmp_path / "large" / "run")
    trainer(path).fit(points(), 1, progress=False)
    assert path.is_symlink()
    assert sorted(os.listdir(tmp_path / "large")) == ["run", "run.1", "run.2"]
    (tmp_path / "large" / "run").unlink()
    with pytest.warns(UserWarning, match=r"run\.1, of step 4"):
        trainer(path).resume()


def test_two_runs_of_one_path_are_refused(tmp_path):
    path = tmp_path / "run"
    second = trainer(path)

    def begin_another(step):
        with pytest.raises(disk.InUseError, match="at which another run is at work"):
            second.fit(points(), 1, progress=False)

    trainer(path, after_step=begin_another).fit(points(), 1, progress=False)
    second.fit(points(), 1, progress=False)
    assert sorted(os.listdir(tmp_path)) == ["run", "run.1", "run.2", "run.jsonl"]


LIMITED = """
import resource, sys
import numpy as np
import minidiff as md
from minidiff import ops, optim
from minidiff.training import Trainer
model = md.nn.Dense(100, 100, rng=np.random.default_rng(0))
def loss(x, rng):
    print("a step", flush=True)
    return ops.mean(model(x))
run = Trainer(model, loss, optim.SGD(model.parameters(), 0.1), path=sys.argv[1], keep=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    run.fit(np.ones((4, 100), np.float32), 1, progress=False)
except OSError as error:
    print(error)
"""


def test_a_disk_without_room_is_found_before_the_first_step(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "run"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout == f"[Errno {errno.EFBIG}] File too large: '{tmp_path / 'run'}'\n"
    assert not os.listdir(tmp_path)


def test_a_path_that_cannot_be_written_is_found_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path, tmp_path / "file" / "run"):
        run = trainer(path)
        with pytest.raises((OSError, ValueError), match=str(path)):
            run.fit(points(), 1, progress=False)
        assert run.step == 0
    run = trainer(tmp_path / "run", note=object())
    with pytest.raises(TypeError, match="notes: given object"):
        run.fit(points(), 1, progress=False)
    assert run.step == 0


@pytest.mark.parametrize("name", ["run.1", "run.2"])
def test_a_folder_at_an_older_ones_place_is_found_before_the_first_step(tmp_path, name):
    (tmp_path / name).mkdir()
    run = trainer(tmp_path / "run")
    with pytest.raises(ValueError, match=rf"path: given .*{name}, a folder, wanted the name"):
        run.fit(points(), 1, progress=False)
    assert run.step == 0


def test_only_files_of_a_runs_own_names_are_older_ones(tmp_path):
    path = tmp_path / "run"
    trainer(path, keep=5).fit(points(), 1, progress=False)
    path.unlink()
    (tmp_path / "run.1").unlink()
    (tmp_path / "run.1").mkdir()
    for name in ("run.007", "run.-1", "run.", "run.٣", "run.x"):
        (tmp_path / name).write_bytes(b"another's")
    with pytest.warns(UserWarning, match=r"going on from an older one, .*run\.2, of step 3"):
        assert newest_checkpoint(path).notes["step"] == 3


def test_what_the_disk_cannot_read_is_damaged(tmp_path, monkeypatch):
    path = tmp_path / "run"
    trainer(path).fit(points(), 1, progress=False)
    read = type(path).read_bytes

    def failing(file):
        if file.name in ("run", "run.1"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return read(file)

    monkeypatch.setattr(type(path), "read_bytes", failing)
    with pytest.warns(UserWarning, match=r"Input/output error.*going on from .*run\.2"):
        newest_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x.astype(np.float64), y), "validation: "),
        (lambda x, y: (x[:0], y[:0]), "validation: given shape"),
        (lambda x, y: (x, np.where(np.arange(50) == 49, 4, y)), "validation: given labels 1 … 4"),
        (lambda x, y: (x,), "loss: given a function that does not take"),
        (lambda x, y: (x[:, :1], y), "validation: "),
    ],
)
def test_validation_data_is_looked_at_before_the_first_step(tmp_path, change, words):
    run = trainer(tmp_path / "run")
    with pytest.raises((TypeError, ValueError), match=words):
        run.fit(points(), 1, change(*points()), progress=False)
    assert run.step == 0 and not os.listdir(tmp_path)


def test_a_label_too_large_is_found_before_the_first_step(tmp_path):
    run = trainer(tmp_path / "run")
    x, labels = points()
    labels[49] = 4
    with pytest.raises(ValueError, match="data: given labels 1 … 4, wanted at most 3"):
        run.fit((x, labels), 1, progress=False)
    assert run.step == 0


def test_the_batch_size_is_the_checkpoints_unless_another_one_is_given(tmp_path):
    path = tmp_path / "run"
    trainer(path).fit(points(), 1, progress=False)
    adopts = trainer(path, batch_size=None)
    adopts.resume()
    assert adopts.batch_size == 16
    given = trainer(path, batch_size=8)
    given.resume()
    assert given.batch_size == 8


def test_another_learning_rate_is_told(tmp_path):
    path = tmp_path / "run"
    trainer(path).fit(points(), 1, progress=False)
    words = "warmup_cosine(peak=0.01, warmup=3, total=15, end=0.0)"
    assert storage.read(path).notes["rates"] == [words]
    run = trainer(path)
    run.optimizer.lr = optim.warmup_cosine(1e-2, warmup=3, total=30)
    with pytest.warns(UserWarning, match=r"lr: given warm.*total=30.*where the run had .*total=15"):
        run.resume()
    run.optimizer.lr = 1e-3
    with pytest.warns(UserWarning, match=r"lr: given 0\.001, where the run had warmup_cosine"):
        run.resume()
    run.optimizer.lr = lambda step: 1e-3  # of which nothing can be said
    run.resume()


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": 1.5},
        {"seed": None},
        {"history": []},
        {"history": {"training": 1, "validation": []}},
        {"seen": "x"},
        {"epoch_loss": None},
        {"batch_size": 0},
        {"rates": None},
        {"data": 3},
    ],
)
def test_resuming_from_crafted_notes_changes_nothing(tmp_path, change):
    run = trainer(tmp_path / "run")
    run.fit(points(), 1, progress=False)
    saved = storage.read(run.path)
    crafted = saved._replace(notes=saved.notes | change)
    (tmp_path / "run").write_bytes(storage.file_format.to_bytes(crafted))
    other = trainer(tmp_path / "run", rng=3, seed=None)
    before = other.model.state_dict()
    with pytest.raises(ValueError, match=r"path: given .*run, damaged, wanted a checkpoint: "):
        other.resume()
    assert other.step == 0
    assert all(np.array_equal(a, before[name]) for name, a in other.model.state_dict().items())
