"""The UNet's wiring: gradients of all its parameters, and the same network built by nesting."""

import math

import numpy as np
import pytest
from differences import check_gradients

import minidiff as md
from minidiff.models import UNet
from minidiff.nn import ConditionalChain, ConditionalSkipConnection


def double(model):
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(np.float64)
    return model


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"combine": "add", "channels": 3, "multipliers": (2, 1)},
        {"combine": "multiply", "attention": False, "multipliers": (1, 2)},
        {"classes": None, "multipliers": (1, 2, 4)},
        {"condition_dim": 3, "multipliers": (1,)},
    ],
    ids=str,
)
def test_the_gradient_of_every_parameter_against_differences(config):
    rng = np.random.default_rng(0)
    model = double(UNet(width=8, **config))
    x = md.Tensor(rng.standard_normal((2, 8, 8, model.config["channels"])), requires_grad=True)
    t = np.array([3, 50.5])
    u = rng.standard_normal(x.shape)
    condition = None
    if model.config["classes"]:
        condition = np.array([0, 4])
    elif model.config["condition_dim"]:
        condition = rng.standard_normal((2, 3))

    check_gradients(model, x, t, condition, u)


def test_gradcheck_of_the_image():
    model = double(UNet(width=8))
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 1))
    assert md.gradcheck(lambda x: model(x, 7, [2]), x)


def nested(model):
    """The same layers inside one another: each level's skip goes around all that is deeper."""
    inner = model.bottom
    for level in reversed(range(len(model.down))):
        deeper = ConditionalChain(model.down[level], inner)
        if level < len(model.up):
            deeper = ConditionalChain(deeper, model.up[level])
        skip = ConditionalSkipConnection(deeper)
        inner = ConditionalChain(model.down_blocks[level], skip, model.up_blocks[level])
    return ConditionalChain(model.enter, inner, model.leave)


def test_nested_and_straight_compute_the_same():
    model = UNet(width=8, multipliers=(1, 2, 4), classes=None)
    assert model.num_parameters == 151_401
    x = np.random.default_rng(0).standard_normal((2, 28, 28, 1), dtype=np.float32)
    chain = nested(model)
    assert chain.num_parameters + model.embedding.num_parameters == 151_401
    want = model(x, 9)
    np.testing.assert_array_equal(chain(x, model.embedding(9, None, 2)).numpy(), want.numpy())


def silu(x):
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize("combine", ["concat", "add", "multiply"])
def test_the_ways_to_combine_time_and_condition(combine):
    embedding = UNet(combine=combine).embedding
    t = 5
    table = embedding.condition.weight.numpy()
    phase = t / 10000 ** np.linspace(0, 1, 32)
    h = np.stack([np.sin(phase), np.cos(phase)], -1).reshape(64) @ embedding.time1.weight.numpy()
    h = h + embedding.time1.bias.numpy()
    h = h * 0.5 * (1 + np.array([math.erf(value / math.sqrt(2)) for value in h]))
    time = h @ embedding.time2.weight.numpy() + embedding.time2.bias.numpy()
    label = table[3]
    want = {"concat": np.concatenate([time, label]), "add": time + label, "multiply": time * label}[
        combine
    ]
    assert embedding.dim == len(want)
    np.testing.assert_allclose(embedding(t, [3], 1).numpy()[0], silu(want), rtol=1e-5, atol=1e-6)
