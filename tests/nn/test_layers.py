import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import models, nn, ops
from minidiff.autograd.tensor import Tensor
from minidiff.kernels import generic


def rng(seed=0):
    return np.random.default_rng(seed)


def draw(*shape, seed=1):
    return rng(seed).standard_normal(shape).astype(np.float32)


def close(tensor, want, rtol=1e-5, atol=1e-5):
    assert isinstance(tensor, Tensor)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.numpy(), want, rtol=rtol, atol=atol)


def silu(x):
    return x / (1 + np.exp(-x))


def plain_conv(x, w, b=0.0, pad=1):
    x = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], axis=(1, 2))
    return np.einsum("nijcuv,uvco->nijo", windows, w.astype(np.float64)) + b


def plain_group_norm(x, groups):
    x = x.astype(np.float64)
    parts = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    parts = (parts - parts.mean((1, 3), keepdims=True)) / np.sqrt(
        parts.var((1, 3), keepdims=True) + 1e-5
    )
    return parts.reshape(x.shape)


def test_dense():
    layer = nn.Dense(4, 3, rng())
    x = draw(2, 5, 4)
    close(layer(x), x @ layer.weight.numpy() + layer.bias.numpy())
    bare = nn.Dense(4, 3, rng(), bias=False)
    assert bare.bias is None
    close(bare(x), x @ bare.weight.numpy())


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 8), (5, 1, 8), (1, 1, 8), (4, 2, 4)])
def test_conv2d_keeps_the_size_or_halves_it(kernel, stride, size):
    layer = nn.Conv2d(3, 6, kernel, rng(), stride=stride)
    x = draw(2, 8, 8, 3)
    want = plain_conv(x, layer.weight.numpy(), layer.bias.numpy(), (kernel - 1) // 2)[
        :, ::stride, ::stride
    ]
    assert layer(x).shape == (2, size, size, 6)
    close(layer(x), want)
    assert nn.Conv2d(3, 6, kernel, rng(), padding=0)(x).shape == (2, 9 - kernel, 9 - kernel, 6)


@pytest.mark.parametrize(("kernel", "dilation", "groups"), [(3, 2, 1), (3, 1, 2), (5, 3, 4)])
def test_conv2d_dilated_and_in_groups(kernel, dilation, groups):
    layer = nn.Conv2d(4, 8, kernel, rng(), dilation=dilation, groups=groups)
    x, w, b = draw(2, 9, 8, 4), layer.weight.numpy(), layer.bias.numpy()
    assert w.shape == (kernel, kernel, 4 // groups, 8)
    border = dilation * (kernel - 1) // 2
    how = (1, 1), (border, border), (dilation, dilation), groups
    want = generic.conv2d_bias(*(a.astype(np.float64) for a in (x, w, b)), *how)
    assert layer(x).shape == (2, 9, 8, 8)
    close(layer(x), want)
    # a group is a convolution of its own, and a dilated kernel one with zeros between its taps
    widened = np.zeros((2 * border + 1, 2 * border + 1, *w.shape[2:]), np.float32)
    widened[::dilation, ::dilation] = w
    parts = zip(np.split(x, groups, -1), np.split(widened, groups, -1), strict=True)
    close(layer(x), np.concatenate([plain_conv(*part, 0.0, border) for part in parts], -1) + b)


def test_conv1d_is_a_convolution_of_images_one_pixel_high():
    layer = nn.Conv1d(4, 6, 3, rng(), dilation=2, groups=2)
    x = draw(2, 9, 4)
    want = ops.conv2d(
        x[:, None], layer.weight.data[None], layer.bias.data, padding=(0, 2), dilation=2, groups=2
    )
    close(layer(x), want[:, 0])


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"groups": 2}])
def test_a_transposed_convolution_is_the_derivative_of_one(options):
    layer = nn.ConvTranspose2d(4, 2, 3, rng(), bias=False, **options)
    y = draw(2, 5, 4, 4)
    image = Tensor(np.zeros(layer(y).shape, np.float32), requires_grad=True)
    weight = layer.weight.data.swapaxes(2, 3)  # (kh, kw, in / groups, out) of the convolution
    ops.conv2d(image, weight, **options).backward(y)
    close(layer(y), image.grad)
    assert nn.ConvTranspose2d(4, 2, 3, rng(), stride=2, output_padding=1)(y).shape == (2, 12, 10, 2)


