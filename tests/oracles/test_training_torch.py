"""Optimisers and layers with a state against PyTorch's (the dev extra)."""

import numpy as np
import pytest
import torch

import minidiff as md
from minidiff import nn, optim

SHAPES = [(3, 2), (2,), (), (70, 60)]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Adam", {"lr": 0.01}),
        ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
        ("AdamW", {"lr": 0.01, "weight_decay": 0.3}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
        ("SGD", {"lr": 0.1}),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_optimisers_with_groups_and_missing_gradients(name, settings, dtype):
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    ours = [md.Tensor(start.copy(), requires_grad=True) for start in starts]
    theirs = [torch.tensor(start, requires_grad=True) for start in starts]

    def made(module, parameters):
        first, *others = parameters
        groups = [{"params": first, "weight_decay": 0.0, "lr": 0.02}, {"params": others}]
        return getattr(module, name)(groups, **settings)

    optimizers = made(optim, ours), made(torch.optim, theirs)
    for _ in range(12):
        for p, q in zip(ours, theirs):
            g = rng.standard_normal(p.shape).astype(dtype) if rng.random() < 0.7 else None
            p.grad = g
            q.grad = None if g is None else torch.tensor(g)
        for optimizer in optimizers:
            optimizer.step()
        for p, q in zip(ours, theirs):
            tolerance = 2e-6 if dtype == np.float32 else 1e-12
            np.testing.assert_allclose(p.data, q.detach().numpy(), tolerance, tolerance)


def channels_last(tensor):
    array = tensor.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim > 1 else array


@pytest.mark.parametrize(
    ("kind", "shape"), [("2d", (4, 3, 5, 2)), ("1d", (6, 3)), ("1d", (4, 3, 5))]
)
def test_batch_norm_follows_and_then_stands(kind, shape):
    rng = np.random.default_rng(0)
    kind = "2d" if len(shape) == 4 else "1d"
    ours = getattr(nn, f"BatchNorm{kind}")(3, momentum=0.3)
    theirs = getattr(torch.nn, f"BatchNorm{kind}")(3, momentum=0.3)
    for layer, scale in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        layer.data = rng.standard_normal(3).astype(np.float32)
        scale.data = torch.tensor(layer.data)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        x = torch.tensor(rng.standard_normal(shape, np.float32) * 3 + 1, requires_grad=True)
        z = md.Tensor(np.ascontiguousarray(channels_last(x)), requires_grad=True)
        y = ours(z)
        want = theirs(x)
        np.testing.assert_allclose(y.data, channels_last(want), rtol=1e-4, atol=1e-5)
        (y**3).sum().backward()
        (want**3).sum().backward()
        np.testing.assert_allclose(z.grad, channels_last(x.grad), rtol=2e-3, atol=2e-3)
        for name in ("running_mean", "running_var"):
            got = getattr(ours, name).data
            np.testing.assert_allclose(got, getattr(theirs, name).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "output_padding": 1}])
def test_conv_transpose(groups, options):
    ours = nn.ConvTranspose2d(4, 6, 3, 0, groups=groups, **options)
    theirs = torch.nn.ConvTranspose2d(4, 6, 3, groups=groups, **options)
    theirs.weight.data = torch.tensor(ours.weight.data.transpose(2, 3, 0, 1).copy())
    theirs.bias.data = torch.tensor(ours.bias.data)
    x = np.random.default_rng(1).standard_normal((2, 5, 4, 4)).astype(np.float32)
    want = theirs(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(ours(x).data, channels_last(want), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_norms_over_the_last_axes(name):
    x = np.random.default_rng(1).standard_normal((2, 5, 4)).astype(np.float32)
    for shape in (4, (5, 4)):
        want = getattr(torch.nn, name)(shape, eps=1e-5)(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(getattr(nn, name)(shape)(x).data, want, rtol=1e-4, atol=1e-5)
