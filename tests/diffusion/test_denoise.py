"""Parameterisations, learned variance, and how a network is run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import PREDICTS, TWO, model_of, target_of

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion.prediction import noise_from_x0, x0_from_noise
from minidiff.diffusion.variance import log_variance_between, log_variance_range

SCHEDULE = D.cosine_schedule(50)


@given(st.sampled_from(sorted(PREDICTS)), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_perfect_model_gives_back_x0_and_noise(predicts, seed, each):
    rng = np.random.default_rng(seed)
    x0, noise = rng.standard_normal((2, 3, 2, 2, 1))
    t = rng.integers(1, 50, size=3) if each else int(rng.integers(1, 50))
    x = D.q_sample(SCHEDULE, x0, t, noise)
    model = lambda *_: target_of(predicts, SCHEDULE, x0, t, noise)
    p = D.denoiser(model, SCHEDULE, predicts)(x, t, None)
    np.testing.assert_allclose(p.x0, x0, atol=1e-9)
    np.testing.assert_allclose(p.noise, noise, atol=1e-9)
    assert p.log_variance is None
    np.testing.assert_allclose(noise_from_x0(SCHEDULE, x, t, x0), noise, atol=1e-9)
    np.testing.assert_allclose(x0_from_noise(SCHEDULE, x, t, noise), x0, atol=1e-9)


def test_v_is_the_velocity_along_the_circle():
    """With alpha = cos φ, sigma = sin φ: v = dx/dφ (Salimans & Ho 2022)."""
    x0, noise = np.random.default_rng(0).standard_normal((2, 4, 2))
    phi = np.arctan2(np.sqrt(1 - SCHEDULE.alpha_bar[20]), np.sqrt(SCHEDULE.alpha_bar[20]))
    at = lambda phi: np.cos(phi) * x0 + np.sin(phi) * noise
    slope = (at(phi + 1e-6) - at(phi - 1e-6)) / 2e-6
    v = D.Parameterization(SCHEDULE, "v").target(x0, noise, *SCHEDULE.alpha_sigma(20))
    np.testing.assert_allclose(v, slope, atol=1e-8)


def test_where_nothing_is_left_of_the_image():
    schedule = D.zero_terminal_snr(SCHEDULE)
    with pytest.raises(ValueError, match=r"predicts: given 'noise'.*alpha_bar_T = 0"):
        D.denoiser(lambda *_: None, schedule)
    x = np.random.default_rng(0).standard_normal((4, 2))
    for predicts in ("x0", "v"):
        p = D.denoiser(model_of(TWO.denoiser(schedule), predicts), schedule, predicts)(x, 50, None)
        np.testing.assert_allclose(p.noise, x)
        np.testing.assert_allclose(
            p.x0, TWO.mean_and_covariance()[0][None].repeat(4, 0), atol=1e-12
        )
    with pytest.raises(ValueError, match="alpha_bar = 0"):
        x0_from_noise(schedule, x, 50, x)


def test_learned_variance_lies_between_the_two_others():
    x = np.random.default_rng(0).standard_normal((3, 2))
    for t in (1, 2, 30, np.array([1, 2, 30])):
        low, high = (np.broadcast_to(bound, 3) for bound in log_variance_range(SCHEDULE, t))
        for place, wanted in ((-1, low), (1, high), (0, (low + high) / 2)):
            model = lambda x, t, c, place=place: np.concatenate([x, 0 * x + place], axis=-1)
            p = D.denoiser(model, SCHEDULE, "x0", learned_variance=True)(x, t, None)
            np.testing.assert_allclose(p.log_variance, np.repeat(wanted[:, None], 2, 1))
            np.testing.assert_allclose(
                log_variance_between(SCHEDULE, x, t, 0 * x + place), p.log_variance
            )
    _, variance = D.posterior(SCHEDULE, x, x, 30)
    np.testing.assert_allclose(np.exp(log_variance_range(SCHEDULE, 30)[0]), variance, rtol=1e-12)
    np.testing.assert_allclose(
        np.exp(log_variance_range(SCHEDULE, 30)[1]), SCHEDULE.beta[30], rtol=1e-9
    )
    assert (
        log_variance_range(SCHEDULE, 1)[0] == log_variance_range(SCHEDULE, 2)[0]
    )  # beta-tilde_1 is 0


class Scale(md.nn.Module):
    """x · weight, and it writes down how it was called."""

    def __init__(self):
        self.weight = md.Tensor(np.array([0.5], np.float32), requires_grad=True)
        self.calls = []

    def __call__(self, x, t, condition=None):
        out = x * self.weight
        self.calls.append(
            (
                self.training,
                out.requires_grad,
                len(x),
                t.shape,
                None if condition is None else condition.shape,
            )
        )
        return out


@pytest.mark.parametrize("training", [True, False])
def test_a_module_runs_in_eval_mode_without_a_tape_and_its_mode_comes_back(training):
    model = Scale().train(training)
    x = np.random.default_rng(0).standard_normal((200, 8, 8, 1)).astype(np.float32)
    out = D.denoiser(model, SCHEDULE)(x, 7, np.ones(200, np.int64))
    assert type(out.x0) is np.ndarray and out.x0.dtype == np.float32
    np.testing.assert_allclose(out.noise, 0.5 * x)
    assert model.training is training
    assert not any(mode or recorded for mode, recorded, *_ in model.calls)
    assert len(model.calls) > 1 and sum(n for _, _, n, _, _ in model.calls) == 200  # in pieces
    assert all(t == (n,) and c == (n,) for _, _, n, t, c in model.calls)

    model.weight = None
    with pytest.raises(TypeError):
        D.denoiser(model, SCHEDULE)(x, 7, None)
    assert model.training is training


def test_errors():
    x = np.zeros((3, 2))
    ok = D.denoiser(lambda x, t, c: x, SCHEDULE)
    for call, error, words in [
        (
            lambda: D.denoiser(lambda x, t, c: x, SCHEDULE, "score"),
            ValueError,
            "predicts: given 'score', wanted one of",
        ),
        (
            lambda: D.denoiser(lambda x, t, c: x[:1], SCHEDULE)(x, 3, None),
            ValueError,
            "model: given an output of shape",
        ),
        (
            lambda: D.denoiser(lambda x, t, c: x, SCHEDULE, "v", True)(x, 3, None),
            ValueError,
            "model: given an output of shape .*twice",
        ),
        (lambda: ok(x, 51, None), ValueError, "t: given"),
        (lambda: ok(x, np.array([1, 2]), None), ValueError, "t: given shape"),
        (lambda: ok(x, 3, np.array([1, 2])), ValueError, "condition: given shape"),
        (lambda: ok(x, 3, np.array([1, 2, -1])), ValueError, "condition: given -1"),
        (lambda: ok(x, 3, np.array(["a", "b", "c"])), TypeError, "condition: given"),
    ]:
        with pytest.raises(error, match=words):
            call()


def test_label_dropout():
    labels = np.arange(1, 10_001)
    dropped = D.label_dropout(labels, 0.2, np.random.default_rng(0))
    assert dropped.dtype == labels.dtype and labels[0] == 1
    assert set(np.unique(dropped[dropped != labels])) == {0}
    assert abs(np.mean(dropped == 0) - 0.2) < 4 * np.sqrt(0.16 / 10_000)
    np.testing.assert_array_equal(D.label_dropout(labels, 0.0, np.random.default_rng(0)), labels)
    assert not D.label_dropout(labels, 1.0, np.random.default_rng(0)).any()
    vectors = D.label_dropout(np.ones((1000, 3), np.float32), 0.5, np.random.default_rng(0))
    assert vectors.dtype == np.float32 and set(map(tuple, vectors)) == {(0, 0, 0), (1, 1, 1)}
    with pytest.raises(ValueError, match=r"prob_uncond: given 1\.5"):
        D.label_dropout(labels, 1.5, np.random.default_rng(0))


def test_what_holds_images_prints_one_line():
    image = np.zeros((1, 28, 28, 1), np.float32)
    mixture = D.exact.GaussianMixture(image)
    denoise = mixture.denoiser(D.linear_schedule(30))
    (step, *_) = D.sample_steps(denoise, n=1, shape=(28, 28, 1), steps=2)
    for value in (denoise(image, 5), step, mixture):
        assert len(repr(value)) < 150 and "\n" not in repr(value)
