"""The loop: resumed runs equal unbroken ones, interruptions lose nothing, means are weighed."""

import os
import signal

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion, ops, optim
from minidiff.training import Trainer, evaluate

SCHEDULE = diffusion.linear_schedule(40)


def points(n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (n, 2)).astype(np.float32), rng.integers(1, 4, n)


def trainer(path=None, rng: int = 0, after_step=lambda step: None) -> Trainer:
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=40, rng=rng)

    def loss(x, labels, rng):
        after_step(made.step)
        return diffusion.loss(model, SCHEDULE, x, diffusion.label_dropout(labels, 0.2, rng), rng)

    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, warmup=3, total=15))
    made = Trainer(model, loss, optimizer, optim.EMA(model), batch_size=16, seed=5, path=path)
    return made


def state(run: Trainer) -> list:
    parts = [
        *run.model.state_dict().values(),
        *run.optimizer.state_dict().values(),
        *run.ema.state_dict().values(),
    ]
    return [part.tobytes() for part in parts]


# an epoch has 4 steps: in its middle, at its end, in the next one
@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(tmp_path, stop):
    whole = trainer(tmp_path / "whole.safetensors")
    whole.fit(points(), 3, points(20), progress=False)

    def interrupt(step: int) -> None:
        if step == stop - 1:
            os.kill(os.getpid(), signal.SIGINT)

    path = tmp_path / "part.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trainer(path, after_step=interrupt).fit(points(), 3, points(20), progress=False)
    resumed = trainer(path, rng=9)  # other initial weights, which the checkpoint must replace
    resumed.resume()
    assert resumed.step == stop
    resumed.fit(points(), 3, points(20), progress=False)
    assert state(resumed) == state(whole)
    assert resumed.history == whole.history
    assert len(whole.history["validation"]) == 3


def test_ctrl_c_leaves_a_whole_checkpoint_that_loads(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    path = tmp_path / "run.safetensors"
    run = trainer(path, after_step=lambda step: step == 2 and os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run.fit(points(), 2, progress=False)
    assert run.step == 3
    assert md.load(path).num_parameters == run.model.num_parameters
    assert signal.getsignal(signal.SIGINT) is before


def test_validation_loss_has_fixed_draws_and_leaves_the_mode():
    run = trainer()
    first = evaluate(run.model, run.loss, points(), seed=3)
    assert run.model.training
    assert evaluate(run.model, run.loss, points(), seed=3) == first
    assert evaluate(run.model, run.loss, points(), seed=4) != first


def test_the_mean_loss_weighs_a_smaller_last_batch():
    model = md.models.LeNet5()
    x = np.arange(10, dtype=np.float32)[:, None]
    mean = lambda x, rng: ops.mean(md.Tensor(x))
    assert evaluate(model, mean, (x,), chunk=4) == pytest.approx(4.5)


def test_the_first_loss_of_a_noise_network_is_about_one():
    run = trainer()
    assert 0.5 < evaluate(run.model, run.loss, points(200)) < 2


def test_bad_data_and_a_diverging_loss_are_named():
    run = trainer()
    bad = points()[0].copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"data.*(NaN|finite)"):
        run.fit((bad, points()[1]), 1, progress=False)
    run.loss = lambda x, labels, rng: ops.sum(run.model.parameters()[0] * 0) + float("nan")
    with pytest.raises(FloatingPointError, match="step 0"):
        run.fit(points(), 1, progress=False)


def test_resuming_from_nothing_or_from_another_model_changes_nothing(tmp_path):
    with pytest.raises(ValueError, match="path: given None"):
        trainer().resume()
    run = trainer(tmp_path / "run.safetensors")
    with pytest.raises(FileNotFoundError, match="no such file"):
        run.resume()
    md.save(run.path, md.models.ConditionalMLP(hidden=16, classes=3, timesteps=40))
    before = state(run)
    with pytest.raises(ValueError, match=r"hidden=16.*hidden=8"):
        run.resume()
    md.save(run.path, trainer(rng=1).model)
    with pytest.raises(ValueError, match="wanted the state of a Trainer"):
        run.resume()
    assert state(run) == before
    trainer(run.path).save()
    for change in (
        {"optimizer": md.optim.SGD(run.model.parameters(), 0.1, momentum=0.9)},
        {"ema": None},
    ):
        other = trainer(tmp_path / "other.safetensors", rng=1)
        vars(other).update(change)
        other.save()
        run.path = other.path
        with pytest.raises(ValueError, match="state: given another one"):
            run.resume()
        assert state(run) == before


def test_what_cannot_be_is_said_before_the_first_epoch():
    run = trainer()
    with pytest.raises(ValueError, match=r"notes: given \['history', 'step'\]"):
        Trainer(run.model, run.loss, run.optimizer, step=1, history=[])
    run.batch_size = 0
    with pytest.raises(ValueError, match="size: given 0, wanted an integer"):
        run.fit(points(), 1, progress=False)
