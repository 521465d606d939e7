"""The examples, run as a user runs them, on little data."""

import importlib.util
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidiff as md
from minidiff import data, disk, storage

FOLDER = Path(__file__).parent.parent / "examples"
NAMES = sorted(file.stem for file in FOLDER.glob("*.py"))
LENET = str(FOLDER.parent / "minidiff/weights/lenet.safetensors")


def run(name: str, monkeypatch, *arguments: str):
    """An example's module, after its `main` was run with these arguments."""
    monkeypatch.syspath_prepend(FOLDER)  # as Python does for a script
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    return module


def frames(path: Path) -> int:
    with Image.open(path) as video:
        return video.n_frames


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few_digits(monkeypatch):
    """80 images in place of MNIST's 60,000."""

    def mnist(split, folder=None):
        rng = np.random.default_rng(len(split))
        return rng.uniform(-1, 1, (80, 28, 28, 1)).astype(np.float32), rng.integers(1, 11, 80)

    monkeypatch.setattr(data, "mnist", mnist)


@pytest.mark.parametrize("name", NAMES)
def test_help_reads_well(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(name, monkeypatch, "--help").main()
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"examples/{name}.py" in text
    assert "default:" in text


def test_mnist_is_trained_resumed_and_drawn(here, few_digits, monkeypatch, capsys):
    example = run("mnist_guided", monkeypatch, "--epochs", "1")
    monkeypatch.setattr(example, "SCALES", (1, 2))
    monkeypatch.setattr(example, "COUNT", 2)
    example.main()
    folder = here / "runs/mnist"
    assert {file.name for file in folder.iterdir()} == {
        "checkpoint.jsonl",
        "checkpoint.safetensors",
        "loss.png",
        "guidance.png",
        "denoising.gif",
        "counts.png",
    }
    out = capsys.readouterr().out
    assert "328,305 parameters" in out
    assert "guidance 2: a LeNet reads" in out
    assert frames(folder / "denoising.gif") > 10

    # the seed says which images are for validation
    for wrong, message in (
        (["--seed", "7"], "--seed: given 7, wanted 0"),
        (["--shuffle-labels"], "--shuffle-labels: wanted none"),
    ):
        monkeypatch.setattr(sys, "argv", ["mnist_guided", "--resume", *wrong])
        with pytest.raises(SystemExit):
            example.main()
        assert message in capsys.readouterr().err

    for draw in ("draw_scales", "draw_video", "judge"):  # seen above
        monkeypatch.setattr(example, draw, lambda *args: None)
    rates = []
    cosine = example.optim.warmup_cosine
    noted = lambda *args, **kwargs: (
        lambda step: rates.append(cosine(*args, **kwargs)(step)) or rates[-1]
    )
    monkeypatch.setattr(example.optim, "warmup_cosine", noted)
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--epochs", "2", "--resume"])
    example.main()
    notes = storage.read(folder / "checkpoint.safetensors").notes
    assert len(notes["history"]["training"]) == 2
    assert set(rates) == {example.LAST_RATE}, "where the first run ended, and not up again"
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--epochs", "1", "--resume"])
    with pytest.raises(SystemExit):
        example.main()
    assert "--epochs: given 1, wanted 2 or more" in capsys.readouterr().err

    checkpoint = str(folder / "checkpoint.safetensors")
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--digits", "31", "--checkpoint", checkpoint])
    example.main()
    assert (folder / "digits_31.png").stat().st_size > 1000
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--pretrained"])
    example.main()
    assert (folder / "digits_0123456789.png").stat().st_size > 1000


def test_mnist_goes_on_with_drawing_and_judging(here, few_digits, monkeypatch, capsys):
    """Stopped wherever, it neither trains nor draws again what is there."""
    example = run("mnist_guided", monkeypatch, "--epochs", "1")
    monkeypatch.setattr(example, "SCALES", (1, 2))
    monkeypatch.setattr(example, "COUNT", 2)
    monkeypatch.setattr(example, "TIMESTEPS", 10)
    draw = example.diffusion.sample
    calls = []

    def sample(*args, **options):
        if len(calls) == room:
            raise KeyboardInterrupt
        calls.append(options)
        return draw(*args, **{**options, "steps": 3})

    monkeypatch.setattr(example.diffusion, "sample", sample)
    while len(calls) < 4:
        room = len(calls) + 1
        with pytest.raises(SystemExit, match="stopped; --resume goes on from it"):
            example.main()
        monkeypatch.setattr(sys, "argv", ["mnist_guided", "--resume"])
        assert storage.read("runs/mnist/checkpoint.safetensors").notes["step"] == 2
    room = 100
    example.main()
    assert len(calls) == 5, "two scales, and three that are judged"
    assert len(capsys.readouterr().out.split("null label")) == 2
    assert not list((here / "runs/mnist").glob("drawn*"))


def test_a_stopped_training_says_what_is_so(here, few_digits, monkeypatch):
    example = run("mnist_guided", monkeypatch, "--epochs", "1")
    step = example.Trainer.train_step

    def stopping(trainer, *batch):
        for _ in range(count):
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, *batch)

    monkeypatch.setattr(example.Trainer, "train_step", stopping)
    file = "runs/mnist/checkpoint.safetensors"
    count = 3
    with pytest.raises(SystemExit) as stop:
        example.main()
    assert stop.value.code == f"\nstopped at step 0; nothing was written to {file} yet"
    count = 2
    with pytest.raises(SystemExit) as stop:
        example.main()
    words = f"\nstopped at step 1; {file} holds step 1; --resume goes on from it"
    assert stop.value.code == words
    with disk.alone(Path(file)), pytest.raises(SystemExit, match="at which another run is at work"):
        example.main()


