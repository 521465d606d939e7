"""The networks of the table: their sizes, what they refuse, and how conditions are null."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict import registered

import minidiff as md
from minidiff import ops
from minidiff.models import ConditionalMLP, LeNet, LeNet5, ResNet, UNet

TABLE = [
    (5_826, ConditionalMLP, {}),
    (5_826, ConditionalMLP, {"hidden": 32, "classes": 3, "timesteps": 40}),
    (1_442, ConditionalMLP, {"hidden": 16, "classes": None}),
    (420_497, UNet, {}),
    (
        420_497,
        UNet,
        {"channels": 1, "width": 16, "multipliers": (1, 2, 3), "classes": 10, "combine": "concat"},
    ),
    (404_113, UNet, {"combine": "add"}),
    (404_113, UNet, {"combine": "multiply"}),
    (622_865, UNet, {"multipliers": (1, 2, 4)}),
    (403_409, UNet, {"classes": None}),
    (602_705, UNet, {"classes": None, "multipliers": (1, 2, 4)}),
    (376_913, UNet, {"classes": None, "multipliers": (1, 2, 4), "attention": False}),
    (151_401, UNet, {"classes": None, "multipliers": (1, 2, 4), "width": 8}),
    # the Embedding becomes a Dense with bias
    (420_497 - 11 * 64 + 84 * 64 + 64, UNet, {"condition_dim": 84}),
    (44_426, LeNet5, {}),
    (270_942, LeNet, {}),
    (16 * 26 + 32 * 401 + 120 * 33 + 84 * 121 + 85 * 3, LeNet, {"shape": (4, 7, 1), "classes": 3}),
    (200_874, ResNet, {}),
]


@pytest.mark.parametrize(("count", "kind", "config"), TABLE)
def test_the_published_numbers_of_parameters(count, kind, config):
    model = kind(**config)
    assert model.num_parameters == count
    assert type(model.num_parameters) is int
    assert all(p.dtype == np.float32 for p in model.parameters())


@pytest.mark.parametrize(("count", "kind", "config"), TABLE)
def test_a_model_is_rebuilt_from_its_configuration(count, kind, config):
    model = kind(**config)
    again = type(model)(**json.loads(json.dumps(model.config)), rng=1)
    assert again.config == model.config
    assert again.num_parameters == count
    again.load_state_dict(model.state_dict())


@pytest.mark.parametrize("kind", [ConditionalMLP, UNet, LeNet, LeNet5, ResNet])
def test_the_seed_makes_the_weights(kind):
    def same(a, b):
        return all(np.array_equal(p.data, q.data) for p, q in zip(a.parameters(), b.parameters()))

    assert same(kind(), kind(rng=0))
    assert same(kind(rng=3), kind(rng=np.random.default_rng(3)))
    assert not same(kind(rng=0), kind(rng=1))


def images(batch=2, size=28, channels=1):
    return np.random.default_rng(0).standard_normal((batch, size, size, channels), dtype=np.float32)


POINTS = np.zeros((2, 2), np.float32)
MODELS = {
    "mlp": (ConditionalMLP(), POINTS),
    "unet": (UNet(width=8), images()),
    "vectors": (UNet(width=8, condition_dim=3), images()),
    "alone": (ConditionalMLP(classes=None), POINTS),
    "unet alone": (UNet(width=8, classes=None), images()),
}


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [[0.0]]}, TypeError, "x: given list, wanted an array or a Tensor"),
        ({"x": "double"}, TypeError, "x: given float64, wanted float32, as the model's weights"),
        ({"x": "flat"}, ValueError, r"x: given shape .*, wanted \(batch, "),
        ({"x": "channels"}, ValueError, r"x: given shape .*, wanted \(batch, "),
        ({"t": -1}, ValueError, r"t: given -1, wanted times in 0 … \d+"),
        ({"t": 100.5}, ValueError, r"t: given 100\.5, wanted times in 0 … \d+"),
        ({"t": float("nan")}, ValueError, "t: given nan"),
        ({"t": np.array([1, 101])}, ValueError, r"t: given 1 … 101, wanted times in 0 … \d+"),
        ({"t": [1, 2, 3]}, ValueError, r"t: given shape \(3,\), wanted one time, or \(2,\)"),
        ({"t": [[1], [2]]}, ValueError, r"t: given shape \(2, 1\)"),
        ({"t": "1"}, TypeError, "t: given <U1, wanted integers or floats"),
    ],
)
def test_what_cannot_be_x_or_t_is_named(which, change, error, message):
    model, x = MODELS[which]
    bad = {"double": x.astype(np.float64), "flat": x[0], "channels": np.concatenate([x, x], -1)}
    given = {"x": x, "t": 1} | change
    given["x"] = bad[given["x"]] if isinstance(given["x"], str) else given["x"]
    with pytest.raises(error, match=message):
        model(**given)


@pytest.mark.parametrize(
    ("which", "condition", "error", "message"),
    [
        ("mlp", [1, 4], ValueError, r"condition: given 1 … 4, wanted labels in 0 \(null\) … 3"),
        ("unet", [1, 11], ValueError, r"condition: given 1 … 11, wanted labels in 0 \(null\) … 10"),
        ("unet", [-1, 1], ValueError, r"condition: given -1 … 1, wanted labels in 0 \(null\) … 10"),
        (
            "mlp",
            [1, 2, 3],
            ValueError,
            r"condition: given shape \(3,\), wanted \(2,\): one label per sample",
        ),
        ("unet", 1, ValueError, r"condition: given shape \(\), wanted \(2,\)"),
        ("mlp", [1.0, 2.0], TypeError, "condition: given float64, wanted integer labels"),
        (
            "vectors",
            [1, 2],
            ValueError,
            r"condition: given shape \(2,\), wanted \(2, 3\): one vector per sample",
        ),
        (
            "vectors",
            np.zeros((2, 4), np.float32),
            ValueError,
            r"condition: given shape \(2, 4\), wanted \(2, 3\)",
        ),
        ("vectors", np.zeros((2, 3)), TypeError, "condition: given float64, wanted float32"),
        (
            "alone",
            [1, 2],
            ValueError,
            "condition: given list, wanted None: this model is unconditional",
        ),
        (
            "unet alone",
            [1, 2],
            ValueError,
            "condition: given list, wanted None: this model is unconditional",
        ),
    ],
)
def test_what_cannot_be_a_condition_is_named(which, condition, error, message):
    model, x = MODELS[which]
    with pytest.raises(error, match=message):
        model(x, 1, condition)


@pytest.mark.parametrize("which", MODELS)
def test_a_batch_may_be_empty(which):
    model, x = MODELS[which]
    y = model(x[:0], 1)
    assert y.shape == x[:0].shape
    y.sum().backward()
    assert not any(np.any(p.grad) for p in model.parameters())


@pytest.mark.parametrize("size", [(0, 28), (28, 0)])
def test_images_without_pixels_are_named(size):
    with pytest.raises(
        ValueError, match=rf"x: given images of {size[0]} × {size[1]}, wanted a pixel or more"
    ):
        UNet(width=8)(np.zeros((1, *size, 1), np.float32), 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"combine": "sum"},
            r"combine: given 'sum', wanted one of 'concat', 'add', 'multiply'",
        ),
        ({"width": 12}, r"width: given 12 with multipliers \(1, 2, 3\), wanted .* multiples of 8"),
        ({"width": 0}, "width: given 0"),
        ({"multipliers": ()}, r"width: given 16 with multipliers \(\)"),
        ({"multipliers": (1, -1)}, "multipliers: given -1, wanted an integer of at least 1"),
        ({"multipliers": (1, 0)}, "multipliers: given 0, wanted an integer of at least 1"),
        ({"channels": 0}, "channels: given 0, wanted an integer of at least 1"),
        ({"width": 16.0}, "width: given 16.0, wanted an integer"),
        ({"classes": -1}, "classes: given -1, wanted an integer"),
        ({"timesteps": -1}, "timesteps: given -1, wanted an integer"),
        ({"condition_dim": 0}, "condition_dim: given 0, wanted an integer"),
    ],
)
def test_networks_that_cannot_be_are_named(config, message):
    with pytest.raises(ValueError, match=message):
        UNet(**config)


def test_x_on_another_device_is_named():
    model, x = MODELS["mlp"]
    with (
        registered() as backend,
        pytest.raises(ValueError, match="x: given an array on 'strict', wanted one on 'cpu'"),
    ):
        model(backend.from_host(x), 1)


@pytest.mark.parametrize(
    ("which", "null"),
    [("mlp", [0, 0]), ("unet", [0, 0]), ("vectors", np.zeros((2, 3), np.float32))],
)
def test_none_is_the_null_condition(which, null):
    model, x = MODELS[which]
    np.testing.assert_array_equal(model(x, 5).numpy(), model(x, 5, null).numpy())
    other = [1, 1] if which != "vectors" else np.ones((2, 3), np.float32)
    assert not np.array_equal(model(x, 5).numpy(), model(x, 5, other).numpy())


@pytest.mark.parametrize("which", MODELS)
def test_one_time_stands_for_all_and_samples_do_not_mix(which):
    model, x = MODELS[which]
    x = np.random.default_rng(0).standard_normal((3, *x.shape[1:]), dtype=np.float32)
    t = np.array([1, 7.25, 40])
    condition = None
    if model.config["classes"]:
        condition = np.array([0, 1, 2])
    elif model.config.get("condition_dim"):
        condition = np.eye(3, dtype=np.float32)
    whole = model(x, t, condition).numpy()
    assert whole.shape == x.shape
    for i, time in enumerate(t.tolist()):
        alone = model(
            x[i : i + 1], time, None if condition is None else condition[i : i + 1]
        ).numpy()
        np.testing.assert_allclose(whole[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    assert not np.allclose(model(x, 1, condition).numpy(), whole, atol=1e-3)
    np.testing.assert_array_equal(
        model(x, 1, condition).numpy(), model(x, np.ones(3, int), condition).numpy()
    )


@pytest.mark.parametrize("which", MODELS)
def test_bare_arrays_and_tensors_give_tensors_and_x_may_want_a_gradient(which):
    model, x = MODELS[which]
    given = md.Tensor(x, requires_grad=True)
    out = model(given, 3)
    assert isinstance(model(x, 3), md.Tensor)
    np.testing.assert_array_equal(out.numpy(), model(x, 3).numpy())
    out.backward(np.ones_like(x))
    assert given.grad.shape == x.shape


def test_a_vector_condition_may_want_a_gradient():
    model, x = MODELS["vectors"]
    condition = md.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    model(x, 3, condition).sum().backward()
    assert np.abs(condition.grad).max() > 0


@pytest.mark.parametrize(
    ("which", "condition"),
    [("mlp", [0, 2]), ("unet", [0, 2]), ("vectors", np.ones((2, 3), np.float32)), ("alone", None)],
)
def test_a_training_step_on_a_device_is_the_one_on_the_host(which, condition):
    model, x = MODELS[which]
    kind, x = type(model), x if x.ndim == 2 else x[:, :8, :8]
    here, there = (kind(**model.config) for _ in range(2))

    def train(model, x):
        optimizer = md.optim.AdamW(model.parameters(), eps=1e-3)
        ema = md.optim.EMA(model, 0.5)
        for _ in range(2):
            optimizer.zero_grad()
            out = model(x, [3, 4], condition)
            (out * out).mean().backward()
            md.optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            ema.update()
        return model.state_dict(), ema.state_dict(), optimizer.state_dict()

    want = train(here, x)
    with registered() as backend:
        got = train(there.to("strict"), backend.from_host(x))
    for mine, other in zip(got, want):
        for name, array in mine.items():
            assert type(array) is np.ndarray
            np.testing.assert_allclose(array, other[name], rtol=1e-3, atol=2e-4, err_msg=name)


@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(st.integers(4, 40), st.integers(4, 40), st.integers(1, 4)),
    classes=st.integers(2, 20),
)
def test_a_judge_for_images_of_any_size(shape, classes):
    model = LeNet(shape, classes)
    x = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
    assert model(x).shape == (2, classes)
    features = model.features(x)
    assert features.shape == (2, 84)
    np.testing.assert_array_equal(model.dense3(features).numpy(), model(x).numpy())
    with pytest.raises(ValueError, match=f"x: given images of {shape[0] + 1} × {shape[1]}, wanted"):
        model(np.zeros((2, shape[0] + 1, *shape[1:]), np.float32))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"shape": 28}, r"shape: given 28, wanted \(height, width, channels\)"),
        ({"shape": (3, 28, 1)}, "shape: given 3, wanted an integer of at least 4"),
        ({"classes": 1}, "classes: given 1, wanted an integer of at least 2"),
    ],
)
def test_what_no_judge_can_be_built_of_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        LeNet(**config)


@pytest.mark.parametrize(
    ("kind", "count", "last"),
    [(LeNet5, 84, "dense3"), (ResNet, 64, "leave")],
)
class TestJudges:
    def test_features_are_what_the_last_layer_sees(self, kind, count, last):
        model = kind()
        x = images(3)
        features = model.features(x)
        assert features.shape == (3, count)
        assert model(x).shape == (3, 10)
        np.testing.assert_array_equal(model(x).numpy(), getattr(model, last)(features).numpy())

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            (images(size=32), ValueError, "x: given images of 32 × 32, wanted 28 × 28"),
            (
                images(channels=3),
                ValueError,
                r"x: given shape \(2, 28, 28, 3\), wanted \(batch, 28, 28, 1\)",
            ),
            (images()[0], ValueError, r"x: given shape \(28, 28, 1\), wanted \(batch, 28, 28, 1\)"),
            (images().astype(np.float64), TypeError, "x: given float64, wanted float32"),
        ],
    )
    def test_what_is_no_digit_is_named(self, kind, count, last, x, error, message):
        with pytest.raises(error, match=message):
            kind()(x)


def test_a_residual_network_is_the_sum_of_its_blocks():
    """By its definition, x + silu(norm(conv(silu(norm(conv(x)))))), of operations alone."""
    model = ResNet(rng=1)

    def branch(block, x):
        for conv, norm in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
            x = ops.silu(ops.group_norm(conv(x), 8, norm.weight, norm.bias))
        return x

    h = model.enter(images(2))
    h = h + branch(model.wide, h)
    h = model.shrink(h)
    for block in model.deep.layers:
        h = h + branch(block, h)
    expected = np.mean(h.numpy(), axis=(1, 2))
    np.testing.assert_allclose(model.features(images(2)).numpy(), expected, rtol=1e-4, atol=1e-5)
