"""The peer: minidiff's networks as one would write them in PyTorch, with the same parameters.

    python -m benchmarks.peer BATCH FILE

writes the UNet in eval mode, for batches of that size, as ONNX. Images are (batch, channels,
height, width); names of modules are minidiff's.
"""

import sys
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


class Waves(nn.Module):
    """The sinusoidal embedding of times 0 … timesteps, looked up in a table."""

    def __init__(self, dim, timesteps):
        super().__init__()
        frequencies = 10000.0 ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / (dim - 2))
        phase = torch.arange(timesteps + 1, dtype=torch.float64)[:, None] * frequencies
        self.register_buffer(
            "table", torch.stack([phase.sin(), phase.cos()], -1).flatten(1).float()
        )

    def forward(self, t):
        return self.table[t]


class TimeAndCondition(nn.Module):
    def __init__(self, dim, timesteps, classes):
        super().__init__()
        self.waves = Waves(dim, timesteps)
        self.time1 = nn.Linear(dim, dim)
        self.time2 = nn.Linear(dim, dim)
        self.condition = nn.Embedding(classes + 1, dim)

    def forward(self, t, labels):
        time = self.time2(F.gelu(self.time1(self.waves(t))))
        return F.silu(torch.cat([time, self.condition(labels)], -1))


class TimeAndLabel(nn.Module):
    def __init__(self, dim, timesteps, classes):
        super().__init__()
        self.waves = Waves(dim, timesteps)
        self.time1 = nn.Linear(dim, dim)
        self.time2 = nn.Linear(dim, dim)
        self.label = nn.Embedding(classes + 1, dim)

    def forward(self, t, labels):
        time = self.time2(F.gelu(self.time1(self.waves(t))))
        return F.silu(time + self.label(labels))


class ConvEmbed(nn.Module):
    def __init__(self, inputs, outputs, emb_dim):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(8, outputs)
        self.emb = nn.Linear(emb_dim, outputs)

    def forward(self, x, emb):
        return F.silu(self.norm(self.conv(x)) + self.emb(emb)[:, :, None, None])


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs, emb_dim):
        super().__init__()
        self.conv_embed = ConvEmbed(inputs, outputs, emb_dim)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(8, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 3, padding=1) if inputs != outputs else nn.Identity()

    def forward(self, x, emb):
        return F.silu(self.norm(self.conv(self.conv_embed(x, emb)))) + self.skip(x)


class Attention(nn.Module):
    """Four heads over all pixels, plus the input."""

    def __init__(self, channels):
        super().__init__()
        self.qkv = nn.Conv2d(channels, 3 * channels, 3, padding=1, bias=False)
        self.out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        b, c, h, w = x.shape
        q, k, v = self.qkv(x).reshape(b, 3, 4, c // 4, h * w).transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(attended.transpose(-1, -2).reshape(b, c, h, w))


class UNet(nn.Module):
    def __init__(self, width=16, multipliers=(1, 2, 3), classes=10, timesteps=100):
        super().__init__()
        outs = [width * k for k in multipliers]
        ins = [width, *outs[:-1]]
        bottom = outs[-1]
        emb_dim = 8 * width
        self.embedding = TimeAndCondition(4 * width, timesteps, classes)
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.down_blocks = nn.ModuleList(ResBlock(i, i, emb_dim) for i in ins)
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in zip(ins[:-1], outs[:-1])
        )
        self.down.append(nn.Conv2d(ins[-1], bottom, 3, padding=1))
        self.bottom = nn.ModuleList(
            [
                ResBlock(bottom, bottom, emb_dim),
                Attention(bottom),
                ResBlock(bottom, bottom, emb_dim),
            ]
        )
        self.up_blocks = nn.ModuleList(ResBlock(i + o, o, emb_dim) for i, o in zip(ins, outs))
        self.up = nn.ModuleList(nn.Conv2d(o, i, 3, padding=1) for i, o in zip(ins[1:], outs[1:]))
        self.leave = nn.Conv2d(outs[0], 1, 3, padding=1)

    def forward(self, x, t, labels):
        emb = self.embedding(t, labels)
        skips = []
        h = self.enter(x)
        for block, shrink in zip(self.down_blocks, self.down):
            h = block(h, emb)
            skips.append(h)
            h = shrink(h)
        first, attention, second = self.bottom
        h = second(attention(first(h, emb)), emb)
        for level in reversed(range(len(skips))):
            h = self.up_blocks[level](torch.cat([skips[level], h], 1), emb)
            if level:
                h = self.up[level - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.leave(h)


class ADMBlock(nn.Module):
    def __init__(self, inputs, outputs, dim):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.emb = nn.Linear(dim, 2 * outputs)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        return self.conv2(F.silu(h)) + self.skip(x)


class ADMAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x):
        pixels = self.norm(x).flatten(2).mT
        parts = self.qkv(pixels).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        return x + self.out(seen).mT.unflatten(2, x.shape[2:])


