"""The loss, its weights, who chooses the times, and label dropout's place outside of it."""

import math

import numpy as np
import pytest
from worlds import PREDICTS, TWO, model_of

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import losses as L
from minidiff.diffusion.likelihood import step_nats
from minidiff.diffusion.variance import log_variance_between

SCHEDULE = D.linear_schedule(50)


class Line(md.nn.Module):
    """x · a + b · t / T + the label's share: enough to have gradients and to see every input."""

    def __init__(self, double=False):
        self.a = md.Tensor(np.array([0.3]), requires_grad=True)
        self.b = md.Tensor(np.array([0.1]), requires_grad=True)
        self.double = double

    def __call__(self, x, t, condition=None):
        column = lambda values: np.asarray(values, x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        out = x * self.a + self.b * column(t / 50 + (0 if condition is None else condition))
        return md.ops.concatenate([out, out * 0.1], axis=-1) if self.double else out


X0 = np.random.default_rng(1).uniform(-1, 1, (300, 4, 4, 1))
LABELS = np.random.default_rng(2).integers(0, 4, 300)


def draws(seed=0):
    rng = np.random.default_rng(seed)
    t = rng.integers(1, 51, size=300)
    return t, rng.standard_normal(X0.shape)


@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("weight", ["none", "min_snr", "p2", "truncated"])
def test_loss_by_its_formula(predicts, weight):
    """Value and gradients, from draws made here in the stated order: t, then the noise."""
    t, noise = draws()
    column = lambda values: values.reshape(-1, 1, 1, 1)
    a2 = column(SCHEDULE.alpha_bar[t])
    snr = SCHEDULE.alpha_bar[t] / (1 - SCHEDULE.alpha_bar[t])
    x_t = np.sqrt(a2) * X0 + np.sqrt(1 - a2) * noise
    target = {"noise": noise, "x0": X0, "v": np.sqrt(a2) * noise - np.sqrt(1 - a2) * X0}[predicts]
    per_x0 = {"noise": snr, "x0": 1.0, "v": snr + 1}[predicts]
    of_x0 = {
        "none": per_x0,
        "min_snr": np.minimum(snr, 5),
        "p2": snr / (1 + snr),
        "truncated": np.maximum(snr, 1),
    }
    w = column(of_x0[weight] / per_x0 * np.ones(300))
    inputs = column(t / 50 + LABELS) * np.ones_like(x_t)
    error = 0.3 * x_t + 0.1 * inputs - target

    model = Line()
    chosen = {"none": None, "min_snr": L.min_snr(), "p2": L.p2(), "truncated": L.truncated_snr}[
        weight
    ]
    loss = D.loss(model, SCHEDULE, X0, LABELS, np.random.default_rng(0), predicts, weight=chosen)
    assert isinstance(loss, md.Tensor) and loss.shape == ()
    loss.backward()
    np.testing.assert_allclose(loss.item(), np.mean(w * error**2), rtol=1e-9)
    np.testing.assert_allclose(model.a.grad, [np.mean(2 * w * error * x_t)], rtol=1e-9)
    np.testing.assert_allclose(model.b.grad, [np.mean(2 * w * error * inputs)], rtol=1e-9)


def test_weights_agree_between_parameterisations():
    """A weight is one of the error in x_0: models wrong by the same x_0 have the same loss."""
    exact = TWO.denoiser(SCHEDULE)
    x0 = TWO.sample(64, np.random.default_rng(0))
    found = []
    for predicts in PREDICTS:
        says = model_of(exact, predicts)
        model = lambda x, t, c, says=says: md.Tensor(says(x, t, c))
        loss = D.loss(
            model, SCHEDULE, x0, None, np.random.default_rng(0), predicts, weight=L.min_snr()
        )
        found.append(loss.item())
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


def test_float32_stays_and_the_callback_sees_every_sample():
    model = Line()
    seen = {}
    model.a.data = model.a.data.astype(np.float32)
    model.b.data = model.b.data.astype(np.float32)
    callback = lambda t, losses: seen.update(t=t, losses=losses)
    x0 = X0.astype(np.float32)
    loss = D.loss(model, SCHEDULE, x0, LABELS, np.random.default_rng(0), callback=callback)
    plain = D.loss(model, SCHEDULE, x0, LABELS, np.random.default_rng(0))
    assert loss.dtype == plain.dtype == np.float32
    np.testing.assert_allclose(loss.item(), plain.item(), rtol=1e-5)
    np.testing.assert_allclose(seen["losses"].mean(), loss.item(), rtol=1e-5)
    np.testing.assert_array_equal(seen["t"], np.random.default_rng(0).integers(1, 51, size=300))
    with md.no_grad():
        assert not D.loss(model, SCHEDULE, x0, LABELS, np.random.default_rng(0)).requires_grad


def test_the_times_are_uniform():
    seen = []

    def model(x, t, condition):
        seen.append(t)
        return x

    D.loss(model, SCHEDULE, np.zeros((100_000, 2)), None, 0)
    t = np.concatenate(seen)
    assert t.min() == 1 and t.max() == 50
    assert np.abs(np.bincount(t)[1:] / 2000 - 1).max() < 5 / math.sqrt(2000)


@pytest.mark.parametrize(("mean", "std"), [(0.7, 0.8), (-1.0, 0.5)])
def test_log_normal_times_have_the_noise_levels_asked_for(mean, std):
    schedule = D.cosine_schedule(1000)
    t, factors = L.log_normal(schedule, mean, std)(np.random.default_rng(0), 20_000)
    assert np.all(factors == 1)
    levels = np.log(schedule.sigma[t] / schedule.alpha[t])
    assert abs(levels.mean() - mean) < 5 * std / math.sqrt(len(t))
    assert abs(levels.std() - std) < 5 * std / math.sqrt(2 * len(t))


def test_log_normal_times_stay_within_a_short_schedule():
    schedule = D.zero_terminal_snr(D.cosine_schedule(3))
    t, _ = L.log_normal(schedule, 1.0, 2.0)(np.random.default_rng(0), 1000)
    assert set(t) == {1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((D.cosine_schedule(10), 0.0, 0.0), "std: given 0.0, wanted a number > 0"),
        ((D.cosine_schedule(10), math.nan, 1.0), "mean: given nan, wanted a finite number"),
        ((D.cosine_schedule(10), 1e6, 1.0), "mean: given 1000000.0 with std 1.0, wanted noise lev"),
    ],
)
def test_log_normal_levels_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        L.log_normal(*arguments)


