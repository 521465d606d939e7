"""Paths that do not preserve the variance: by the identity that links them all, and by hand."""

import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_samplers import CONDITION, EVERY, RULES, USES_NOISE
from worlds import TWO, final

import minidiff.diffusion as D
from minidiff.diffusion import samplers as S
from minidiff.diffusion.guidance import gradient

T = 50
U = np.arange(T + 1) / T
STRAIGHT = D.straight_schedule(T)
PATHS = {
    "straight": STRAIGHT,
    "shifted": D.straight_schedule(T, 3.0),
    "exploding": D.Path(np.ones(T + 1), 20 * U**3),
    "shrinking": D.Path(0.3 ** (10 * U), U),
}
X = np.random.default_rng(0).standard_normal((3, 2))
LABELS = np.array([1, 2, 0])
TIMES = [50, 40, 27, 10, 3, 0]


def twin(path):
    """The variance-preserving schedule of the same log-SNR."""
    return D.Schedule.from_alpha_bar(path.alpha**2 / (path.alpha**2 + path.sigma**2))


def norm(path, t):
    return np.sqrt(path.alpha[t] ** 2 + path.sigma[t] ** 2)


def predicted_on(path):
    """What a network may predict there."""
    with_noise = ["noise"] if path.alpha[-1] > 0 else []
    return ["x0", "v", *with_noise, *(["velocity"] if path.is_straight else [])]


def model_of(denoise, predicts):
    """A model that says what an exact denoiser of a path says, by the definitions."""
    path = denoise.schedule

    def model(x, t, condition):
        p = denoise(x, t, condition)
        alpha, sigma = (
            table[t].reshape(-1, *[1] * (x.ndim - 1)) for table in (path.alpha, path.sigma)
        )
        v = (alpha * p.noise - sigma * p.x0) / np.sqrt(alpha**2 + sigma**2)
        said = {"noise": p.noise, "x0": p.x0, "v": v, "velocity": p.noise - p.x0}[predicts]
        return said.astype(x.dtype)

    return model


# --- tables ---