def test_points_in_the_plane_go_on_bit_for_bit(here, monkeypatch):
    example = run("patterns_guided", monkeypatch, "--epochs", "2", "--resume")
    with pytest.raises(SystemExit):  # there is nothing to go on from
        example.main()
    monkeypatch.setattr(example, "POINTS", 2000)
    monkeypatch.setattr(example, "DRAWN", 50)
    monkeypatch.setattr(sys, "argv", ["patterns_guided", "--epochs", "2"])
    example.main()
    whole = Path("runs/patterns/checkpoint.safetensors").read_bytes()
    step = example.Trainer.train_step

    def stopping(trainer, *batch):
        if trainer.step == 25:
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, *batch)

    monkeypatch.setattr(example.Trainer, "train_step", stopping)
    with pytest.raises(SystemExit, match="holds step 26; --resume goes on"):
        example.main()
    monkeypatch.setattr(sys, "argv", ["patterns_guided", "--epochs", "2", "--resume"])
    example.main()
    assert Path("runs/patterns/checkpoint.safetensors").read_bytes() == whole


def test_the_published_network_is_trained_and_resumed(here, few_digits, monkeypatch, capsys):
    example = run("mnist_guided", monkeypatch, "--network", "unet", "--epochs", "1")
    for draw in ("draw_scales", "draw_video", "judge"):
        monkeypatch.setattr(example, draw, lambda *args: None)
    example.main()
    assert "420,497 parameters" in capsys.readouterr().out
    path = here / "runs/mnist/checkpoint.safetensors"
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--resume", "--epochs", "2"])
    example.main()
    assert len(storage.read(path).notes["history"]["training"]) == 2
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--resume", "--network", "adm"])
    with pytest.raises(SystemExit):
        example.main()
    assert "--network: given adm, wanted unet" in capsys.readouterr().err


