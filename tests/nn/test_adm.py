"""The ADM UNet: what it knows before it has learned anything, its gradients, its errors."""

import json

import numpy as np
import pytest
from differences import check_gradients

import minidiff as md
from minidiff import diffusion
from minidiff.models import ADMUNet

SCHEDULE = diffusion.cosine_schedule(100)


def small(**config):
    return ADMUNet(SCHEDULE.alpha_bar, widths=(8, 16), **config)


def double_with_all_weights(model, rng):
    """In float64, and with no weight left at zero."""
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape)
    return model


def images(batch, channels=1):
    return np.random.default_rng(0).standard_normal((batch, 28, 28, channels), dtype=np.float32)


def test_the_count_of_parameters_is_below_the_published_networks():
    assert ADMUNet(SCHEDULE.alpha_bar).num_parameters == 328_305 < 420_497


def test_it_is_rebuilt_from_its_configuration():
    model = small(classes=None, channels=3, mean=0.1, std=0.5, attention=(0,))
    again = ADMUNet(**json.loads(json.dumps(model.config)), rng=1)
    assert again.config == model.config
    again.load_state_dict(model.state_dict())
    x = images(2, channels=3)
    np.testing.assert_array_equal(model(x, 5).numpy(), again(x, 5).numpy())


@pytest.mark.parametrize(("mean", "std"), [(-0.74, 0.62), (0.3, 1.4), (0.0, 1.0)])
@pytest.mark.parametrize("t", [0, 1, 50, 99, 100])
def test_a_new_network_knows_gaussian_pixels(mean, std, t):
    """Of x_t = αx_0 + σε with x_0 ~ N(μ, s²): E[x_0] = μ + αs² (x_t − αμ) / (α²s² + σ²)."""
    model = small(mean=mean, std=std)
    x = images(3)
    alpha, sigma = SCHEDULE.alpha_sigma(t)
    centred = (x - alpha * mean) / ((alpha * std) ** 2 + sigma**2)
    x0 = mean + alpha * std**2 * centred
    noise = sigma * centred
    v = alpha * noise - sigma * x0
    np.testing.assert_allclose(model(x, t, [0, 3, 7]).numpy(), v, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mean", "std"), [(-0.74, 0.62), (0.3, 1.4)])
@pytest.mark.parametrize("t", [0, 1, 50, 99.5, 100])
def test_on_the_straight_path_a_new_network_knows_the_velocity_of_gaussian_pixels(mean, std, t):
    path = diffusion.straight_schedule(100)
    model = ADMUNet(path.alpha_bar, widths=(8, 16), mean=mean, std=std, predicts="velocity")
    x = images(3)
    alpha, sigma = path.alpha_sigma(t)
    centred = (x - alpha * mean) / ((alpha * std) ** 2 + sigma**2)
    velocity = sigma * centred - (mean + alpha * std**2 * centred)
    np.testing.assert_allclose(model(x, t, [0, 3, 7]).numpy(), velocity, rtol=1e-4, atol=1e-4)


def test_what_is_left_of_the_velocity_is_scaled_to_one():
    """The guess's error over the scale has the variance 1, by many Gaussian pixels."""
    path = diffusion.straight_schedule(100)
    known = ADMUNet(path.alpha_bar, widths=(8, 16), predicts="velocity").precondition
    rng = np.random.default_rng(0)
    x0 = -0.74 + 0.62 * rng.standard_normal((1, 400, 400, 1))
    noise = rng.standard_normal(x0.shape)
    for t in (3, 50, 97):
        x = diffusion.q_sample(path, x0, t, noise)
        parts = known(x, *known.coefficients(x, np.array([t])))
        rest = (noise - x0 - parts.guess) / parts.scale
        assert abs(rest.std() - 1) < 0.02 and abs(parts.input.std() - 1) < 0.02


def test_it_is_for_v_or_for_the_velocity():
    path = diffusion.straight_schedule(100)
    x = images(2)
    of_velocity = ADMUNet(path.alpha_bar, widths=(8, 16), predicts="velocity")
    diffusion.loss(of_velocity, path, x, None, 0, "velocity")
    again = ADMUNet(**json.loads(json.dumps(of_velocity.config)))
    assert again.predicts == "velocity" and "predicts" not in small().config
    twin = diffusion.Schedule.from_alpha_bar(path.alpha_bar)
    of_v = ADMUNet(path.alpha_bar, widths=(8, 16))
    for model, schedule, predicts in (
        (ADMUNet(**of_velocity.config), path, "v"),
        (ADMUNet(**of_velocity.config), twin, "v"),
        (of_v, path, "v"),
        (of_v, path, "velocity"),
    ):
        with pytest.raises(ValueError, match=r"type ADMUNet\(alpha_bar, predicts='velocity'\)"):
            diffusion.loss(model, schedule, x, None, 0, predicts)
    diffusion.loss(of_v, twin, x, None, 0, "v")
    with pytest.raises(ValueError, match="predicts: given 'noise', wanted one of 'v', 'velocity'"):
        small(predicts="noise")


def test_times_between_whole_ones_are_between():
    x = images(2)
    low, middle, high = (small()(x, t).numpy() for t in (40, 40.5, 41))
    np.testing.assert_allclose(middle, (low + high) / 2, atol=1e-3)
    assert np.abs(high - low).max() > 1e-2


def test_the_null_label_is_label_0():
    model = double_with_all_weights(small(), np.random.default_rng(1))
    x = images(2).astype(np.float64)
    null = model(x, 30).numpy()
    np.testing.assert_array_equal(model(x, 30, [0, 0]).numpy(), null)
    assert np.abs(model(x, 30, [1, 2]).numpy() - null).max() > 1e-3


@pytest.mark.parametrize("classes", [4, None])
def test_the_gradient_of_every_parameter_against_differences(classes):
    rng = np.random.default_rng(0)
    model = double_with_all_weights(small(classes=classes, channels=3), rng)
    x = md.Tensor(rng.standard_normal((2, 8, 8, 3)), requires_grad=True)
    t = np.array([3, 50.5])
    condition = np.array([0, 4]) if classes else None
    u = rng.standard_normal(x.shape)

    check_gradients(model, x, t, condition, u, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"widths": 16}, TypeError, r"widths: given 16, wanted one integer a size, such as \(16,"),
        ({"widths": ()}, TypeError, r"widths: given \(\), wanted one integer a size"),
        ({"widths": (16, 20)}, ValueError, "widths: given 20, wanted multiples of 8"),
        ({"alpha_bar": 100}, ValueError, r"alpha_bar: given shape \(\), wanted \(T \+ 1,\)"),
        (
            {"alpha_bar": [1.0, 2.0]},
            ValueError,
            r"alpha_bar: given 2.0, wanted a number in \[0, 1\]",
        ),
        ({"std": 0}, ValueError, "std: given 0, wanted a number > 0"),
        ({"attention": 1}, TypeError, r"attention: given 1, wanted sizes, such as \(1, 2\)"),
        ({"attention": (3,)}, ValueError, "attention: given 3, wanted an integer from 0 to 2"),
        ({"classes": 0}, ValueError, "classes: given 0"),
        ({"channels": 1.5}, ValueError, "channels: given 1.5"),
    ],
)
def test_what_it_cannot_be_built_of_is_named(config, error, message):
    with pytest.raises(error, match=message):
        ADMUNet(**{"alpha_bar": SCHEDULE.alpha_bar} | config)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": images(2)[:, :0]}, ValueError, "x: given images of 0 × 28, wanted a pixel or more"),
        ({"x": images(2, channels=2)}, ValueError, r"x: given shape .*, wanted \(batch, "),
        ({"t": 101}, ValueError, r"t: given 101, wanted times in 0 … 100"),
        ({"condition": [1, 11]}, ValueError, r"condition: given 1 … 11, wanted labels in 0"),
    ],
)
def test_what_it_cannot_be_called_with_is_named(change, error, message):
    with pytest.raises(error, match=message):
        small()(**{"x": images(2), "t": 1} | change)


def test_another_schedule_than_its_own_is_refused():
    x = images(4)
    with pytest.raises(ValueError, match="schedule: given another than the model's own"):
        diffusion.loss(small(), diffusion.linear_schedule(100), x, None, 0, "v")
    with pytest.raises(ValueError, match="schedule: given T = 50"):
        diffusion.loss(small(), diffusion.cosine_schedule(50), x, None, 0, "v")
