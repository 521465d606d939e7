"""How long a frame of the page to play with takes, from the slider to ten digits on the screen.

python -m benchmarks.page    needs the extra `browser`, and a Chromium: see tests/browser

The page is opened in a Chromium that has no window. The guidance slider is moved, over and over;
a frame ends when other images have been painted. Beside it stands what the network takes of that,
in this process, in turns.
"""

import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from minidiff.networks import painter, painter_of_points
from minidiff.play.drawing import Settings, draw
from minidiff.play.page import page, serve
from minidiff.play.views import Images, Plane

sys.path.append(str(Path(__file__).parent.parent / "tests/browser"))
from chromium import chromium

FRAMES = 20
# Milliseconds from a moved slider until other images are there, and have been painted.
FRAME = """(slider, value) => new Promise((done) => {
    const images = () => [...document.querySelectorAll(".tiles img")];
    const drawn = () => images().map((image) => image.src).join();
    const before = drawn();
    const start = performance.now();
    const seen = new MutationObserver(() => {
        if (["", before].includes(drawn())) return;
        seen.disconnect();
        requestAnimationFrame(() => done(performance.now() - start));
    });
    seen.observe(document.body, {subtree: true, childList: true, attributes: true});
    slider.value = value;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
})"""


def main() -> None:
    images = Images(painter(None))
    labels = images.asked(images.example)
    address = serve(page(images, Plane(painter_of_points())), "127.0.0.1", None)
    frames = []
    networks = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        visitor = browser.new_page()
        visitor.goto(address)
        slider = visitor.get_by_label("range slider for Guidance").locator("visible=true").first
        slider.wait_for()
        visitor.locator(".tiles img").first.wait_for()
        for frame in range(FRAMES):
            scale = 1.5 + 0.1 * (frame % 30)
            frames.append(slider.evaluate(FRAME, scale))
            start = time.perf_counter()
            draw(images.denoise, labels, Settings(scale))
            networks.append(1000 * (time.perf_counter() - start))
        browser.close()
    for name, times in (("frame", frames), ("of it the network", networks)):
        middle = statistics.median(times)
        print(f"{name:<18} {middle:5.0f} ms (median of {FRAMES}), {min(times):.0f} ms (best)")


if __name__ == "__main__":
    main()
