"""A number that is not finite: nothing is written over a good file, and what made it is named."""

from dataclasses import replace

import numpy as np
import pytest
import strict

import minidiff as md
from minidiff import kernels, nn, ops, optim, storage
from minidiff.training import Trainer

# NumPy warns where these numbers are made
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

N = 10  # samples, of which each is a step


class Network(nn.Module):
    """Two layers, of which the second divides by `divisor`, which a step may make 0."""

    def __init__(self):
        self.first = nn.Dense(2, 4, rng=np.random.default_rng(0))
        self.second = nn.Dense(4, 2, rng=np.random.default_rng(1))
        self.divisor = 1.0

    def __call__(self, x):
        return ops.divide(self.second(ops.tanh(self.first(x))), self.divisor)


def data() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)


def trainer(path, lr=1e-2, at_step=lambda run: None, **options) -> Trainer:
    model = Network()

    def loss(x, rng):
        at_step(made)
        x = kernels.to_device(x, model.first.weight.device)
        return ops.mse_loss(model(x), x)

    optimizer = optim.Adam(model.parameters(), lr=lr)
    ema = optim.EMA(model)
    made = Trainer(model, loss, optimizer, ema, batch_size=1, path=path, **options)
    return made


def all_finite(path) -> bool:
    arrays = storage.read(path).arrays
    return all(np.isfinite(array).all() for group in arrays.values() for array in group.values())


@pytest.mark.parametrize("step", [1, 9, 10, 14, 20])
def test_a_rate_that_is_infinite_never_reaches_the_file(tmp_path, step):
    """Also at the end of an epoch, and in the last step of all, after which no loss is computed."""
    path = tmp_path / "run"
    run = trainer(path, lr=lambda s: np.inf if s == step else 1e-2)
    with pytest.raises(FloatingPointError) as error:
        run.fit(data(), 2, progress=False)
    said = str(error.value)
    assert f"in step {step - 1}, the update by the optimiser gave model.first." in said
    assert run.step == (0 if step <= N else N)
    assert f"The run is at step {run.step} again" in said
    assert all(np.isfinite(p.data).all() for p in run.model.parameters())
    if step > N:
        assert all_finite(path) and storage.read(path).notes["step"] == N
    else:
        assert not path.exists()


def test_the_run_goes_on_after_a_fault_with_another_rate(tmp_path):
    run = trainer(tmp_path / "run", lr=lambda s: np.inf if s == 15 else 1e-2)
    with pytest.raises(FloatingPointError):
        run.fit(data(), 2, progress=False)
    run.optimizer.lr = 1e-2
    run.fit(data(), 2, progress=False)
    whole = trainer(tmp_path / "whole")
    whole.fit(data(), 2, progress=False)
    assert (tmp_path / "run").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_gradient_that_is_nan_is_found_where_the_loss_is_finite(tmp_path):
    """In the last step of an epoch, after which no loss is computed."""
    run = trainer(tmp_path / "run")
    poison = lambda g: g * np.float32("nan")
    plain = run.loss
    run.loss = lambda x, rng: (
        md.gradient_hook(plain(x, rng), poison) if run.step == N - 1 else plain(x, rng)
    )
    with pytest.raises(FloatingPointError, match=r"in step 9, the derivative of \w+ .* gave NaN"):
        run.fit(data(), 1, progress=False)
    assert not (tmp_path / "run").exists()


def test_the_layer_and_the_operation_of_a_loss_are_named(tmp_path):
    def at_step(run):
        run.model.divisor = 0.0 if run.step == 13 else 1.0

    run = trainer(tmp_path / "run", at_step=at_step)
    with pytest.raises(FloatingPointError) as error:
        run.fit(data(), 2, progress=False)
    said = str(error.value)
    assert "at step 13, wanted a finite one" in said
    assert "in step 13, divide gave" in said and "layer Network" in said
    assert storage.read(tmp_path / "run").notes["step"] == N


def test_an_infinity_that_comes_and_goes_is_no_fault(tmp_path):
    """exp(−∞) = 0: anomaly mode from the beginning would name the wrong step."""
    run = trainer(tmp_path / "run", lr=lambda s: np.inf if s == 7 else 1e-2)
    plain = run.loss

    def loss(x, rng):
        nothing = ops.exp(ops.log(md.Tensor(np.zeros(1, np.float32))))
        return plain(x, rng) + ops.sum(nothing)

    run.loss = loss
    with pytest.raises(FloatingPointError, match="in step 6, "):
        run.fit(data(), 1, progress=False)


