"""What a loss keeps goes into the checkpoints of its run."""

from functools import partial

import numpy as np
import pytest
from small_runs import SCHEDULE, CutError, cut_at, points, trainer

import minidiff as md
from minidiff import diffusion, ops, optim
from minidiff.training import Trainer
from minidiff.training.kept import kept_by


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
