"""Networks on the device: trained beside the CPU, saved and resumed across devices."""

import copy

import numpy as np
import pytest
from both import assert_same, assert_same_gradients, on_host, order

import minidiff as md
from minidiff import diffusion, kernels, models, ops, optim
from minidiff.training import Trainer, evaluate

pytestmark = pytest.mark.gpu

SCHEDULE = diffusion.cosine_schedule(40)
ALPHA_BAR = SCHEDULE.alpha_bar
STEPS = 20

# name → (a network, the shape of a sample, batch, what it predicts)
SMALL = {
    "mlp": (lambda: models.ConditionalMLP(hidden=8, rng=0), (2,), 32, "noise"),
    "unet": (
        lambda: models.UNet(width=8, multipliers=(1, 2), classes=3, timesteps=40, rng=0),
        (4, 4, 1),
        3,
        "noise",
    ),
    "unet with vectors": (
        lambda: models.UNet(
            width=8, multipliers=(1,), timesteps=40, combine="add", condition_dim=3, rng=0
        ),
        (4, 4, 1),
        2,
        "x0",
    ),
    "adm": (
        lambda: models.ADMUNet(ALPHA_BAR, widths=(8, 16), classes=3, rng=0),
        (4, 4, 1),
        3,
        "v",
    ),
}
WHOLE = {
    "mlp": (lambda: models.ConditionalMLP(rng=0), (2,), 32, "noise"),
    "unet": (lambda: models.UNet(timesteps=40, classes=3, rng=0), (28, 28, 1), 4, "noise"),
    "adm": (lambda: models.ADMUNet(ALPHA_BAR, classes=3, rng=0), (28, 28, 1), 4, "v"),
}
LENET = (28, 28, 1)


def batch_of(model, shape, batch, k, dtype="f4"):
    """Samples in [-1, 1], and conditions: of training step k, on the host."""
    rng = np.random.default_rng([1, k])
    x = rng.uniform(-1, 1, (batch, *shape)).astype(dtype)
    dim = model.config.get("condition_dim")
    condition = rng.standard_normal((batch, dim)) if dim else rng.integers(0, 4, batch)
    return x, condition.astype(dtype) if dim else condition


def train(device, row, steps, dtype="f4"):
    """The losses, the first step's gradients, and parameters and averages after the last."""
    make, shape, batch, predicts = row
    model = make()
    for p in model.parameters():
        p.data = p.data.astype(dtype)
    model.to(device)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    ema = optim.EMA(model, 0.9)
    losses = []
    gradients = None
    for k in range(steps):
        x, condition = batch_of(model, shape, batch, k, dtype)
        loss = diffusion.loss(model, SCHEDULE, x, condition, np.random.default_rng(k), predicts)
        optimizer.zero_grad()
        loss.backward()
        gradients = gradients or [on_host(p.grad).copy() for p in model.parameters()]
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        ema.update()
        losses.append(loss.item())
    numbers = [on_host(p).copy() for p in model.parameters()]
    return losses, gradients, [*numbers, *map(on_host, ema.average.values())]


def assert_same_training(row):
    """To the digits of double precision, 20 steps of it; in single precision as far as that goes.

    There Adam's steps soon part: where a gradient is nearly 0 they follow its rounding.
    """
    want = train("cpu", row, STEPS, "f8")
    got = train("cuda", row, STEPS, "f8")
    for a, b in zip(got, want, strict=True):
        assert_same(map(np.asarray, a), map(np.asarray, b), 1e-6, 1e-8)
    want = train("cpu", row, 3)
    got = train("cuda", row, 3)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-4)
    assert_same_gradients(got[1], want[1])


@pytest.mark.parametrize("name", SMALL)
def test_training_is_that_of_the_cpu(name):
    assert_same_training(SMALL[name])


@pytest.mark.long
@pytest.mark.parametrize("name", WHOLE)
def test_training_of_whole_networks(name):
    assert_same_training(WHOLE[name])


@pytest.mark.parametrize("name", SMALL)
def test_training_is_repeatable_bit_for_bit(name):
    """No kernel that a step uses sums by atomics: any order of threads gives the same bits."""
    want = train("cuda", SMALL[name], 2)
    for seed in (1, 2):
        with order(seed):
            got = train("cuda", SMALL[name], 2)
        assert got[0] == want[0]
        for a, b in zip(got[1] + got[2], want[1] + want[2], strict=True):
            np.testing.assert_array_equal(a, b)


# --- a classifier ---