class ADMUNet(nn.Module):
    def __init__(self, alpha_bar, widths=(16, 32, 64), classes=10, mean=-0.74, std=0.62):
        super().__init__()
        *outer, inner = widths
        dim = 4 * widths[0]
        self.embedding = TimeAndLabel(dim, len(alpha_bar) - 1, classes)
        self.enter = nn.Conv2d(1, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(ADMBlock(w, w, dim) for w in outer)
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(widths)
        )
        self.bottom = nn.ModuleList(
            [ADMBlock(inner, inner, dim), ADMAttention(inner), ADMBlock(inner, inner, dim)]
        )
        self.up = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for o, i in pairwise(widths))
        self.up_blocks = nn.ModuleList(ADMBlock(2 * w, w, dim) for w in outer)
        self.norm = nn.GroupNorm(8, widths[0])
        self.leave = nn.Conv2d(widths[0], 1, 3, padding=1)
        blocks = [*self.down_blocks, self.bottom[0], self.bottom[2], *self.up_blocks]
        lasts = [layer for block in blocks for layer in (block.emb, block.conv2)]
        for layer in [*lasts, self.bottom[1].out, self.leave]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

        # A row for each time: what x loses and is multiplied by, the slope and the offset of the
        # guess of v, and what the output is multiplied by.
        alpha = alpha_bar.sqrt()
        sigma = (1 - alpha_bar).sqrt()
        variance = alpha_bar * std**2 + 1 - alpha_bar
        slope = alpha * sigma * (1 - std**2) / variance
        columns = alpha * mean, variance.rsqrt(), slope, -sigma * mean, std * variance.rsqrt()
        self.register_buffer("known", torch.stack(columns, 1).float())

    def forward(self, x, t, labels):
        emb = self.embedding(t, labels)
        centre, inward, slope, offset, outward = self.known[t].T[..., None, None, None]
        centred = x - centre
        h = self.enter(centred * inward)
        skips = []
        for block, shrink in zip(self.down_blocks, self.down):
            h = block(h, emb)
            skips.append(h)
            h = shrink(h)
        first, attention, second = self.bottom
        h = second(attention(first(h, emb)), emb)
        for block, grow, skip in reversed(list(zip(self.up_blocks, self.up, skips))):
            h = grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))
            h = block(torch.cat([skip, h], 1), emb)
        h = self.leave(F.silu(self.norm(h)))
        return slope * centred + offset + outward * h


class ConditionedDense(nn.Module):
    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.x = nn.Linear(inputs, hidden)
        self.time = nn.Linear(hidden, hidden)
        self.label = nn.Embedding(classes + 1, hidden)

    def forward(self, x, time, labels):
        return F.silu(self.x(x) + self.time(time) + self.label(labels))


class ConditionalMLP(nn.Module):
    def __init__(self, hidden=32, classes=3, timesteps=40):
        super().__init__()
        self.time = Waves(hidden, timesteps)
        self.layers = nn.ModuleList(
            ConditionedDense(inputs, hidden, classes) for inputs in (2, hidden, hidden)
        )
        self.layers.append(nn.Linear(hidden, 2))

    def forward(self, x, t, labels):
        time = self.time(t)
        for layer in self.layers[:-1]:
            x = layer(x, time, labels)
        return self.layers[-1](x)


if __name__ == "__main__":
    batch = int(sys.argv[1])
    path = sys.argv[2]
    ones = torch.ones(batch, dtype=torch.int64)
    torch.onnx.export(
        UNet().eval(),
        (torch.zeros(batch, 1, 28, 28), ones, ones.clone()),
        path,
        input_names=["x", "t", "labels"],
        output_names=["y"],
        external_data=False,
    )
