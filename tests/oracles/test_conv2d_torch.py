"""`nn.Conv2d` against PyTorch's layer of the same settings: its output, and all gradients.

Needs the extra `dev`; run with `pytest tests/oracles`.
"""

import numpy as np
import pytest
import torch

from minidiff import nn
from minidiff.autograd.tensor import Tensor

SETTINGS = [  # inputs, outputs, kernel, stride, padding, dilation, groups
    (3, 5, 3, 1, 1, 1, 1),
    (32, 32, 3, 1, 2, 2, 1),  # as plain ones, by Winograd
    (8, 16, 3, 2, 1, 1, 4),
    (12, 12, 3, 1, 1, 1, 12),
    (12, 12, 3, 2, 1, 1, 12),
    (20, 20, 1, 1, 0, 1, 20),
    (6, 9, 2, 1, 3, 3, 3),
    (16, 48, 5, 1, 2, 1, 2),
]


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "padding", "dilation", "groups"), SETTINGS
)
def test_a_layer_is_pytorchs(inputs, outputs, kernel, stride, padding, dilation, groups):
    rng = np.random.default_rng(0)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    layer = nn.Conv2d(inputs, outputs, kernel, rng, **settings)
    peer = torch.nn.Conv2d(inputs, outputs, kernel, **settings).double()
    x = Tensor(rng.standard_normal((4, 13, 12, inputs), "f"), requires_grad=True)
    x_peer = torch.tensor(x.numpy(), dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    with torch.no_grad():
        peer.weight.copy_(torch.tensor(layer.weight.numpy()).permute(3, 2, 0, 1))
        peer.bias.copy_(torch.tensor(layer.bias.numpy()))

    y, y_peer = layer(x), peer(x_peer)
    g = rng.standard_normal(y.shape, "f")
    (y * g).sum().backward()
    (y_peer * torch.tensor(g).permute(0, 3, 1, 2)).sum().backward()
    for result, want in [
        (y.numpy(), y_peer.detach().permute(0, 2, 3, 1)),
        (x.grad, x_peer.grad.permute(0, 2, 3, 1)),
        (layer.weight.grad, peer.weight.grad.permute(2, 3, 1, 0)),
        (layer.bias.grad, peer.bias.grad),
    ]:
        want = want.numpy()
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, want, rtol=1e-4, atol=2e-5 * np.abs(want).max())
