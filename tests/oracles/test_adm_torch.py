"""The ADM UNet against the same network in PyTorch (the dev extra): outputs and all gradients."""

import numpy as np
import pytest
import torch
from test_unet_torch import close, gradients_are_equal, nchw, twin

import minidiff as md
from minidiff import diffusion

SCHEDULE = diffusion.cosine_schedule(100)
MEAN, STD = -0.74, 0.62


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-4), (np.float64, 1e-10)])
def test_output_and_gradients_equal_pytorchs(dtype, tolerance):
    rng = np.random.default_rng(1)
    model = md.models.ADMUNet(SCHEDULE.alpha_bar, mean=MEAN, std=STD)
    for parameter in model.parameters():  # none of them is left at zero
        moved = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
        parameter.data = moved.astype(dtype)
    x = rng.standard_normal((3, 28, 28, 1)).astype(dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    t = np.array([1.0, 50.0, 100.0])
    condition = np.array([0, 3, 10])

    out = model(x, t, condition)
    out.backward(g)
    peer = twin(model, dtype)
    peer_out = peer(nchw(x), torch.from_numpy(t), torch.from_numpy(condition))
    peer_out.backward(nchw(g))
    close(out.numpy().transpose(0, 3, 1, 2), peer_out.detach().numpy(), tolerance)
    gradients_are_equal(model, peer, tolerance)
