"""The mean velocity: networks of two times, their loss, and passes from one time to another.

Of data ~ N(m, s²) all is known. Samples flow along rays: (z_t - (1 - t) m) / norm(t) stays the
same, where norm(t)² = (1 - t)² s² + t². So, for m = 0, the mean velocity is z (1 - norm(r) /
norm(t)) / (t - r).
"""

import math
import re

import numpy as np
import pytest

import minidiff as md
import minidiff.diffusion as D
from minidiff import ops
from minidiff.autograd.tensor import as_tensor
from minidiff.diffusion import mean_flow

T = 20
SPREAD = 0.5
MEANS = np.array([0.0, 0.7, -0.4])  # by label; the null label's is what a guided network goes from


class Exact(md.nn.Module):
    """The mean velocity of N(MEANS[label], SPREAD²), its scale off by a factor."""

    timesteps = T
    sample_shape = (2,)

    def __init__(self, factor=1.0, means=MEANS):
        self.factor = md.Tensor(np.array(factor), requires_grad=True)
        self.means = md.Tensor(np.array(means), requires_grad=True)

    def __call__(self, x, t, condition=None, r=None):
        times = t, t if r is None else r
        t, r = (ops.reshape(as_tensor(time) / T, shape=(-1, 1)) for time in times)
        labels = np.zeros(len(x), int) if condition is None else condition
        mean = ops.reshape(self.means[labels], shape=(-1, 1))
        at_once = t.data == r.data
        slope = (t - (1 - t) * SPREAD**2) / norm(t)
        chord = (norm(t) - norm(r)) / ops.where(at_once, 1.0, t - r)
        ray = (x - (1 - t) * mean) / norm(t)
        return (ray * ops.where(at_once, slope, chord) - mean) * self.factor


def norm(t):
    return ops.sqrt(((1 - t) * SPREAD) ** 2 + t**2)


def mean_gradients(model, labels=None, **options):
    """Those of the loss for `factor` and `means`, over many samples, in standard errors of each."""
    found = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        x0 = rng.standard_normal((1000, 2)) * SPREAD
        drawn = None if labels is None else rng.choice(labels, 1000)
        if drawn is not None:
            x0 = x0 + MEANS[drawn, None]
        model.factor.grad = model.means.grad = None
        mean_flow.loss(model, x0, drawn, rng, **options).backward()
        found.append(np.append(model.factor.grad, model.means.grad))
    errors = np.std(found, axis=0) / math.sqrt(len(found))
    return np.mean(found, axis=0) / np.where(errors > 0, errors, 1.0)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_the_mean_velocity_is_where_the_loss_is_least(share):
    assert np.all(np.abs(mean_gradients(Exact(), share=share)) < 4)
    assert mean_gradients(Exact(0.9), share=share)[0] < -10
    assert mean_gradients(Exact(1.1), share=share)[0] > 10


def test_what_a_guided_network_learns():
    """v_null + w (v - v_null): of Gaussians of one width, that of one whose mean is moved."""
    guided = Exact(means=[0.0, *(1.5 * MEANS[1:])])
    assert np.all(np.abs(mean_gradients(guided, [1, 2], guidance=1.5)) < 4)
    plain = mean_gradients(Exact(), [1, 2], guidance=1.5)
    assert plain[2] < -10 and plain[3] > 10  # away from the null label's mean


def test_what_has_no_condition_is_not_guided():
    x0 = np.random.default_rng(0).standard_normal((50, 2))
    null = np.zeros(50, int)
    losses = [mean_flow.loss(Exact(), x0, null, 1, guidance=w).item() for w in (1, 5)]
    assert losses[0] == losses[1]


class Ramp(md.nn.Module):
    """factor · t, wherever x is."""

    timesteps = T

    def __init__(self):
        self.factor = md.Tensor(np.array(0.0), requires_grad=True)

    def __call__(self, x, t, condition=None, r=None):
        return x * 0 + ops.reshape(as_tensor(t) / T, shape=(-1, 1)) * self.factor


@pytest.mark.parametrize("share", [0, 1])
def test_the_derivative_is_a_constant_and_times_are_drawn_as_asked(share):
    """At factor 0, of data 1, the gradient is 2 E[t], and not 2 E[t + (t - r)]."""
    model = Ramp()
    x0 = np.ones((100_000, 1))
    mean_flow.loss(model, x0, None, 0, share=share, mean=-0.3, std=0.8).backward()
    normal = np.random.default_rng(1).standard_normal((1 + share, 100_000)).max(axis=0)
    expected = np.mean(1 / (1 + np.exp(0.3 - 0.8 * normal)))
    np.testing.assert_allclose(model.factor.grad / 2, expected, atol=0.01)


def test_of_a_batch_of_one_a_share_has_an_interval():
    """Told by how much the network is asked: for its velocity too where there is an interval."""

    class Counted(Exact):
        calls = 0

        def __call__(self, *inputs):
            self.calls += 1
            return super().__call__(*inputs)

    model = Counted()
    rng = np.random.default_rng(0)
    for _ in range(400):
        mean_flow.loss(model, np.ones((1, 2)), None, rng, share=0.3)
    with_interval = model.calls - 400
    assert 85 < with_interval < 155