def test_learned_variance_adds_the_bound_and_leaves_the_mean_alone():
    t, noise = draws()
    x0 = np.round((X0 + 1) * 127.5) / 127.5 - 1  # 8-bit
    column = lambda values: values.reshape(-1, 1, 1, 1)
    a2 = column(SCHEDULE.alpha_bar[t])
    x_t = np.sqrt(a2) * x0 + np.sqrt(1 - a2) * noise
    out = 0.3 * x_t + 0.1 * column(t / 50)
    x0_hat = (x_t - np.sqrt(1 - a2) * out) / np.sqrt(a2)
    mean, _ = D.posterior(SCHEDULE, x0_hat, x_t, t)
    nats = step_nats(
        SCHEDULE, x0, x_t, t, mean, log_variance_between(SCHEDULE, x_t, t, 0.1 * out), True
    )
    model = Line(double=True)
    loss = D.loss(model, SCHEDULE, x0, None, np.random.default_rng(0), learned_variance=True)
    wanted = np.mean((out - noise) ** 2) + 50 / 1000 * np.mean(nats) / math.log(2)
    np.testing.assert_allclose(loss.item(), wanted, rtol=1e-9)

    # the gradient, with the mean held fixed: a small step in b moves the place of the variance only
    def fixed_mean(b):
        shifted = 0.3 * x_t + b * column(t / 50)
        terms = step_nats(
            SCHEDULE, x0, x_t, t, mean, log_variance_between(SCHEDULE, x_t, t, 0.1 * shifted), True
        )
        return np.mean((shifted - noise) ** 2) + 50 / 1000 * np.mean(terms) / math.log(2)

    loss.backward()
    np.testing.assert_allclose(
        model.b.grad[0], (fixed_mean(0.1 + 1e-6) - fixed_mean(0.1 - 1e-6)) / 2e-6, rtol=1e-6
    )


def test_importance_sampling_keeps_the_mean_and_lowers_its_spread():
    schedule = D.linear_schedule(30)
    size = lambda t: 10.0 / t  # the error made on purpose: the loss at t is size(t)²
    sampler = L.ImportanceSampler(30, history=4)
    rng = np.random.default_rng(0)
    # x0 = 0 makes x_t = sigma · noise, so noise is known and the model can be wrong by exactly
    # size(t)
    exact = lambda x, t, c: md.Tensor(
        x / np.sqrt(1 - schedule.alpha_bar[t])[:, None] + size(t)[:, None]
    )
    x0 = np.zeros((500, 2))
    np.testing.assert_allclose(sampler.probabilities(), 1 / 30)
    for _ in range(4):
        D.loss(exact, schedule, x0, None, rng, draw=sampler.draw, callback=sampler.update)
    p = sampler.probabilities()
    wanted = 1 / np.arange(1, 31) ** 2
    np.testing.assert_allclose(p, 0.999 * wanted / wanted.sum() + 0.001 / 30, rtol=1e-9)
    truth = np.mean(size(np.arange(1, 31)) ** 2)
    seen = [
        D.loss(exact, schedule, x0[:20], None, rng, draw=sampler.draw).item() for _ in range(40)
    ]
    even = [D.loss(exact, schedule, x0[:20], None, rng).item() for _ in range(40)]
    assert abs(np.mean(seen) - truth) < 0.02 * truth
    assert np.std(seen) < 0.1 * np.std(even)


