import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import nn, ops
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
    shift = draw(2, 8, seed=2)
    layer = nn.GroupNorm(2, 8)
    close(layer(x), plain_group_norm(x, 2))
    fused = nn.GroupNormSilu(2, 8)
    fused.weight.data = draw(8, seed=3)
    fused.bias.data = draw(8, seed=4)
    y = plain_group_norm(x, 2) * fused.weight.numpy() + fused.bias.numpy()
    close(fused(x), silu(y))
    close(fused(x, shift, skip=x), silu(y + shift[:, None, None, :]) + x)
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
