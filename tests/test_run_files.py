"""What a run keeps: several checkpoints, of which one is always good, and all that a step needs."""

import errno
import os
import random
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion, disk, ops, optim, storage
from minidiff.training import Trainer, newest_checkpoint
from minidiff.training.kept import kept_by

SCHEDULE = diffusion.linear_schedule(40)


def points(n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (n, 2)).astype(np.float32), rng.integers(1, 4, n)


def trainer(path, rng: int = 0, after_step=lambda step: None, **options) -> Trainer:
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40, rng=rng)

    def loss(x, labels, rng):
        after_step(made.step)
        return diffusion.loss(model, SCHEDULE, x, diffusion.label_dropout(labels, 0.2, rng), rng)

    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, warmup=3, total=15))
    options = {"batch_size": 16, "seed": 5, "save_every": 0} | options
    made = Trainer(model, loss, optimizer, optim.EMA(model), path=path, **options)
    return made


class CutError(Exception):
    """As if the process had ended."""


def cut_at(step: int):
    def after_step(now: int) -> None:
        if now == step:
            raise CutError

    return after_step


def steps_of(folder) -> dict[str, int]:
    """The files of a folder, and the steps of the checkpoints in them."""
    return {path.name: storage.read(path).notes["step"] for path in folder.iterdir()}


def flip_a_bit(path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(0).randrange(len(content))] ^= 4
    path.write_bytes(content)


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
    assert sorted(os.listdir(tmp_path)) == ["run", "run.1", "run.2"]


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


# --- what a loss keeps ---


def sampling_run(path, after_step=lambda step: None, **options) -> Trainer:
    """A loss whose draws depend on the losses that it has seen."""
    made = trainer(path, **options)
    sampler = diffusion.losses.ImportanceSampler(40, history=1)

    def loss(x, labels, rng):
        after_step(made.step)
        watched = {"draw": sampler.draw, "callback": sampler.update}
        return diffusion.loss(made.model, SCHEDULE, x, labels, rng, **watched)

    made.loss = loss
    return made


def test_an_importance_sampler_goes_on_where_it_was(tmp_path):
    whole = sampling_run(tmp_path / "whole")
    whole.fit(points(400), 2, points(20), progress=False)  # 50 steps
    even = whole._stateful_parts()["sampler"].probabilities()
    assert even.max() > 2 * even.min(), "it has learned something"
    path = tmp_path / "run"
    with pytest.raises(CutError):
        sampling_run(path, cut_at(35)).fit(points(400), 2, points(20), progress=False)
    resumed = sampling_run(path, rng=7)
    resumed.resume()
    assert resumed.step == 35
    resumed.fit(points(400), 2, points(20), progress=False)
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_checkpoint_of_another_loss_is_refused(tmp_path):
    path = tmp_path / "run"
    sampling_run(path).fit(points(), 1, progress=False)
    run = trainer(path, rng=3)
    before = run.model.state_dict()
    with pytest.raises(ValueError, match=r"parts: given \[\], wanted .*sampler\.losses"):
        run.resume()
    trainer(path).fit(points(), 1, progress=False)
    with pytest.raises(ValueError, match=r"state: given another one.*missing: losses, seen"):
        sampling_run(path).resume()
    assert all(np.array_equal(a, before[name]) for name, a in run.model.state_dict().items())


class Counter:
    """A thing of one's own that a loss changes."""

    def __init__(self):
        self.count = np.zeros(1, np.int64)

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"].copy()

    def loss(self, x, rng):
        self.count += 1
        return ops.mean(x) * int(self.count[0])


GLOBAL = Counter()


def test_what_a_loss_keeps_is_found_wherever_its_code_knows_it():
    counter = Counter()
    sampler = diffusion.losses.ImportanceSampler(40)
    model = md.nn.Dense(2, 2, rng=np.random.default_rng(0))
    optimizer = optim.Adam(model.parameters())

    def with_argument(kept, x, rng):
        return ops.mean(model(x))

    class Callable:
        def __init__(self):
            self.inner = counter

        def __call__(self, x, rng):
            return ops.mean(x)

    inner = lambda x: ops.mean(model(x)) * int(counter.count[0])
    draw = sampler.draw
    options = {"draw": sampler.draw, "callback": sampler.update}
    several = (1, counter)
    cases = {
        "a variable": (lambda x, rng: counter.loss(x, rng), [counter]),
        "a global": (lambda x, rng: GLOBAL.loss(x, rng), [GLOBAL]),
        "a method": (counter.loss, [counter]),
        "a method's variable": (lambda x, rng: draw(rng, len(x)), [sampler]),
        "an argument": (partial(with_argument, counter), [counter]),
        "an object": (Callable(), [counter]),
        "a dict": (lambda x, rng: options["draw"](rng, len(x)), [sampler]),
        "a tuple": (lambda x, rng: several[1].loss(x, rng), [counter]),
        "a function that it calls": (lambda x, rng: inner(x), [counter]),
        "the inside of sharded": (lambda x, rng, f=None: md.sharded(inner)(x), [counter]),
        "a sharded function": (md.sharded(inner), [counter]),
        "the optimiser": (lambda x, rng: optimizer.steps, []),
        "a class": (lambda x, rng: Counter().loss(x, rng), []),
    }
    for where, (loss, wanted) in cases.items():
        found = list(kept_by(loss, but=[model, optimizer]).values())
        assert len(found) == len(wanted) and all(map(lambda a, b: a is b, found, wanted)), where


def test_parts_that_are_given_are_kept(tmp_path):
    path = tmp_path / "run"
    counter = Counter()
    run = trainer(path, parts={"counter": counter})
    counter.count += 7
    run.fit(points(), 1, progress=False)
    other = trainer(path, parts={"counter": Counter()})
    other.resume()
    assert other.parts["counter"].count == 7