@given(st.integers(1, 2000), st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_the_straight_path(timesteps, shift):
    path = D.straight_schedule(timesteps, shift)
    u = np.arange(timesteps + 1) / timesteps
    np.testing.assert_allclose(path.sigma, shift * u / (1 + (shift - 1) * u), rtol=1e-12)
    np.testing.assert_allclose(path.alpha + path.sigma, 1, rtol=1e-12)
    assert path.alpha[-1] == path.alpha_bar[-1] == 0 and path.sigma[-1] == path.beta[-1] == 1
    assert path.timesteps == timesteps and path.is_straight
    snr = (path.alpha[1:] / path.sigma[1:]) ** 2
    np.testing.assert_allclose(path.alpha_bar[1:], snr / (1 + snr), rtol=1e-12)
    np.testing.assert_allclose(np.cumprod(1 - path.beta), path.alpha_bar, rtol=1e-9, atol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        path.alpha[1] = 0


@pytest.mark.parametrize("name", PATHS)
@given(st.lists(st.floats(0, T), min_size=2, max_size=9).map(np.array))
@settings(max_examples=30, deadline=None)
def test_real_times(name, t):
    path = PATHS[name]
    alpha, sigma = np.transpose([path.alpha_sigma(time) for time in t])
    if name == "straight":
        np.testing.assert_allclose(alpha, 1 - t / T, rtol=0, atol=1e-15)
        np.testing.assert_allclose(sigma, t / T, rtol=0, atol=1e-15)
    np.testing.assert_allclose(path.norm(t), np.hypot(alpha, sigma), rtol=1e-12)
    np.testing.assert_allclose(path.alpha_bar_at(t), (alpha / path.norm(t)) ** 2, rtol=1e-12)
    with np.errstate(divide="ignore"):
        half = np.log(alpha) - np.log(sigma)
    np.testing.assert_allclose([path.half_log_snr(time) for time in t], half, rtol=1e-12)
    np.testing.assert_allclose(path.time_of(2 * half), t, rtol=0, atol=1e-7)
    assert path.time_of(-math.inf) == T and path.time_of(math.inf) == 0
    for times in (np.arange(T + 1), np.arange(T + 1.0)):
        np.testing.assert_array_equal(path.norm(times), np.hypot(path.alpha, path.sigma))
    for call in (path.norm, path.alpha_bar_at, path.half_log_snr, path.alpha_sigma):
        with pytest.raises(ValueError, match="t: given"):
            call(T + 0.5)


def test_a_schedule_that_preserves_the_variance_has_norm_1():
    for schedule in (D.linear_schedule(30), D.zero_terminal_snr(D.cosine_schedule(30))):
        assert schedule.norm(np.arange(31)) == 1 and schedule.norm(2.5) == 1
        assert not schedule.is_straight


def test_values_copies_and_their_text():
    for path in PATHS.values():
        for other in (copy.deepcopy(path), pickle.loads(pickle.dumps(path))):
            assert type(other) is D.Path and other == path and hash(other) == hash(path)
            assert other.alpha.tobytes() == path.alpha.tobytes() and not other.sigma.flags.writeable
        assert twin(path) != path and path != twin(path)
    assert PATHS["shifted"] != STRAIGHT
    assert repr(STRAIGHT) == (
        "Path(T = 50, alpha[25] = 0.5, sigma[25] = 0.5, alpha[50] = 0, sigma[50] = 1)"
    )
    assert (D.straight_schedule(1).alpha.tolist(), D.straight_schedule(1).sigma.tolist()) == (
        [1, 0],
        [0, 1],
    )


@pytest.mark.parametrize(
    ("alpha", "sigma", "words"),
    [
        ([1, 0.5, 0.0], [0, 0.5], "sigma: given 2 numbers, wanted 3"),
        ([0.9, 0.5], [0, 1], r"alpha: given alpha\[0\] = 0.9, wanted 1"),
        ([1, 0.5], [0.1, 1], r"sigma: given sigma\[0\] = 0.1, wanted 0"),
        ([1, 0.5, 0.5], [0, 0.5, 0.5], r"alpha: given alpha\[2\] = 0.5 and sigma\[2\] = 0.5"),
        ([1, 0.5, -0.1], [0, 0.5, 1], r"alpha: given alpha\[2\] = -0.1"),
        ([1, 0.0, 0.0], [0, 0.5, 1], r"alpha: given alpha\[2\] = 0"),
        ([1, 0.5], [0, -0.5], "wanted alpha / sigma to fall"),
        ([1, 0.5], [0, 0.0], "wanted alpha / sigma to fall"),
        ([1, np.nan], [0, 1], "alpha: given NaN"),
        ([1, 0.5], [0, np.inf], "sigma: given NaN or infinity"),
        ([1], [0], "alpha: given shape"),
        (np.ones((2, 2)), [0, 1], "alpha: given shape"),
        (["a", "b"], [0, 1], "alpha: given .*, wanted real numbers"),
    ],
)
def test_what_is_no_path_is_said(alpha, sigma, words):
    with pytest.raises((TypeError, ValueError), match=words):
        D.Path(alpha, sigma)
    for call in (lambda: D.straight_schedule(0), lambda: D.straight_schedule(10, 0.0)):
        with pytest.raises(ValueError, match=r"(timesteps|shift): given"):
            call()


# --- the identity: divided by its norm, each path is the variance-preserving one ---


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sampler", EVERY)
def test_samples_are_those_of_the_variance_preserving_path(sampler, rule, name):
    path = PATHS[name]
    make, condition = RULES[rule]
    times = TIMES[1:] if rule == "classifier" and path.alpha[-1] == 0 else TIMES
    first = times[-1] if sampler == "invert" else times[0]

    def run(denoise, start):
        rng = np.random.default_rng(7)
        return list(EVERY[sampler](make(denoise), start, CONDITION[condition], times, rng))

    if rule == "cfg++" and sampler not in USES_NOISE:
        with pytest.raises(ValueError, match=r"CFG\+\+"):
            run(TWO.denoiser(path), X)
        return
    wanted = run(TWO.denoiser(twin(path)), X)
    for predicts in predicted_on(path):
        denoise = D.denoiser(model_of(TWO.denoiser(path), predicts), path, predicts)
        if sampler == "edm":  # asks between the times, where the tables of the model end
            denoise = TWO.denoiser(path)
        for step, of_twin in zip(run(denoise, norm(path, first) * X), wanted, strict=True):
            assert step.t == of_twin.t
            assert np.isfinite(step.x).all() and np.isfinite(step.x0).all()
            if rule != "rescaled":  # a rule for what the noise is, and that is the same; see below
                np.testing.assert_allclose(
                    step.x / norm(path, step.t), of_twin.x, rtol=1e-6, atol=1e-7
                )
                np.testing.assert_allclose(step.x0, of_twin.x0, rtol=1e-6, atol=1e-7)
        low = run(denoise, (norm(path, first) * X).astype(np.float32))
        assert all(step.x.dtype == step.x0.dtype == np.float32 for step in low)
        assert all(np.isfinite(step.x).all() for step in low)


@pytest.mark.parametrize("name", PATHS)
def test_new_noise_and_shifts_of_the_mean_are_those_of_the_variance_preserving_path(name):
    path = PATHS[name]
    for sampler, options in (
        (S.ddim, lambda schedule: {"eta": 1.0}),
        (S.ddpm, lambda schedule: {"variance": "learned"}),
        (S.ddpm, lambda schedule: {"mean_shift": gradient(TWO.log_prob(schedule))}),
    ):

        def run(schedule, start, sampler=sampler, options=options):
            rng = np.random.default_rng(7)
            denoise = TWO.denoiser(schedule)
            return sampler(denoise, start, LABELS, TIMES, rng, **options(schedule))

        pairs = zip(run(path, norm(path, T) * X), run(twin(path), X), strict=True)
        for step, wanted in pairs:
            np.testing.assert_allclose(step.x / norm(path, step.t), wanted.x, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["straight", "shifted"])
def test_eulers_method_in_sigma_is_ddim(name):
    """x goes on by the velocity, dx/dsigma = noise - x_0: what flow matching writes."""
    path = PATHS[name]
    exact = TWO.denoiser(path)
    denoise = D.denoiser(model_of(exact, "velocity"), path, "velocity")
    x = X
    for t, s in pairwise(TIMES):
        p = exact(x, t, LABELS)
        x = x + (path.sigma[s] - path.sigma[t]) * (p.noise - p.x0)
    for sampler in (S.ddim, S.euler):
        np.testing.assert_allclose(final(sampler(denoise, X, LABELS, TIMES)), x, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "ratio"),
    [
        ("ddim", {}, 2),
        ("heun", {}, 4),
        ("dpmpp_2m", {}, 4),
        ("unipc", {"order": 1}, 4),
        ("unipc", {"order": 2, "lower_order_final": False}, 8),
        ("unipc", {"order": 3, "lower_order_final": False}, 16),
    ],
)
def test_halving_the_steps_on_the_straight_path(name, options, ratio):
    """Between any two times of it, whole or not; the truth has more steps of the highest order."""
    exact = D.exact.GaussianMixture([[-0.6], [0.5]], [0.3, 0.2]).denoiser(STRAIGHT)
    x = np.random.default_rng(1).standard_normal((32, 1))

    def run(steps, name, options):
        grid = np.linspace(45, 5, steps + 1)
        return final(S.SAMPLERS[name](exact, x, times=grid, **options))

    truth = run(1500, "unipc", {"order": 3, "lower_order_final": False})
    coarse, fine = (np.abs(run(steps, name, options) - truth).mean() for steps in (120, 240))
    assert 0.7 * ratio < coarse / fine < 1.3 * ratio


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "heun", "dpmpp_2m_sde", "unipc"])
def test_from_pure_noise_to_the_data(sampler):
    """`sample` starts at the size that the noise has there; the moments are the data's."""
    for path in (STRAIGHT, PATHS["exploding"]):
        x = D.sample(TWO.denoiser(path), n=1000, steps=T, sampler=sampler, rng=3, dtype=np.float64)
        mean, covariance = TWO.mean_and_covariance()
        assert np.all(np.abs(x.mean(axis=0) - mean) < 0.07)
        np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.05)


