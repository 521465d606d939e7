"""What people type first: a Denoise knows what it needs, and says what it cannot know."""

import copy
import functools
from itertools import pairwise

import numpy as np
import pytest
from worlds import TWO, counted

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import guidance as G
from minidiff.diffusion import samplers as S

SCHEDULE = D.cosine_schedule(100)
EXACT = TWO.denoiser(SCHEDULE)
LABELS = np.array([1, 2, 0])
POINTS = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
# x_0 = 5 everywhere: clipping shows
FAR = D.Denoise(lambda x, t, c: D.Prediction(np.full_like(x, 5.0), x), SCHEDULE)


def trained(model, x0, timesteps=100):
    """The model after one call of the loss, which notes what it was trained on."""
    D.loss(model, D.cosine_schedule(timesteps), x0, None, np.random.default_rng(0), predicts="v")
    return model


def mlp():
    return trained(md.models.ConditionalMLP(hidden=8, classes=2, timesteps=100), POINTS)


def unet():
    model = md.models.UNet(3, 8, (1,), classes=2, attention=False)
    return trained(model, np.zeros((2, 4, 4, 3), np.float32))


# --- the shape of a sample ---


def test_the_shape_comes_from_the_model(tmp_path):
    for model, shape in [(mlp(), (2,)), (unet(), (4, 4, 3))]:
        loaded = md.load(md.save(tmp_path / "model.safetensors", model))
        for denoise in (model, D.denoiser(model), loaded, G.classifier_free(model, 2.0)):
            assert D.sample(denoise, n=2, steps=1).shape == (2, *shape)
            assert D.sample(denoise, [1, 2, 0], steps=1).shape == (3, *shape)
    untrained = D.denoiser(md.models.ConditionalMLP(timesteps=100), SCHEDULE)
    assert D.sample(untrained, n=2, steps=1).shape == (2, 2)
    images = D.exact.FiniteData(np.zeros((2, 4, 4, 1))).denoiser(SCHEDULE)
    assert D.sample(images, n=2, steps=1).shape == (2, 4, 4, 1)
    assert D.sample(unet(), n=2, shape=(8, 8, 3), steps=1).shape == (2, 8, 8, 3)
    with pytest.raises(ValueError, match=r"shape: given None, wanted the shape of one sample"):
        D.sample(FAR, n=2)


# --- a network in the place of a Denoise ---


def test_a_trained_network_stands_for_its_denoiser():
    model = mlp()
    denoise = D.denoiser(model)
    rng = {"rng": 0}
    takers = {
        "sample": lambda d: D.sample(d, LABELS, steps=3),
        "sampler": lambda d: D.final(S.ddim(d, POINTS, LABELS, [50, 20, 0])),
        "invert": lambda d: D.final(S.invert(d, POINTS, LABELS, [50, 20, 0])),
        "classifier_free": lambda d: G.classifier_free(d, 2.0)(POINTS, 50, LABELS).x0,
        "against": lambda d: G.guided(d, 2.0, against=d)(POINTS, 50, LABELS).x0,
        "composed": lambda d: G.composed(d, [1, 2], [0.5, 1.0])(POINTS, 50).x0,
        "classifier": lambda d: G.classifier(d, TWO.log_prob(SCHEDULE), 1.0)(POINTS, 50, LABELS).x0,
        "image_to_image": lambda d: D.final(D.image_to_image(d, POINTS, 50, 0, steps=3)),
        "interpolate": lambda d: D.interpolate(d, POINTS, -POINTS, [0.5], times=[50, 20, 0]),
        "inpaint": lambda d: D.final(
            D.inpaint(d, POINTS, times=[50, 0], rng=0, known=POINTS, mask=[1, 0])
        ),
        "bits_per_dim": lambda d: D.bits_per_dim(d, POINTS, **rng).total,
    }
    for name, call in takers.items():
        np.testing.assert_array_equal(call(model), call(denoise), err_msg=name)
        for wrong in (md.models.ConditionalMLP(), lambda x, t, c: x, TWO):
            with pytest.raises(TypeError, match=r"wanted a Denoise: type diffusion\.denoiser\("):
                call(wrong)


