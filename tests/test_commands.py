"""The command `minidiff`, as somebody types it, on few pictures and a small network."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from picture_folders import noise, write
from PIL import Image

import minidiff as md
from minidiff import commands, diffusion, plot, recipes, storage
from minidiff.commands import evaluating
from minidiff.diffusion.guidance import classifier_free
from minidiff.training import Trainer

NAMES = ("dark", "light")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder; networks are small and judges learn little."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "WIDTHS", (8, 8))
    monkeypatch.setattr(recipes, "JUDGE_EPOCHS", 2)
    for name in ("SAMPLER", "SAMPLER_OF_DIGITS"):
        monkeypatch.setattr(recipes, name, {"sampler": "ddim", "steps": 2})
    return tmp_path


@pytest.fixture
def pictures(here):
    """Two classes of 30, which the eye tells apart."""
    files = {
        f"{name}/{i}.png": noise(9, 7, 3, seed=i) // 2 + 128 * k
        for k, name in enumerate(NAMES)
        for i in range(30)
    }
    return write(here / "pictures", files)


def run(*words):
    commands.main(list(map(str, words)))


def fails(capsys, *words):
    """What is said where it cannot be done: the last line."""
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 2
    return capsys.readouterr().err.strip().split("\n")[-1]


TRAIN = ("train", "pictures", "--size", "8", "--epochs", "1")


def test_pictures_are_learned_drawn_judged_and_told(pictures, capsys):
    run(*TRAIN)
    out = capsys.readouterr().out
    folder = Path("runs/pictures")
    assert "of 6 images right" in out and "written: runs/pictures/checkpoint.safetensors" in out
    assert {"checkpoint.safetensors", "judge.safetensors", "drawn.png"} <= set(os.listdir(folder))
    checkpoint = storage.read(folder / "checkpoint.safetensors")
    assert checkpoint.notes["names"] == list(NAMES)
    assert checkpoint.parameterization.sample_shape == (8, 8, 3)

    own = ("--checkpoint", folder / "checkpoint.safetensors")
    run("draw", "light", "dark", "light", *own, "--out", "three.png", "--seed", "3")
    model = md.load(folder / "checkpoint.safetensors")
    denoise = classifier_free(diffusion.denoiser(model), 2.0)
    images = diffusion.sample(denoise, [2, 1, 2], rng=3, **recipes.SAMPLER)
    plot.grid(images[None], "wanted.png", titles=["light", "dark", "light"])
    assert Path("three.png").read_bytes() == Path("wanted.png").read_bytes()
    capsys.readouterr()

    run("info", folder / "checkpoint.safetensors")
    told = capsys.readouterr().out
    for words in ("ADMUNet", "8 × 8 × 3, in 100 times", "dark, light", "training loss", "step"):
        assert words in told

    run("evaluate", own[1], "--pictures", "pictures", "--count", "20")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["names"] == list(NAMES)
    assert [row["guidance"] for row in results["rows"]] == [1.0, 2.0, None]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "from left to right: dark, light" in page and "<th>light</th>" in page

    write(Path("few"), {f"{name}/1.png": noise(8, 8, 3) for name in ("a", "b")})
    wrong = fails(capsys, "train", "few")
    assert "FOLDER: given 2 pictures, wanted 60 or more: a tenth is kept aside" in wrong
    wrong = fails(capsys, "draw", "grey", *own)
    assert wrong == (
        "minidiff draw: error: what: given 'grey', wanted up to 1,000 of 'dark', 'light'"
    )
    wrong = fails(capsys, "evaluate", own[1])
    assert "wanted the folder that the network learned from: type --pictures FOLDER" in wrong
    others = {f"{name}/{i}.png": noise(8, 8, 3) for name in ("a", "b") for i in range(30)}
    write(Path("others"), others)
    wrong = fails(capsys, "evaluate", own[1], "--pictures", "others")
    assert "pictures: given the classes ['a', 'b'], wanted those of the network" in wrong


@pytest.mark.parametrize("options", [(), ("--from-disk", "--flip", "--grey", "--pad")])
def test_a_stopped_training_goes_on_bit_for_bit(pictures, monkeypatch, options):
    run(*TRAIN, *options, "--name", "whole")
    step = Trainer.train_step

    def stopping(trainer, *batch):
        if trainer.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, *batch)

    monkeypatch.setattr(Trainer, "train_step", stopping)
    with pytest.raises(SystemExit, match=r"stopped at step 2; .* holds step 2; --resume goes on"):
        run(*TRAIN, *options, "--name", "cut")
    with pytest.raises(SystemExit, match=r"judge.safetensors holds step 2; --resume goes on"):
        run(*TRAIN, *options, "--name", "cut", "--resume")
    monkeypatch.setattr(Trainer, "train_step", step)
    run(*TRAIN, *options, "--name", "cut", "--resume")
    for file in ("checkpoint.safetensors", "judge.safetensors", "drawn.png"):
        assert Path("runs/cut", file).read_bytes() == Path("runs/whole", file).read_bytes(), file


def test_digits_are_drawn_by_the_network_that_ships(here, capsys):
    run("draw", "31", "4", "--guidance", "1")
    guided = classifier_free(diffusion.denoiser(md.pretrained("mnist_adm")), 1.0)
    images = diffusion.sample(guided, [4, 2, 5], rng=0, **recipes.SAMPLER_OF_DIGITS)
    plot.grid(images[None], "wanted.png", titles=[3, 1, 4])
    assert Path("drawn.png").read_bytes() == Path("wanted.png").read_bytes()
    assert "what: given 'x', wanted up to 1,000 of '0', '1'" in fails(capsys, "draw", "3x")


@pytest.fixture
def one_pass(here):
    """A network of two times that was trained on digits, in a file."""
    model = md.models.MeanFlowUNet(1, 8, (1,), 10, timesteps=20, attention=False)
    x0 = np.zeros((2, 28, 28, 1), np.float32)
    diffusion.mean_flow.loss(model, x0, np.array([1, 2]), 0)
    return md.save(here / "one_pass.safetensors", model)


def test_what_draws_in_one_pass_is_drawn_so(one_pass, monkeypatch, capsys):
    grids = []
    monkeypatch.setattr(plot, "grid", lambda images, *_, **options: grids.append(images))
    own = ["--checkpoint", one_pass, "--seed", "3"]
    run("draw", "31", *own)
    wanted = diffusion.mean_flow.sample(md.load(one_pass), np.array([4, 2]), rng=3)
    np.testing.assert_array_equal(grids[0][0], wanted)
    refused = "guidance: given 1, wanted none: a network that draws in one pass has learned to draw"
    assert refused in fails(capsys, "draw", "31", *own, "--guidance", "1")
    assert refused in fails(capsys, "evaluate", one_pass, "--guidance", "1")


def test_what_draws_in_one_pass_is_judged_in_a_few(one_pass, monkeypatch, here):
    settings = []
    monkeypatch.setattr(evaluating, "sweep", lambda _, made, *rest: settings.extend(made))
    run("evaluate", one_pass)
    made = [(setting.guidance, setting.sampler, setting.steps) for setting in settings]
    passes = (1, 2, 4)
    assert made == [(scale, "mean_flow", n) for scale in (1.0, None) for n in passes]


def test_every_file_that_ships_is_told(capsys):
    for path in sorted((Path(md.__file__).parent / "weights").glob("*.safetensors")):
        run("info", path)
        assert "numbers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "nowhere"], "minidiff info: error: path: given nowhere, wanted a checkpoint"),
        (["draw", "1", "--checkpoint", "nowhere"], "minidiff draw: error: path: given nowhere"),
        (["draw", "1", "--guidance", "x"], "argument --guidance: given 'x'"),
        (["draw", "1", "--out", "."], "argument --out: given ., a folder"),
        (["train", "nowhere"], "FOLDER: given nowhere, which is not there, wanted a folder"),
        (
            ["train", "pictures", "--size", "3"],
            "argument --size: given 3, wanted an integer from 4",
        ),
        (["evaluate", "nowhere"], "minidiff evaluate: error: path: given nowhere"),
        (["play", "nowhere"], "minidiff play: error: path: given nowhere, wanted a checkpoint"),
        (["play", "--port", "0"], "argument --port: given 0, wanted an integer from 1 to 65535"),
        (["paint"], "argument COMMAND: invalid choice: 'paint'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(here, capsys, words, message):
    assert message in fails(capsys, *words)
    assert not list(here.iterdir())


def test_what_draws_no_classes_is_told(here, capsys):
    lenet = Path(md.__file__).parent / "weights/lenet.safetensors"
    wrong = fails(capsys, "draw", "1", "--checkpoint", lenet)
    assert "which holds a LeNet5, wanted a network that learned to draw images by" in wrong


def test_the_page_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    wrong = fails(capsys, "play")
    assert wrong == 'minidiff play: error: gradio is missing: type pip install "minidiff[play]"'
    lenet = Path(md.__file__).parent / "weights/lenet.safetensors"
    assert "wanted a network that learned to draw images, grey or" in fails(capsys, "play", lenet)


def test_it_is_a_module_that_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "minidiff", "--help"], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0 and all(name in done.stdout for name in commands.COMMANDS)


def test_small_data_sets_have_small_batches():
    assert recipes.batch_size_for(3000) == 16 and recipes.batch_size_for(60_000) == 64


def test_the_network_knows_the_pixels_it_is_to_draw():
    rng = np.random.default_rng(0)
    images = np.tanh(rng.normal(0.3, 0.4, (50, 8, 8, 3))).astype(np.float32)
    config = recipes.painter(images, 3, 0).config
    assert config["mean"] == pytest.approx(images.mean(), abs=1e-6)
    assert config["std"] == pytest.approx(images.std(), abs=1e-6)
    assert (config["channels"], config["classes"]) == (3, 3)
    loud = recipes.painter(np.sign(images) + 0.5, 3, 0)
    assert loud.config["std"] <= 1


def test_titles_of_classes_stand_on_the_pictures(pictures):
    """The names are written: without them the picture is another one."""
    run(*TRAIN)
    with Image.open("runs/pictures/drawn.png") as image:
        assert image.width > 8 * 8
