"""The examples that draw the toolbox, run as a user runs them, on little."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import minidiff as md
from minidiff import data, diffusion, plot

FOLDER = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs an example in an empty folder, with other constants, 60 random images and a new UNet."""

    def mnist(split, folder=None):
        rng = np.random.default_rng(len(split))
        return rng.uniform(-1, 1, (60, 28, 28, 1)).astype(np.float32), rng.integers(1, 11, 60)

    monkeypatch.setattr(data, "mnist", mnist)
    monkeypatch.chdir(tmp_path)
    model = md.models.UNet(width=8, multipliers=(1, 2), classes=10, timesteps=100)
    model.parameterization = diffusion.Parameterization(diffusion.cosine_schedule(100))
    md.save("unet.safetensors", model)

    def go(name, *arguments, **constants):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for constant, value in constants.items():
            monkeypatch.setattr(module, constant, value)
        monkeypatch.setattr(sys, "argv", [name, "--checkpoint", "unet.safetensors", *arguments])
        module.main()
        return {path.name for path in (tmp_path / "runs" / name).iterdir()}

    return go


def test_samplers(run, capsys):
    assert run("samplers", "--count", "9", STEPS=(2,)) == {"points.png", "digits.png"}
    out = capsys.readouterr().out
    assert out.count("dpmpp_2m_sde") == 2 and "Fréchet LeNet distance" in out


def test_guidance(run, capsys):
    assert run("guidance", "--count", "3", "--weak", "unet.safetensors", SCALES=(0, 2)) == {
        "points.png",
        "digits.png",
    }
    assert capsys.readouterr().out.count("weak model") == 2


def test_classifier_guidance(run, capsys):
    assert run("classifier_guidance", "--count", "4", "--epochs", "1", SCALES=(2,)) == {
        "digits.png"
    }
    assert "noise shift, DDIM: a LeNet reads as wanted" in capsys.readouterr().out


def test_table_of_points_and_of_images(tmp_path):
    points = np.zeros((5, 2))
    images = np.zeros((5, 8, 8, 1))
    for cell in (points, images):
        plot.table([[cell, cell]], tmp_path / "table.png", ["row"], ["left", "right"], [["1", "2"]])
        assert (tmp_path / "table.png").stat().st_size > 1000