def test_what_cannot_be_a_model_is_refused_at_the_door():
    for model in (md.models.LeNet5(), lambda x, t: x, POINTS, SCHEDULE):
        with pytest.raises(TypeError, match=r"model: given .*, wanted a function of \(x, t, cond"):
            D.denoiser(model, SCHEDULE)
    with pytest.raises(TypeError, match=r"schedule: given int, wanted a Schedule"):
        D.Denoise(lambda x, t, c: x, 100)
    with pytest.raises(TypeError, match=r"function: given Schedule, wanted a function of"):
        D.Denoise(SCHEDULE, SCHEDULE)
    for call, words in [
        (lambda: D.denoiser(EXACT, SCHEDULE), "model: given a Denoise, wanted a network"),
        (lambda: D.loss(EXACT, SCHEDULE, POINTS, None, 0), "model: given a Denoise"),
        (lambda: D.loss(md.models.LeNet5(), SCHEDULE, POINTS, None, 0), "model: given LeNet5"),
        (lambda: D.loss(mlp(), SCHEDULE, md.Tensor(POINTS), None, 0), "x0: given a Tensor"),
        (lambda: D.q_sample(SCHEDULE, POINTS, 5, 0), "noise: given int, wanted an array"),
        (lambda: D.final(POINTS), "steps: given ndarray in it, wanted a Step"),
        (lambda: D.all_steps([]), "steps: given none in it, wanted a Step"),
        (
            lambda: D.Denoise(lambda x, t, c: x, SCHEDULE)(POINTS, 5),
            r"function: given one that gives ndarray, wanted one that gives a diffusion\.Pred",
        ),
        (
            lambda: G.guided(EXACT, 2.0, combine=lambda p, n, s: p.x0)(POINTS, 5, LABELS),
            "combine: given one that gives ndarray",
        ),
        (lambda: D.sample(EXACT, SCHEDULE, n=2), "condition: given Schedule, wanted None, integer"),
    ]:
        with pytest.raises(TypeError, match=words):
            call()


def test_the_words_of_other_libraries_are_answered():
    for owner, name, words in [
        (D, "heun", "type diffusion.samplers.heun"),
        (D, "GaussianMixture", "type diffusion.exact.GaussianMixture"),
        (D, "min_snr", "type diffusion.losses.min_snr"),
        (D, "np", "md.diffusion has no 'np'$"),
        (SCHEDULE, "alphas_cumprod", "type schedule.alpha_bar"),
        (SCHEDULE, "num_train_timesteps", "type schedule.timesteps"),
    ]:
        with pytest.raises(AttributeError, match=words):
            getattr(owner, name)
    assert copy.deepcopy(SCHEDULE) == SCHEDULE
    for option, words in {
        "num_inference_steps": "'num_inference_steps'; sample: num_inference_steps is called steps",
        "generator": "generator is called rng here",
        "guidance_scale": r"type sample\(guidance\.classifier_free\(denoise, scale\)\)",
    }.items():
        with pytest.raises(TypeError, match=words):
            D.sample(EXACT, n=2, **{option: 2})


# --- clipping has one default ---


def test_images_are_clipped_everywhere_and_points_nowhere():
    for shape, wanted in [((2, 4, 4, 1), 1.0), ((2, 2), 5.0)]:
        x = np.random.default_rng(0).standard_normal(shape)
        runs = {name: sampler(FAR, x, times=[50, 0], rng=0) for name, sampler in S.SAMPLERS.items()}
        runs["image_to_image"] = D.image_to_image(FAR, x, 50, 0, steps=2)
        runs["inpaint"] = D.inpaint(FAR, x, times=[50, 0], rng=0, known=x, mask=np.zeros(shape))
        for name, steps in runs.items():
            np.testing.assert_allclose(D.final(steps), wanted, err_msg=name)
        up = D.final(S.invert(FAR, x, times=[50, 0]))
        alpha, sigma = SCHEDULE.alpha_sigma(50)
        noise = x if wanted == 5 else (x - alpha * wanted) / sigma
        np.testing.assert_allclose(up, alpha * x + sigma * noise)
    x = np.zeros((2, 4, 4, 1))
    clipped, bare = (D.bits_per_dim(FAR, x, 0, clip=clip).total for clip in (True, None))
    np.testing.assert_array_equal(D.bits_per_dim(FAR, x, 0).total, clipped)
    assert np.all(clipped < bare)


