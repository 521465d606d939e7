"""The page to play with, in a real Chromium. What it computes is tested in tests/play."""

import re
import socket
from urllib.parse import urlparse

import numpy as np
import pytest
from conftest import served

import minidiff as md
from minidiff import diffusion, storage
from minidiff.networks import any_painter, painter
from minidiff.play.drawing import Settings
from minidiff.play.views import Images

pytestmark = pytest.mark.browser
WEIGHTS = f"{md.__path__[0]}/weights"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 900}}


def images(page):
    """The addresses of the images that can be seen."""
    return page.locator(".tiles img:visible").evaluate_all("all => all.map(one => one.src)")


def changed(page, before, count):
    """What is seen once `count` images are there that are not those before."""
    for _ in range(300):
        now = images(page)
        if len(now) == count and now != before:
            return now
        page.wait_for_timeout(100)
    raise AssertionError(f"still {len(now)} images, wanted {count} others")


INPUT = """(slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
}"""


def slide(page, label, value):
    """Drags the slider of this label that can be seen."""
    sliders = page.get_by_label(f"range slider for {label}", exact=True)
    sliders.locator("visible=true").first.evaluate(INPUT, value)


def sources(view):
    return re.findall('src="(data:[^"]*)"', view)


@pytest.fixture(scope="module")
def digits():
    return Images(painter(None))


def test_digits_follow_the_controls(visit, address, digits):
    page = visit(address)
    seen = changed(page, [], 10)
    assert seen == sources(digits.result("0123456789", Settings()))
    slide(page, "Guidance", 5)
    seen = changed(page, seen, 10)
    assert seen == sources(digits.result("0123456789", Settings(5)))
    page.get_by_label("Digits").fill("42")
    seen = changed(page, seen, 2)
    slide(page, "Seed", 7)
    seen = changed(page, seen, 2)
    slide(page, "Steps", 4)
    seen = changed(page, seen, 2)
    assert seen == sources(digits.result("42", Settings(5, 7, 4)))
    page.get_by_label("Sampler").locator("visible=true").click()
    page.get_by_role("option", name="ddim").click()
    seen = changed(page, seen, 2)
    page.get_by_label("Rule of guidance").locator("visible=true").click()
    page.get_by_role("option", name="projected").click()
    seen = changed(page, seen, 2)
    assert seen == sources(digits.result("42", Settings(5, 7, 4, "ddim", "projected")))


def test_what_is_wrong_is_a_sentence_on_the_page(visit, address):
    page = visit(address)
    seen = changed(page, [], 10)
    page.get_by_label("Digits").fill("4x")
    page.get_by_role("alert").get_by_text("what: given 'x', wanted up to 30 of '0'").wait_for()
    page.get_by_label("Digits").fill("4")
    changed(page, seen, 1)
    assert page.get_by_role("alert").count() == 0


def test_digits_are_seen_step_by_step(visit, address, digits):
    page = visit(address)
    page.get_by_label("Digits").fill("35")
    changed(page, [], 2)
    page.get_by_label("Step by step").click()
    changed(page, [], 4)
    slide(page, "Step", 3)
    page.get_by_text("Step 3 of 10. Above x_t at t = 70").wait_for()
    assert images(page) == sources(digits.step("35", Settings(), 3))
    page.get_by_role("button", name="Play").locator("visible=true").click()
    for text in ("Step 1 of", "Step 10 of"):
        page.get_by_text(text).wait_for()


def test_two_settings_are_seen_at_once(visit, address, digits):
    page = visit(address)
    page.get_by_label("Digits").fill("35")
    seen = changed(page, [], 2)
    page.get_by_label("Two settings").click()
    seen = changed(page, seen, 4)
    assert seen == sources(digits.side_by_side("35", Settings(), Settings(1.0)))


@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_strokes_are_finished_and_restyled(visit, address, screen):
    page = visit(address, **screen)
    page.get_by_role("tab", name="Strokes").click()
    page.get_by_text("Draw on the canvas").wait_for()
    box = page.locator(".pad canvas").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"], steps=5)
    page.mouse.up()
    finished = changed(page, [], 5)
    sampler = page.get_by_label("Sampler").locator("visible=true")
    assert sampler.count() == 0  # a finish does not ask for it
    page.get_by_label("Restyle", exact=True).click()
    seen = changed(page, finished, 5)
    slide(page, "Share of noise", 0.2)
    changed(page, seen, 5)
    assert sampler.count() == 1
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Draw on the canvas").wait_for()


