"""What the page draws, on denoisers whose answers are known, and on the networks that ship."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion
from minidiff.diffusion import exact, guidance, samplers
from minidiff.play import drawing
from minidiff.play.drawing import RULES, Settings

RNG = np.random.default_rng(0)
KNOWN = np.sign(RNG.normal(size=(4, 6, 6, 1)))  # one image for each label 1 … 4
SCHEDULE = diffusion.cosine_schedule(50)
# It knows these four by heart, so whatever is drawn to the end is one of them.
HEART = exact.FiniteData(KNOWN, labels=[1, 2, 3, 4]).denoiser(SCHEDULE)
# Here samples differ from each other, and noise that is drawn on the way matters.
CLOUD = exact.GaussianMixture(KNOWN * 0.5, 0.3, labels=[1, 2, 3, 4]).denoiser(SCHEDULE)
DETERMINISTIC = ["ddim", "dpmpp_2m", "heun", "unipc"]


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
@pytest.mark.parametrize("rule", RULES)
def test_every_label_is_drawn_by_every_sampler_and_rule(sampler, rule):
    settings = Settings(1.0, 5, 20, sampler, rule)
    labels = np.array([4, 1, 1, 2])
    if rule == "cfg_pp" and sampler not in ("ddim", "euler", "euler_ancestral"):
        with pytest.raises(ValueError, match=r"given CFG\+\+"):
            drawing.draw(HEART, labels, settings)
        return
    drawn = drawing.draw(HEART, labels, settings)
    assert drawn.dtype == np.float32
    assert np.abs(drawn - KNOWN[labels - 1]).max() < 0.02


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddpm", "euler_ancestral"])
def test_a_place_is_drawn_alike_however_many_there_are(sampler):
    settings = Settings(sampler=sampler)
    labels = np.array([3, 1, 4, 1, 2])
    all_five = drawing.draw(CLOUD, labels, settings)
    assert np.allclose(drawing.draw(CLOUD, labels[:2], settings), all_five[:2], atol=1e-5)
    others = drawing.draw(CLOUD, labels, settings._replace(seed=1))
    assert np.abs(others - all_five).mean() > 0.1
    assert np.abs(all_five[1] - all_five[3]).mean() > 0.1  # one label, two places


@pytest.mark.parametrize("rule", ["extrapolate", "rescaled", "projected"])
def test_the_scale_is_that_of_the_rule(rule):
    labels = np.array([1, 2])
    drawn = drawing.draw(CLOUD, labels, Settings(3.0, rule=rule, sampler="ddim", steps=8))
    combine = {
        "extrapolate": guidance.extrapolate,
        "rescaled": guidance.rescaled(0.7),
        "projected": guidance.projected(),
    }[rule]
    noise = np.stack(
        [
            np.random.default_rng([0, place]).standard_normal((6, 6, 1), np.float32)
            for place in range(2)
        ]
    )
    guided = guidance.guided(CLOUD, 3.0, combine=combine)
    *_, last = samplers.ddim(guided, noise, labels, diffusion.times(SCHEDULE, 8))
    assert np.array_equal(drawn, last.x)


def test_on_an_interval_the_rest_of_the_way_is_not_guided():
    settings = Settings(5.0, rule="interval", sampler="ddim")
    labels = np.array([1, 2])
    x = RNG.normal(size=(2, 6, 6, 1)).astype(np.float32)
    guided = drawing.guide(CLOUD, settings)
    for t in (50, 41, 22, 1):
        assert np.array_equal(guided(x, t, labels).x0, CLOUD(x, t, labels).x0), t
    for t in (40, 30, 23):
        wanted = guidance.classifier_free(CLOUD, 5.0)(x, t, labels).x0
        assert np.array_equal(guided(x, t, labels).x0, wanted), t


@pytest.mark.parametrize("denoise", [CLOUD, exact.GaussianMixture([[0.5, 0]]).denoiser(SCHEDULE)])
def test_step_by_step_goes_from_noise_to_what_is_drawn(denoise):
    settings = Settings(2.0, 3, 7, "ddim")
    labels = np.array([1, 1])
    t, x, x0 = drawing.draw_step_by_step(denoise, labels, settings)
    assert t.tolist() == diffusion.times(SCHEDULE, 7).tolist()
    assert np.array_equal(x[-1], drawing.draw(denoise, labels, settings))
    assert np.array_equal(x0[-1], x[-1])
    guided = guidance.classifier_free(denoise, 2.0)
    limit = 1 if x.ndim == 5 else np.inf  # images are clipped
    for k in range(7):
        wanted = guided(x[k], t[k], labels).x0.clip(-limit, limit)
        assert np.allclose(x0[k], wanted, atol=1e-5), k


def test_a_network_without_classes_is_never_told_one():
    only = KNOWN[:1].astype(np.float32)
    free = exact.FiniteData(only).denoiser(SCHEDULE)
    shape = only.shape[1:]
    refusing = diffusion.Denoise(lambda x, t, c: free(x, t, {None: None}[c]), SCHEDULE, shape)
    none = np.zeros(3, int)
    mask = np.zeros((6, 6, 1), np.float32)
    for drawn in (
        drawing.draw(refusing, none, Settings()),
        drawing.finish(refusing, only[0], mask, none, Settings()),
        drawing.restyle(refusing, only[0], none, Settings(), 0.5),
        drawing.between(refusing, 0, 0, Settings(), 1, 3),
    ):
        assert drawn.shape == (3, *shape) and np.abs(drawn - only).max() < 0.02


def test_a_denoiser_must_know_the_shape_of_its_samples():
    with pytest.raises(ValueError, match="denoise: given one without sample_shape"):
        drawing.shape_of(diffusion.Denoise(HEART, SCHEDULE))


def test_strokes_stay_and_the_rest_is_the_network_s():
    mask = np.zeros((6, 6, 1), np.float32)
    mask[:3] = 1
    strokes = KNOWN[2].astype(np.float32)
    finished = drawing.finish(HEART, strokes, mask, np.array([3, 3, 0]), Settings(1.0, steps=25))
    assert np.array_equal(finished[:, :3], np.stack([strokes[:3]] * 3))
    # with the label, and also without: only one known image has this half
    assert np.abs(finished - strokes).max() < 0.02


def test_a_finish_asks_the_network_about_twice_a_step():
    times = []
    watched = diffusion.Denoise(
        lambda x, t, c: times.append(t) or HEART(x, t, c), SCHEDULE, HEART.sample_shape
    )
    mask = np.ones((6, 6, 1), np.float32)
    drawing.finish(watched, KNOWN[0], mask, np.array([1]), Settings(1.0, steps=20))
    assert len(set(np.ravel(times))) == 20
    assert 1.5 * 20 < len(times) <= 2 * 20


def test_the_more_noise_the_less_is_left_of_strokes():
    strokes = KNOWN[0].astype(np.float32) * 0.5
    change = [
        np.abs(drawing.restyle(CLOUD, strokes, np.array([2] * 5), Settings(1.0), share) - strokes)
        for share in (0.02, 0.4, 1.0)
    ]
    least, middle, most = (each.mean() for each in change)
    assert least < 0.1 < middle < most
    to_the_label = drawing.restyle(HEART, strokes, np.array([2] * 5), Settings(1.0), 1.0)
    assert np.abs(to_the_label - KNOWN[1]).max() < 0.02
    with pytest.raises(ValueError, match=r"noise: given 1.5, wanted a number in \(0, 1\]"):
        drawing.restyle(CLOUD, strokes, np.array([2]), Settings(), 1.5)


@pytest.mark.parametrize("sampler", DETERMINISTIC)
@pytest.mark.parametrize("rule", ["extrapolate", "projected", "interval"])
def test_a_walk_begins_and_ends_with_what_would_be_drawn_there(sampler, rule):
    settings = Settings(1.5, 3, 10, sampler, rule)
    walk = drawing.between(CLOUD, 1, 4, settings, 8, 5)
    assert walk.shape == (5, 6, 6, 1) and walk.dtype == np.float32
    first = drawing.draw(CLOUD, np.array([1]), settings)
    last = drawing.draw(CLOUD, np.array([4]), settings._replace(seed=8))
    assert np.allclose(walk[[0, -1]], np.concatenate([first, last]), atol=1e-4)
    jumps = np.abs(np.diff(walk, axis=0)).mean(axis=(1, 2, 3))
    assert jumps.max() < 0.6 * jumps.sum()


def test_all_on_a_walk_see_the_same_noise():
    walk = drawing.between(CLOUD, 2, 2, Settings(sampler="ddpm"), 0, 4)
    assert np.abs(walk - walk[0]).max() < 1e-4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rule": "none"}, "rule: given 'none', wanted one of 'extrapolate'"),
        ({"sampler": "none"}, "sampler: given 'none', wanted one of"),
        ({"steps": 0}, "steps: given 0, wanted an integer from 1 to 50"),
        ({"steps": 51}, "steps: given 51"),
        ({"seed": -1}, "seed: given -1, wanted an integer of at least 0"),
        ({"guidance": np.inf}, "scale: given inf, wanted a finite number"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    settings = Settings()._replace(**wrong)
    with pytest.raises(ValueError, match=message):
        drawing.draw(CLOUD, np.array([1]), settings)
    with pytest.raises(ValueError, match=message):
        drawing.between(CLOUD, 1, 2, settings, 0, 3)


def test_two_threads_share_a_network_bit_for_bit():
    denoise = diffusion.denoiser(md.pretrained("mnist_adm"))
    labels = np.arange(1, 6)
    each = [Settings(seed=seed, steps=4, sampler="ddpm") for seed in range(6)]
    alone = [drawing.draw(denoise, labels, settings) for settings in each]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda settings: drawing.draw(denoise, labels, settings), each))
    assert np.array_equal(together, alone)
