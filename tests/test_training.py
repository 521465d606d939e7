"""The loop: resumed runs equal unbroken ones, interruptions lose nothing, means are weighed."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

import minidiff as md
from minidiff import data, diffusion, ops, optim, storage
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


def small_unet_run() -> Trainer:
    """A run on images, for what is said of them before anything is learned."""
    model = md.models.UNet(width=8, multipliers=(1, 2), classes=3, timesteps=40)
    loss = lambda x, labels, rng: diffusion.loss(model, SCHEDULE, x, labels, rng)
    return Trainer(model, loss, optim.SGD(model.parameters(), 0.1))


def state(run: Trainer) -> list:
    parts = [
        *run.model.state_dict().values(),
        *run.optimizer.state_dict().values(),
        *run.ema.state_dict().values(),
    ]
    return [part.tobytes() for part in parts]


def dropping_run(path) -> Trainer:
    rng = np.random.default_rng(0)
    model = md.nn.Sequential(
        md.nn.Dense(2, 8, rng), md.nn.Dropout(0.5, rng), md.nn.Dense(8, 2, rng)
    )
    loss = lambda x, labels, rng: ops.mse_loss(model(x), x)
    return Trainer(model, loss, optim.Adam(model.parameters()), batch_size=16, seed=5, path=path)


def pictures(folder) -> tuple:
    """Of three classes, 50 in all, in memory and as files."""
    rng = np.random.default_rng(1)
    for i in range(50):
        path = folder / "abc"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).save(path)
    return data.images(folder), data.images(folder, in_memory=False)


def picture_run(path=None, after_step=lambda step: None) -> Trainer:
    """Pictures that are flipped and shifted by the step's own draws."""
    rng = np.random.default_rng(0)
    model = md.nn.Sequential(md.nn.Conv2d(3, 4, 3, rng), md.nn.Conv2d(4, 3, 3, rng))

    def loss(x, labels, rng):
        after_step(made.step)
        x = data.shifted(data.flipped(x, rng), rng, 1)
        return ops.mse_loss(model(x) * labels[:, None, None, None].astype(np.float32), x)

    optimizer = optim.Adam(model.parameters())
    made = Trainer(
        model, loss, optimizer, optim.EMA(model), batch_size=8, seed=5, path=path, save_every=0
    )
    return made


def test_pictures_in_files_train_as_the_array_does_and_resume_bit_for_bit(tmp_path):
    in_memory, in_files = pictures(tmp_path / "pictures")
    whole = picture_run(tmp_path / "whole.safetensors")
    training, validation = data.split_validation(*in_memory[:2])
    history = whole.fit(training, 2, validation, progress=False)

    training, validation = data.split_validation(*in_files[:2])
    interrupted = picture_run(
        tmp_path / "cut.safetensors",
        lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 8 else None,
    )
    with pytest.raises(KeyboardInterrupt, match="holds step 9"):
        interrupted.fit(training, 2, validation, progress=False)
    resumed = picture_run(tmp_path / "cut.safetensors")
    resumed.resume()
    assert resumed.fit(training, 2, validation, progress=False) == history
    assert state(resumed) == state(whole)
    losses = [evaluate(whole.model, whole.loss, given[:2]) for given in (in_memory, in_files)]
    assert losses[0] == losses[1]


def test_a_picture_that_breaks_ends_the_run_with_its_name(tmp_path):
    _, (images, labels, _) = pictures(tmp_path / "pictures")
    (tmp_path / "pictures/b/22.png").write_bytes(b"broken")
    run = picture_run(tmp_path / "run.safetensors")
    with pytest.raises(ValueError, match=r"folder: given .*b/22.png, which cannot be read"):
        run.fit((images, labels), 1, progress=False)


def test_what_layers_draw_is_drawn_again_after_resuming(tmp_path):
    whole = dropping_run(tmp_path / "whole.safetensors")
    whole.fit(points(), 2, progress=False)
    dropping_run(tmp_path / "part.safetensors").fit(points(), 1, progress=False)
    resumed = dropping_run(tmp_path / "part.safetensors")
    resumed.resume()
    resumed.fit(points(), 2, progress=False)
    assert resumed.history == whole.history
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(resumed.model.state_dict()[name], array)


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


def stopped_at(step: int):
    """An `after_step` that interrupts the step of this number."""
    return lambda now: now == step - 1 and os.kill(os.getpid(), signal.SIGINT)


def test_a_loss_that_changes_the_folder_leaves_the_checkpoint_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = trainer("run.safetensors", after_step=lambda step: os.chdir(elsewhere))
    run.fit(points(), 1, progress=False)
    assert storage.read(tmp_path / "run.safetensors").notes["step"] == run.step
    assert not list(elsewhere.iterdir())
    run.resume()
    assert run.epoch == 1


@pytest.mark.parametrize("stop", [2, 4])
@pytest.mark.parametrize("size", [5, 8, 32, 100])
def test_an_epoch_is_all_samples_once_with_any_batch_size(tmp_path, stop, size):
    """Each sample's loss is its number; epochs and their means know nothing of batches."""
    run = trainer(tmp_path / "run.safetensors", after_step=stopped_at(stop))
    seen = []

    def loss(x, rng):
        run_now.append(len(x))
        seen.extend(x[:, 0])
        if len(run_now) == stop:
            os.kill(os.getpid(), signal.SIGINT)
        return ops.mean(run.model.parameters()[0]) * 0 + float(np.mean(x[:, 0]))

    data = np.arange(50, dtype=np.float32)[:, None]
    run_now: list[int] = []
    run.loss = loss
    with pytest.raises(KeyboardInterrupt):
        run.fit(data, 1, progress=False)
    resumed = trainer(run.path)
    resumed.loss = loss
    resumed.batch_size = size
    resumed.resume()
    resumed.fit(data, 3, progress=False)
    assert resumed.epoch == 3
    assert resumed.history["training"] == pytest.approx([24.5] * 3, rel=1e-6)
    for epoch in range(3):
        assert sorted(seen[50 * epoch : 50 * (epoch + 1)]) == list(range(50))


