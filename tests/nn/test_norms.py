"""Normalisations as layers, by plain NumPy; tests/oracles has PyTorch's."""

import numpy as np
import pytest

import minidiff as md
from minidiff import nn, ops
from minidiff.autograd.threads import pieces_of


def draw(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(tensor, want, rtol=1e-5, atol=1e-5):
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.numpy(), want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("shape", [3, (4, 3)])
def test_layer_and_rms_norm_over_the_last_axes(shape):
    x = draw(2, 4, 3).astype(np.float64)
    axes = (-1,) if shape == 3 else (-2, -1)
    centred = x - x.mean(axes, keepdims=True)
    y = nn.LayerNorm(shape)(x.astype(np.float32))
    close(y, centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5))
    y = nn.RMSNorm(shape)(x.astype(np.float32))
    close(y, x / np.sqrt((x**2).mean(axes, keepdims=True) + 1e-5))
    with pytest.raises(ValueError, match=r"x: given shape \(2, 5\), wanted \(…, "):
        nn.LayerNorm(shape)(draw(2, 5))


@pytest.mark.parametrize(
    ("make", "shape"),
    [(nn.BatchNorm2d, (4, 3, 2, 5)), (nn.BatchNorm1d, (7, 5)), (nn.BatchNorm1d, (2, 3, 5))],
)
def test_batch_norm_follows_the_batches_and_stands_still_after_eval(make, shape):
    layer = make(5, momentum=0.25)
    layer.weight.data = draw(5)
    layer.bias.data = draw(5, seed=2)
    mean, var = np.zeros(5), np.ones(5)
    for seed in range(3):
        x = 3 * draw(*shape, seed=seed) + 1
        rows = x.reshape(-1, 5).astype(np.float64)
        mean = 0.75 * mean + 0.25 * rows.mean(0)
        var = 0.75 * var + 0.25 * rows.var(0, ddof=1)
        want = (x - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
        close(layer(x), want * layer.weight.data + layer.bias.data, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.running_var.data, var, rtol=1e-5)
    layer.eval()
    want = (x - mean) / np.sqrt(var + 1e-5) * layer.weight.data + layer.bias.data
    close(layer(x[:1]), want[:1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-5, atol=1e-6)
    assert [p.shape for p in layer.parameters()] == [(5,), (5,)]


def test_norms_take_gradients_in_float64():
    """Weights are cast for it; the buffers of a batch norm may stay as they are."""
    x = draw(3, 2, 2, 4).astype(np.float64)
    for layer in (nn.BatchNorm2d(4), nn.BatchNorm2d(4).eval(), nn.LayerNorm((2, 4)), nn.RMSNorm(4)):
        for p in layer.parameters():
            p.data = p.data.astype(np.float64)
        md.gradcheck(lambda x, layer=layer: layer(x) ** 2, x)


def test_batch_norm_says_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"x: given shape \(2, 3\), wanted \(batch, height, width"):
        nn.BatchNorm2d(3)(draw(2, 3))
    with pytest.raises(ValueError, match=r"wanted \(batch, channels\) or \(batch, positions"):
        nn.BatchNorm1d(3)(draw(2, 4))
    with pytest.raises(ValueError, match=r"at least 2 numbers a channel in training; type model"):
        nn.BatchNorm1d(3)(draw(1, 3))
    assert nn.BatchNorm1d(3).eval()(draw(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("threads", [1, 3])
def test_batch_norm_follows_the_pieces_in_their_order(threads):
    """As one after another, by hand; the second derivative does not follow them a second time."""
    x = draw(130, 8, 8, 2)
    hand = nn.BatchNorm2d(2)
    cuts = pieces_of(len(x), 128)
    assert len(cuts) > 3
    for cut in cuts:
        hand(x[cut])
    layer = nn.BatchNorm2d(2)
    loss = md.sharded(lambda part: ops.mean(layer(part) ** 3))
    before = md.get_num_threads()
    md.set_num_threads(threads)
    try:
        for p in layer.parameters():
            p.grad = None
        loss(x).backward(create_graph=True)
    finally:
        md.set_num_threads(before)
    for name, buffer in layer.named_buffers():
        assert buffer.data.tobytes() == getattr(hand, name).data.tobytes(), name


def test_what_a_checkpoint_computes_again_is_not_followed_again():
    layer, plain = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    x = md.Tensor(draw(3, 4, 4, 2), requires_grad=True)
    plain(x)
    md.checkpoint(layer)(x).sum().backward()
    assert layer.running_var.data.tobytes() == plain.running_var.data.tobytes()


def test_pieces_inside_pieces_wait_for_the_outermost():
    x = draw(130, 8, 8, 2)
    layer = nn.BatchNorm2d(2)
    inner = md.sharded(lambda part: ops.mean(layer(part)))
    seen = []

    def outer(part):
        seen.append(layer.running_mean.data.copy())
        return inner(part) + inner(part)

    with md.no_grad():
        md.sharded(outer)(x)
    assert len(seen) == len(pieces_of(len(x), 128))
    assert not np.any(seen)
    assert np.any(layer.running_mean.data)


def test_bytes_are_numbers_to_a_batch_norm():
    x = np.arange(24, dtype=np.uint8).reshape(6, 4)
    one, other = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    for train in (True, False):
        got = one.train(train)(x)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got.data, other.train(train)(x.astype(np.float32)).data)