# --- a sampler is a name or a function ---


@S.sampler()
def half(walk, x, share=0.5):
    for _, s in pairwise(walk.times):
        x = share * x
        yield S.Step(s, x, x)


def test_a_sampler_is_a_name_or_a_function():
    by_name = D.sample(EXACT, LABELS, sampler="ddpm", steps=3)
    np.testing.assert_array_equal(D.sample(EXACT, LABELS, sampler=S.ddpm, steps=3), by_name)
    halved = D.sample(EXACT, LABELS, sampler=half, steps=3, share=0.25)
    np.testing.assert_allclose(64 * halved, D.sample(EXACT, LABELS, sampler=half, steps=3, share=1))
    by_function = D.image_to_image(EXACT, POINTS, 50, 0, sampler=half, steps=2)
    assert len(list(by_function)) == 2
    for call, words in [
        (lambda: D.sample(EXACT, LABELS, sampler=lambda walk, x: None), "sampler: given <lambda>"),
        (lambda: D.sample(EXACT, LABELS, sampler="ddpm", eta=0.5), "sampler: given ddpm, .*'eta'"),
        (lambda: D.image_to_image(EXACT, POINTS, 50, 0, sampler=len), "sampler: given len"),
    ]:
        with pytest.raises(TypeError, match=words):
            call()


# --- seeds ---


def model_that_minds_the_batch():
    """As products of matrices do in their last bits, it depends on how many samples there are."""
    return D.denoiser(lambda x, t, c: np.tanh(x) * np.float32(1 + 1e-3 * len(x)), SCHEDULE)


@pytest.mark.parametrize("name", S.SAMPLERS)
def test_a_list_of_seeds_gives_each_sample_its_own(name):
    """Bit for bit, alone or in any batch, under guidance too."""
    seeds = [3, 1, 4, 1, 5, 9, 2]
    labels = np.array([1, 2, 0, 2, 0, 1, 1])
    denoise = G.classifier_free(model_that_minds_the_batch(), 2.0)
    run = lambda rows: D.sample(
        denoise, labels[rows], shape=(8, 8, 1), sampler=name, steps=4, rng=seeds[rows]
    )
    together = run(slice(None))
    assert len(np.unique(together.reshape(7, -1), axis=0)) >= 6  # the seed 1 is there twice
    for rows in (slice(4, 5), slice(2, 5), slice(1, None)):
        np.testing.assert_array_equal(run(rows), together[rows])


def test_seeds_and_a_data_set_that_is_known():
    """Sums over 784 coordinates differ with the batch."""
    data = D.exact.FiniteData(np.random.default_rng(0).uniform(-1, 1, (500, 28, 28, 1)))
    run = lambda seeds: D.sample(data.denoiser(SCHEDULE), rng=seeds, steps=1)
    np.testing.assert_array_equal(run([5, 6, 7])[1:2], run([6]))


def test_whatever_draws_noise_takes_seeds_in_any_form():
    """A sample is the same alone, and by a Generator of its own."""
    short = TWO.denoiser(D.cosine_schedule(10))
    inpaint = functools.partial(D.inpaint, mask=[1, 0])
    walks = {**S.SAMPLERS, "invert": S.invert}
    takers = {
        name: lambda x, rng, walk=walk: D.final(walk(EXACT, x, None, [50, 20, 0], rng))
        for name, walk in walks.items()
    }
    takers |= {
        "inpaint": lambda x, rng: D.final(inpaint(EXACT, x, None, [50, 0], rng, known=x)),
        "image_to_image": lambda x, rng: D.final(D.image_to_image(EXACT, x, 50, rng, "ddpm", 3)),
        "bits_per_dim": lambda x, rng: D.bits_per_dim(short, x, rng).total,
        "q_sample": lambda x, rng: D.q_sample(SCHEDULE, x, 50, rng=rng),
    }
    for name, run in takers.items():
        together = run(POINTS, [7, 8, 9])
        forms = [(7, 8, 9), range(7, 10), np.array([7, 8, 9])]
        forms.append([np.random.default_rng(seed) for seed in (7, 8, 9)])
        for rng in forms:
            np.testing.assert_array_equal(run(POINTS, rng), together, err_msg=name)
        np.testing.assert_array_equal(run(POINTS[1:2], [8]), together[1:2], err_msg=name)
        with pytest.raises(ValueError, match=r"rng: given 2 seeds, wanted 3, one for each sample"):
            run(POINTS, range(2))


