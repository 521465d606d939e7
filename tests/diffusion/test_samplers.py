"""Samplers: what they have in common, which of them are the same, and published figures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import TWO, final, from_betas, model_of, unconditional

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import guidance as G
from minidiff.diffusion import samplers as S

SCHEDULE = D.linear_schedule(100)
EXACT = TWO.denoiser(SCHEDULE)
EVERY = {**S.SAMPLERS, "invert": S.invert}
X = np.random.default_rng(0).standard_normal((3, 2))
LABELS = np.array([1, 2, 0])


def rng(seed=0):
    return np.random.default_rng(seed)


# --- all of them together ---

CONDITION = {"labels": LABELS, "none": None}
RULES = {
    "plain": (lambda d: d, "labels"),
    "classifier-free": (lambda d: G.classifier_free(d, 2.0), "labels"),
    "negative": (lambda d: G.guided(d, 2.0, against=2), "labels"),
    "weak": (lambda d: G.guided(d, 2.0, against=unconditional(d)), "labels"),
    "interval": (lambda d: G.guided(d, G.interval(2.0, 10, 90)), "labels"),
    "per sample": (lambda d: G.guided(d, np.array([0.0, 1.0, 2.0])), "labels"),
    "rescaled": (lambda d: G.guided(d, 2.0, combine=G.rescaled()), "labels"),
    "projected": (
        lambda d: G.guided(d, 2.0, combine=G.projected(momentum=-0.3)),
        "labels",
    ),
    "cfg++": (lambda d: G.guided(d, 0.7, combine=G.cfg_pp), "labels"),
    "composed": (lambda d: G.composed(d, [1, 2], [0.5, 1.5]), "none"),
    "classifier": (lambda d: G.classifier(d, TWO.log_prob(d.schedule), 2.0), "labels"),
}
USES_NOISE = ("ddim", "euler", "euler_ancestral", "invert")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", EVERY)
def test_every_sampler_with_every_rule_and_parameterisation(name, rule):
    times = [100, 80, 55.5, 20, 4, 0]
    make, condition = RULES[rule]
    for schedule in (SCHEDULE, D.zero_terminal_snr(SCHEDULE)):
        made = {}
        for predicts in ("noise", "x0", "v"):
            model = model_of(TWO.denoiser(schedule), predicts)
            if predicts == "noise" and schedule is not SCHEDULE:
                with pytest.raises(ValueError, match="alpha_bar_T = 0"):
                    D.denoiser(model, schedule, predicts)
                continue
            for dtype in (np.float32, np.float64):
                denoise = make(D.denoiser(model, schedule, predicts))
                steps = EVERY[name](denoise, X.astype(dtype), CONDITION[condition], times, rng())
                if rule == "cfg++" and name not in USES_NOISE:
                    with pytest.raises(
                        ValueError, match=rf"CFG\+\+.*{name} steps by one of the two alone"
                    ):
                        next(steps)
                    continue
                if rule == "classifier" and schedule is not SCHEDULE:
                    with pytest.raises(ValueError, match="alpha_bar = 0"):
                        list(steps)
                    continue
                steps = list(steps)
                assert [step.t for step in steps] == (
                    times[-2::-1] if name == "invert" else times[1:]
                )
                for step in steps:
                    assert step.x.dtype == step.x0.dtype == dtype
                    assert step.x.shape == step.x0.shape == X.shape
                    assert np.isfinite(step.x).all() and np.isfinite(step.x0).all()
                if dtype == np.float64:
                    made[predicts] = np.stack([step.x for step in steps])
        for other in made.values():
            np.testing.assert_allclose(other, next(iter(made.values())), rtol=1e-6, atol=1e-6)


# --- the data's moments ---


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in S.SAMPLERS),
        ("ddpm", {"variance": "large"}),
        ("ddpm", {"variance": "learned"}),
        ("ddim", {"eta": 0.5}),
        ("unipc", {"order": 3}),
    ],
)
def test_moments_of_the_data(name, options):
    schedule = D.linear_schedule(1000)
    n = 1000
    draws = rng(1)
    start = draws.standard_normal((n, 2))
    times = D.times(schedule, 250)
    x = final(S.SAMPLERS[name](TWO.denoiser(schedule), start, None, times, draws, **options))
    mean, covariance = TWO.mean_and_covariance()
    centred = x - mean
    assert np.all(np.abs(centred.mean(axis=0)) < 4 * np.sqrt(np.diag(covariance) / n))
    products = centred[:, :, None] * centred[:, None, :]
    errors = products.std(axis=0) / math.sqrt(n)
    assert np.all(np.abs(products.mean(axis=0) - covariance) < 4 * errors)


# --- identities ---

schedules = st.lists(st.floats(0.01, 0.6), min_size=2, max_size=8).map(
    lambda betas: from_betas(*betas)
)
cases = st.tuples(schedules, st.integers(0, 2**32), st.booleans())


def same(case, first, second, grid=True):
    """Two samplers give the same steps on a random schedule, grid, start and clipping."""
    schedule, seed, clip = case
    draws = rng(seed)
    times = np.arange(schedule.timesteps, -1, -1)
    if grid:
        times = times[np.concatenate([[True], draws.random(schedule.timesteps - 1) < 0.7, [True]])]
    x = draws.standard_normal((3, 2))
    denoise = TWO.denoiser(schedule)
    runs = [f(denoise, x, LABELS, times, rng(seed), clip and 0.4, **o) for f, o in (first, second)]
    for a, b in zip(*runs, strict=True):
        assert a.t == b.t
        np.testing.assert_allclose(a.x, b.x, atol=1e-9)
        np.testing.assert_allclose(a.x0, b.x0, atol=1e-9)


@given(cases)
@settings(max_examples=25, deadline=None)
def test_ddim_with_eta_1_over_every_t_is_ddpm(case):
    same(case, (S.ddim, {"eta": 1.0}), (S.ddpm, {"variance": "small"}), grid=False)
    # and over any grid, with its own beta
    same(case, (S.ddim, {"eta": 1.0}), (S.ddpm, {"variance": "small"}))


@given(cases)
@settings(max_examples=25, deadline=None)
def test_samplers_that_are_one(case):
    same(case, (S.ddim, {}), (S.dpmpp_1, {}))
    same(case, (S.ddim, {}), (S.euler, {}))
    same(case, (S.ddim, {"eta": 1.0}), (S.euler_ancestral, {}))
    same(case, (S.ddim, {}), (S.euler_ancestral, {"eta": 0.0}))
    same(case, (S.heun, {}), (S.edm, {"s_churn": 0.0}))
    same(case, (S.heun, {}), (S.edm, {"s_min": 1e9}))
    same(case, (S.dpmpp_2m, {}), (S.dpmpp_2m_sde, {"eta": 0.0}))


@given(cases)
@settings(max_examples=15, deadline=None)
def test_heun_by_its_paper(case):
    schedule, seed, _ = case
    x = rng(seed).standard_normal((3, 2))
    denoise = TWO.denoiser(schedule)
    y = x / np.sqrt(schedule.alpha_bar[-1])
    t = schedule.timesteps
    s = 1
    r = np.sqrt(1 / schedule.alpha_bar - 1)
    slope = lambda y, t: (y - denoise(y * np.sqrt(schedule.alpha_bar[t]), t, None).x0) / r[t]
    d = slope(y, t)
    if r[t] <= 8 * r[s]:  # in a longer step the slope at the start stays
        d = (d + slope(y + (r[s] - r[t]) * d, s)) / 2
    y = y + (r[s] - r[t]) * d
    made = final(S.heun(denoise, x, times=[t, s]))
    np.testing.assert_allclose(made, y * np.sqrt(schedule.alpha_bar[s]), atol=1e-9)


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "karras", "log_snr"])
@pytest.mark.parametrize("name", S.SAMPLERS)
def test_few_steps_stay_near_the_data(name, spacing):
    """Where sigma / alpha falls from hundreds to a few in one step, nothing may be multiplied."""
    for schedule in (D.cosine_schedule(100), D.linear_schedule(1000)):
        data = D.exact.GaussianMixture([[0.5]], 0.3)
        for steps in (2, 3, 5, 10):
            times = D.times(schedule, steps, spacing)
            start = np.linspace(-2, 2, 9)[:, None]
            x = final(S.SAMPLERS[name](data.denoiser(schedule), start, times=times, rng=rng()))
            assert np.all(np.abs(x - 0.5) < 4 * 0.3), (schedule, steps)


@pytest.mark.parametrize("name", ["heun", "edm"])
def test_heun_draws_digits(name):
    labels = np.arange(1, 11)
    digits = D.sample(md.pretrained("mnist"), labels, sampler=name, steps=8)
    read = np.argmax(md.pretrained("lenet")(digits).numpy(), axis=1) + 1
    assert np.sum(read == labels) >= 8


def test_ddpm_by_its_paper():
    ones = type("Ones", (), {"standard_normal": lambda self, size, dtype: np.ones(size, dtype)})()
    p = EXACT(X, 30, LABELS)
    mean, small = D.posterior(SCHEDULE, p.x0, X, 30)
    low = np.log(small)
    high = np.log(SCHEDULE.beta[30])
    learned = D.Denoise(
        lambda x, t, c: p._replace(log_variance=np.full_like(x, 0.25 * low + 0.75 * high)), SCHEDULE
    )
    for variance, wanted in [
        ("small", small),
        ("large", SCHEDULE.beta[30]),
        ("learned", small**0.25 * SCHEDULE.beta[30] ** 0.75),
    ]:
        step = next(S.ddpm(learned, X, LABELS, [30, 29], ones, variance=variance))
        np.testing.assert_allclose(step.x, mean + np.sqrt(wanted), rtol=1e-9)
    mean, small = D.posterior(SCHEDULE, p.x0, X, 30, 10)
    beta = 1 - SCHEDULE.alpha_bar[30] / SCHEDULE.alpha_bar[10]
    step = next(S.ddpm(learned, X, LABELS, [30, 10], ones, variance="learned"))
    np.testing.assert_allclose(step.x, mean + np.sqrt(small**0.25 * beta**0.75), rtol=1e-9)
    last = next(S.ddpm(learned, X, LABELS, [30, 0], ones))
    np.testing.assert_allclose(last.x, last.x0)  # no noise at the last step


# --- published figures: diffusers' own tests, sums and means of |x| for this start and this model
# ---

SIZE = 4 * 3 * 8 * 8
START = (np.arange(SIZE, dtype=np.float32).reshape(3, 8, 8, 4) / SIZE).transpose(3, 1, 2, 0)
NOISE = (np.arange(SIZE, dtype=np.float32)[::-1].reshape(3, 8, 8, 4) / SIZE).transpose(3, 1, 2, 0)
LINEAR = from_betas(*np.linspace(1e-4, 0.02, 1000))
MULTISTEP = [1000, 900, 800, 700, 600, 501, 401, 301, 201, 101, 1]


@pytest.mark.parametrize(
    ("name", "schedule", "predicts", "times", "clip", "mean"),
    [
        ("ddim", LINEAR, "noise", D.times(LINEAR, 10, "leading"), True, 0.223967),
        ("ddim", LINEAR, "v", D.times(LINEAR, 10, "leading"), True, 0.0684),
        (
            "ddim",
            from_betas(*np.linspace(0.01, 0.02, 1000)),
            "noise",
            D.times(LINEAR, 10, "leading"),
            True,
            0.1951,
        ),
        (
            "ddim",
            from_betas(*np.linspace(0.01, 0.02, 1000)),
            "noise",
            D.times(LINEAR, 10, "leading")[:-1],  # the last alpha not set to one
            True,
            0.1941,
        ),
        ("dpmpp_2m", LINEAR, "noise", MULTISTEP, None, 0.3301),
        ("dpmpp_2m", LINEAR, "v", MULTISTEP, None, 0.2251),
        ("unipc", LINEAR, "noise", MULTISTEP, None, 0.2464),
        ("unipc", LINEAR, "v", MULTISTEP, None, 0.1014),
    ],
)
def test_published_figures(name, schedule, predicts, times, clip, mean):
    model = lambda x, t, condition: x * ((t - 1) / t).reshape(-1, 1, 1, 1)
    x = final(
        S.SAMPLERS[name](D.denoiser(model, schedule, predicts), START, None, times, clip=clip)
    )
    assert x.dtype == np.float32
    assert abs(np.abs(x).mean() - mean) < 1e-4


@pytest.mark.parametrize(
    ("name", "times", "clip", "total"),
    [("ddim", [101, 1, 0], True, 354.5418), ("unipc", [201, 101, 1], None, 315.5757)],
)
def test_published_figures_from_a_noised_image(name, times, clip, total):
    model = lambda x, t, condition: x * ((t - 1) / t).reshape(-1, 1, 1, 1)
    x = D.q_sample(LINEAR, START, times[0], NOISE)
    x = final(S.SAMPLERS[name](D.denoiser(model, LINEAR), x, None, times, clip=clip))
    assert abs(np.abs(x).sum() - total) < 1e-2


def test_published_variances():
    for t, s, variance in [(421, 401, 0.14771), (981, 961, 0.3246), (488, 487, 0.00979)]:
        assert abs(D.posterior(LINEAR, X, X, t, s)[1] - variance) < 1e-5


@pytest.mark.parametrize("name", S.SAMPLERS)
def test_a_seed_stands_for_its_generator(name):
    by_seed, by_generator = (
        final(S.SAMPLERS[name](EXACT, X, LABELS, [100, 60, 30, 0], seed)) for seed in (7, rng(7))
    )
    np.testing.assert_array_equal(by_seed, by_generator)


# --- clipping ---


def test_after_clipping_the_noise_is_derived_anew():
    far = D.Denoise(lambda x, t, c: D.Prediction(np.full_like(x, 3.0), np.zeros_like(x)), SCHEDULE)
    for clip, wanted in [
        (None, 3.0),
        (True, 1.0),
        (0.5, 0.5),
        ((-2, 2), 2.0),
        (lambda x0: x0 / 2, 1.5),
    ]:
        step = next(S.ddim(far, X, times=[50, 20], clip=clip))
        np.testing.assert_allclose(step.x0, wanted)
        if clip is not None:
            (a, s), (b, u) = map(SCHEDULE.alpha_sigma, (50, 20))
            np.testing.assert_allclose(step.x, b * wanted + u * (X - a * wanted) / s, rtol=1e-12)


def test_dynamic_threshold():
    x0 = np.stack([np.linspace(-4, 4, 201), np.linspace(-0.5, 0.5, 201)]).astype(np.float32)
    out = D.dynamic_threshold(0.9)(x0)
    c = np.quantile(np.abs(x0[0]), 0.9)
    np.testing.assert_allclose(out[0], np.clip(x0[0], -c, c) / c, rtol=1e-6)
    np.testing.assert_array_equal(out[1], x0[1])
    assert out.dtype == np.float32
    with pytest.raises(ValueError, match="share: given 0"):
        D.dynamic_threshold(0.0)
    final(S.ddim(EXACT, X, clip=D.dynamic_threshold()))


# --- errors: at the call, before the first step ---


@pytest.mark.parametrize("name", EVERY)
def test_a_wrong_call_is_refused_at_once(name):
    nan = X.copy()
    nan[1, 1] = np.nan
    for change, error, words in [
        ({"x": nan}, ValueError, "x: given NaN"),
        ({"x": np.ones((3, 2), int)}, TypeError, "x: given int64"),
        ({"x": [[1.0, 2.0]]}, TypeError, "x: given list"),
        ({"times": [50, 50, 0]}, ValueError, "times: given"),
        ({"times": [101, 0]}, ValueError, "times: given"),
        ({"condition": np.array([1, 2])}, ValueError, "condition: given shape"),
        ({"condition": np.array([1, 2, -2])}, ValueError, "condition: given -2"),
        ({"clip": "yes"}, ValueError, "clip: given 'yes'"),
        ({"clip": (1, -1)}, ValueError, "clip: given"),
        ({"clip": 0.0}, ValueError, "clip: given"),
    ]:
        with pytest.raises(error, match=words):
            EVERY[name](**({"denoise": EXACT, "x": X} | change))


def test_wrong_options():
    for call, words in [
        (lambda: S.ddpm(EXACT, X), "rng: given None"),
        (lambda: S.ddpm(EXACT, X, variance="tiny"), "variance: given 'tiny'"),
        (lambda: S.ddpm(EXACT, X, [1, 2, 3], rng=rng()), "condition: given"),
        (lambda: S.ddim(EXACT, X, eta=2.0), "eta: given 2.0"),
        (lambda: S.euler_ancestral(EXACT, X, eta=-1.0), "eta: given -1.0"),
        (lambda: S.dpmpp_2m_sde(EXACT, X, eta=-1.0), "eta: given -1.0"),
        (lambda: S.edm(EXACT, X, s_churn=-1.0), "s_churn: given -1.0"),
        (lambda: S.unipc(EXACT, X, order=4), "order: given 4"),
        (
            lambda: S.ddpm(
                D.Denoise(lambda x, t, c: D.Prediction(x, x), SCHEDULE),
                X,
                rng=rng(),
                variance="learned",
            ),
            "variance: given 'learned', but the denoiser predicts none",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            next(call())
