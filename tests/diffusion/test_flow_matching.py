"""Networks on paths: what they predict, how they are trained, at which times, and what is kept."""

import hashlib
import json
import math

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from test_paths import LABELS, PATHS, STRAIGHT, T, X, model_of, predicted_on, twin
from worlds import TWO, final

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion import guidance as G
from minidiff.diffusion import losses
from minidiff.diffusion import samplers as S

# --- what a network predicts ---


def test_guidance_in_the_velocity_is_guidance_in_the_noise():
    exact = TWO.denoiser(STRAIGHT)
    u = model_of(exact, "velocity")
    t = np.full(3, 30)
    guided_u = u(X, t, None) + 2.5 * (u(X, t, LABELS) - u(X, t, None))
    by_velocity = D.denoiser(lambda x, t, c: guided_u, STRAIGHT, "velocity")(X, t)
    by_noise = G.classifier_free(exact, 2.5)(X, t, LABELS)
    np.testing.assert_allclose(by_velocity.noise, by_noise.noise, rtol=1e-10)
    np.testing.assert_allclose(by_velocity.x0, by_noise.x0, rtol=1e-10)


def test_where_there_is_no_signal():
    """At t = T of the straight path x is the noise: the velocity tells x_0, the noise does not."""
    p = D.denoiser(lambda x, t, c: X - 0.25, STRAIGHT, "velocity")(X, T)
    np.testing.assert_allclose(p.x0, 0.25)
    np.testing.assert_array_equal(p.noise, X)
    with pytest.raises(
        ValueError, match=r"given 'noise', wanted 'velocity', 'x0' or 'v': .*_T = 0"
    ):
        D.Parameterization(STRAIGHT, "noise")
    for schedule in (D.cosine_schedule(T), PATHS["exploding"]):
        with pytest.raises(ValueError, match=r"given 'velocity', wanted 'v': .*straight_schedule"):
            D.Parameterization(schedule, "velocity")
    for word, ours in {"flow_prediction": "velocity", "epsilon": "noise", "sample": "x0"}.items():
        with pytest.raises(ValueError, match=f"predicts: given '{word}', wanted '{ours}'"):
            D.Parameterization(STRAIGHT, word)


@pytest.mark.parametrize("weight", [losses.min_snr(), losses.p2(), losses.truncated_snr])
@pytest.mark.parametrize("name", ["straight", "shifted", "exploding"])
def test_weights_are_of_the_error_in_x0(name, weight):
    """A model whose x_0 is wrong by 0.1 loses 0.01 w(SNR), whatever it predicts."""
    path = PATHS[name]
    x0 = TWO.sample(64, 0)
    times = np.random.default_rng(0).integers(1, T + 1, 64)
    snr = (path.alpha[times] / path.sigma[times]) ** 2
    wanted = np.mean(0.01 * weight(snr))
    made = {}
    for predicts in predicted_on(path):

        def model(x_t, t, condition, predicts=predicts):
            alpha, sigma = (table[t][:, None] for table in (path.alpha, path.sigma))
            wrong = x0 + 0.1
            prediction = D.Prediction(wrong, (x_t - alpha * wrong) / sigma)
            known = D.Denoise(lambda *_: prediction, path)
            return md.Tensor(model_of(known, predicts)(x_t, t, condition))

        draw = lambda rng, n: (times, np.ones(n))
        made[predicts] = D.loss(model, path, x0, None, 1, predicts, weight, draw=draw).item()
    np.testing.assert_allclose(list(made.values()), wanted, rtol=1e-6)


def test_a_learned_variance_has_the_loss_of_the_variance_preserving_path():
    x0 = TWO.sample(16, 0)
    made = []
    for schedule in (STRAIGHT, twin(STRAIGHT)):

        def model(x_t, t, condition, schedule=schedule):
            unit = x_t / np.broadcast_to(schedule.norm(t), (16,))[:, None]
            return md.Tensor(np.concatenate([0.5 * unit, np.tanh(unit)], axis=1))

        made.append(D.loss(model, schedule, x0, None, 1, "x0", learned_variance=True).item())
    np.testing.assert_allclose(*made, rtol=1e-6)


# --- times ---


