"""examples/evaluate.py, run on a tiny network that has learned nothing, and on little data.

Other processes run it by the same lines (SETUP), so all of them draw and judge the same.
"""

import base64
import io
import json
import re
import subprocess
import sys
import threading
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minidiff as md
from minidiff import diffusion, metrics
from minidiff.diffusion import guidance

FOLDER = Path(__file__).parent.parent / "examples"
SETUP = """
import sys
import numpy as np
from minidiff import data
from minidiff.evaluation import drawing

def mnist(split, folder=None):
    rng = np.random.default_rng(len(split))
    return rng.uniform(-1, 1, (80, 28, 28, 1)).astype(np.float32), np.arange(80) % 10 + 1

data.mnist = mnist
drawing.CHUNK = 16
"""
COMMAND = ["tiny.safetensors", "--count", "40", "--guidance", "1", "2"]
COMMAND += ["--sampler", "ddim", "--steps", "2"]
CHUNKS = 3 * 3  # of two guidances and the null label


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with a network in it, and the examples beside what can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(FOLDER)
    model = md.models.UNet(width=8, multipliers=(1,), classes=10, timesteps=20, attention=False)
    schedule = diffusion.cosine_schedule(20)
    model.parameterization = diffusion.Parameterization(schedule, "v", sample_shape=(28, 28, 1))
    md.save("tiny.safetensors", model)
    return tmp_path


@pytest.fixture
def evaluate(here, monkeypatch):
    """A function that runs the example with these arguments, and gives results and the report."""
    from minidiff.evaluation import drawing

    monkeypatch.setattr(md.data, "mnist", md.data.mnist)  # restored afterwards,
    monkeypatch.setattr(drawing, "CHUNK", drawing.CHUNK)  # as this is
    names = {}
    exec(SETUP, names)
    import evaluate

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
        evaluate.main()
        name = arguments[arguments.index("--name") + 1] if "--name" in arguments else "mnist"
        folder = here / "runs/evaluate" / name
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return results, (folder / "report.html").read_text(encoding="utf-8")

    return run


def other_process(code, *arguments):
    """The example in a process of its own, after these lines."""
    lines = f"sys.path.insert(0, {str(FOLDER)!r})\n"
    program = "import sys\n" + lines + SETUP + code + "\nimport evaluate\nevaluate.main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def files(name, pattern):
    return sorted(Path("runs/evaluate", name).rglob(pattern))


def without_seconds(results):
    for row in results["rows"]:
        del row["seconds_per_1000"]
    return json.dumps(results)


# --- what comes out ---


def test_all_settings_are_in_the_table_and_in_the_report(evaluate, capsys):
    arguments = ["--count", "20", "--guidance", "1", "2", "--interval", "5", "15"]
    arguments += ["--rescale", "0", "0.7", "--sampler", "ddim", "heun", "--steps", "2", "3"]
    arguments += ["--spacing", "trailing", "linspace"]
    samplers = ("ddim", "heun"), (2, 3), ("trailing", "linspace")
    results, page = evaluate("tiny.safetensors", *arguments)
    table = capsys.readouterr().out
    keys = ("sampler", "steps", "spacing", "guidance", "rule")
    drawn = [tuple(row[key] for key in keys) for row in results["rows"]]
    ways = [(1.0, "plain"), (2.0, "interval 5–15"), (2.0, "plain"), (2.0, "rescaled 0.7")]
    ways.append((None, "plain"))
    assert sorted(drawn, key=str) == sorted(
        [(*each, *way) for each in product(*samplers) for way in ways], key=str
    )
    for row in results["rows"]:
        name = "null label" if row["guidance"] is None else f"{row['guidance']:g}"
        name += "" if row["rule"] == "plain" else f", {row['rule']}"
        sampler = f"{row['sampler']} {row['steps']}"
        sampler += "" if row["spacing"] == "trailing" else f" {row['spacing']}"
        assert re.search(rf"^tiny +{name} +{sampler}  ", table, re.MULTILINE)
        assert f"tiny, {'' if name == 'null label' else 'guidance '}{name}, {sampler}" in page
        for said in row["judges"].values():
            assert abs(sum(said["shares"]) - 1) < 1e-5
            assert 0 <= said["coverage"] <= 1 and 0 <= said["precision"] <= 1
            assert said["times_floor"] > 0 < said["frechet_error"]
    assert re.search(r"^training images ", table, re.MULTILINE)


def test_the_report_loads_nothing(evaluate):
    _, page = evaluate(*COMMAND)
    assert not re.search(r"https?://|//\w+\.\w|@import|<script|<iframe|<object", page)
    links = re.findall(r"""(?:src|href|srcset|data|poster)\s*=\s*["']?([^"' >]*)""", page)
    links += re.findall(r"url\(([^)]*)\)", page)
    assert len(links) == 1 + 1 + 3 * 2  # the icon, the curves, a grid and neighbours for each line
    assert all(link.startswith("data:") for link in links)
    for link in links:
        if link.startswith("data:image"):
            picture = base64.b64decode(link.partition(",")[2], validate=True)
            assert Image.open(io.BytesIO(picture)).size > (100, 50)