def test_a_validation_loss_that_is_not_finite_ends_the_run(tmp_path):
    path = tmp_path / "run"
    run = trainer(path)
    run.fit(data(), 1, data(), progress=False)
    before = path.read_bytes()
    plain = run.loss

    def loss(x, rng):
        run.model.divisor = 1.0 if run.model.training or run.step == N else 0.0
        return plain(x, rng)

    run.loss = loss
    with pytest.raises(FloatingPointError) as error:
        run.fit(data(), 2, data(), progress=False)
    assert "validation loss: given" in str(error.value)
    assert "in validation, divide gave" in str(error.value)
    assert path.read_bytes() == before
    assert run.history == storage.read(path).notes["history"]


def test_what_does_not_show_again_is_said(tmp_path):
    once = [np.float32("nan")]
    run = trainer(tmp_path / "run")
    run.loss = lambda x, rng: ops.mean(run.model(x)) * (once.pop() if run.step == 4 and once else 1)
    with pytest.raises(FloatingPointError, match="steps 0 to 4, taken again, did not show it"):
        run.fit(data(), 1, progress=False)
    assert run.step == 0


# --- skipping ---


def test_a_skipped_step_changes_nothing_and_is_counted(tmp_path):
    def at_step(run):
        run.model.divisor = 0.0 if run.step in (3, 4, 13) else 1.0

    run = trainer(tmp_path / "run", at_step=at_step, skip_nonfinite=True)
    seen = []
    step = run.train_step

    def train_step(*batch):
        before = [p.data.copy() for p in run.model.parameters()]
        value = step(*batch)
        same = all(np.array_equal(a, p.data) for a, p in zip(before, run.model.parameters()))
        seen.append((np.isfinite(value), same))
        return value

    run.train_step = train_step
    run.fit(data(), 2, progress=False)
    assert [i for i, (finite, _) in enumerate(seen) if not finite] == [3, 4, 13]
    assert all(finite != same for finite, same in seen)
    assert run.skipped == storage.read(run.path).notes["skipped"] == 3
    assert np.isfinite(run.history["training"]).all() and run.step == 2 * N
    again = trainer(tmp_path / "run", skip_nonfinite=True)
    again.resume()
    assert again.skipped == 3


def test_a_gradient_alone_makes_a_step_skipped(tmp_path):
    run = trainer(tmp_path / "run", skip_nonfinite=True)
    poison = lambda g: g * np.float32("inf")
    plain = run.loss
    run.loss = lambda x, rng: (
        md.gradient_hook(plain(x, rng), poison) if run.step == 2 else plain(x, rng)
    )
    run.fit(data(), 1, progress=False)
    assert run.skipped == 1 and all_finite(run.path)


def test_the_mean_of_an_epoch_is_that_of_what_was_not_skipped():
    run = trainer(None, skip_nonfinite=True)
    weight = run.model.first.weight
    run.loss = lambda x, rng: (
        ops.sum(weight * 0) + (float("nan") if run.step % 2 else float(run.step))
    )
    run.fit(data(), 1, progress=False)
    assert run.history["training"] == [4.0]  # of 0, 2, 4, 6, 8


def test_an_epoch_of_skipped_steps_alone_ends_the_run(tmp_path):
    run = trainer(tmp_path / "run", skip_nonfinite=True)
    run.model.divisor = 0.0
    with pytest.raises(FloatingPointError, match="given none that is finite in epoch 1"):
        run.fit(data(), 1, progress=False)
    assert not (tmp_path / "run").exists()


def test_a_sampler_of_times_forgets_losses_that_are_not_finite():
    sampler = md.diffusion.losses.ImportanceSampler(2, history=1)
    sampler.update(np.array([1, 2, 1]), np.array([1.0, 3.0, np.nan]))
    np.testing.assert_allclose(sampler.probabilities(), 0.999 * np.array([0.25, 0.75]) + 0.0005)


def test_losses_on_a_device_are_read_together(tmp_path):
    """Which tells the first step that gave a bad one; on the host each is looked at in its step."""
    rows = data()[:, None]
    with strict.registered() as backend:
        reads = []
        counting = replace(backend, to_host=lambda a: reads.append(a.shape) or backend.to_host(a))
        kernels.register(counting)
        run = trainer(tmp_path / "run")
        run.model.to("strict")
        for row in rows:
            run._take_in([row])
        assert not reads
        assert run._counted == 0
        run._read_losses()
        assert reads == [(N,)]
        assert run._counted == N
        assert run._epoch_loss > 0

        broken = trainer(tmp_path / "broken", at_step=divide_by_0_at_7)
        broken.model.to("strict")
        for row in rows:
            broken._take_in([row])
        with pytest.raises(FloatingPointError, match="at step 7, wanted a finite one"):
            broken._read_losses()
    on_host = trainer(tmp_path / "host", at_step=divide_by_0_at_7)
    with pytest.raises(FloatingPointError, match="at step 7, wanted a finite one"):
        for row in rows:
            on_host._take_in([row])
    assert on_host.step == 7


def divide_by_0_at_7(run):
    run.model.divisor = 0.0 if run.step == 7 else 1.0