def test_one_pass_is_trained_resumed_and_judged(here, few_digits, monkeypatch, capsys):
    example = run("one_pass", monkeypatch, "--epochs", "2")
    monkeypatch.setattr(example, "COUNT", 10)
    monkeypatch.setattr(example, "STEPS", 3)
    example.main()
    folder = here / "runs/one_pass"
    assert {file.name for file in folder.iterdir()} == {
        "checkpoint.jsonl",
        "checkpoint.safetensors",
        "checkpoint.safetensors.1",
        "passes.png",
    }
    out = capsys.readouterr().out
    assert "10 digits in one pass: " in out
    assert "4 passes: a LeNet reads" in out
    model = md.load(folder / "checkpoint.safetensors")
    assert type(model) is md.models.MeanFlowUNet and model.parameterization.predicts == "velocity"

    # the run is done: what follows is drawn again, by the same network
    picture = (folder / "passes.png").read_bytes()
    (folder / "passes.png").unlink()
    monkeypatch.setattr(sys, "argv", ["one_pass", "--epochs", "2", "--resume"])
    example.main()
    assert (folder / "passes.png").read_bytes() == picture

    monkeypatch.setattr(sys, "argv", ["one_pass", "--pretrained"])
    monkeypatch.setattr(example, "COUNT", 200)
    capsys.readouterr()
    example.main()
    read = re.search(r"1 passes: a LeNet reads ([\d.]+)%", capsys.readouterr().out)
    assert float(read.group(1)) > 95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--digits", "31415"], "--digits and --checkpoint go together"),
        (["--digits", "3a", "--checkpoint", "x"], "--digits must be digits"),
        (["--digits", "3", "--checkpoint", "x"], "path: given x, wanted a checkpoint"),
        (["--digits", "3", "--checkpoint", LENET], "holds a LeNet5, wanted a UNet"),
        (["--pretrained", "--resume"], "--pretrained goes with neither"),
        (["--pretrained", "--digits", "3", "--checkpoint", "x"], "--pretrained goes with neither"),
        (["--resume"], "path: given runs/mnist/checkpoint.safetensors, wanted a checkpoint"),
        (["--name", LENET], "wanted a file in a folder"),
        (["--device", "abacus"], "argument --device: invalid choice: 'abacus'"),
        (["--guidance", "nan"], "argument --guidance: given nan, wanted a number in"),
        (["--threads", "0"], "argument --threads: given 0, wanted an integer of at least 1"),
    ],
)
def test_mnist_says_what_is_wrong_with_its_arguments(arguments, message, here, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run("mnist_guided", monkeypatch, *arguments).main()
    assert message in capsys.readouterr().err


WRONG = {
    "--epochs": ["0", "-1", "1.5", "many"],
    "--seed": ["-1", "x"],
    "--count": ["0", "x"],
    "--guidance": ["inf", "nan", "x"],
    "--data": ["nowhere", str(FOLDER)],
    "--checkpoint": ["nowhere", __file__, LENET],
    "--weak": [LENET],
    "--out": [str(FOLDER), f"{__file__}/x"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_of_an_option_is_told_in_one_sentence(name, here, monkeypatch, capsys):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    options = [option for option in WRONG if f'"{option}"' in text]
    if name == "mnist_guided":
        options.remove("--checkpoint")  # it goes together with --digits
    for option in options:
        for value in WRONG[option]:
            with pytest.raises(SystemExit) as stop:
                run(name, monkeypatch, option, value).main()
            last = capsys.readouterr().err.strip().split("\n")[-1]
            assert stop.value.code == 2
            assert f"error: argument {option}: " in last and "given" in last, last
    assert not list(here.iterdir())


@pytest.mark.parametrize("judge", ["lenet", "resnet"])
def test_a_judge_is_trained_and_goes_on_as_if_it_had_not_been_stopped(
    judge, here, few_digits, monkeypatch, capsys
):
    example = run("train_judges", monkeypatch, "--judge", judge, "--resume")
    with pytest.raises(SystemExit):
        example.main()
    said = capsys.readouterr().err
    assert "--resume: path: given " in said and f"{judge}.checkpoint, wanted" in said

    def weights(*arguments):
        monkeypatch.setattr(sys, "argv", ["x", "--judge", judge, "--epochs", "2", *arguments])
        example.main()
        return md.load(here / "judge.safetensors").state_dict()

    whole = weights("--out", "judge.safetensors")
    out = capsys.readouterr().out
    assert "test accuracy" in out and "Fréchet distance of 80 training images" in out
    written = storage.read("judge.safetensors")
    assert [group for group, arrays in written.arrays.items() if arrays] == ["model"]
    assert written.notes.keys() == {"test_accuracy"}
    averages = storage.read("judge.checkpoint").arrays["ema"]
    for name, array in whole.items():
        np.testing.assert_array_equal(array, averages[f"average.{name}"])
    save = example.Trainer.save

    def stopped(trainer):
        save(trainer)
        raise KeyboardInterrupt

    monkeypatch.setattr(example.Trainer, "save", stopped)
    with pytest.raises(SystemExit, match=r"stopped at step 2; .* holds step 2; --resume goes on"):
        weights("--out", "judge.safetensors")
    monkeypatch.setattr(example.Trainer, "save", save)
    resumed = weights("--out", "judge.safetensors", "--resume")
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array)


@pytest.mark.parametrize(("name", "parameters"), [("spiral", 1442), ("patterns_guided", 5826)])
def test_points_in_the_plane(name, parameters, here, monkeypatch):
    run(name, monkeypatch, "--epochs", "1").main()
    (folder,) = (here / "runs").iterdir()
    assert md.load(folder / "checkpoint.safetensors").num_parameters == parameters
    assert frames(next(folder.glob("*.gif"))) > 10
    assert "scaling" in storage.read(folder / "checkpoint.safetensors").notes


def test_what_ships_are_the_averaged_weights(here, monkeypatch, capsys):
    run("patterns_guided", monkeypatch, "--epochs", "1").main()
    ships = md.load("runs/patterns/patterns.safetensors").state_dict()
    averaged = md.load("runs/patterns/checkpoint.safetensors").state_dict()
    assert all(np.array_equal(ships[name], averaged[name]) for name in averaged)
    assert "the null label draws: spiral " in capsys.readouterr().out


def test_distances_of_points_are_told_both_ways(monkeypatch, capsys):
    """Real points are where real points are; what is not drawn is far from samples."""
    example = run("patterns_guided", monkeypatch)
    labels = np.repeat([1, 2, 3], 3000)
    line = np.linspace(-1, 1, 3000)
    points = np.concatenate([np.stack([line, np.full(3000, y)], axis=1) for y in (-1, 0, 1)])
    of_all = points[:: len(points) // 1000][:1000]
    part = points[:1000]
    beside = points[6000::3] + np.array([0, 0.5])
    drawn = np.stack([of_all, part, points[3000:6000:3], beside])
    example.print_distances(drawn, (points, labels), (points, labels))
    _, spiral, s_curve, moons, null = capsys.readouterr().out.strip().split("\n")
    assert spiral.startswith("spiral") and s_curve.startswith("s-curve")
    assert moons.startswith("moons") and null.startswith("null label")
    to_data, _, back, _ = s_curve.split()[-4:]
    assert to_data == "0.0000" and float(back) < 0.001
    to_data, _, back, _ = spiral.split()[-4:]
    assert to_data == "0.0000" and 0.4 < float(back) < 0.5, "two thirds of it are 0 to 4/3 away"
    to_data, _, back, _ = moons.split()[-4:]
    assert to_data == "0.5000" and float(back) == 0.5
    assert null.split()[-4] == "0.0000" and float(null.split()[-2]) < 0.01
    assert example.shares(example.nearest_labels(part, points, labels)).startswith("spiral 100%")
    assert example.shares(labels) == "spiral 33%, s-curve 33%, moons 33%"