@pytest.mark.parametrize("passes", [1, 2, 7])
def test_any_number_of_passes_leads_along_the_flow(passes):
    labels = np.array([1, 2, 0])
    noise = np.random.default_rng(3).standard_normal((3, 2))
    model = Exact()
    mean_flow.loss(model, noise, labels, 0)
    drawn = mean_flow.sample(model, labels, passes, rng=3, dtype=np.float64)
    # at t = 1 norm is 1, at t = 0 it is SPREAD
    np.testing.assert_allclose(drawn, MEANS[labels, None] + SPREAD * noise, rtol=1e-12)


def test_a_network_of_two_times_is_one_of_its_velocity():
    """All other samplers draw by it, many small steps where one pass leads."""
    model = Exact()
    labels = np.array([1, 2, 0])
    mean_flow.loss(model, np.ones((3, 2)), labels, 0)
    assert model.parameterization == D.Parameterization(D.straight_schedule(T), "velocity")
    fine = D.sample(model, labels, sampler="heun", steps=T, rng=3, dtype=np.float64)
    one = mean_flow.sample(model, labels, rng=3, dtype=np.float64)
    np.testing.assert_allclose(fine, one, atol=5e-3)


def test_the_steps_say_where_they_lead():
    model = Exact()
    mean_flow.loss(model, np.ones((2, 2)), None, 0)
    options = {"n": 2, "passes": 4, "rng": 3, "dtype": np.float64}
    steps = list(mean_flow.sample_steps(model, **options))
    assert [step.t for step in steps] == [15, 10, 5, 0]
    np.testing.assert_array_equal(steps[-1].x, steps[-1].x0)
    np.testing.assert_array_equal(steps[-1].x, mean_flow.sample(model, **options))


# --- the network for images ---


def small(**options):
    return md.models.MeanFlowUNet(1, 8, (1, 2), 3, timesteps=T, **options)


def test_it_has_the_parameters_of_a_unet():
    assert md.models.MeanFlowUNet().num_parameters == md.models.UNet().num_parameters == 420_497
    assert md.models.MeanFlowUNet(timesteps=1000).num_parameters == 420_497


@pytest.mark.parametrize(("along_x", "along_t"), [(0, 1), (1, 0), (1, 2)])
def test_its_derivative(along_x, along_t):
    """For x and for the time: held against a difference of what it gives, in float32."""
    model = small()
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((2, 3, 8, 8, 1)).astype(np.float32)
    t = np.array([5.0, 12.5, 19.0])
    labels = np.array([1, 2, 0])
    f = lambda x, t: model(x, t, labels, md.Tensor(np.array([4.0, 0.0, 3.5])))
    _, du = md.jvp(f, (x, t), (v * along_x, np.full(3, float(along_t))))
    step = 2.0**-6
    ahead, behind = (
        f(x + np.float32(s * along_x) * v, t + s * along_t).data for s in (step, -step)
    )
    slope = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(du.data, slope, atol=2e-2 * np.abs(slope).max())
    assert np.abs(slope).max() > 1e-3


def test_r_is_t_unless_given():
    model = small()
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype(np.float32)
    at_once = model(x, 7, [1, 1]).data
    np.testing.assert_array_equal(at_once, model(x, 7, [1, 1], 7).data)
    np.testing.assert_array_equal(at_once, model(x, np.array([7.0, 7.0]), [1, 1]).data)
    assert np.abs(at_once - model(x, 7, [1, 1], 2).data).max() > 1e-3


def test_it_is_saved_with_what_it_learned(tmp_path):
    model = small()
    x0 = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    mean_flow.loss(model, x0, np.array([0, 1, 2, 3]), 0, guidance=2).backward()
    path = tmp_path / "network.safetensors"
    md.save(path, model)
    again = md.load(path)
    one = mean_flow.sample(model, [1, 2], rng=0)
    assert one.shape == (2, 8, 8, 1) and np.abs(one).max() <= 1
    np.testing.assert_array_equal(one, mean_flow.sample(again, [1, 2], rng=0))


def test_threads_do_not_matter():
    x0 = np.random.default_rng(0).uniform(-1, 1, (96, 16, 16, 1)).astype(np.float32)
    labels = np.arange(96) % 4
    found = []
    before = md.get_num_threads()
    for threads in (1, 2):
        md.set_num_threads(threads)
        model = small()
        loss = mean_flow.loss(model, x0, labels, 1, guidance=1.5, share=0.5)
        loss.backward()
        found.append((loss.item(), model.enter.weight.grad.copy()))
    md.set_num_threads(before)
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


# --- wrong calls ---


def trained():
    model = Exact()
    model.parameterization = D.Parameterization(D.straight_schedule(T), "velocity")
    return model


