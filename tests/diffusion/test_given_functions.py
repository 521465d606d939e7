"""What the functions give that a user hands in: an array of the right shape, or a sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import TWO

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import guidance as G
from minidiff.diffusion import samplers as S

SCHEDULE = D.cosine_schedule(20)
EXACT = TWO.denoiser(SCHEDULE)
BATCH = 3
POINTS = np.random.default_rng(0).standard_normal((BATCH, 2)).astype(np.float32)
LABELS = np.array([1, 2, 0])


def by_loss(**options):
    model = md.models.ConditionalMLP(hidden=4, classes=2, timesteps=20)
    return D.loss(model, SCHEDULE, POINTS, LABELS, 0, **options).numpy()


def plain(x, t, c):
    return D.Prediction(x, x)


# a function of one array, put into each place where a user may give a function
PLACES = {
    "function": lambda f: D.Denoise(lambda x, t, c: D.Prediction(f(x), x), SCHEDULE)(POINTS, 5).x0,
    "combine": lambda f: (
        G.guided(EXACT, 2.0, combine=lambda p, n, s: p._replace(noise=f(p.noise)))(
            POINTS, 5, LABELS
        ).noise
    ),
    "clip": lambda f: D.final(S.ddim(EXACT, POINTS, times=[20, 0], clip=f)),
    "weight": lambda f: by_loss(weight=f),
    "draw": lambda f: by_loss(draw=lambda rng, n: (np.arange(1, n + 1), f(np.ones(n)))),
}


@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=5)
@given(st.sampled_from(["first", "extra axis", "number", "none"]))
def test_what_broadcasting_would_hide_is_refused(name, change):
    wrong = {
        "first": lambda x: x[:1],
        "extra axis": lambda x: x[..., None] * np.ones(2, x.dtype),
        "number": lambda x: x.sum(),
        "none": lambda x: None,
    }[change]
    assert np.isfinite(PLACES[name](lambda x: x)).all()
    if (name, change) in [("weight", "number"), ("combine", "none")]:
        return  # one number is a weight for all, and what a rule leaves out follows from the rest
    with pytest.raises(TypeError, match=f"{name}: given one that gives"):
        PLACES[name](wrong)


def test_logits_are_no_log_probability():
    logits = lambda x, t, y: x
    with pytest.raises(TypeError, match=r"log_prob: given one that gives float32 \(3, 2\), wanted"):
        G.classifier(EXACT, logits, 1.0)(POINTS, 5, LABELS)


def test_times_alone_are_no_draw():
    with pytest.raises(TypeError, match="draw: given one that gives ndarray, wanted one that gi"):
        by_loss(draw=lambda rng, n: rng.integers(1, 20, n))


def test_a_loss_that_failed_leaves_no_note():
    """The mistake would be the model's own for ever."""
    model = md.models.ConditionalMLP(hidden=4, classes=2, timesteps=20)
    for wrong in ({"learned_variance": True}, {"predicts": "v", "weight": lambda snr: None}):
        with pytest.raises((TypeError, ValueError)):
            D.loss(model, SCHEDULE, POINTS, LABELS, 0, **wrong)
        assert model.parameterization is None
    D.loss(model, SCHEDULE, POINTS, LABELS, 0)
    assert model.parameterization.predicts == "noise"


def test_an_interval_that_is_empty_is_refused():
    for low, high in [(60, 10), (60, 2.0), (5, 5)]:
        with pytest.raises(ValueError, match=rf"high: given {high}, wanted a number > {low}"):
            G.interval(2.0, low, high)


@pytest.mark.parametrize("scale", [lambda x: (x + 1) / 2, lambda x: (x + 1) * 127.5])
def test_known_pixels_are_scaled(scale):
    """Whatever the mask hides; and nothing dark need be known."""
    images = np.linspace(-1, 1, 5 * 4 * 4 * 3, dtype=np.float32).reshape(5, 4, 4, 3)
    denoise = D.Denoise(plain, SCHEDULE)
    fill = lambda known, mask: D.final(
        D.inpaint(denoise, images, times=[20, 0], rng=0, known=known, mask=mask)
    )
    with pytest.raises(ValueError, match=r"known: given 0 … .*, wanted images in \[-1, 1\]: type"):
        fill(scale(images), np.arange(4)[:, None, None] < 2)
    bright = np.abs(images) * 0.5 + 0.25
    for mask in (np.ones((4, 4, 1)), np.zeros((4, 4, 1)), np.arange(4)[:, None, None] < 2):
        assert fill(bright, mask).shape == images.shape


def test_an_edit_takes_its_samplers_options():
    options = {"sampler": D.inpaint, "known": POINTS, "mask": [1, 0], "condition": LABELS}
    edited = D.final(D.image_to_image(EXACT, POINTS, 10, 0, steps=2, clip=None, **options))
    np.testing.assert_array_equal(edited[:, 0], POINTS[:, 0])
    with pytest.raises(TypeError, match=r"sampler: given ddim, .*'spacing'"):
        D.image_to_image(EXACT, POINTS, 10, 0, spacing="karras")