def test_logit_normal_times_by_their_density():
    """Esser et al. 2024, eq. 19: the density of t in (0, 1)."""
    path = D.straight_schedule(40)
    for mean, std in ((0.0, 1.0), (0.5, 0.6), (-1.0, 1.4)):
        t, factors = losses.logit_normal(path, mean, std)(np.random.default_rng(0), 200_000)
        u = (np.arange(400_000) + 0.5) / 400_000
        density = np.exp(-((np.log(u / (1 - u)) - mean) ** 2) / (2 * std**2)) / (u * (1 - u))
        shares = np.bincount(np.rint(u * 40).astype(int), density)[1:]  # time 0 is not drawn
        shares = shares / shares.sum()
        np.testing.assert_allclose(np.bincount(t, minlength=41)[1:] / 200_000, shares, atol=0.004)
        assert np.all(factors == 1)
        same, _ = losses.log_normal(path, mean, std)(np.random.default_rng(0), 200_000)
        np.testing.assert_array_equal(t, same)  # log(sigma / alpha) is logit(t / T) there


def test_a_shift_moves_the_logit():
    shifted = D.straight_schedule(40, 3.0)
    logit = [math.log(t / (40 - t)) for t in range(1, 40)]
    made = [-shifted.half_log_snr(t) for t in range(1, 40)]
    np.testing.assert_allclose(np.array(made) - logit, math.log(3), rtol=1e-12)
    grid = D.times(D.straight_schedule(40), 8, shift=3.0)
    u = np.arange(8, -1, -1) / 8
    np.testing.assert_allclose(grid, 40 * 3 * u / (1 + 2 * u), rtol=1e-12)
    np.testing.assert_allclose(D.times(shifted, 8), 40 * u)  # there nothing is left to shift
    np.testing.assert_array_equal(D.times(D.straight_schedule(40), 8, shift=1.0), 40 * u)
    with pytest.raises(ValueError, match=r"steps: given 40 .*, wanted fewer"):
        D.times(D.straight_schedule(40), 40, shift=0.2)
    with pytest.raises(ValueError, match="shift: given 0"):
        D.times(D.straight_schedule(40), 8, shift=0)
    # samples along both grids are the same
    denoise, of_shifted = TWO.denoiser(D.straight_schedule(40)), TWO.denoiser(shifted)
    made = final(S.heun(denoise, X, LABELS, grid))
    np.testing.assert_allclose(made, final(S.heun(of_shifted, X, LABELS, 40 * u)), atol=1e-9)


# --- a network of it ---


def test_a_network_keeps_its_path(tmp_path):
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=T)
    x = X.astype(np.float32)
    path = D.straight_schedule(T, 2.0)
    D.loss(model, path, x, LABELS, 0, "velocity")
    loaded = md.load(md.save(tmp_path / "m.safetensors", model))
    own = loaded.parameterization
    assert own == D.Parameterization(path, "velocity")
    assert own.schedule.alpha.tobytes() == path.alpha.tobytes()
    drawn = D.sample(loaded, LABELS, steps=5)
    np.testing.assert_array_equal(drawn, D.sample(model, LABELS, steps=5))
    with pytest.raises(ValueError, match=r"schedule: given Path.*wanted the model's own"):
        D.loss(loaded, STRAIGHT, x, LABELS, 0, "velocity")
    exported = md.export.save(tmp_path / "other.safetensors", model)
    assert md.export.load(exported).parameterization == own


@pytest.mark.parametrize(
    "change",
    [
        {"schedule.alpha": np.array([1.0, 0.5, 0.6, 0.0])},
        {"schedule.alpha": np.array([1.0, np.nan, 0.2, 0.0])},
        {"schedule.sigma": np.array([0.0, 1.0])},
        {"schedule.sigma": np.array([0, 1, 2, 3], bool)},
        {"schedule.gamma": np.zeros(4)},
        {"schedule.beta": np.array([0.0, 0.1, 0.1, 0.1])},
    ],
)
def test_a_crafted_path_is_refused(tmp_path, change):
    model = md.models.ConditionalMLP(hidden=4, classes=2, timesteps=3)
    D.loss(model, D.straight_schedule(3), np.zeros((2, 2), np.float32), None, 0, "velocity")
    path = md.save(tmp_path / "m.safetensors", model)
    with safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["minidiff"])
    zeros = "0" * 64  # in place of the checksum, until it is known
    for format_, arrays_, words in (
        (3, arrays | change, "damaged"),
        (5, arrays, "of format 5, wanted format 3"),
    ):
        save_file(
            arrays_, path, {"minidiff": json.dumps(about | {"sha256": zeros, "format": format_})}
        )
        content = path.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        path.write_bytes(content.replace(zeros.encode(), checksum.encode(), 1))
        with pytest.raises(ValueError, match=rf"path: given .*{words}"):
            md.load(path)