@pytest.mark.parametrize("n", [10, 50, 90])
def test_other_data_begins_an_epoch_anew_and_keeps_what_is_done(tmp_path, n):
    run = trainer(tmp_path / "run.safetensors", after_step=stopped_at(6))  # the second of epoch 2
    with pytest.raises(KeyboardInterrupt):
        run.fit(points(), 2, progress=False)
    resumed = trainer(run.path)
    resumed.resume()
    samples = np.full((n, 2), 0.5, np.float32)
    resumed.loss = lambda x, rng: ops.mean(resumed.model.parameters()[0]) * 0 + float(x.mean())
    resumed.fit(samples, 3, progress=False)
    assert resumed.history["training"] == [run.history["training"][0], 0.5, 0.5]
    assert resumed.step == 6 + 2 * -(-n // 16)


def test_the_seed_is_the_checkpoints_or_refused(tmp_path):
    """Another seed would split the data elsewhere: validation samples were trained on."""
    run = trainer(tmp_path / "run.safetensors")
    run.fit(points(), 1, progress=False)
    parts = (run.model, run.loss, run.optimizer, run.ema)
    adopts = Trainer(*parts, path=run.path)
    adopts.resume()
    assert adopts.seed == 5
    before = state(run)
    with pytest.raises(ValueError, match="seed: given 7, wanted 5"):
        Trainer(*parts, seed=7, path=run.path).resume()
    assert state(run) == before
    with pytest.raises(ValueError, match="seed: given -1"):
        Trainer(*parts, seed=-1)


def test_images_alone_are_a_data_set():
    run = trainer()
    run.loss = lambda x, rng: diffusion.loss(run.model, SCHEDULE, x, None, rng)
    history = run.fit(points()[0], 1, points()[0], progress=False)
    assert len(history["training"]) == len(history["validation"]) == 1


def test_a_loss_that_does_not_take_the_data_is_named():
    run = trainer()
    for wrong in (points()[0], (*points(), points()[1])):
        with pytest.raises(TypeError, match=r"loss: given .*wanted one of \d arguments"):
            run.fit(wrong, 1, progress=False)
    with pytest.raises(ValueError, match=r"validation: given .*\(49,\), wanted \(50, …\)"):
        run.fit(points(), 1, (points()[0], points()[1][:49]), progress=False)


def test_epochs_count_all_that_are_done():
    run = trainer()
    with pytest.raises(ValueError, match="epochs: given 0, wanted an integer of at least 1"):
        run.fit(points(), 0, progress=False)
    run.fit(points(), 2, progress=False)
    with pytest.raises(ValueError, match="epochs: given 1, wanted 2 or more"):
        run.fit(points(), 1, progress=False)
    assert run.fit(points(), 2, progress=False) is run.history


def test_labels_from_0_are_refused_where_0_is_the_null_label():
    samples, labels = points()
    run = trainer()
    with pytest.raises(ValueError, match=r"labels 0 … 2, wanted labels in 1 … 3.*labels \+ 1"):
        run.fit((samples, labels - 1), 1, progress=False)
    some_null = np.where(np.arange(50) < 5, 0, labels)
    trainer().fit((samples, some_null), 1, progress=False)
    run = trainer()
    with pytest.raises(ValueError, match=r"validation: given labels 0 … 2, wanted .*labels \+ 1"):
        run.fit((samples, labels), 1, (samples, labels - 1), progress=False)
    assert run.step == 0  # before any work is lost
    with pytest.raises(ValueError, match=r"data: given labels 0 … 2, wanted .*labels \+ 1"):
        evaluate(run.model, run.loss, (samples, labels - 1))
    evaluate(run.model, run.loss, (samples, np.zeros(50, int)))  # of the null label
    run = trainer()  # a classifier counts from 0
    run.model = md.nn.Dense(2, 3, np.random.default_rng(0))
    run.loss = lambda x, y, rng: ops.cross_entropy(run.model(x), y)
    run.optimizer = optim.Adam(run.model.parameters())
    run.fit((samples, labels - 1), 1, progress=False)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (lambda x: (x + 1) / 2, r"x0: given .*wanted images in \[-1, 1\]: type x0 \* 2 - 1"),
        (lambda x: (x + 1) * 127.5, r"x0: given .*wanted images in \[-1, 1\]: type x0 / 127.5 - 1"),
        (lambda x: ((x + 1) * 127.5).astype(np.uint8), r"data: given uint8.*: type data\.astype"),
    ],
)
def test_pixels_that_are_not_scaled_are_refused(scale, words):
    images = np.random.default_rng(0).uniform(-1, 1, (20, 8, 8, 1)).astype(np.float32)
    run = small_unet_run()
    before = [p.data.copy() for p in run.model.parameters()]
    with pytest.raises((TypeError, ValueError), match=words):
        run.fit((scale(images), np.ones(20, int)), 1, progress=False)
    assert all(np.array_equal(a, p.data) for a, p in zip(before, run.model.parameters()))


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


def test_a_trainer_and_its_checkpoint_print_one_line(tmp_path):
    run = trainer(tmp_path / "run.safetensors")
    run.fit(points(), 1, progress=False)
    assert repr(run).startswith("Trainer(ConditionalMLP, epochs done: 1, steps: 4")
    assert len(repr(storage.read(run.path))) < 200
