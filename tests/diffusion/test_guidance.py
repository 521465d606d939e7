"""Guidance rules: their formulas, their passes, and what guided sampling really samples."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import TWO, counted, final, unconditional

import minidiff.diffusion as D
from minidiff.diffusion import guidance as G
from minidiff.diffusion.exact import GaussianMixture

SCHEDULE = D.linear_schedule(100)
EXACT = TWO.denoiser(SCHEDULE)
LABELS = np.array([1, 2, 1, 2])
X = np.random.default_rng(0).standard_normal((4, 2))
RULES = {
    "extrapolate": G.extrapolate,
    "rescaled": G.rescaled(0.7),
    "projected": G.projected(),
    "cfg_pp": G.cfg_pp,
    "user's": lambda p, n, s: p._replace(x0=n.x0 + s * (p.x0 - n.x0), noise=None),
}
ONE_PASS = {
    "extrapolate": (0, 1),
    "rescaled": (1,),
    "projected": (1,),
    "cfg_pp": (0,),
    "user's": (1,),
}


# --- passes ---


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [0, 1, 2.0])
@pytest.mark.parametrize("against", [None, 2, "weak"])
def test_no_pass_that_is_not_needed(rule, scale, against):
    good, denoise = counted(EXACT)
    bad, weak = counted(EXACT)
    G.guided(denoise, scale, weak if against == "weak" else against, RULES[rule])(X, 30, LABELS)
    one = scale in ONE_PASS[rule]
    if against == "weak":
        assert good.batches == ([] if one and scale == 0 else [4])
        assert bad.batches == ([] if one and scale == 1 else [4])
    else:
        assert good.batches == ([4] if one else [8])
        other = np.full(4, against or 0)
        wanted = {0: other, 1: LABELS}[scale] if one else np.concatenate([LABELS, other])
        given = good.conditions[0]
        np.testing.assert_array_equal(np.zeros(4) if given is None else given, wanted)


def test_passes_of_the_other_rules():
    for make, wanted in [
        (lambda d: G.classifier_free(d, 2.0), [8]),
        (lambda d: G.classifier_free(d, np.array([1.0, 1, 1, 1])), [4]),
        (lambda d: G.classifier_free(d, np.array([1.0, 2, 0, 1])), [8]),
        (lambda d: G.guided(d, G.interval(2.0, 20, 40)), [8]),
        (lambda d: G.guided(d, G.interval(2.0, 30, 40)), [4]),
        (lambda d: G.guided(d, G.interval(2.0, 10, 29)), [4]),
        (lambda d: G.guided(d, G.interval(2.0, 10, 30)), [8]),
        (lambda d: G.classifier(d, TWO.log_prob(SCHEDULE), 2.0), [4]),
    ]:
        passes, denoise = counted(EXACT)
        make(denoise)(X, 30, LABELS)
        assert passes.batches == wanted
    for weights, wanted in [
        ([1.0, 2.0], 12),
        ([0.5, 0.5], 8),
        ([1.0, 0.0], 4),
        ([0.0, 0.0], 4),
        ([1.5, 0.0], 8),
    ]:
        passes, denoise = counted(EXACT)
        G.composed(denoise, [1, 2], weights)(X, 30, None)
        assert passes.batches == [wanted]
    passes, denoise = counted(EXACT)
    G.classifier_free(denoise, 3.0)(X, 30, None)  # the null condition against itself
    assert passes.batches == [4]


# --- formulas ---


@given(st.floats(-3, 12), st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_both_forms_of_classifier_free_guidance(scale, t):
    p = EXACT(X, t, LABELS)
    n = EXACT(X, t, None)
    w = scale - 1
    made = G.classifier_free(EXACT, scale)(X, t, LABELS)
    np.testing.assert_allclose(made.noise, n.noise + scale * (p.noise - n.noise), atol=1e-9)
    np.testing.assert_allclose(made.noise, (1 + w) * p.noise - w * n.noise, atol=1e-9)
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    np.testing.assert_allclose(alpha * made.x0 + sigma * made.noise, X, atol=1e-9)


def test_scale_1_and_0_are_the_conditions_themselves():
    for scale, condition in ((1.0, LABELS), (0.0, None)):
        for a, b in zip(
            G.classifier_free(EXACT, scale)(X, 30, LABELS), EXACT(X, 30, condition), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_scales_per_sample_and_by_time():
    scales = np.array([0.0, 1.0, 2.0, 7.5])
    whole = G.classifier_free(EXACT, scales)(X, 30, LABELS)
    for i, s in enumerate(scales):
        one = G.classifier_free(EXACT, float(s))(X[i : i + 1], 30, LABELS[i : i + 1])
        np.testing.assert_allclose(whole.x0[i], one.x0[0], rtol=1e-9)
    times = np.array([10, 30, 30, 80])
    by_time = G.classifier_free(EXACT, lambda t: 3.0 if t == 30 else 1.0)(X, times, LABELS)
    each = G.classifier_free(EXACT, np.array([1.0, 3.0, 3.0, 1.0]))(X, times, LABELS)
    np.testing.assert_allclose(by_time.noise, each.noise, rtol=1e-12)
    assert (
        G.classifier_free(EXACT, scales)(X.astype(np.float32), 30, LABELS).noise.dtype == np.float32
    )


def test_against_a_label_and_against_a_weak_model():
    p = EXACT(X, 30, LABELS)
    for against, n in [
        (2, EXACT(X, 30, np.full(4, 2))),
        (np.array([2, 1, 2, 1]), EXACT(X, 30, np.array([2, 1, 2, 1]))),
    ]:
        made = G.guided(EXACT, 2.5, against)(X, 30, LABELS)
        np.testing.assert_allclose(made.noise, n.noise + 2.5 * (p.noise - n.noise), atol=1e-12)
    weak = GaussianMixture([[0.0, 0.0]], 0.7, labels=[1]).denoiser(SCHEDULE)
    made = G.guided(EXACT, 2.5, unconditional(weak))(X, 30, LABELS)
    n = weak(X, 30, None)
    np.testing.assert_allclose(made.noise, n.noise + 2.5 * (p.noise - n.noise), atol=1e-12)


def test_vectors_as_conditions_have_zeros_for_null():
    seen = []

    @lambda function: D.Denoise(function, SCHEDULE)
    def denoise(x, t, condition):
        seen.append(condition)
        return D.Prediction(x, x)

    vectors = np.ones((4, 3), np.float32)
    G.classifier_free(denoise, 2.0)(X, 30, vectors)
    np.testing.assert_array_equal(seen[0], np.concatenate([vectors, 0 * vectors]))
    with pytest.raises(ValueError, match="against: given conditions of shapes"):
        G.guided(denoise, 2.0, against=1)(X, 30, vectors)


@given(st.floats(0, 1), st.floats(1.5, 10))
@settings(max_examples=20, deadline=None)
def test_rescaled_acts_on_the_noise(phi, scale):
    x = np.random.default_rng(1).standard_normal((3, 4, 4, 1))
    points = D.exact.FiniteData(
        np.random.default_rng(2).uniform(-1, 1, (6, 4, 4, 1)), labels=[1, 1, 1, 2, 2, 2]
    )
    denoise = points.denoiser(SCHEDULE)
    labels = np.array([1, 2, 1])
    p = denoise(x, 80, labels)
    plain = G.classifier_free(denoise, scale)(x, 80, labels)
    made = G.guided(denoise, scale, combine=G.rescaled(phi))(x, 80, labels)
    factor = phi * p.noise.std(axis=(1, 2, 3)) / plain.noise.std(axis=(1, 2, 3)) + 1 - phi
    np.testing.assert_allclose(made.noise, factor[:, None, None, None] * plain.noise, rtol=1e-9)
    alpha, sigma = SCHEDULE.alpha_sigma(80)
    np.testing.assert_allclose(alpha * made.x0 + sigma * made.noise, x, atol=1e-9)


def test_rescaled_where_alpha_bar_is_0_is_extrapolation():
    schedule = D.zero_terminal_snr(SCHEDULE)
    denoise = TWO.denoiser(schedule)
    made = G.guided(denoise, 3.0, combine=G.rescaled())(X, 100, LABELS)
    np.testing.assert_allclose(made.x0, G.classifier_free(denoise, 3.0)(X, 100, LABELS).x0)


def test_projected():
    p = EXACT(X, 30, LABELS)
    n = EXACT(X, 30, None)
    plain = G.classifier_free(EXACT, 3.0)(X, 30, LABELS)
    whole = G.guided(EXACT, 3.0, combine=G.projected(eta=1.0))(X, 30, LABELS)
    np.testing.assert_allclose(whole.x0, plain.x0, atol=1e-9)
    np.testing.assert_allclose(whole.noise, plain.noise, atol=1e-9)
    across = G.guided(EXACT, 3.0, combine=G.projected())(X, 30, LABELS).x0 - p.x0
    np.testing.assert_allclose((across * p.x0).sum(axis=1), 0, atol=1e-9)
    step = p.x0 - n.x0
    unit = p.x0 / np.linalg.norm(p.x0, axis=1, keepdims=True)
    np.testing.assert_allclose(
        across, 2.0 * (step - (step * unit).sum(axis=1, keepdims=True) * unit), atol=1e-9
    )
    short = (
        G.guided(EXACT, 3.0, combine=G.projected(eta=1.0, norm_threshold=0.01))(X, 30, LABELS).x0
        - p.x0
    )
    limit = np.minimum(np.linalg.norm(step, axis=1), 0.01)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 2.0 * limit, rtol=1e-6)
    moving = G.projected(eta=1.0, momentum=-0.5)
    first, second, third = (moving(p, n, 2.0).x0 - p.x0 for _ in range(3))
    np.testing.assert_allclose(first, step)
    np.testing.assert_allclose(second, 0.5 * step)
    np.testing.assert_allclose(third, 0.75 * step)


def test_cfg_pp_by_its_paper():
    """x_s = alpha_s x0_guided + sigma_s noise_null, also after clipping."""
    x = X
    clip = lambda x0: np.clip(x0, -0.5, 0.5)
    guided = G.guided(EXACT, 0.6, combine=G.cfg_pp)
    times = [100, 60, 30, 0]
    for t, s in pairwise(times):
        p = EXACT(x, t, LABELS)
        n = EXACT(x, t, None)
        alpha, sigma = SCHEDULE.alpha_sigma(s)
        x = alpha * clip(n.x0 + 0.6 * (p.x0 - n.x0)) + sigma * n.noise
    for sampler in (D.samplers.ddim, D.samplers.euler):
        made = final(sampler(guided, X, LABELS, times, clip=clip))
        np.testing.assert_allclose(made, x, atol=1e-12)


def test_composed():
    parts = [EXACT(X, 30, c) for c in (None, np.full(4, 1), LABELS)]
    made = G.composed(EXACT, [1, LABELS], [1.5, np.full(4, -0.5)])(X, 30, None)
    n, a, b = (part.noise for part in parts)
    np.testing.assert_allclose(made.noise, n + 1.5 * (a - n) - 0.5 * (b - n), atol=1e-12)
    alpha, sigma = SCHEDULE.alpha_sigma(30)
    np.testing.assert_allclose(alpha * made.x0 + sigma * made.noise, X, atol=1e-12)


# --- what is sampled ---


def guided_moments(schedule, scale, good, weak, noisy):
    """Mean and variance at the end of dy = k noise'(y) dr; k = 2 for the SDE.

    y = x / alpha and r = sigma / alpha. All is linear in y, so y stays Gaussian: mean' = k (A mean
    + B), variance' = 2 k A variance - 2 r [k = 2].
    """
    k = 2.0 if noisy else 1.0

    def slope(log_r, state):
        r = math.exp(log_r)
        a = 0.0
        b = 0.0
        for share, (mean, variance) in ((scale, good), (1 - scale, weak)):
            a += share * r / (variance + r * r)
            b -= share * r * mean / (variance + r * r)
        mean, variance = state
        return r * np.array([k * (a * mean + b), 2 * k * a * variance - (2 * r if noisy else 0.0)])

    log_r = np.linspace(-schedule.half_log_snr(schedule.timesteps), math.log(1e-3), 4001)
    state = np.array([0.0, 1 / schedule.alpha_bar[-1]])
    for at, to in pairwise(log_r):
        h = to - at
        k1 = slope(at, state)
        k2 = slope(at + h / 2, state + h / 2 * k1)
        k3 = slope(at + h / 2, state + h / 2 * k2)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(to, state + h * k3))
    return state


@pytest.mark.parametrize("scale", [0.5, 2.0, 3.0])
def test_what_guided_sampling_samples(scale):
    """Gaussian models: the guided ODE and SDE end where their moments' equations say."""
    schedule = D.linear_schedule(1000)
    good = (0.5, 0.25)
    weak = (0.0, 1.0)
    gaussian = lambda mean, variance: GaussianMixture([[mean]], math.sqrt(variance)).denoiser(
        schedule
    )
    denoise = G.guided(gaussian(*good), scale, against=gaussian(*weak))

    mean, variance = guided_moments(schedule, scale, good, weak, noisy=False)
    start = np.array([[-1.0], [0.0], [1.0]])  # the ODE is linear: its slope tells the variance
    times = D.times(schedule, 200, "log_snr")
    low, middle, high = final(D.samplers.heun(denoise, start, times=times))[:, 0]
    np.testing.assert_allclose([middle, ((high - low) / 2) ** 2], [mean, variance], rtol=2e-3)
    np.testing.assert_allclose(variance, 0.25**scale, rtol=2e-3)
    product = 1 / (scale / 0.25 + 1 - scale)
    assert abs(variance - product) > 0.15 * product

    mean, variance = guided_moments(schedule, scale, good, weak, noisy=True)
    rng = np.random.default_rng(0)
    n = 20_000
    x = final(D.samplers.dpmpp_2m_sde(denoise, rng.standard_normal((n, 1)), times=times, rng=rng))
    assert abs(x.mean() - mean) < 4 * math.sqrt(variance / n)
    assert abs(x.var() - variance) < 4 * variance * math.sqrt(2 / n)


