"""examples/own_images.py on a small folder, and what examples/coloured_shapes.py sees."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import minidiff as md
from minidiff import data, metrics, recipes, storage

FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, the examples beside what can be imported, and small networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(recipes, "WIDTHS", (8, 8))
    monkeypatch.setattr(recipes, "SAMPLER", {"sampler": "ddim", "steps": 2})
    return tmp_path


@pytest.fixture
def shapes(here, monkeypatch):
    """The module of the example, after it wrote 20 pictures of each class."""
    import coloured_shapes

    monkeypatch.setattr(sys, "argv", ["coloured_shapes", "shapes", "--count", "20"])
    coloured_shapes.main()
    return coloured_shapes


def own_images(monkeypatch, *arguments):
    import own_images

    monkeypatch.setattr(sys, "argv", ["own_images", *arguments])
    own_images.main()


def test_each_picture_shows_what_its_folder_says(shapes):
    images, labels, names = data.images("shapes")
    assert images.shape == (120, 32, 32, 3) and set(names) == set(shapes.CLASSES)
    seen = [shapes.shown_in(image) for image in images]
    assert [what for what, _ in seen] == [names[label - 1] for label in labels]
    assert min(covered for _, covered in seen) > shapes.WELL_FORMED


def test_what_a_picture_does_not_show_is_not_seen(shapes):
    images, labels, names = data.images("shapes")
    rng = np.random.default_rng(0)
    noisy = images + rng.normal(0, 1.0, images.shape)
    flat = np.full((32, 32, 3), 1.0)
    mixed = np.where(np.arange(32)[:, None] < 16, images[0], images[-1])
    assert shapes.shown_in(flat)[0] not in names
    assert shapes.shown_in(mixed)[0] not in (names[labels[0] - 1], names[labels[-1] - 1])
    seen = [shapes.shown_in(image)[0] == names[label - 1] for image, label in zip(noisy, labels)]
    assert np.mean(seen) < 0.5
    other = [
        shapes.shown_in(image[..., ::-1])[0] == names[label - 1]
        for image, label in zip(images, labels)
    ]
    assert np.mean(other) < 0.5, "red and blue are exchanged in all but the white, green and black"


def test_a_folder_is_learned_drawn_and_judged(shapes, monkeypatch, capsys):
    arguments = ("shapes", "--size", "16", "--epochs", "1", "--threads", "2")
    own_images(monkeypatch, *arguments)
    out = capsys.readouterr().out
    folder = Path("runs/shapes")
    assert "120 images of blue circle on yellow, green square on white" in out
    assert storage.read(folder / "checkpoint.safetensors").notes["names"] == sorted(shapes.CLASSES)
    assert {"drawn.png", "loss.png", "report.html"} <= {path.name for path in folder.iterdir()}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "from left to right: blue circle on yellow, green" in page

    # the figures once more, from the files
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    judge = md.load(folder / "judge.safetensors")
    images, labels, names = data.images("shapes", 16)
    _, (images, labels) = data.split_validation(images, labels)
    read = metrics.predict(judge, images)
    accuracy = metrics.accuracy(labels - 1, read)
    assert results["accuracy"]["a LeNet"] == pytest.approx(accuracy)
    assert f"the judge reads {accuracy:.1%} of 12 images right" in out
    assert results["count"] == 108, "as many as it learned from"
    assert results["names"] == list(names)
    assert [row["guidance"] for row in results["rows"]] == [1.0, 2.0, None]

    before = (folder / "checkpoint.safetensors").read_bytes()
    own_images(monkeypatch, *arguments, "--resume", "--from-disk")
    assert (folder / "checkpoint.safetensors").read_bytes() == before

    monkeypatch.setattr(
        sys, "argv", ["x", "--check", str(folder / "checkpoint.safetensors"), "--count", "2"]
    )
    capsys.readouterr()
    shapes.main()
    assert " of 12 have the class, the colour and the ground" in capsys.readouterr().out


def test_results_do_not_go_among_the_pictures(here, monkeypatch, capsys):
    import coloured_shapes

    coloured_shapes.write(Path("runs/shapes"), 10, np.random.default_rng(0))
    with pytest.raises(SystemExit):
        own_images(monkeypatch, "runs/shapes")
    wrong = capsys.readouterr().err
    assert "argument --name: given runs/shapes, where the pictures are, wanted another" in wrong
    assert {path.name for path in Path("runs/shapes").iterdir()} == set(coloured_shapes.CLASSES)