def test_conv2d_refuses_groups_and_dilations_that_cannot_be():
    with pytest.raises(ValueError, match="inputs: given 4, wanted a multiple of 3 groups"):
        nn.Conv2d(4, 6, 3, rng(), groups=3)
    with pytest.raises(ValueError, match="outputs: given 6, wanted a multiple of 4 groups"):
        nn.Conv2d(4, 6, 3, rng(), groups=4)
    with pytest.raises(ValueError, match="groups: given 0, wanted an integer of at least 1"):
        nn.Conv2d(4, 6, 3, rng(), groups=0)
    with pytest.raises(ValueError, match="dilation: given 0, wanted an integer of at least 1"):
        nn.Conv2d(4, 6, 3, rng(), dilation=0)


def test_group_norm():
    x = draw(2, 4, 4, 8)
    scale, shift = draw(2, 8, seed=1), draw(2, 8, seed=2)
    layer = nn.GroupNorm(2, 8)
    close(layer(x), plain_group_norm(x, 2))
    fused = nn.GroupNormSilu(2, 8)
    fused.weight.data = draw(8, seed=3)
    fused.bias.data = draw(8, seed=4)
    y = plain_group_norm(x, 2) * fused.weight.numpy() + fused.bias.numpy()
    close(fused(x), silu(y))
    moved = y * (1 + scale[:, None, None, :]) + shift[:, None, None, :]
    close(fused(x, scale, shift, x), silu(moved) + x)
    with pytest.raises(ValueError, match="channels: given 9, wanted a multiple of the 2 groups"):
        nn.GroupNorm(2, 9)


