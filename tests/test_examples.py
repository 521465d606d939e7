"""The examples, run as a user runs them, on little data."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidiff as md
from minidiff import data, storage

FOLDER = Path(__file__).parent.parent / "examples"


def run(name: str, monkeypatch, *arguments: str):
    """An example's module, after its `main` was run with these arguments."""
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


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.py")))
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
        "checkpoint.safetensors",
        "loss.png",
        "guidance.png",
        "denoising.gif",
        "counts.png",
    }
    out = capsys.readouterr().out
    assert "420,497 parameters" in out
    assert "guidance 2: a LeNet reads" in out
    assert frames(folder / "denoising.gif") > 10

    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--epochs", "2", "--resume"])
    example.main()
    notes = storage.read(folder / "checkpoint.safetensors").notes
    assert len(notes["history"]["training"]) == 2

    checkpoint = str(folder / "checkpoint.safetensors")
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--digits", "31", "--checkpoint", checkpoint])
    example.main()
    assert (folder / "digits_31.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--digits", "31415"], "--digits and --checkpoint go together"),
        (["--digits", "3a", "--checkpoint", "x"], "--digits must be digits"),
    ],
)
def test_mnist_says_what_is_wrong_with_its_arguments(arguments, message, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run("mnist_guided", monkeypatch, *arguments).main()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("name", "parameters"), [("spiral", 1442), ("patterns_guided", 5826)])
def test_points_in_the_plane(name, parameters, here, monkeypatch):
    run(name, monkeypatch, "--epochs", "1").main()
    (folder,) = (here / "runs").iterdir()
    assert md.load(folder / "checkpoint.safetensors").num_parameters == parameters
    assert frames(next(folder.glob("*.gif"))) > 10
    assert "scaling" in storage.read(folder / "checkpoint.safetensors").notes
