"""The ADM UNet against the same network in PyTorch (the dev extra): outputs and all gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_unet_torch import nchw

import minidiff as md
from minidiff import diffusion

SCHEDULE = diffusion.cosine_schedule(100)
MEAN, STD = -0.74, 0.62


class TorchADM:
    """Written from the paper's blocks alone; `p` has the weights, in PyTorch's layout."""

    def __init__(self, model):
        self.p = {}
        for name, array in model.state_dict().items():
            if name != "embedding.label.weight":
                array = array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim])
            self.p[name] = torch.from_numpy(np.ascontiguousarray(array)).requires_grad_()
        self.levels = len(model.config["widths"]) - 1

    def conv(self, x, name, stride=1):
        weight = self.p[name + ".weight"]
        padding = (weight.shape[-1] - 1) // 2
        return F.conv2d(x, weight, self.p[name + ".bias"], stride, padding)

    def linear(self, x, name):
        return F.linear(x, self.p[name + ".weight"], self.p.get(name + ".bias"))

    def norm(self, x, name):
        return F.group_norm(x, 8, self.p[name + ".weight"], self.p[name + ".bias"])

    def block(self, x, emb, name):
        h = self.conv(F.silu(self.norm(x, name + ".norm1")), name + ".conv1")
        scale, shift = self.linear(emb, name + ".emb")[:, :, None, None].chunk(2, dim=1)
        h = self.norm(h, name + ".norm2") * (1 + scale) + shift
        skip = self.conv(x, name + ".skip") if name + ".skip.weight" in self.p else x
        return skip + self.conv(F.silu(h), name + ".conv2")

    def attention(self, x, name):
        pixels = self.norm(x, name + ".norm").flatten(2).mT
        parts = self.linear(pixels, name + ".qkv").unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        return x + self.linear(seen, name + ".out").mT.unflatten(2, x.shape[2:])

    def embedding(self, t, condition):
        dim = self.p["embedding.time1.weight"].shape[0]
        periods = 10000 ** torch.linspace(0, 1, dim // 2, dtype=torch.float64)
        phase = torch.as_tensor(t, dtype=torch.float64)[:, None] / periods
        waves = torch.stack([phase.sin(), phase.cos()], -1).flatten(1)
        waves = waves.to(self.p["leave.bias"].dtype)
        time = self.linear(F.gelu(self.linear(waves, "embedding.time1")), "embedding.time2")
        label = F.embedding(torch.as_tensor(condition), self.p["embedding.label.weight"])
        return F.silu(time + label)

    def __call__(self, x, t, condition):
        emb = self.embedding(t, condition)
        columns = lambda values: torch.as_tensor(values).to(x.dtype)[:, None, None, None]
        alpha_bar = columns(SCHEDULE.alpha_bar[t])
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        variance = alpha_bar * STD**2 + 1 - alpha_bar
        centred = x - alpha * MEAN

        h = self.conv(centred / variance.sqrt(), "enter")
        skips = []
        for i in range(self.levels):
            h = self.block(h, emb, f"down_blocks.{i}")
            skips.append(h)
            h = self.conv(h, f"down.{i}", stride=2)
        h = self.block(h, emb, "bottom.layers.0")
        h = self.block(self.attention(h, "bottom.layers.1"), emb, "bottom.layers.2")
        for i in reversed(range(self.levels)):
            h = self.conv(F.interpolate(h, scale_factor=2.0, mode="nearest"), f"up.{i}.conv")
            h = self.block(torch.cat([skips[i], h], 1), emb, f"up_blocks.{i}")
        h = self.conv(F.silu(self.norm(h, "norm")), "leave")
        slope = alpha * sigma * (1 - STD**2) / variance
        return slope * centred - sigma * MEAN + STD / variance.sqrt() * h


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-4), (np.float64, 1e-7)])
def test_output_and_gradients_equal_pytorchs(dtype, tolerance):
    rng = np.random.default_rng(1)
    model = md.models.ADMUNet(SCHEDULE.alpha_bar, mean=MEAN, std=STD)
    for parameter in model.parameters():  # none of them is left at zero
        moved = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
        parameter.data = moved.astype(dtype)
    x = rng.standard_normal((3, 28, 28, 1)).astype(dtype)
    g = rng.standard_normal(x.shape).astype(dtype)
    t = np.array([1, 50, 100])
    condition = np.array([0, 3, 10])

    out = model(x, t, condition)
    out.backward(g)
    peer = TorchADM(model)
    peer_out = peer(nchw(x), t, condition)
    peer_out.backward(nchw(g))

    def close(got, want):
        scale = max(1, np.abs(want).max())
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)

    close(out.numpy().transpose(0, 3, 1, 2), peer_out.detach().numpy())
    for name, parameter in model.named_parameters():
        gradient = peer.p[name].grad.numpy()
        if name != "embedding.label.weight":
            gradient = gradient.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[gradient.ndim])
        close(parameter.grad, gradient)