def test_embedding_and_its_gradient():
    layer = nn.Embedding(4, 3, rng())
    ids = np.array([1, 3, 1])
    close(layer(ids), layer.weight.numpy()[ids])
    layer(ids).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad, [[0] * 3, [2] * 3, [0] * 3, [1] * 3])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 40).map(lambda half: 2 * half),
    st.lists(st.floats(0, 4000), min_size=1, max_size=4),
)
def test_sinusoidal_embedding_is_the_published_table_at_real_times(dim, times):
    got = nn.SinusoidalEmbedding(dim)(np.array(times), like=np.zeros(0, np.float32))
    assert got.shape == (len(times), dim)
    assert got.dtype == np.float32
    for row, t in zip(got, times):
        for i in range(dim // 2):
            phase = t / 10000 ** (2 * i / (dim - 2))
            np.testing.assert_allclose(
                row[2 * i : 2 * i + 2], [math.sin(phase), math.cos(phase)], atol=1e-6
            )


@pytest.mark.parametrize("dim", [0, 2, 7])
def test_sinusoidal_embedding_refuses_sizes_it_has_no_formula_for(dim):
    with pytest.raises(ValueError, match=f"dim: given {dim}, wanted an even number, at least 4"):
        nn.SinusoidalEmbedding(dim)


def test_upsample_and_max_pool():
    x = draw(2, 4, 4, 3)
    layer = nn.Upsample(3, 5, rng())
    close(
        layer(x),
        plain_conv(x.repeat(2, 1).repeat(2, 2), layer.conv.weight.numpy(), layer.conv.bias.numpy()),
    )
    pooled = nn.MaxPool(2)(Tensor(x))
    close(pooled, x.reshape(2, 2, 2, 2, 2, 3).max((2, 4)))


def test_pools_and_flatten():
    x = draw(2, 4, 4, 3)
    blocks = x.reshape(2, 2, 2, 2, 2, 3)
    np.testing.assert_allclose(nn.AvgPool(2)(x), blocks.mean((2, 4)), rtol=1e-5)
    np.testing.assert_allclose(nn.AdaptiveAvgPool(1)(x), x.mean((1, 2), keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(nn.Flatten()(x), x.reshape(2, -1))
    assert nn.MaxPool(3, stride=1, padding=1)(x).shape == x.shape
    assert nn.Flatten()(x[:0]).shape == (0, 48)


def test_dropout_draws_in_training_only():
    layer = nn.Dropout(0.25, 0)
    x = np.ones((100, 100), np.float32)
    y = layer(x)
    np.testing.assert_array_equal(y, nn.Dropout(0.25, 0)(x))
    assert not np.array_equal(y, layer(x))
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match="p: given 1, wanted a number"):
        nn.Dropout(1, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: nn.Dense(3, 4, rng),
        lambda rng: nn.Conv1d(2, 2, 3, rng),
        lambda rng: nn.Conv2d(2, 2, 3, rng),
        lambda rng: nn.ConvTranspose2d(2, 2, 3, rng),
        lambda rng: nn.Embedding(3, 4, rng),
        lambda rng: nn.Upsample(2, 2, rng),
        lambda rng: nn.Attention(4, rng),
        lambda rng: models.LeNet5(rng),
        lambda rng: models.ResNet(rng),
        lambda rng: models.ConditionalMLP(4, rng=rng),
        lambda rng: models.UNet(width=8, multipliers=(1,), rng=rng),
    ],
)
def test_a_seed_is_a_generator_of_that_seed_and_nothing_else_is(make):
    """Weight and bias are different draws of one Generator, not twice the first."""
    state = make(np.random.default_rng(3)).state_dict()
    for name, array in make(3).state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    for wrong in (None, True, 0.5, np.random.RandomState(0)):
        with pytest.raises(TypeError, match=r"^rng: given .*, wanted a seed such as 0 or a numpy"):
            make(wrong)


def test_a_layer_without_a_generator_says_what_to_type():
    for make in (lambda: nn.Dense(3, 4), lambda: nn.Conv2d(3, 4, 3, bias=False), nn.Dropout):
        with pytest.raises(
            TypeError, match=r"rng: given None, .*; type rng=np\.random\.default_rng"
        ):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Dense(0, 3, 0), "inputs: given 0, wanted an integer of at least 1"),
        (lambda: nn.Dense(2, 3.0, 0), "outputs: given 3.0, wanted an integer"),
        (lambda: nn.Conv2d(2, 3, (3, 3), 0), r"kernel: given \(3, 3\), wanted an integer"),
        (lambda: nn.Conv2d(2, 3, 3, 0, stride=0), "stride: given 0, wanted an integer of at le"),
        (lambda: nn.Embedding(3, "4", 0), "dim: given '4', wanted an integer"),
        (lambda: nn.GroupNorm(0, 8), "groups: given 0, wanted an integer of at least 1"),
        (lambda: nn.Attention(8, 0, 0), "heads: given 0, wanted an integer of at least 1"),
        (
            lambda: nn.Dense(10**12, 3, 0),
            "inputs, outputs: given 1000000000000 × 3, wanted at most",
        ),
        (lambda: nn.Embedding(10**5, 10**5, 0), "rows, dim: given 100000 × 100000, wanted at most"),
        (lambda: nn.BatchNorm2d(10**12), "channels: given 1000000000000, wanted at most"),
        (lambda: nn.MaxPool("2"), "size: given '2', wanted an integer of at least 1"),
        (lambda: nn.AvgPool(2, stride=0), "stride: given 0, wanted an integer of at least 1"),
        (
            lambda: nn.AdaptiveAvgPool((1, 2, 3)),
            r"output_size: given \(1, 2, 3\), wanted an",
        ),
        (lambda: nn.LayerNorm(3, eps=-1), "eps: given -1, wanted a number >= 0"),
        (lambda: nn.LayerNorm(()), r"shape: given \(\), wanted at least one size"),
        (lambda: nn.LayerNorm((3, 0)), r"shape\[1\]: given 0, wanted an integer of at least 1"),
        (lambda: nn.BatchNorm2d(3, momentum=2), r"momentum: given 2, wanted a number in \[0, 1\]"),
    ],
)
def test_sizes_that_cannot_be_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("value", ["no", None, 1, np.zeros(2)])
def test_a_flag_is_true_or_false(value):
    for name, make in [
        ("bias", lambda: nn.Dense(2, 3, 0, bias=value)),
        ("bias", lambda: nn.Conv2d(2, 3, 3, 0, bias=value)),
        ("attention", lambda: models.UNet(attention=value)),
        ("mode", lambda: nn.Flatten().train(value)),
    ]:
        with pytest.raises(TypeError, match=f"{name}: given .*, wanted True or False"):
            make()


@pytest.mark.parametrize("layers", [[nn.Flatten(), ops.relu], 3, nn.Flatten, Tensor([1.0])])
def test_what_is_no_layer_is_refused_where_it_is_given(layers):
    with pytest.raises(TypeError, match=r"layers: given .*, wanted modules .* Sequential\(\*lay"):
        nn.Sequential(layers)