@pytest.mark.parametrize("name", PATHS)
def test_the_forward_process_and_the_way_back(name):
    path = PATHS[name]
    rng = np.random.default_rng(2)
    x0, noise = rng.standard_normal((2, 3, 2))
    t, s = np.array([4, 20, 50]), np.array([2, 19, 10])
    x_t = D.q_sample(path, x0, t, noise)
    column = lambda table, t: table[t][:, None]
    np.testing.assert_allclose(x_t, column(path.alpha, t) * x0 + column(path.sigma, t) * noise)
    mean, variance = D.posterior(path, x0, x_t, t, s)
    # x_s and x_t given x_0 are two Gaussians: the conditional one, by their covariance
    k = (path.alpha[t] / path.alpha[s])[:, None]
    gain = k * column(path.sigma, s) ** 2 / column(path.sigma, t) ** 2
    wanted = column(path.alpha, s) * x0 + gain * (x_t - column(path.alpha, t) * x0)
    np.testing.assert_allclose(mean, wanted, rtol=1e-9, atol=1e-12)
    wanted = column(path.sigma, s) ** 2 * (1 - gain * k)
    np.testing.assert_allclose(variance, wanted, rtol=1e-8)


@pytest.mark.parametrize("variance", ["small", "large", "learned"])
@pytest.mark.parametrize("name", PATHS)
def test_bits_are_those_of_the_variance_preserving_path(name, variance):
    path = PATHS[name]
    x0 = TWO.sample(3, 0)
    bits, wanted = (
        D.bits_per_dim(TWO.denoiser(schedule), x0, 5, variance=variance)
        for schedule in (path, twin(path))
    )
    for part, other in zip(bits, wanted, strict=True):
        np.testing.assert_allclose(part, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", PATHS)
def test_editing_is_that_of_the_variance_preserving_path(name):
    path = PATHS[name]
    a, b = TWO.sample(6, 0).reshape(2, 3, 2)
    mask = np.array([1.0, 0.0])
    fill = lambda denoise, x: D.inpaint(
        denoise, x, None, TIMES, 1, known=a, mask=mask, jump=2, rounds=2
    )
    steps = zip(
        fill(TWO.denoiser(path), norm(path, T) * X), fill(TWO.denoiser(twin(path)), X), strict=True
    )
    for step, wanted in steps:
        np.testing.assert_allclose(step.x / norm(path, step.t), wanted.x, rtol=1e-6, atol=1e-7)
    for edit in (
        lambda d: final(D.image_to_image(d, a, 30, 0, steps=5)),
        lambda d: D.interpolate(d, a, b, [0.0, 0.3, 1.0], times=TIMES),
    ):
        made, wanted = (edit(TWO.denoiser(schedule)) for schedule in (path, twin(path)))
        np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-7)