def train_lenet(device, steps):
    rng = np.random.default_rng(0)
    model = models.LeNet5(rng=0).to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(steps):
        x = kernels.to_device(rng.uniform(-1, 1, (2, *LENET)).astype("f"), device)
        loss = ops.cross_entropy(model(x), rng.integers(0, 10, 2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, list(model.state_dict().values())


def assert_same_lenet(steps):
    want = train_lenet("cpu", steps)
    got = train_lenet("cuda", steps)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-4)
    assert_same(got[1], want[1], 1e-3, 1e-4)


def test_a_lenet_is_trained():
    assert_same_lenet(2)


@pytest.mark.long
def test_a_lenet_is_trained_for_20_steps():
    assert_same_lenet(STEPS)


# --- Trainer, evaluate, files ---


def trainer_on(device, path, seed=None):
    model = models.ConditionalMLP(hidden=8, rng=0).to(device)
    loss = lambda x, y, rng: diffusion.loss(model, SCHEDULE, x, y, rng)
    optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-3, 5, 100))
    return Trainer(model, loss, optimizer, optim.EMA(model), path=path, seed=seed)


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((70, 2)).astype("f"), rng.integers(1, 4, 70)


def state_of(trainer):
    return trainer.model.state_dict() | trainer.ema.state_dict() | trainer.optimizer.state_dict()


def assert_near(got, want):
    assert got.keys() == want.keys()
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("first, then", [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_run_goes_on_from_the_checkpoint_of_another_device(first, then, tmp_path):
    unbroken = trainer_on("cpu", tmp_path / "unbroken.safetensors")
    unbroken.fit(data(), 3, data(), progress=False)

    path = tmp_path / "run.safetensors"
    trainer_on(first, path).fit(data(), 1, data(), progress=False)
    run = trainer_on(then, path)
    run.resume()
    history = run.fit(data(), 3, data(), progress=False)

    assert run.model.parameters()[0].device == then
    assert_near(state_of(run), state_of(unbroken))
    np.testing.assert_allclose(history["validation"], unbroken.history["validation"], rtol=1e-4)


def test_evaluate_moves_its_batches():
    model = models.ConditionalMLP(hidden=8, rng=0)
    loss = lambda x, y, rng: diffusion.loss(model, SCHEDULE, x, y, rng)
    want = evaluate(model, loss, data())
    model.to("cuda")
    assert abs(evaluate(model, loss, data()) - want) < 1e-5 * want


def test_a_batch_moves_once():
    """In a step, with all that goes along; the loss of one's own gets it on the host."""
    import cupy

    model = models.ConditionalMLP(hidden=8, classes=None, rng=0).to("cuda")
    seen = []

    def loss(x, rng):
        seen.append(type(x))
        return ops.mse_loss(model(x, 3), cupy.asarray(x))

    Trainer(model, loss, optim.Adam(model.parameters())).fit(data()[0], 1, progress=False)
    assert set(seen) == {np.ndarray}


@pytest.mark.parametrize("name", SMALL)
def test_saved_there_and_loaded_here(name, tmp_path):
    make, shape, batch, predicts = SMALL[name]
    model = make().to("cuda")
    x, condition = batch_of(model, shape, batch, 0)
    diffusion.loss(model, SCHEDULE, x, condition, 0, predicts).backward()
    optim.Adam(model.parameters(), lr=0.1).step()
    md.save(tmp_path / "net.safetensors", model)
    assert model.parameters()[0].device == "cuda"
    loaded = md.load(tmp_path / "net.safetensors")
    for twin in (loaded, copy.deepcopy(model).to("cpu")):
        assert twin.parameters()[0].device == "cpu"
        assert_same(twin.parameters(), model.parameters(), 0)
    there = model(kernels.to_device(x, "cuda"), 7, condition)
    assert_same([there], [loaded(x, 7, condition)], 1e-3, 1e-4)


# --- derivatives of every kind, through a network ---


def test_checkpointing_and_higher_derivatives():
    model = models.ConditionalMLP(hidden=8, classes=None, rng=0)
    x, _ = data()
    direction = x[::-1][:3].copy()

    def scalar(x):
        return ops.sum(md.checkpoint(lambda x: model(x, 3))(x) ** 2)

    def all_kinds(device):
        model.to(device)
        here = kernels.to_device(x[:3], device)
        along = kernels.to_device(direction, device)
        jvp = md.jvp(scalar, (here,), (along,))
        hvp = md.hvp(scalar, here, along)
        return [*jvp, md.grad(scalar)(here), hvp]

    want = [*map(on_host, all_kinds("cpu"))]
    assert_same(all_kinds("cuda"), want, 1e-3, 1e-4)
