"""minidiff's networks in PyTorch, with its names: this file and the weights beside it are all.

    from torch_networks import load

    model = load("digits.pt")               # or "digits.safetensors"
    with torch.inference_mode():
        v = model(x, t, labels)             # x (batch, channels, height, width), as PyTorch has it
        u = model(x, t, labels, r)          # of a MeanFlowUNet, which is told two times, r <= t

It needs PyTorch alone, and safetensors for such a file. Times t (batch,) are integers or reals in
0 … timesteps. Labels (batch,) are int64, 0 is the null label. `model.about` is what the file says
of the network: its class, its configuration, and as "parameterization" what it predicts ("noise",
"x0" or "v" = α·noise − σ·x_0) and the β_t of its schedule: ᾱ_t = Π (1 − β), α = √ᾱ, σ = √(1 − ᾱ).
In place of β a path, as that of flow matching, has α and σ; there "velocity" = noise − x_0.
"""

import json
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

GROUPS = 8  # of each group norm
HEADS = 4  # of the attention


def load(path):
    """The network of a file that minidiff exported, in eval mode."""
    path = Path(path)
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["network"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    else:
        about = torch.load(path, weights_only=True)
        state = about.pop("state_dict")
    model = NETWORKS[about["network"]](**about["config"])
    model.load_state_dict(state)
    model.about = about
    return model.eval()


class Waves(nn.Module):
    """A time as waves: entries 2i, 2i + 1 are sin, cos of t / 10000^(2i/(dim − 2))."""

    def __init__(self, dim, timesteps):
        super().__init__()
        self.frequencies = 10000.0 ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / (dim - 2))
        table = self._waves(torch.arange(timesteps + 1)).float()
        self.register_buffer("table", table, persistent=False)

    def forward(self, t):
        return self._waves(t).to(self.table) if t.is_floating_point() else self.table[t]

    def _waves(self, t):
        """In float64: in float32 the phases are off by 1e-4 where t is some thousands."""
        phase = t.double()[..., None] * self.frequencies.to(t.device)
        return torch.stack([phase.sin(), phase.cos()], -1).flatten(1)


class Time(nn.Module):
    def __init__(self, dim, timesteps):
        super().__init__()
        self.waves = Waves(dim, timesteps)
        self.time1 = nn.Linear(dim, dim)
        self.time2 = nn.Linear(dim, dim)

    def time(self, t):
        return self.time2(F.gelu(self.time1(self.waves(t))))


class TimeAndCondition(Time):
    def __init__(self, size, timesteps=100, classes=10, condition_dim=None, combine="concat"):
        super().__init__(size, timesteps)
        self.condition = None
        if classes is not None:
            self.condition = nn.Embedding(classes + 1, size)
        elif condition_dim is not None:
            self.condition = nn.Linear(condition_dim, size)
        self.combine = combine
        self.dim = 2 * size if self.condition is not None and combine == "concat" else size

    def forward(self, t, condition):
        time = self.time(t)
        if self.condition is None:
            return F.silu(time)
        other = self.condition(condition)
        if self.combine == "concat":
            return F.silu(torch.cat([time, other], -1))
        return F.silu(time + other if self.combine == "add" else time * other)


class TimeAndLabel(Time):
    def __init__(self, dim, timesteps, classes):
        super().__init__(dim, timesteps)
        self.label = nn.Embedding(classes + 1, dim) if classes is not None else None

    def forward(self, t, labels):
        time = self.time(t)
        return F.silu(time if self.label is None else time + self.label(labels))


class Upsample(nn.Module):
    """Each pixel becomes a block of 2 × 2, then a 3×3 convolution."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Chain(nn.Module):
    """Layers one after another; what is beside x goes to those that are `conditional`."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x, *conditions):
        for layer in self.layers:
            x = layer(x, *conditions) if getattr(layer, "conditional", False) else layer(x)
        return x


def made_even(h):
    """With a last row or column of zeros where the size is odd: halving rounds up."""
    return F.pad(h, (0, h.shape[3] % 2, 0, h.shape[2] % 2))


def cut_to(h, other):
    return h[:, :, : other.shape[2], : other.shape[3]] if h.shape[2:] != other.shape[2:] else h


class ConvEmbed(nn.Module):
    def __init__(self, inputs, outputs, dim):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.emb = nn.Linear(dim, outputs)

    def forward(self, x, emb):
        return F.silu(self.norm(self.conv(x)) + self.emb(emb)[:, :, None, None])


