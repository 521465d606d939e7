"""The UNet against the same network in PyTorch (the dev extra): outputs and all gradients."""

import numpy as np
import pytest
import torch

import minidiff as md
from minidiff.export import torch_networks
from minidiff.export.layouts import as_pytorch, from_pytorch


def nchw(array):
    return torch.from_numpy(np.ascontiguousarray(np.asarray(array).transpose(0, 3, 1, 2)))


def twin(model, dtype):
    """The same network in PyTorch, with the same weights."""
    peer = torch_networks.NETWORKS[type(model).__name__](**model.config)
    peer.to({np.float32: torch.float32, np.float64: torch.float64}[dtype])
    state = {name: torch.from_numpy(array) for name, array in as_pytorch(model).items()}
    peer.load_state_dict(state)
    return peer


def gradients_are_equal(model, peer, tolerance):
    wanted = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    wanted = from_pytorch(model, wanted)
    for name, parameter in model.named_parameters():
        close(parameter.grad, wanted[name], tolerance)


def close(got, want, tolerance):
    scale = max(1, np.abs(want).max())
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


CONFIGS = [
    {},
    {"combine": "add", "multipliers": (1, 2, 4)},
    {"combine": "multiply", "channels": 3},
    {"classes": None},
    {"classes": None, "attention": False, "width": 8, "multipliers": (1, 2, 4)},
    {"condition_dim": 7},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-4), (np.float64, 1e-10)])
def test_output_and_gradients_equal_pytorchs(config, dtype, tolerance):
    rng = np.random.default_rng(1)
    model = md.models.UNet(**config)
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(dtype)
    x = rng.standard_normal((3, 28, 28, model.config["channels"])).astype(dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    t = np.array([1, 50.5, 100])
    condition = None
    if model.config["classes"]:
        condition = np.array([0, 3, 10])
    elif model.config["condition_dim"]:
        condition = rng.standard_normal((3, 7)).astype(dtype)

    out = model(x, t, condition)
    out.backward(g)
    peer = twin(model, dtype)
    tensor = None if condition is None else torch.from_numpy(condition)
    peer_out = peer(nchw(x), torch.from_numpy(t), tensor)
    peer_out.backward(nchw(g))
    close(out.numpy().transpose(0, 3, 1, 2), peer_out.detach().numpy(), tolerance)
    gradients_are_equal(model, peer, tolerance)
