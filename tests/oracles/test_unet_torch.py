"""The UNet against the same network in PyTorch (the dev extra): outputs and all gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import minidiff as md


def nchw(array):
    return torch.from_numpy(np.ascontiguousarray(np.asarray(array).transpose(0, 3, 1, 2)))


def is_table(name, config):
    """Whether this weight is the table of labels, which has one layout in both."""
    return name == "embedding.condition.weight" and bool(config["classes"])


class TorchUNet:
    """Written from the table of the network alone; `p` has the weights, in PyTorch's layout."""

    def __init__(self, model):
        self.config = model.config
        self.p = {}
        for name, array in model.state_dict().items():
            if not is_table(name, self.config):
                array = array.transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim])
            self.p[name] = torch.from_numpy(np.ascontiguousarray(array)).requires_grad_()

    def conv(self, x, name, stride=1):
        weight = self.p[name + ".weight"]
        return F.conv2d(x, weight, self.p.get(name + ".bias"), stride, padding=1)

    def linear(self, x, name):
        return F.linear(x, self.p[name + ".weight"], self.p[name + ".bias"])

    def norm(self, x, name):
        return F.group_norm(x, 8, self.p[name + ".weight"], self.p[name + ".bias"])

    def res_block(self, x, emb, name):
        h = self.norm(self.conv(x, name + ".conv_embed.conv"), name + ".conv_embed.norm")
        h = F.silu(h + self.linear(F.silu(emb), name + ".conv_embed.emb")[:, :, None, None])
        h = F.silu(self.norm(self.conv(h, name + ".conv"), name + ".norm"))
        return h + (self.conv(x, name + ".skip") if name + ".skip.weight" in self.p else x)

    def attention(self, x):
        b, c, height, width = x.shape
        parts = self.conv(x, "bottom.layers.1.qkv").reshape(b, 3, 4, c // 4, height * width)
        q, k, v = (parts[:, i].transpose(-1, -2) for i in range(3))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        return x + self.conv(attended.reshape(b, c, height, width), "bottom.layers.1.out")

    def embedding(self, t, condition):
        dim = 4 * self.config["width"]
        periods = 10000 ** torch.linspace(0, 1, dim // 2, dtype=torch.float64)
        phase = torch.as_tensor(t, dtype=torch.float64)[:, None] / periods
        waves = torch.stack([phase.sin(), phase.cos()], -1).reshape(len(phase), dim)
        waves = waves.to(self.p["leave.bias"].dtype)
        time = self.linear(F.gelu(self.linear(waves, "embedding.time1")), "embedding.time2")
        if self.config["classes"]:
            label = F.embedding(torch.as_tensor(condition), self.p["embedding.condition.weight"])
        elif self.config["condition_dim"]:
            label = self.linear(torch.from_numpy(condition), "embedding.condition")
        else:
            return time
        combine = {
            "concat": lambda a, b: torch.cat([a, b], -1),
            "add": torch.add,
            "multiply": torch.mul,
        }
        return combine[self.config["combine"]](time, label)

    def __call__(self, x, t, condition):
        emb = self.embedding(t, condition)
        levels = len(self.config["multipliers"])
        skips = []
        h = self.conv(x, "enter")
        for i in range(levels):
            h = self.res_block(h, emb, f"down_blocks.{i}")
            skips.append(h)
            h = self.conv(h, f"down.{i}", stride=2 if i < levels - 1 else 1)
        h = self.res_block(h, emb, "bottom.layers.0")
        if self.config["attention"]:
            h = self.res_block(self.attention(h), emb, "bottom.layers.2")
        for i in reversed(range(levels)):
            h = self.res_block(torch.cat([skips[i], h], 1), emb, f"up_blocks.{i}")
            if i:
                h = F.interpolate(h, scale_factor=2.0, mode="nearest")
                h = self.conv(h, f"up.{i - 1}.conv")
        return self.conv(h, "leave")


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
    peer = TorchUNet(model)
    peer_out = peer(nchw(x), t, condition)
    peer_out.backward(nchw(g))

    def close(got, want):
        scale = max(1, np.abs(want).max())
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)

    close(out.numpy().transpose(0, 3, 1, 2), peer_out.detach().numpy())
    for name, parameter in model.named_parameters():
        gradient = peer.p[name].grad.numpy()
        if not is_table(name, model.config):
            gradient = gradient.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[gradient.ndim])
        close(parameter.grad, gradient)