# --- errors ---


def test_errors():
    plain = lambda x, t, c: EXACT(x, t, c)
    call = lambda denoise, c=LABELS: denoise(X, 30, c)
    for make, error, words in [
        (lambda: call(G.guided(EXACT, np.ones(3))), ValueError, "scale: given"),
        (lambda: call(G.guided(EXACT, math.nan)), ValueError, "scale: given nan"),
        (
            lambda: call(G.guided(EXACT, 2.0, against=-1)),
            ValueError,
            "against: given -1",
        ),
        (lambda: call(G.guided(EXACT, 2.0, against=9)), ValueError, "condition: given"),
        (
            lambda: call(G.guided(EXACT, 2.0, against=np.array([1, 2]))),
            ValueError,
            "against: given shape",
        ),
        (
            lambda: call(G.guided(EXACT, 2.0), np.array([1, 2])),
            ValueError,
            "condition: given shape",
        ),
        (
            lambda: call(G.guided(plain, 2.0, combine=G.rescaled())),
            TypeError,
            "denoise: given function",
        ),
        (lambda: G.classifier(plain, None, 2.0), TypeError, "denoise: given function"),
        (lambda: G.rescaled(1.5), ValueError, "phi: given 1.5"),
        (lambda: G.composed(EXACT, [1, 2], [1.0]), ValueError, "weights: given 1 for 2"),
        (
            lambda: call(G.composed(EXACT, [1], [2.0])),
            ValueError,
            "condition: given one, wanted None",
        ),
        (
            lambda: call(G.classifier(EXACT, TWO.log_prob(SCHEDULE), 1.0), None),
            ValueError,
            "condition: given None",
        ),
    ]:
        with pytest.raises(error, match=words):
            make()


def test_rescaling_leaves_alone_what_has_no_deviation():
    """A point on a line has one coordinate."""
    line = D.exact.GaussianMixture([[-1.0], [1.0]], 0.3).denoiser(D.cosine_schedule(100))
    x = np.linspace(-2, 2, 5)[:, None]
    labels = np.ones(5, int)
    rescaled = G.guided(line, 2.0, combine=G.rescaled())(x, 50, labels)
    plain = G.guided(line, 2.0)(x, 50, labels)
    np.testing.assert_allclose(rescaled.noise, plain.noise)