def test_a_walk_and_the_plane(visit, address):
    page = visit(address)
    page.get_by_role("tab", name="Walk").click()
    seen = changed(page, [], 10)
    slide(page, "Seed at the end", 5)
    other = changed(page, seen, 10)
    assert other[0] == seen[0] and other[-1] != seen[-1]
    slide(page, "Seed at the start", 7)
    last = changed(page, other, 10)
    assert last[0] != other[0] and last[-1] == other[-1]
    page.get_by_role("tab", name="Plane").click()
    picture = page.locator(".picture:visible")
    before = picture.get_attribute("src")
    page.get_by_label("moons").click()
    slide(page, "Step", 20)
    page.get_by_text("Step 20 of 40: points at t = 50, arrows at t = 50.").wait_for()
    assert picture.get_attribute("src") != before


def test_nothing_is_wider_than_a_phone(visit, address):
    page = visit(address, **PHONE)
    for tab in ("Draw", "Strokes", "Walk", "Plane"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    page.get_by_role("tab", name="Draw").click()
    box = page.locator(".tiles img:visible").first.bounding_box()
    assert 50 < box["width"] == pytest.approx(box["height"])


def test_visitors_see_their_own_digits(visit, address, digits):
    pages = [visit(address) for _ in range(3)]
    for k, page in enumerate(pages):
        page.get_by_label("Digits").fill(f"{k}{k + 1}{k + 2}")
    for k, page in enumerate(pages):
        changed(page, [], 3)
        slide(page, "Seed", k + 1)
    for k, page in enumerate(pages):
        wanted = sources(digits.result(f"{k}{k + 1}{k + 2}", Settings(seed=k + 1)))
        for _ in range(100):
            if images(page) == wanted:
                break
            page.wait_for_timeout(100)
        assert images(page) == wanted


def test_only_this_machine_is_answered(address):
    port = urlparse(address).port
    others = {at[4][0] for at in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}
    for host in others - {"127.0.0.1"}:
        if host.startswith("127."):
            continue
        with pytest.raises(OSError, match=r"refused|unreachable"):
            socket.create_connection((host, port), timeout=5)


def save_untrained(path, classes, **notes):
    """A checkpoint of a network of images 16 × 16 in colour that has learned nothing."""
    model = md.models.UNet(3, 8, (1, 2), classes=classes, timesteps=20)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    labels = np.array([1, 2]) if classes else None
    rng = np.random.default_rng(0)
    diffusion.loss(model, diffusion.cosine_schedule(20), x, labels, rng)
    storage.save(path, model, **notes)


def test_a_network_of_one_s_own(visit, tmp_path):
    save_untrained(tmp_path / "own.safetensors", 2, names=["rose", "tulip"])
    with served(tmp_path, "own.safetensors") as address:
        page = visit(address)
        seen = changed(page, [], 10)
        page.get_by_label("Names, with commas between").fill("tulip, rose")
        changed(page, seen, 2)
        assert page.locator("figcaption:visible").all_inner_texts() == ["tulip", "rose"]


def test_a_network_without_classes_has_nothing_to_choose(visit, tmp_path):
    save_untrained(tmp_path / "free.safetensors", None)
    with served(tmp_path, "free.safetensors") as address:
        page = visit(address)
        seen = changed(page, [], 10)
        slide(page, "Seed", 3)
        changed(page, seen, 10)
        for tab, label in (("Draw", "Names"), ("Strokes", "It is to be"), ("Walk", "From")):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(300)
            assert page.get_by_label(label).locator("visible=true").count() == 0, tab
        changed(page, [], 10)


def test_a_network_of_two_times_draws_in_one_pass(visit, tmp_path):
    weights = f"{WEIGHTS}/mnist_one_pass.safetensors"
    network = Images(any_painter(weights))
    with served(tmp_path, weights) as address:
        page = visit(address)
        one = changed(page, [], 10)
        assert one == sources(network.result("0123456789", network.beginning))
        slide(page, "Steps", 4)
        four = changed(page, one, 10)
        assert four == sources(network.result("0123456789", network.beginning._replace(steps=4)))
        page.get_by_label("Step by step").click()
        page.get_by_text("Step 4 of 4. Above x_t at t = 0").wait_for()
        page.get_by_role("tab", name="Walk").click()
        walk = network.between("0", "9", Settings(guidance=1.0), 1)
        assert changed(page, [], 10) == sources(walk)


def test_a_network_of_points_opens_its_own_tab(visit, tmp_path):
    with served(tmp_path, f"{WEIGHTS}/patterns.safetensors") as address:
        page = visit(address)
        page.get_by_text("Step 40 of 40").wait_for()