def test_loss_by_time():
    bins = L.LossByTime(50, bins=5)
    bins(np.array([1, 10, 11, 50]), np.array([1.0, 3.0, 5.0, 7.0]))
    bins(np.array([2]), np.array([5.0]))
    np.testing.assert_array_equal(bins.mean(), [3.0, 5.0, np.nan, np.nan, 7.0])


@pytest.mark.parametrize("scale", [lambda x: (x + 1) / 2, lambda x: np.round((x + 1) * 127.5)])
def test_pixels_that_are_not_scaled_are_refused_wherever_images_come_in(scale):
    x0 = scale(X0[:8])
    denoise = TWO.denoiser(SCHEDULE)
    for call in (
        lambda: D.loss(Line(), SCHEDULE, x0, None, 0),
        lambda: D.bits_per_dim(denoise, x0, 0),
        lambda: D.image_to_image(denoise, x0, 30, 0),
        lambda: D.interpolate(denoise, x0, x0, [0.5]),
        lambda: list(D.samplers.invert(denoise, x0)),
        lambda: D.exact.FiniteData(x0),
    ):
        with pytest.raises(ValueError, match=r"given .* … .*wanted images in \[-1, 1\]: type"):
            call()


def test_a_seed_is_the_generator_of_it():
    one = D.loss(Line(), SCHEDULE, X0, LABELS, 3).item()
    assert one == D.loss(Line(), SCHEDULE, X0, LABELS, np.random.default_rng(3)).item()
    assert (
        one
        == D.loss(Line(), SCHEDULE, X0, LABELS, 3).item()
        != D.loss(Line(), SCHEDULE, X0, LABELS, 4).item()
    )
    dropped = D.label_dropout(LABELS, 0.5, 3)
    np.testing.assert_array_equal(dropped, D.label_dropout(LABELS, 0.5, np.random.default_rng(3)))
    np.testing.assert_array_equal(dropped, D.label_dropout(LABELS.tolist(), 0.5, 3))
    np.testing.assert_array_equal(
        D.q_sample(SCHEDULE, X0, 7, rng=3),
        D.q_sample(SCHEDULE, X0, 7, rng=np.random.default_rng(3)),
    )


def test_label_dropout_says_what_a_condition_is():
    assert D.label_dropout(None, 0.5, 0) is None
    for condition in (3, [1.0, 2.0], ["a", "b"], [[1, 2]], [-1, 2]):
        with pytest.raises((TypeError, ValueError), match="condition: given"):
            D.label_dropout(condition, 0.5, 0)


def test_weights_that_cannot_be_are_refused():
    for make, words in (
        (lambda: L.min_snr(0), "gamma: given 0, wanted a number > 0"),
        (lambda: L.p2(k=0), "k: given 0, wanted a number > 0"),
        (lambda: L.p2(gamma=float("nan")), "gamma: given nan, wanted a number >= 0"),
        (
            lambda: D.loss(Line(), SCHEDULE, X0, None, 0, weight=L.min_snr),
            r"weight: given the function min_snr, wanted what it gives: type min_snr\(\)",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            make()


def test_watchers_know_their_times():
    for watch in (L.LossByTime(50), L.ImportanceSampler(50).update):
        with pytest.raises(ValueError, match="t: given 51, wanted times in 1 … 50"):
            watch(np.array([51]), np.array([1.0]))
        with pytest.raises(ValueError, match="t: given 0, wanted times in 1 … 50"):
            watch([0], [1.0])
        watch([50], [1.0])
    for make in (L.LossByTime, L.ImportanceSampler):
        with pytest.raises(ValueError, match="timesteps: given 0, wanted an integer"):
            make(0)


def test_errors():
    rng = np.random.default_rng(0)
    nan = X0.copy()
    nan[3, 1, 2, 0] = np.nan
    terminal = D.zero_terminal_snr(SCHEDULE)
    short = lambda x, t, c: md.Tensor(x[:, :2])
    for call, error, words in [
        (lambda: D.loss(Line(), SCHEDULE, nan, None, rng), ValueError, "x0: given NaN"),
        (lambda: D.loss(Line(), SCHEDULE, X0.astype(int), None, rng), TypeError, "x0: given int64"),
        (
            lambda: D.loss(Line(), SCHEDULE, X0, LABELS[:5], rng),
            ValueError,
            "condition: given shape",
        ),
        (
            lambda: D.loss(Line(), SCHEDULE, X0, -LABELS, rng),
            ValueError,
            "condition: given -3 … 0",
        ),
        (
            lambda: D.loss(Line(), SCHEDULE, X0, None, rng, "score"),
            ValueError,
            "predicts: given 'score'",
        ),
        (lambda: D.loss(Line(), terminal, X0, None, rng), ValueError, "predicts: given 'noise'"),
        (
            lambda: D.loss(short, SCHEDULE, X0, None, rng),
            ValueError,
            "model: given an output of shape",
        ),
        (
            lambda: D.loss(Line(), SCHEDULE, X0, None, rng, learned_variance=True),
            ValueError,
            "model: given an output of shape .*twice",
        ),
    ]:
        with pytest.raises(error, match=words):
            call()
