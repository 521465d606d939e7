"""Points in the plane and the arrows that they follow, and where the picture has them."""

import io

import numpy as np
from PIL import Image

import minidiff as md
from minidiff import diffusion
from minidiff.diffusion import exact
from minidiff.play import plane
from minidiff.play.drawing import Settings

SCHEDULE = diffusion.cosine_schedule(50)
PATTERNS = diffusion.denoiser(md.pretrained("patterns"))


def test_arrows_lead_to_the_only_place_there_is():
    place = np.array([0.5, -0.25])
    denoise = exact.FiniteData(place[None]).denoiser(SCHEDULE)
    for t in (50, 20, 1):
        places, arrows = plane.arrows(denoise, 1, Settings(1.0), t)
        assert places.shape == arrows.shape == (plane.ARROWS**2, 2)
        assert np.allclose(places + arrows, place, atol=1e-4)
    assert np.allclose(places.min(axis=0), -plane.VIEW) and np.allclose(places.max(axis=0), 2)
    assert len(np.unique(places, axis=0)) == len(places)  # each place of the grid once


def test_arrows_follow_label_and_guidance():
    _, null = plane.arrows(PATTERNS, 0, Settings(4.0), 60)
    _, plain = plane.arrows(PATTERNS, 1, Settings(1.0), 60)
    _, guided = plane.arrows(PATTERNS, 1, Settings(4.0), 60)
    assert np.allclose(guided, null + 4 * (plain - null), atol=1e-3)
    assert np.abs(plain - null).max() > 0.1


def test_a_network_without_classes_has_arrows():
    free = exact.FiniteData(np.array([[0.5, 0.0]])).denoiser(SCHEDULE)
    refusing = diffusion.Denoise(lambda x, t, c: free(x, t, {None: None}[c]), SCHEDULE, (2,))
    places, arrows = plane.arrows(refusing, 0, Settings(), 20)
    assert np.allclose(places + arrows, [0.5, 0.0], atol=1e-4)


def test_points_and_arrows_stand_where_they_are():
    point = [1.0, -1.5]
    place = [-1.5, 0.5]
    way = [1.0, 2.0]
    drawn = plane.picture(np.array([point, place]), np.array([place]), np.array([way]))
    pixels = np.asarray(Image.open(io.BytesIO(drawn._repr_png_())).convert("RGB"), int)
    (axes,) = drawn.axes
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    canvas = np.stack([columns + 0.5, len(pixels) - rows - 0.5], axis=-1)
    at = axes.transData.inverted().transform(canvas.reshape(-1, 2)).reshape(canvas.shape)
    inside = np.all(np.abs(at) < 1.95, axis=-1)
    red, _, blue = np.moveaxis(pixels, -1, 0)
    orange = at[inside & (red - blue > 150)]
    grey = at[inside & (abs(red - blue) < 20) & (red < 220)]
    for centre in (point, place):  # also where an arrow begins: points lie upon arrows
        near = orange[np.abs(orange - centre).max(axis=1) < 0.5]
        assert np.allclose(near.mean(axis=0), centre, atol=0.01)
        assert np.all(np.ptp(near, axis=0) < 0.1)
    assert np.allclose(grey.max(axis=0), np.add(place, np.divide(way, 4)), atol=0.02)
    assert np.allclose(grey.min(axis=0), place, atol=0.05)
    assert axes.get_xlim() == axes.get_ylim() == (-plane.VIEW, plane.VIEW)
    assert np.allclose(*axes.get_window_extent().size)  # a square
