"""Averages made after training, against averages that were made during it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff as md
from minidiff import nn, optim

WIDTHS = st.floats(0.01, 0.28)


class Point(nn.Module):
    """Three weights and a buffer."""

    def __init__(self):
        self.weight = md.Tensor(np.zeros(3), requires_grad=True)
        self.register_buffer("count", np.zeros(1))


def walk(n):
    """Where the weights are after each of n updates."""
    s = np.arange(1, n + 1) / n
    return np.stack([s**2, np.sin(6 * s), np.exp(-3 * s)], axis=1)


def trained(average, model, n=400):
    for weights in walk(n):
        model.weight.data = weights
        average.update()
    return average


@given(WIDTHS)
def test_the_width_is_the_standard_deviation_of_the_updates_that_count(width):
    s = (np.arange(200_000) + 0.5) / 200_000
    shares = s ** optim.PowerLaw(width).gamma
    shares /= shares.sum()
    spread = np.sqrt(shares @ (s - shares @ s) ** 2)
    assert spread == pytest.approx(width, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(WIDTHS, st.integers(1, 60))
def test_updates_count_by_a_power_of_their_number(width, n):
    model = Point()
    average = trained(optim.EMA(model, optim.PowerLaw(width)), model, n)
    gamma = optim.PowerLaw(width).gamma
    decays = np.array([(1 - 1 / k) ** (gamma + 1) for k in range(1, n + 1)])
    shares = np.array([(1 - decays[k]) * decays[k + 1 :].prod() for k in range(n)])
    assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(average.average["weight"], shares @ walk(n), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.04, 0.17))
def test_an_average_chosen_afterwards_is_the_one_made_during_training(width):
    model = Point()
    during = optim.EMA(model, optim.PowerLaw(width))
    ema = optim.PostHocEMA(model, moments=range(40, 401, 40))
    for weights in walk(400):
        model.weight.data = weights
        during.update()
        ema.update()
    afterwards = ema.averaged(width)["weight"]
    np.testing.assert_allclose(afterwards, during.average["weight"], atol=3e-3)
    far_off = np.abs(ema.average["weight"] - during.average["weight"]).max()
    assert abs(width - 0.1) < 0.02 or np.abs(afterwards - during.average["weight"]).max() < far_off


def test_the_two_widths_that_were_kept_come_back_as_they_are():
    model = Point()
    ema = trained(optim.PostHocEMA(model, range(40, 401, 40), (0.12, 0.06)), model)
    np.testing.assert_allclose(ema.averaged(0.12)["weight"], ema.average["weight"], atol=1e-12)
    second = ema.second.average["weight"]
    np.testing.assert_allclose(ema.averaged(0.06)["weight"], second, atol=1e-12)


def test_an_average_is_of_the_last_moment_and_has_all_that_a_model_loads():
    model = Point()
    ema = optim.PostHocEMA(model, [10, 20, 1000])
    trained(ema, model, 20)
    at_20 = ema.averaged(0.1)["weight"]
    model.weight.data = np.full(3, 9.0)
    ema.update()
    np.testing.assert_array_equal(ema.averaged(0.1)["weight"], at_20)
    Point().load_state_dict(ema.averaged(0.07))


def test_a_resumed_average_is_the_unbroken_one():
    model = Point()
    moments = [10, 20, 30]
    unbroken = optim.PostHocEMA(model, moments)
    first = optim.PostHocEMA(model, moments)
    for weights in walk(30)[:15]:
        model.weight.data = weights
        unbroken.update()
        first.update()
    resumed = optim.PostHocEMA(model, moments)
    resumed.load_state_dict(first.state_dict())
    for weights in walk(30)[15:]:
        model.weight.data = weights
        unbroken.update()
        resumed.update()
    for name, array in unbroken.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], array)
    chosen = resumed.averaged(0.08)["weight"]
    np.testing.assert_array_equal(chosen, unbroken.averaged(0.08)["weight"])


def test_a_checkpoint_of_it_loads_the_first_average(tmp_path):
    model = md.models.ConditionalMLP()
    ema = optim.PostHocEMA(model, [1, 2])
    model.chain.layers[-1].bias.data += 1
    ema.update()
    model.chain.layers[-1].bias.data += 1
    ema.update()
    path = md.save(tmp_path / "model.safetensors", model, ema)
    loaded = dict(md.load(path).named_parameters())
    for name, average in ema.average.items():
        np.testing.assert_array_equal(loaded[name].data, average)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda: optim.PowerLaw(0), "width: given 0, wanted a number in"),
        (lambda: optim.PowerLaw(0.3), "width: given 0.3, wanted a number in"),
        (lambda: optim.PostHocEMA(Point(), []), "moments: given"),
        (lambda: optim.PostHocEMA(Point(), [3, 2]), "moments: given"),
        (lambda: optim.PostHocEMA(Point(), [0]), "moments: given 0, wanted an integer"),
        (lambda: optim.PostHocEMA(Point(), [1], (0.1, 0.1)), "widths: given"),
    ],
)
def test_what_cannot_be_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


def test_before_the_first_moment_there_is_nothing_to_choose_from():
    model = Point()
    ema = trained(optim.PostHocEMA(model, [100]), model, 99)
    with pytest.raises(RuntimeError, match="averaged: given 99 updates so far, wanted 100"):
        ema.averaged(0.1)