@pytest.mark.parametrize(
    ("schedule", "predicts"),
    [
        (D.cosine_schedule(T), "v"),
        (D.straight_schedule(T), "x0"),
        (D.straight_schedule(T, shift=3), "velocity"),
    ],
)
def test_a_network_that_has_learned_something_else_is_refused(schedule, predicts):
    """Else it would be drawn from, or trained, as if it gave the mean velocity."""
    model = Exact()
    model.parameterization = D.Parameterization(schedule, predicts)
    x = np.ones((2, 2))
    for call in (
        lambda: mean_flow.loss(model, x, None, 0),
        lambda: mean_flow.sample(model, [1, 2]),
        lambda: mean_flow.jump(model, x, [1, 2]),
    ):
        with pytest.raises(ValueError, match=r"^model: given one that was trained on .*straight"):
            call()


def test_the_steps_from_a_place_of_ones_own():
    model = trained()
    labels = np.array([1, 2, 0])
    x = np.random.default_rng(3).standard_normal((3, 2))
    drawn = D.final(mean_flow.jump(model, x, labels, [T, 5, 0], clip=None))
    np.testing.assert_allclose(drawn, MEANS[labels, None] + SPREAD * x, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mean_flow.loss(Exact(), np.ones((2, 2)), None, 0, guidance=2),
            "guidance: given 2 without conditions, wanted 1, or conditions",
        ),
        (
            lambda: mean_flow.loss(Exact(), np.ones((0, 2)), None, 0),
            "x0: given shape (0, 2), wanted at least one sample",
        ),
        (
            lambda: mean_flow.loss(Exact(), np.ones((2, 2)), None, 0, share=1.5),
            "share: given 1.5, wanted ",
        ),
        (
            lambda: mean_flow.loss(Exact(), np.ones((2, 2)), None, 0, std=0),
            "std: given 0, wanted ",
        ),
        (
            lambda: mean_flow.loss(md.models.UNet(), np.ones((2, 28, 28, 1)), None, 0),
            "model: ",
        ),
        (
            lambda: mean_flow.loss(lambda x, t, condition, r: x, np.ones((2, 2)), None, 0),
            "model: given function, wanted a network of two times",
        ),
        (
            lambda: mean_flow.loss(md.models.MeanFlowUNet, np.ones((2, 2)), None, 0),
            "model: given the class MeanFlowUNet, wanted what it gives: type MeanFlowUNet()",
        ),
        (
            lambda: mean_flow.loss(Exact(), np.ones((2, 2)), None, 0, guidance=math.inf),
            "guidance: given inf, wanted a finite number",
        ),
        (
            lambda: mean_flow.loss(Exact(), np.ones((2, 2)), None, 0, guidance_scale=2),
            "loss: guidance is learned: type mean_flow.loss(model, x0, labels, rng, guidance=1.3)",
        ),
        (
            lambda: mean_flow.loss(small(), np.zeros((2, 8, 8, 1)), None, 0),
            "x: given float64, wanted float32, as the model's weights: type x.astype('float32')",
        ),
        (
            lambda: mean_flow.sample(D.denoiser(Exact(), D.straight_schedule(T), "velocity")),
            "model: given Denoise",
        ),
        (lambda: mean_flow.sample(md.models.UNet(), [1]), "model: "),
        (
            lambda: mean_flow.sample(Exact(), [1]),
            "model: given Exact without training, wanted one that mean_flow.loss has trained",
        ),
        (
            lambda: mean_flow.sample(trained(), [1], passes=0),
            "passes: given 0, wanted an integer from 1 to 20",
        ),
        (
            lambda: mean_flow.sample(trained(), [1], passes=21),
            "passes: given 21, wanted an integer from 1 to 20",
        ),
        (
            lambda: mean_flow.sample(trained(), [1], steps=4),
            "sample: steps are called passes here",
        ),
        (
            lambda: mean_flow.sample(trained(), [1], sampler="heun"),
            "type diffusion.sample(model, labels, sampler='heun')",
        ),
        (
            lambda: mean_flow.sample(trained(), [1], guidance=2),
            "sample: guidance is learned: type mean_flow.loss(",
        ),
        (
            lambda: mean_flow.jump(
                D.guidance.classifier_free(trained(), 2), np.ones((2, 2)), [1, 2]
            ),
            "model: given Denoise, wanted a network of two times",
        ),
        (
            lambda: D.sample(trained(), [1], sampler=mean_flow.jump, steps=1),
            "such as models.MeanFlowUNet(): type the network itself, whose guidance is learned",
        ),
        (
            lambda: small()(np.ones((1, 8, 8, 1), np.float32), 3, [1], 5),
            "r: given one 2 above t, wanted at most t",
        ),
        (
            lambda: small()(np.ones((1, 8, 8, 1), np.float32), 3, [1], -1),
            "r: given -1, wanted times",
        ),
        (lambda: small()(np.ones((1, 8, 8, 1), np.float32), 21, [1]), "t: "),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call()