def test_attention_head_by_head():
    channels = 8
    heads = 4
    layer = nn.Attention(channels, rng(), heads)
    x = draw(2, 3, 5, channels)
    assert layer.qkv.bias is None
    qkv = plain_conv(x, layer.qkv.weight.numpy()).reshape(2, 15, 3 * channels)
    seen = np.zeros((2, 15, channels))
    size = channels // heads
    for n in range(2):
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            q, k, v = (
                qkv[n, :, part * channels : (part + 1) * channels][:, mine] for part in range(3)
            )
            for pixel in range(15):
                weights = np.exp(k @ q[pixel] / math.sqrt(size))
                seen[n, pixel, mine] = weights @ v / weights.sum()
    out = plain_conv(seen.reshape(x.shape), layer.out.weight.numpy(), layer.out.bias.numpy())
    close(layer(Tensor(x)), x + out)
    with pytest.raises(ValueError, match="channels: given 6, wanted a multiple of the 4 heads"):
        nn.Attention(6, rng())


def test_positions_of_one_sequence_look_at_those_of_another():
    layer = nn.MultiheadAttention(6, 2, rng())
    query, key, value = draw(2, 3, 6), draw(2, 4, 6, seed=2), draw(2, 4, 6, seed=3)
    q, k, v = layer.query(query).data, layer.key(key).data, layer.value(value).data
    seen = np.zeros((2, 3, 6))
    for sample in range(2):
        for own in (slice(0, 3), slice(3, 6)):
            weights = np.exp(q[sample, :, own] @ k[sample, :, own].T / math.sqrt(3))
            seen[sample, :, own] = weights @ v[sample, :, own] / weights.sum(1, keepdims=True)
    close(layer(query, key, value), seen @ layer.out.weight.data + layer.out.bias.data)
    close(layer(query), layer(query, query, query).data)
    without_last = layer(query, key[:, :3], value[:, :3]).data
    close(layer(query, key, value, attn_mask=np.arange(4) < 3), without_last)
    close(layer(query, is_causal=True)[:, :1], layer(query[:, :1]).data)
    with pytest.raises(ValueError, match=r"x: given shape \(2, 6\), wanted \(batch, positions"):
        layer(draw(2, 6))
    with pytest.raises(ValueError, match="channels: given 6, wanted a multiple of the 4 heads"):
        nn.MultiheadAttention(6, 4, 0)


def test_weights_start_seeded_and_in_their_bounds():
    dense = nn.Dense(100, 50, rng(7))
    conv = nn.Conv2d(16, 8, 3, rng(7))
    table = nn.Embedding(100, 50, rng(7))
    for layer, fan_in in [(dense, 100), (conv, 144)]:
        bound = 1 / math.sqrt(fan_in)
        for p in layer.parameters():
            assert np.abs(p.numpy()).max() <= bound
        assert layer.weight.numpy().std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert table.weight.numpy().std() == pytest.approx(1, rel=0.05)
    np.testing.assert_array_equal(nn.Dense(100, 50, rng(7)).weight.numpy(), dense.weight.numpy())
    assert not np.array_equal(nn.Dense(100, 50, rng(8)).weight.numpy(), dense.weight.numpy())


class Scale(nn.Module):
    conditional = True

    def __call__(self, x, factor, shift):
        return x * factor + shift


def test_a_chain_hands_the_condition_to_those_who_take_one():
    x = Tensor([1.0, 2.0])
    assert nn.Sequential(lambda x: x + 1, lambda x: x * 3)(x).numpy().tolist() == [6, 9]
    chain = nn.ConditionalChain(
        Scale(), ops.negative, nn.ConditionalChain(Scale()), lambda x: x + 1
    )
    assert chain(x, 2.0, 3.0).numpy().tolist() == [-6, -10]  # −(2x + 3)·2 + 3 + 1


def test_a_skip_connection_joins_what_went_round_and_what_went_through():
    x = Tensor([[1.0, 2.0]])
    assert nn.ConditionalSkipConnection(Scale())(x, 2.0, 3.0).numpy().tolist() == [[1, 2, 5, 7]]
    assert nn.ConditionalSkipConnection(Scale(), ops.subtract)(x, 2.0, 3.0).numpy().tolist() == [
        [4, 5]
    ]
    chain = nn.ConditionalChain(nn.ConditionalSkipConnection(nn.ConditionalChain(Scale()), ops.add))
    assert chain(x, 2.0, 3.0).numpy().tolist() == [[6, 9]]