def test_digits_are_those_that_a_user_draws(evaluate):
    """The figures, computed once more from the public calls."""
    arguments = ["--count", "20", "--guidance", "2", "--steps", "3"]
    results, _ = evaluate("tiny.safetensors", *arguments)
    model = md.load("tiny.safetensors")
    guided = guidance.classifier_free(diffusion.denoiser(model), 2.0)
    classes = np.arange(20) % 10
    lenet = md.pretrained("lenet")
    parts = [
        diffusion.sample(guided, classes[part] + 1, sampler="ddpm", steps=3, rng=seed)
        for seed, part in enumerate((slice(16), slice(16, 20)))
    ]
    images = np.rint((np.concatenate(parts).clip(-1, 1) + 1) * 127.5).astype("uint8") / 127.5 - 1
    images = images.astype("float32")
    row = results["rows"][0]
    said = row["judges"]["lenet"]
    read = metrics.predict(lenet, images)
    assert said["agreement"] == pytest.approx(metrics.accuracy(classes, read))
    assert said["by_class"] == pytest.approx(
        [np.mean(read[classes == digit] == digit) for digit in range(10)]
    )
    real = md.data.mnist("test")[0]
    rows = [lenet.features(x).numpy() for x in (real, images)]
    assert said["frechet"] == pytest.approx(metrics.frechet_distance(*rows), rel=1e-4)
    floor = results["floor"]["judges"]["lenet"]["frechet"]
    assert said["times_floor"] == pytest.approx(said["frechet"] / floor, rel=1e-4)

    training = md.data.mnist("train")[0].reshape(80, -1)
    distances = np.linalg.norm(images.reshape(20, 1, -1) - training, axis=2)
    closest = row["nearest"]["closest"][0]
    assert closest["distance"] == pytest.approx(distances.min(), rel=1e-4)
    assert distances[closest["drawn"], closest["training"]] == distances.min()


def test_a_copy_of_training_images_is_seen(evaluate, monkeypatch):
    from minidiff.evaluation import judging

    monkeypatch.setattr(judging, "TRAINING_AT_ONCE", 7)
    court = judging.Court({}, "0123456789", md.data.mnist)
    training = md.data.mnist("train")[0]
    copied = court.copies(training[5:25])["nearest"]
    assert copied["nearer"] == copied["very_near"] == 1
    assert all(near["training"] == near["drawn"] + 5 for near in copied["closest"])
    honest = court.copies(md.data.mnist("test")[0])["nearest"]
    assert abs(honest["nearer"] - 0.5) <= 0.02
    assert honest["very_near"] <= 0.02


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"interval": (5.0, 15.0)}, lambda d: guidance.guided(d, guidance.interval(3.0, 5, 15))),
        ({"rescale": 0.7}, lambda d: guidance.guided(d, 3.0, combine=guidance.rescaled(0.7))),
        ({}, lambda d: guidance.classifier_free(d, 3.0)),
    ],
)
def test_rules_of_guidance(options, wanted, here):
    from minidiff.evaluation.drawing import Setting

    model = md.load("tiny.safetensors")
    labels = np.arange(10) + 1
    drawn = Setting(3.0, "ddim", 4, **options).draw(model, 20, 30, seed=7)
    own = diffusion.sample(wanted(diffusion.denoiser(model)), labels, steps=4, rng=7)
    assert np.array_equal(drawn, own)


def test_spacing_of_the_times(here):
    from minidiff.evaluation.drawing import Setting

    model = md.load("tiny.safetensors")
    labels = np.arange(10) + 1
    drawn = Setting(1.0, "heun", 4, "log_snr").draw(model, 0, 10, seed=7)
    own = diffusion.sample(model, labels, sampler="heun", steps=4, rng=7, spacing="log_snr")
    assert np.array_equal(drawn, own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "21"], "steps: given 21, wanted an integer from 1 to 20"),
        (["--interval", "15", "5"], "high: given 5"),
        (["--sampler", "invert"], "argument --sampler: invalid choice"),
        (["--count", "19"], "argument --count: given 19, wanted an integer of at least 20"),
        (["nowhere"], "given nowhere, wanted a checkpoint"),
        (["--spacing", "even"], "argument --spacing: invalid choice"),
        (["--rescale", "2"], "argument --rescale: given 2"),
    ],
)
def test_wrong_arguments_are_told_in_one_sentence(arguments, message, evaluate, capsys):
    with pytest.raises(SystemExit):
        evaluate("tiny.safetensors", *arguments)
    assert message in capsys.readouterr().err


# --- work that is stopped, shared, damaged ---


@pytest.fixture
def whole(evaluate):
    """What comes out where nothing disturbs."""
    return without_seconds(evaluate(*COMMAND, "--name", "whole")[0])