def test_seeds_and_generators():
    by_seeds = D.sample(EXACT, rng=[7, 8], sampler="ddpm", steps=3)
    assert by_seeds.shape == (2, 2)  # as many as seeds
    for rng in ([np.random.default_rng(7), 8], (7, 8), np.array([7, 8])):
        np.testing.assert_array_equal(D.sample(EXACT, rng=rng, sampler="ddpm", steps=3), by_seeds)
    np.testing.assert_array_equal(
        D.sample(EXACT, rng=[7], sampler="ddpm", steps=3)[0],
        D.sample(EXACT, n=1, rng=7, sampler="ddpm", steps=3)[0],
    )
    edited = lambda rng, rows: D.final(D.image_to_image(EXACT, POINTS[rows], 50, rng, "ddpm", 3))
    np.testing.assert_array_equal(
        edited([1, 2, 3], slice(None))[1:], edited([2, 3], slice(1, None))
    )
    np.testing.assert_array_equal(
        D.q_sample(SCHEDULE, POINTS, 50, rng=0),
        D.q_sample(SCHEDULE, POINTS, 50, rng=np.random.default_rng(0)),
    )
    np.testing.assert_array_equal(TWO.sample(3, 5), TWO.sample(3, np.random.default_rng(5)))
    with pytest.raises(ValueError, match=r"rng: given 2 seeds, wanted 3, one for each sample"):
        D.sample(EXACT, n=3, rng=[1, 2])
    for wrong in (np.random, np.random.RandomState(0), 1.5, True, ["a", 1, 2]):
        with pytest.raises(TypeError, match=r"rng: given .*, wanted a seed such as 0"):
            D.sample(EXACT, n=3, rng=wrong)


# --- times that begin too late ---


def test_a_walk_from_noise_begins_where_little_else_is():
    for steps in (34, 51):
        with pytest.raises(
            ValueError, match=r"spacing: given times that start at (67|51) of T = 1"
        ):
            D.sample(EXACT, n=2, steps=steps, spacing="leading")
    passes, denoise = counted(EXACT)
    D.sample(denoise, n=2, steps=25, spacing="leading")
    assert len(passes.batches) == 25


def test_more_steps_than_whole_times_from_an_early_start():
    for start in (10, 2.5):
        for spacing in ("trailing", "linspace", "quadratic", "karras", "log_snr"):
            grid = D.times(SCHEDULE, 25, spacing, start=start)
            assert len(grid) == 26 and grid[0] == start and np.all(np.diff(grid) < 0)
            assert grid[-2] >= 1 - 1e-9 and grid[-1] == 0
    steps = list(D.image_to_image(EXACT, POINTS, 10, 0))
    assert len(steps) == 25 and steps[-1].t == 0
    for start, spacing in [(10, "leading"), (1, "trailing"), (0.5, "linspace")]:
        with pytest.raises(ValueError, match=r"steps: given 25 from start .*, wanted fewer"):
            D.times(SCHEDULE, 25, spacing, start=start)


# --- what explodes is told ---


@pytest.mark.parametrize("name", S.SAMPLERS)
def test_a_walk_that_explodes_says_so(name):
    wild = D.Denoise(lambda x, t, c: D.Prediction(-1e20 * x, x), SCHEDULE, (2,))
    with (
        np.errstate(all="ignore"),
        pytest.raises(RuntimeError, match=rf"{name}: given predictions that make NaN or inf.*clip"),
    ):
        D.sample(wild, n=2, sampler=name, steps=25)
