"""Every example on the device, by its option --device, on little data."""

import sys

import numpy as np
import pytest
from test_examples import NAMES, few_digits, here, run  # noqa: F401

import minidiff as md
from minidiff import data, models, recipes

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    """A few points of each pattern in the plane."""
    few = lambda pattern: lambda n, rng: pattern(300, rng)
    for name in ("spiral", "s_curve", "moons"):
        monkeypatch.setattr(data, name, few(getattr(data, name)))


def small_unet(path):
    """A UNet that draws digits, small enough for any device, in a file."""
    model = models.UNet(width=8, multipliers=(1,), attention=False, rng=0)
    for p in model.parameters():
        p.data *= 0.5
    x = np.zeros((1, 28, 28, 1), "f")
    md.diffusion.loss(model, md.diffusion.cosine_schedule(100), x, np.array([1]), 0, "v")
    md.save(path, model)
    return str(path)


def test_all_examples_have_the_option():
    named = {"spiral", "patterns_guided", "train_judges", "guidance", "samplers"}
    named |= {"classifier_guidance", "evaluate", "mnist_guided", "one_pass", "own_images"}
    assert named == set(NAMES) - {"coloured_shapes"}, "which only makes pictures"


def test_a_spiral(here, monkeypatch):  # noqa: F811
    example = run("spiral", monkeypatch, "--epochs", "1", "--device", "cuda")
    monkeypatch.setattr(example, "TIMESTEPS", 5)
    example.main()
    assert (here / "runs/spiral/spiral.png").exists()


def test_patterns(here, monkeypatch, capsys):  # noqa: F811
    example = run("patterns_guided", monkeypatch, "--epochs", "1", "--device", "cuda")
    for name, value in {"TIMESTEPS": 5, "POINTS": 300, "DRAWN": 20}.items():
        monkeypatch.setattr(example, name, value)
    example.main()
    assert "the null label draws" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["patterns_guided", "--epochs", "1", "--resume"])
    example.main()  # on the CPU


def test_guidance(here, monkeypatch, capsys):  # noqa: F811
    file = small_unet(here / "unet.safetensors")
    example = run(
        "guidance",
        monkeypatch,
        "--count",
        "2",
        "--checkpoint",
        file,
        "--weak",
        file,
        "--device",
        "cuda",
    )
    monkeypatch.setattr(example, "SCALES", (2,))
    sample = example.diffusion.sample
    quick = lambda *args, **options: sample(*args, **options | {"steps": 2})
    monkeypatch.setattr(example.diffusion, "sample", quick)
    example.main()
    assert capsys.readouterr().out.count("weak model") == 2


@pytest.mark.long
def test_samplers(here, few_digits, monkeypatch, capsys):  # noqa: F811
    file = small_unet(here / "unet.safetensors")
    example = run(
        "samplers", monkeypatch, "--count", "20", "--checkpoint", file, "--device", "cuda"
    )
    monkeypatch.setattr(example, "STEPS", (2,))
    example.main()
    assert capsys.readouterr().out.count("drawn:") == 2


def test_guidance_by_a_classifier(here, few_digits, monkeypatch, capsys):  # noqa: F811
    file = small_unet(here / "unet.safetensors")
    example = run(
        "classifier_guidance",
        monkeypatch,
        "--count",
        "2",
        "--epochs",
        "1",
        "--checkpoint",
        file,
        "--device",
        "cuda",
    )
    monkeypatch.setattr(example, "SCALES", (2,))
    sample = example.diffusion.sample
    quick = lambda *args, **options: sample(*args, **options | {"steps": 2})
    monkeypatch.setattr(example.diffusion, "sample", quick)
    example.main()
    assert "noise shift, DDIM" in capsys.readouterr().out


@pytest.mark.long
def test_the_judging_of_a_network(here, few_digits, monkeypatch, capsys):  # noqa: F811
    file = small_unet(here / "unet.safetensors")
    arguments = ["--count", "20", "--steps", "2", "--guidance", "2", "--device", "cuda"]
    run("evaluate", monkeypatch, file, *arguments).main()
    assert "written: " in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("judge", ["lenet", "resnet"])
def test_a_judge(judge, here, few_digits, monkeypatch, capsys):  # noqa: F811
    run("train_judges", monkeypatch, "--judge", judge, "--epochs", "1", "--device", "cuda").main()
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.long
def test_one_pass(here, few_digits, monkeypatch, capsys):  # noqa: F811
    example = run("one_pass", monkeypatch, "--epochs", "1", "--device", "cuda")
    few = {"COUNT": 2, "ROUNDS": 1, "STEPS": 2, "TIMESTEPS": 10, "PASSES": (1, 2), "BATCH": 8}
    for name, value in few.items():
        monkeypatch.setattr(example, name, value)
    example.main()
    assert "2 passes: a LeNet reads" in capsys.readouterr().out


@pytest.mark.long
def test_own_images(here, monkeypatch, capsys):  # noqa: F811
    for name, value in {"WIDTHS": (8,), "JUDGE_EPOCHS": 1}.items():
        monkeypatch.setattr(recipes, name, value)
    monkeypatch.setitem(recipes.SAMPLER, "steps", 2)
    run("coloured_shapes", monkeypatch, "shapes", "--count", "10").main()
    run(
        "own_images", monkeypatch, "shapes", "--size", "8", "--epochs", "1", "--device", "cuda"
    ).main()
    assert "written: " in capsys.readouterr().out


@pytest.mark.long
def test_the_demo(here, few_digits, monkeypatch, capsys):  # noqa: F811
    example = run("mnist_guided", monkeypatch, "--epochs", "1", "--device", "cuda")
    monkeypatch.setattr(example, "SCALES", (2,))
    monkeypatch.setattr(example, "COUNT", 2)
    monkeypatch.setattr(example, "TIMESTEPS", 10)
    monkeypatch.setitem(example.SAMPLER, "steps", 3)
    example.main()
    assert "guidance 2: a LeNet reads" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--epochs", "2", "--resume"])
    example.main()  # on the CPU
    monkeypatch.setattr(sys, "argv", ["mnist_guided", "--pretrained", "--device", "cuda"])
    example.main()
    assert (here / "runs/mnist/digits_0123456789.png").exists()
