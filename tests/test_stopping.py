"""Signals: a run that is told to stop ends its step, writes its checkpoint and says what is so."""

import errno
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import minidiff as md
from minidiff import ops, optim, storage
from minidiff.training import Trainer

N = 40  # samples, of which each is a step


def trainer(path=None, at_step=lambda step: None, **options) -> Trainer:
    model = md.nn.Dense(2, 2, rng=np.random.default_rng(0))

    def loss(x, rng):
        at_step(made.step)
        return ops.mse_loss(model(x), x * 0.5)

    options = {"batch_size": 1} | options
    made = Trainer(model, loss, optim.Adam(model.parameters()), path=path, **options)
    return made


def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)


def sends(*numbers: int, step: int = 3):
    """An `at_step` that sends signals in one step."""

    def at_step(now: int) -> None:
        if now == step:
            for number in numbers:
                os.kill(os.getpid(), number)

    return at_step


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_or_twice_writes_what_was_done_and_says_so(tmp_path, times):
    path = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as stop:
        trainer(path, sends(*[signal.SIGINT] * times)).fit(data(), 1, progress=False)
    assert str(stop.value) == f"stopped at step 4; {path} holds step 4"
    assert storage.read(path).notes["step"] == 4
    assert signal.getsignal(signal.SIGINT) is before


def test_a_third_ctrl_c_interrupts_at_once_and_the_run_is_as_it_was_saved(tmp_path):
    for name, save_every, saved in (
        ("none", 1e9, "nothing was written to {} yet"),
        ("some", 0, "{} holds step 3"),
    ):
        path = tmp_path / name
        run = trainer(path, sends(*[signal.SIGINT] * 3), save_every=save_every)
        with pytest.raises(KeyboardInterrupt) as stop:
            run.fit(data(), 1, progress=False)
        step = 3 if save_every == 0 else 0
        assert str(stop.value) == f"stopped at step {step}; {saved.format(path)}"
        assert run.step == step
        assert path.exists() == (save_every == 0)


def test_what_was_there_before_and_is_no_runs_is_not_said_to_be_one(tmp_path):
    path = tmp_path / "run"
    path.write_bytes(b"something else")
    with pytest.raises(KeyboardInterrupt, match=r"nothing was written to .*run yet"):
        run = trainer(path, sends(*[signal.SIGINT] * 3), save_every=1e9)
        run.fit(data(), 1, progress=False)
    assert path.read_bytes() == b"something else"


def test_without_a_path_it_is_said_that_nothing_was_written():
    with pytest.raises(KeyboardInterrupt, match="at step 4; nothing was written, for there is no"):
        trainer(None, sends(signal.SIGINT)).fit(data(), 1, progress=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_writes_first(tmp_path, capsys, number):
    path = tmp_path / "run"
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        trainer(path, sends(number)).fit(data(), 1, progress=False)
    assert stop.value.code == 128 + number
    assert capsys.readouterr().err == f"\nstopped at step 4; {path} holds step 4\n"
    assert storage.read(path).notes["step"] == 4
    assert signal.getsignal(number) is before


def test_a_terminal_that_is_gone_is_no_error(tmp_path, monkeypatch):
    class Gone:
        def write(self, text):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("sys.stderr", Gone())
    with pytest.raises(SystemExit):
        trainer(tmp_path / "run", sends(signal.SIGHUP)).fit(data(), 1, progress=False)
    assert storage.read(tmp_path / "run").notes["step"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_ignored(tmp_path, number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        run = trainer(tmp_path / "run", sends(number))
        run.fit(data(), 1, progress=False)
        assert run.step == N
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("step", [1, N - 1, N, N + 1])
def test_a_run_stopped_anywhere_goes_on_bit_for_bit(tmp_path, step):
    """Also in the last step of an epoch, and in the validation after it."""
    whole = tmp_path / "whole"
    trainer(whole).fit(data(), 2, data(), progress=False)
    path = tmp_path / "run"
    # validation is looked at before step 0, and after each epoch, when the next step is N
    with pytest.raises(KeyboardInterrupt):
        trainer(path, sends(signal.SIGINT, step=step)).fit(data(), 2, data(), progress=False)
    resumed = trainer(path)
    resumed.resume()
    assert resumed.step == (step + 1 if step != N else N)
    resumed.fit(data(), 2, data(), progress=False)
    assert path.read_bytes() == whole.read_bytes()


def test_validation_ends_between_two_chunks(tmp_path):
    """Its 256 samples at once may be slow, and nothing is lost by doing them again."""
    path = tmp_path / "run"
    calls = []

    def at_step(step):
        calls.append(step)
        if calls.count(N) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    long = np.concatenate([data()] * 20)
    with pytest.raises(KeyboardInterrupt):
        trainer(path, at_step).fit(data(), 1, long, progress=False)
    assert calls.count(N) == 1, "of four chunks one was done"
    notes = storage.read(path).notes
    assert (notes["step"], notes["epoch"], notes["seen"]) == (N, 0, N)


@pytest.mark.parametrize(("every", "files"), [(0, N + 1), (1e9, 1)])
def test_a_checkpoint_is_written_every_so_many_seconds(tmp_path, monkeypatch, every, files):
    run = trainer(tmp_path / "run", save_every=every)
    saved = []
    save = run.save
    monkeypatch.setattr(run, "save", lambda: (saved.append(run.step), save()))
    run.fit(data(), 1, progress=False)
    assert len(saved) == files
    assert md.training.Trainer(run.model, run.loss, run.optimizer).save_every == 60


def test_the_clock_decides_when_a_checkpoint_is_written(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    def at_step(step):
        nonlocal now
        now += 7

    run = trainer(tmp_path / "run", at_step)
    saved = []
    save = run.save
    monkeypatch.setattr(run, "save", lambda: (saved.append(run.step), save()))
    run.fit(data(), 1, progress=False)
    assert saved == [9, 18, 27, 36, N]  # every 63 of the seconds


SCRIPT = """
import os, sys, signal
sys.path.insert(0, sys.argv[2])
from test_stopping import data, trainer
def at_step(step):
    if step == 5:
        print("training", flush=True)
        sys.stdin.readline()
run = trainer(sys.argv[1], at_step)
run.fit(data(), 1, progress=False)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_a_process_that_is_told_to_end_ends_with_a_checkpoint(tmp_path, number, status):
    path = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, path, os.path.dirname(__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout.readline() == "training\n"
    process.send_signal(number)
    _, said = process.communicate("\n")
    assert process.returncode == status
    (step,) = re.findall(r"stopped at step (\d+); ", said)
    assert storage.read(path).notes["step"] == int(step) >= 6
