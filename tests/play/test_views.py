"""What the page shows, as HTML, for networks of several kinds."""

import base64
import html
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from canvases import address, canvas
from PIL import Image

import minidiff as md
from minidiff import diffusion, storage
from minidiff.networks import any_painter, painter, painter_of_points
from minidiff.play import drawing, shown
from minidiff.play.drawing import Settings
from minidiff.play.strokes import strokes_of
from minidiff.play.views import FINISHED, INVITATION, MOST, Images, Plane, told

WEIGHTS = Path(md.__file__).parent / "weights"
QUICK = Settings(steps=2)
IMAGES = r'<img src="data:image/png;base64,([^"]*)" alt="([^"]*)">'


def seen(view):
    """The images and the captions in a view."""
    found = re.findall(IMAGES, view)
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png, _ in found]
    captions = re.findall("<figcaption>([^<]*)</figcaption>", view)
    return images, [html.unescape(caption) for caption in captions]


def bytes_of(images):
    return np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8)


@pytest.fixture(scope="module")
def digits():
    return Images(painter(None))


def saved(path, model, x, labels, **notes):
    """A checkpoint of a network that has learned nothing."""
    diffusion.loss(model, diffusion.cosine_schedule(20), x, labels, np.random.default_rng(0))
    storage.save(path, model, **notes)
    return any_painter(path)


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Images of another size, in colour, with names."""
    path = tmp_path_factory.mktemp("flowers") / "checkpoint.safetensors"
    model = md.models.UNet(3, 8, (1, 2), classes=2, timesteps=20)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 12, 16, 3)).astype(np.float32)
    return Images(saved(path, model, x, np.array([1, 2]), names=["red <rose>", "tulip"]))


@pytest.fixture(scope="module")
def in_one_pass():
    return Images(any_painter(WEIGHTS / "mnist_one_pass.safetensors"))


def test_a_text_asks_for_digits(digits):
    assert digits.example == "0123456789"
    images, captions = seen(digits.result("3 14", QUICK))
    assert captions == ["3", "1", "4"]
    wanted = drawing.draw(digits.denoise, np.array([4, 2, 5]), QUICK)
    assert np.array_equal(images, bytes_of(wanted[..., 0]))


def test_a_text_asks_for_classes_by_name(flowers):
    assert flowers.example == ", ".join(["red <rose>", "tulip"] * 5)
    view = flowers.result(" tulip,red <rose>, ", QUICK)
    images, captions = seen(view)
    assert captions == ["tulip", "red <rose>"] and "<rose>" not in view
    wanted = drawing.draw(flowers.denoise, np.array([2, 1]), QUICK)
    assert np.array_equal(images, bytes_of(wanted)) and images[0].shape == (12, 16, 3)


def test_step_by_step_is_seen_one_step_at_a_time(digits):
    walked = drawing.draw_step_by_step(digits.denoise, np.array([8, 10]), QUICK)
    for step in (0, 1, 2, 7):
        view = digits.step("79", QUICK, step)
        k = min(step, 2)
        assert f"Step {k} of 2. Above x_t at t = {100 - 50 * k}, below" in view
        images, captions = seen(view)
        pairs = np.stack([walked.x[k], walked.x0[k]], axis=1).reshape(4, 28, 28)
        assert np.array_equal(images, bytes_of(pairs)) and captions == ["7", "9"]


def test_two_settings_stand_below_each_other(digits):
    other = QUICK._replace(guidance=0.0)
    view = digits.side_by_side("25", QUICK, other)
    assert view.startswith('<p class="title">From the same noise: above by these settings,')
    images, _ = seen(view)
    one, two = (seen(digits.result("25", settings))[0] for settings in (QUICK, other))
    assert np.array_equal(images, [one[0], two[0], one[1], two[1]])


def test_a_walk_has_its_ends_as_captions(digits, flowers):
    images, captions = seen(digits.between("3", "5", QUICK, 1))
    assert len(images) == 10 and captions[0] == "3" and captions[-1] == "5"
    assert captions[1:3] == ["11%", "22%"]
    wanted = drawing.between(digits.denoise, 4, 6, QUICK, 1, 10)
    assert np.array_equal(images, bytes_of(wanted[..., 0]))
    assert len(seen(flowers.between("tulip", "any", QUICK, 1))[0]) == 10


@pytest.mark.parametrize("network", ["digits", "flowers"])
def test_strokes_are_finished_and_restyled(network, request):
    images = request.getfixturevalue(network)
    assert INVITATION in images.finished("", images.names[0], QUICK)
    assert INVITATION in images.restyled("", images.names[0], QUICK, 0.5)
    drawn = canvas(280)
    drawn[100:180, 100:140] = 255
    finished, _ = seen(images.finished(address(drawn), images.names[1], QUICK))
    assert len(finished) == FINISHED
    height, width, _ = images.shape
    white = np.s_[height * 4 // 10 : height * 6 // 10, width * 4 // 10 : width // 2]
    assert all(np.all(image[white] == 255) for image in finished)
    restyled, _ = seen(images.restyled(address(drawn), images.names[1], QUICK, 0.9))
    strokes, mask = strokes_of(address(drawn), images.shape)
    labels = np.full(FINISHED, 2)
    wanted = drawing.finish(images.denoise, strokes, mask, labels, QUICK)
    assert np.array_equal(finished, bytes_of(wanted).squeeze())
    wanted = drawing.restyle(images.denoise, strokes, labels, QUICK, 0.9)
    assert np.array_equal(restyled, bytes_of(wanted).squeeze())


def test_a_network_without_classes_draws_ten(tmp_path):
    model = md.models.UNet(1, 8, (1, 2), classes=None, timesteps=20)
    x = np.zeros((2, 8, 8, 1), np.float32)
    images = Images(saved(tmp_path / "free.safetensors", model, x, None))
    assert images.names == [] and images.choices == ["any"] and images.example == ""
    assert len(seen(images.result("", QUICK))[0]) == 10
    assert len(seen(images.between("any", "any", QUICK, 1))[0]) == 10


@pytest.mark.parametrize("label", ["spiral", "any"])
def test_points_are_seen_with_their_arrows(label):
    plane = Plane(painter_of_points())
    assert plane.choices == ["spiral", "s-curve", "moons", "any"]
    settings = Settings(1.0, steps=4)
    view = plane.step(label, settings, 4)
    assert shown.title("Step 4 of 4: points at t = 0, arrows at t = 25.") in view
    assert plane.step(label, settings, 9) == view
    first = shown.title("Step 0 of 4: points at t = 100, arrows at t = 100.")
    assert first in plane.step(label, settings, 0)
    picture = re.search(r'<img class="picture" src="data:image/png;base64,([^"]*)"', view)[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (660, 660)


def test_points_of_a_network_of_one_s_own(tmp_path):
    model = md.models.ConditionalMLP(8, classes=2, timesteps=20)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 2)).astype(np.float32)
    own = saved(tmp_path / "own.safetensors", model, x, np.array([1, 2, 1, 2]))
    assert Plane(own).choices == ["1", "2", "any"]
    assert "Step 1 of 2" in Plane(own).step("2", QUICK, 1)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("3x", {}, "what: given 'x', wanted up to 30 of '0', '1'"),
        ("1" * (MOST + 1), {}, "what: given 31 pictures, wanted up to 30 of"),
        ("1" * 1000, {}, "what: given 1,000 pictures, wanted up to 30 of"),
        ("1" * 1001, {}, "what: given 1,001 signs, wanted at most 1,000"),
        (" ", {}, "what: given nothing, wanted a text such as 0123456789"),
        ("1", {"steps": 101}, "steps: given 101, wanted an integer from 1 to 100"),
        ("1", {"rule": "cfg_pp"}, "denoise: given CFG++, whose noise does not follow"),
        ("1", {"guidance": "<b>"}, "scale: "),
    ],
)
def test_what_is_wrong_is_seen_as_a_sentence(digits, text, settings, message):
    view = told(digits.result)(text, QUICK._replace(**settings))
    assert view.startswith('<p class="fault" role="alert">') and view.count("<") == 2
    assert message in html.unescape(view)


def test_a_network_of_two_times_begins_with_one_pass(in_one_pass, digits):
    """Of its network alone, which has learned to draw guided."""
    beginning = in_one_pass.beginning
    assert beginning == Settings(1.0, 0, 1, "mean_flow")
    assert in_one_pass.samplers == [*digits.samplers, "mean_flow"]
    assert digits.beginning == Settings()
    for passes in (1, 3):
        images, captions = seen(in_one_pass.result("402", beginning._replace(steps=passes)))
        noise = drawing.PlaceNoise([[0, 0], [0, 1], [0, 2]])
        network = in_one_pass.painter.model
        wanted = diffusion.mean_flow.sample(network, np.array([5, 1, 3]), passes, rng=noise)
        assert np.array_equal(images, bytes_of(wanted[..., 0])) and captions == ["4", "0", "2"]
    assert "Step 1 of 1" in in_one_pass.step("4", beginning, 1)
    plain = Settings(guidance=1.0, steps=2)
    assert len(seen(in_one_pass.side_by_side("4", beginning, plain))[0]) == 2
    assert len(seen(in_one_pass.between("3", "5", plain, 1))[0]) == 10


def test_what_mean_flow_cannot_draw_is_seen_as_a_sentence(in_one_pass, digits):
    guided = told(in_one_pass.result)("1", in_one_pass.beginning._replace(guidance=2.0))
    assert "guidance: given 2, wanted 1: mean_flow asks a network that has learned" in guided
    other = told(digits.result)("1", in_one_pass.beginning)
    assert "model: given ADMUNet, wanted a network of two times" in other


def test_each_image_has_a_caption():
    with pytest.raises(ValueError, match="zip"):
        shown.tiles([np.zeros((2, 4, 4, 1))], ["one"])


def test_a_fault_cannot_bring_html():
    assert shown.fault(ValueError("<img>")) == ('<p class="fault" role="alert">&lt;img&gt;</p>')


def test_visitors_at_the_same_time_see_what_they_would_see_alone(digits):
    each = [("31", Settings(steps=3, seed=seed)) for seed in range(4)]
    alone = [digits.step(*call, 3) for call in each]
    digits._walked.cache_clear()
    with ThreadPoolExecutor(4) as visitors:
        together = list(visitors.map(lambda call: digits.step(*call, 3), each * 2))
    assert together == alone * 2


def test_what_draws_nothing_is_refused():
    lenet = WEIGHTS / "lenet.safetensors"
    with pytest.raises(ValueError, match="holds a LeNet5, wanted a network that learned to draw"):
        any_painter(lenet)
