"""The UNets on images of any size: nothing is lost, nothing looks beyond what is there."""

import numpy as np
import pytest
from differences import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff as md
from minidiff import diffusion
from minidiff.models import ADMUNet, UNet
from minidiff.models.halving import cut_to, made_even

SCHEDULE = diffusion.cosine_schedule(20)


def unet(channels=1, levels=3):
    return UNet(channels, width=8, multipliers=(1,) * levels, classes=2, timesteps=20)


def adm(channels=1, levels=3, **config):
    return ADMUNet(SCHEDULE.alpha_bar, channels, widths=(8,) * levels, classes=2, **config)


def awake(model, dtype=np.float32):
    """With no weight left at zero."""
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        noise = 0.1 * rng.standard_normal(parameter.shape)
        parameter.data = (parameter.data + noise).astype(dtype)
    return model


@settings(deadline=None, max_examples=40)
@given(
    make=st.sampled_from([unet, adm]),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    channels=st.integers(1, 4),
    levels=st.integers(1, 5),
)
def test_what_comes_out_has_the_size_of_what_went_in(make, size, channels, levels):
    model = awake(make(channels, levels))
    x = np.random.default_rng(0).standard_normal((2, *size, channels), np.float32)
    y = model(x, 5, [1, 2])
    assert y.shape == x.shape and y.dtype == np.float32
    assert np.isfinite(y.numpy()).all()


@pytest.mark.parametrize("make", [unet, adm])
@pytest.mark.parametrize("size", [(7, 6), (9, 5)])
def test_gradients_where_a_size_is_odd(make, size):
    model = awake(make(3, 3), np.float64)
    rng = np.random.default_rng(0)
    x = md.Tensor(rng.standard_normal((2, *size, 3)), requires_grad=True)
    u = rng.standard_normal(x.shape)
    check_gradients(model, x, np.array([3, 10]), np.array([0, 2]), u)


@pytest.mark.parametrize("make", [unet, adm])
def test_every_pixel_counts(make):
    """The last row and column are those that padding and cutting could lose."""
    model = awake(make(1, 3), np.float64)
    x = np.random.default_rng(0).standard_normal((1, 5, 7, 1))
    for row, column in ((4, 6), (4, 0), (0, 6)):
        other = x.copy()
        other[0, row, column] += 1
        changed = np.abs(model(other, 5, [1]).numpy() - model(x, 5, [1]).numpy())
        assert changed[0, row, column] > 1e-6 and changed[0, 0, 0] > 1e-9


@given(height=st.integers(1, 9), width=st.integers(1, 9))
def test_cutting_undoes_padding(height, width):
    x = md.Tensor(np.random.default_rng(0).standard_normal((1, height, width, 2)))
    padded = made_even(x)
    assert padded.shape[1] % 2 == padded.shape[2] % 2 == 0
    assert padded.numpy().sum() == pytest.approx(x.numpy().sum())
    np.testing.assert_array_equal(cut_to(padded, x).numpy(), x.numpy())


def test_attention_is_where_it_is_asked_for(monkeypatch):
    seen = []
    attend = md.models.adm.Attention.__call__
    monkeypatch.setattr(
        md.models.adm.Attention,
        "__call__",
        lambda self, x: seen.append(x.shape[1]) or attend(self, x),
    )
    x = np.zeros((1, 12, 12, 1), np.float32)
    wanted = {(): [], None: [3], (2,): [3], (0, 1): [12, 6, 6, 12], (2, 1): [6, 3, 6]}
    for attention, sizes in wanted.items():
        seen.clear()
        adm(1, 3, attention=attention)(x, 5, [1])
        assert seen == sizes
    default = adm(1, 3).num_parameters
    assert adm(1, 3, attention=()).num_parameters < default
    assert adm(1, 3, attention=(2,)).num_parameters == default


def test_the_default_is_the_network_that_ships():
    """Where attention is not asked for, names, weights and configuration are what they were."""
    shipped = md.pretrained("mnist_adm")
    assert "attention" not in shipped.config
    assert shipped.state_dict().keys() == ADMUNet(**shipped.config).state_dict().keys()
