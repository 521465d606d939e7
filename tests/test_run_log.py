"""The log of a run: each step once, whatever happens to the process."""

import json
import sys

import numpy as np
import pytest

import minidiff as md
from minidiff import ops, optim
from minidiff.training import Trainer, run_files

POINTS = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
STEPS = 10  # of an epoch


class Killed(BaseException):
    """Nothing handles it, as nothing handles the end of a process."""


def trainer(path, killed_at=None, **options):
    model = md.models.ConditionalMLP(hidden=4)

    def loss(x, rng):
        if killed_at is not None and run.step == killed_at:
            raise Killed
        noise = rng.standard_normal(x.shape, np.float32)
        return ops.mean((model(x, rng.integers(1, 41, len(x))) - noise) ** 2)

    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, 5, 20))
    run = Trainer(model, loss, optimizer, batch_size=4, path=path, **options)
    return run


def fit(run, epochs=2):
    return run.fit(POINTS, epochs, POINTS[:8], progress=False)


def lines(path):
    """Without the time."""
    text = path.with_suffix(".jsonl").read_text(encoding="utf-8")
    return [
        {k: v for k, v in json.loads(line).items() if k != "time"} for line in text.splitlines()
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The lines of a run that nothing happened to."""
    path = tmp_path_factory.mktemp("whole") / "run.safetensors"
    history = fit(trainer(path))
    found = lines(path)
    epochs = [line for line in found if "loss" not in line]
    assert [line["training"] for line in epochs] == history["training"]
    assert [line["validation"] for line in epochs] == history["validation"]
    steps = [line for line in found if "loss" in line]
    assert [line["step"] for line in steps] == list(range(2 * STEPS))
    assert [line["epoch"] for line in steps] == [1] * STEPS + [2] * STEPS
    rates = [optim.warmup_cosine(1e-2, 5, 20)(step) for step in range(2 * STEPS)]
    assert [line["rate"] for line in steps] == rates
    return found


@pytest.mark.parametrize("save_every", [0.0, 1000.0])
@pytest.mark.parametrize("killed_at", [1, STEPS - 1, STEPS, STEPS + 3])
def test_after_a_kill_no_line_is_lost_or_doubled(tmp_path, whole, killed_at, save_every):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        fit(trainer(path, killed_at, save_every=save_every))
    again = trainer(path, save_every=save_every)
    if path.exists():
        again.resume()
    fit(again)
    assert lines(path) == whole


@pytest.mark.parametrize("saved", range(1, 2 * STEPS + 2))
def test_killed_between_the_lines_and_their_checkpoint(tmp_path, whole, saved, monkeypatch):
    path = tmp_path / "run.safetensors"
    write = run_files.write
    left = iter(range(saved))

    def killed(*arguments):
        if next(left, None) is None:
            raise Killed
        write(*arguments)

    monkeypatch.setattr(run_files, "write", killed)
    with pytest.raises(Killed):
        fit(trainer(path, save_every=0.0))
    monkeypatch.undo()
    again = trainer(path, save_every=0.0)
    again.resume()
    fit(again)
    assert lines(path) == whole


def test_half_a_line_is_taken_off(tmp_path, whole):
    path = tmp_path / "run.safetensors"
    fit(trainer(path), epochs=1)
    log = path.with_suffix(".jsonl")
    log.write_bytes(log.read_bytes() + b'{"time": 17')
    again = trainer(path)
    again.resume()
    fit(again)
    assert lines(path) == whole


def test_a_full_disk_doubles_no_line(tmp_path, whole, monkeypatch):
    """The checkpoint was not written, the lines were; the same run saves again."""
    path = tmp_path / "run.safetensors"
    run = trainer(path)
    fit(run, epochs=1)
    full = lambda *arguments: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    monkeypatch.setattr(run_files, "write", full)
    with pytest.raises(OSError, match="No space"):
        fit(run)
    monkeypatch.undo()
    run.save()
    assert lines(path) == whole


def test_an_older_run_keeps_its_log_until_the_new_one_has_a_checkpoint(tmp_path, whole):
    path = tmp_path / "run.safetensors"
    fit(trainer(path))
    with pytest.raises(Killed):
        fit(trainer(path, killed_at=3))
    assert lines(path) == whole
    fit(trainer(path), epochs=1)
    assert lines(path) == whole[: STEPS + 1]


def test_an_interrupted_step_leaves_no_line(tmp_path, whole):
    """The third Ctrl-C goes back to the last checkpoint, and so does the log."""
    path = tmp_path / "run.safetensors"
    run = trainer(path)
    fit(run, epochs=1)
    step = run.train_step

    def interrupted(*batch):
        if run.step == STEPS + 4:
            raise KeyboardInterrupt
        return step(*batch)

    run.train_step = interrupted
    with pytest.raises(KeyboardInterrupt, match="stopped at step 10"):
        fit(run)
    run.train_step = step
    fit(run)
    assert lines(path) == whole


def test_a_skipped_step_has_null(tmp_path):
    path = tmp_path / "run.safetensors"
    points = POINTS.copy()
    run = trainer(path, skip_nonfinite=True)
    loss = run.loss
    run.loss = lambda x, rng: loss(x, rng) * (np.float32("nan") if run.step == 2 else 1)
    run.fit(points, 1, progress=False)
    assert [line["step"] for line in lines(path) if line.get("loss", 0) is None] == [2]


def test_tensorboard_is_missed_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="needs tensorboardX: type pip install"):
        trainer(tmp_path / "run.safetensors", tensorboard=tmp_path)