class ResBlock(nn.Module):
    conditional = True

    def __init__(self, inputs, outputs, dim):
        super().__init__()
        self.conv_embed = ConvEmbed(inputs, outputs, dim)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 3, padding=1) if inputs != outputs else nn.Identity()

    def forward(self, x, emb):
        return F.silu(self.norm(self.conv(self.conv_embed(x, emb)))) + self.skip(x)


class Attention(nn.Module):
    """Every pixel looks at every pixel, plus the input."""

    def __init__(self, channels):
        super().__init__()
        self.qkv = nn.Conv2d(channels, 3 * channels, 3, padding=1, bias=False)
        self.out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(b, 3, HEADS, c // HEADS, h * w).transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(attended.transpose(-1, -2).reshape(b, c, h, w))


class UNet(nn.Module):
    def __init__(self, channels=1, width=16, multipliers=(1, 2, 3), attention=True, **embedding):
        super().__init__()
        outs = [width * k for k in multipliers]
        ins = [width, *outs[:-1]]
        bottom = outs[-1]
        self.embedding = TimeAndCondition(4 * width, **embedding)
        dim = self.embedding.dim
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down_blocks = nn.ModuleList(ResBlock(i, i, dim) for i in ins)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(ins))
        self.down.append(nn.Conv2d(ins[-1], bottom, 3, padding=1))
        self.bottom = Chain(ResBlock(bottom, bottom, dim))
        if attention:
            self.bottom.layers += [Attention(bottom), ResBlock(bottom, bottom, dim)]
        self.up_blocks = nn.ModuleList(ResBlock(i + o, o, dim) for i, o in zip(ins, outs))
        self.up = nn.ModuleList(Upsample(o, i) for i, o in zip(ins[1:], outs[1:]))
        self.leave = nn.Conv2d(outs[0], channels, 3, padding=1)

    def forward(self, x, t, condition=None):
        emb = self.embedding(t, condition)
        skips = []
        h = self.enter(x)
        for block, shrink in zip(self.down_blocks, self.down):
            h = block(h, emb)
            skips.append(h)
            h = shrink(made_even(h) if shrink.stride == (2, 2) else h)
        h = self.bottom(h, emb)
        for level in reversed(range(len(skips))):
            h = self.up_blocks[level](torch.cat([skips[level], h], 1), emb)
            if level:
                h = cut_to(self.up[level - 1](h), skips[level - 1])
        return self.leave(h)


class MeanFlowUNet(UNet):
    """The mean velocity between t and an earlier time r, which is t unless given."""

    def __init__(self, width=16, timesteps=100, **others):
        super().__init__(width=width, timesteps=timesteps, **others)
        self.embedding.waves = Waves(2 * width, 0)  # half of them of t, half of t − r
        self.to_radians = 10 / timesteps

    def forward(self, x, t, condition=None, r=None):
        length = t - (t if r is None else r)
        times = torch.stack([t.double(), length.double()], 1) * self.to_radians
        return super().forward(x, times, condition)


class ADMBlock(nn.Module):
    conditional = True

    def __init__(self, inputs, outputs, dim):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.emb = zero(nn.Linear(dim, 2 * outputs))
        self.norm2 = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        return self.conv2(F.silu(h)) + self.skip(x)


class ADMAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, x):
        pixels = self.norm(x).flatten(2).mT
        parts = self.qkv(pixels).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        return x + self.out(seen).mT.unflatten(2, x.shape[2:])


def zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Preconditioning(nn.Module):
    """By what x and the output are shifted and scaled (Karras et al. 2022, table 1)."""

    def __init__(self, alpha_bar, mean=-0.74, std=0.62, predicts="v"):
        super().__init__()
        self.is_straight = predicts == "velocity"
        self.angles = torch.as_tensor(alpha_bar, dtype=torch.float64).sqrt().arccos()
        self.mean = mean
        self.std = std
        self.register_buffer("table", self._rows(self.angles).float(), persistent=False)

    def forward(self, t):
        """(batch, 5); between two whole times the angle is interpolated: α = cos, σ = sin."""
        if not t.is_floating_point():
            return self.table[t]
        angles = self.angles.to(t.device)
        before = t.long().clamp(max=len(angles) - 2)
        angle = torch.lerp(angles[before], angles[before + 1], t.double() - before)
        return self._rows(angle).to(self.table)

    def _rows(self, angle):
        alpha = angle.cos()
        sigma = angle.sin()
        of_noise = alpha  # in the target, v or the velocity
        of_x0 = sigma
        if self.is_straight:
            of_noise = of_x0 = torch.ones_like(alpha)
            alpha = alpha / (alpha + sigma)
            sigma = 1 - alpha
        variance = (alpha * self.std) ** 2 + sigma**2
        slope = (of_noise * sigma - of_x0 * alpha * self.std**2) / variance
        outward = self.std * variance.rsqrt()
        columns = [alpha * self.mean, variance.rsqrt(), slope, -of_x0 * self.mean, outward]
        return torch.stack(columns, 1)