def test_stopped_work_goes_on(evaluate, whole, monkeypatch):
    from minidiff.evaluation import drawing

    draw = drawing.Setting.draw
    drawn = []

    def stops(self, model, start, stop, seed):
        drawn.append((self, start))
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return draw(self, model, start, stop, seed)

    monkeypatch.setattr(drawing.Setting, "draw", stops)
    with pytest.raises(SystemExit, match="the same command goes on"):
        evaluate(*COMMAND)
    assert len(files("mnist", "*.npz")) == 4, "the chunk that was at work, and no more, is lost"
    assert not files("mnist", ".*")
    results, _ = evaluate(*COMMAND)
    assert without_seconds(results) == whole
    assert len(drawn) == CHUNKS + 1

    path = Path("runs/evaluate/mnist/results.json")
    before = path.read_bytes()
    evaluate(*COMMAND)
    assert path.read_bytes() == before
    assert len(drawn) == CHUNKS + 1, "nothing was left to draw"


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    """One bit in the middle of the pixels."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b""])
def test_a_damaged_chunk_is_drawn_again(damage, evaluate, whole, capsys):
    chunk = files("whole", "*.npz")[4]
    good = chunk.read_bytes()
    chunk.write_bytes(damage(good))
    (figures,) = chunk.parent.glob("figures*")
    figures.write_bytes(damage(b"{}"))
    results, _ = evaluate(*COMMAND, "--name", "whole")
    assert without_seconds(results) == whole
    with np.load(io.BytesIO(good)) as before, np.load(chunk) as after:
        assert np.array_equal(before["pixels"], after["pixels"])
    assert capsys.readouterr().out.count("it is made again") == 2


def test_every_damage_to_a_chunk_is_seen(here):
    """Whichever bit is flipped: an error, or the same pixels."""
    from minidiff.evaluation.drawing import Setting, chunks

    model = md.load("tiny.safetensors")
    (chunk,) = chunks(here, model, Setting(1.0, "ddim", 2), 20, seed=0)
    content = chunk.make()
    good = chunk.parse(content).pixels
    seen = 0
    for place in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        try:
            assert np.array_equal(chunk.parse(bytes(flipped)).pixels, good)
        except ValueError:
            seen += 1
    assert seen > 0.9 * len(range(0, len(content), 7))
    with pytest.raises(ValueError, match="given \\(20, 28, 28, 1\\) pixels, wanted \\(40"):
        chunks(here, model, Setting(1.0, "ddim", 2), 40, seed=0)[0].parse(content)


def test_two_processes_share_the_work(evaluate, whole):
    noted = """
draw = drawing.Setting.draw
def noted(*arguments):
    print("drawn", flush=True)
    return draw(*arguments)
drawing.Setting.draw = noted
"""
    both = [other_process(noted, *COMMAND, "--name", "shared") for _ in range(2)]
    texts = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    counts = [text.count("drawn\n") for text in texts]
    assert sum(counts) == CHUNKS, "each chunk is drawn once"
    results = json.loads(Path("runs/evaluate/shared/results.json").read_text(encoding="utf-8"))
    assert without_seconds(results) == whole
    assert not files("shared", ".*")


def test_the_claim_of_a_killed_process_is_taken_over(evaluate, whole, monkeypatch):
    from minidiff.evaluation import cells

    hangs = """
import time
def hangs(*arguments):
    print("at work", flush=True)
    time.sleep(1000)
drawing.Setting.draw = hangs
"""
    process = other_process(hangs, *COMMAND)
    assert process.stdout.readline() == "at work\n"
    process.kill()
    process.communicate()
    assert len(files("mnist", ".*.claim")) == 1
    monkeypatch.setattr(cells, "SILENCE", 0.5)
    results, _ = evaluate(*COMMAND)
    assert without_seconds(results) == whole
    assert not files("mnist", ".*")


def test_a_claim_of_a_living_process_stands(here, monkeypatch):
    from minidiff.evaluation import cells

    monkeypatch.setattr(cells, "BEAT", 0.01)
    order = []

    def make():
        claim = here / ".cell.claim"
        first = claim.stat().st_mtime
        started.set()
        while claim.stat().st_mtime == first:  # until its process has shown that it lives
            time.sleep(0.01)
        assert not cells._is_dead(claim)
        time.sleep(0.1)
        order.append("first")
        return b"whole"

    def never():
        raise AssertionError("the cell is another's")

    started = threading.Event()
    path = here / "cell"
    one = threading.Thread(target=cells.make_all, args=[[cells.Cell(path, make, bytes)]])
    one.start()
    started.wait()
    cells.make_all([cells.Cell(path, never, bytes)])
    one.join()
    assert order == ["first"]
    assert path.read_bytes() == b"whole"


def test_a_cell_waits_for_what_it_needs(here):
    from minidiff.evaluation.cells import Cell, make_all

    low = Cell(here / "low", lambda: b"1", bytes)
    high = Cell(here / "high", lambda: low.read() + b"2", bytes, [low])
    make_all([high, low])
    assert high.read() == b"12"