class ADMUNet(nn.Module):
    def __init__(
        self, alpha_bar, channels=1, widths=(16, 32, 64), classes=10, attention=None, **known
    ):
        super().__init__()
        *outer, inner = widths
        dim = 4 * widths[0]
        attends = [len(outer)] if attention is None else attention

        def block(inputs, outputs, size):
            first = ADMBlock(inputs, outputs, dim)
            return Chain(first, ADMAttention(outputs)) if size in attends else first

        self.precondition = Preconditioning(alpha_bar, **known)
        self.embedding = TimeAndLabel(dim, len(alpha_bar) - 1, classes)
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(block(w, w, size) for size, w in enumerate(outer))
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(widths)
        )
        self.bottom = Chain(ADMBlock(inner, inner, dim))
        self.bottom.layers += [ADMAttention(inner)] * (len(outer) in attends)
        self.bottom.layers.append(ADMBlock(inner, inner, dim))
        self.up = nn.ModuleList(Upsample(i, o) for o, i in pairwise(widths))
        self.up_blocks = nn.ModuleList(block(2 * w, w, size) for size, w in enumerate(outer))
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.leave = zero(nn.Conv2d(widths[0], channels, 3, padding=1))

    def forward(self, x, t, condition=None):
        emb = self.embedding(t, condition)
        centre, inward, slope, offset, outward = self.precondition(t).T[..., None, None, None]
        centred = x - centre
        h = self.enter(centred * inward)
        skips = []
        for block, shrink in zip(self.down_blocks, self.down):
            h = block(h, emb)
            skips.append(h)
            h = shrink(made_even(h))
        h = self.bottom(h, emb)
        for block, grow, skip in reversed(list(zip(self.up_blocks, self.up, skips))):
            h = block(torch.cat([skip, cut_to(grow(h), skip)], 1), emb)
        h = self.leave(F.silu(self.norm(h)))
        return slope * centred + offset + outward * h


class ConditionedDense(nn.Module):
    conditional = True

    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.x = nn.Linear(inputs, hidden)
        self.time = nn.Linear(hidden, hidden)
        self.label = nn.Embedding(classes + 1, hidden) if classes is not None else None

    def forward(self, x, time, labels):
        h = self.x(x) + self.time(time)
        return F.silu(h if self.label is None else h + self.label(labels))


class ConditionalMLP(nn.Module):
    """For points in the plane: x (batch, 2)."""

    def __init__(self, hidden=32, classes=3, timesteps=40):
        super().__init__()
        self.time = Waves(hidden, timesteps)
        layers = [ConditionedDense(inputs, hidden, classes) for inputs in (2, hidden, hidden)]
        self.chain = Chain(*layers, nn.Linear(hidden, 2))

    def forward(self, x, t, condition=None):
        return self.chain(x, self.time(t), condition)


class LeNet(nn.Module):
    """Logits of the classes, which count from 0."""

    def __init__(self, shape=(32, 32, 3), classes=10, filters=(16, 32), padding=2):
        super().__init__()
        pooled = [((side + 2 * padding - 4) // 2 + 2 * padding - 4) // 2 for side in shape[:2]]
        self.conv1 = nn.Conv2d(shape[2], filters[0], 5, padding=padding)
        self.conv2 = nn.Conv2d(*filters, 5, padding=padding)
        self.dense1 = nn.Linear(pooled[0] * pooled[1] * filters[1], 120)
        self.dense2 = nn.Linear(120, 84)
        self.dense3 = nn.Linear(84, classes)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.conv1(x)), 2)
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)
        h = h.permute(0, 2, 3, 1).flatten(1)  # minidiff flattens with the channels last
        return self.dense3(F.relu(self.dense2(F.relu(self.dense1(h)))))


class LeNet5(LeNet):
    def __init__(self):
        super().__init__((28, 28, 1), 10, (6, 16), padding=0)


NETWORKS = {k.__name__: k for k in (UNet, MeanFlowUNet, ADMUNet, ConditionalMLP, LeNet, LeNet5)}
