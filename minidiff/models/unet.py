"""The network for images: a UNet that is told the time and the class.

For width m and multipliers (1, 2, 3), on 28×28 images (at the bottom with 3m channels):

    enter   28×28    3×3, channels → m
    down    28×28    ResBlock m → m      ────────────────── skip ─┐    then 4×4 stride 2, m → m
            14×14    ResBlock m → m      ─────────── skip ─┐      │    then 4×4 stride 2, m → 2m
             7×7     ResBlock 2m → 2m    ──── skip ─┐      │      │    then 3×3, 2m → 3m
    bottom   7×7     ResBlock, Attention, ResBlock  │      │      │
    up       7×7     ResBlock 2m + 3m → 3m    ──────┘      │      │    then ×2 and 3×3, 3m → 2m
            14×14    ResBlock m + 2m → 2m     ─────────────┘      │    then ×2 and 3×3, 2m → m
            28×28    ResBlock m + m → m       ────────────────────┘
    leave   28×28    3×3, m → channels
"""

from collections.abc import Callable
from typing import Any

from numpy.random import Generator

from .. import checks, nn, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..nn import Conv2d, Dense
from .halving import cut_to, made_even
from .inputs import as_images, as_labels, as_times, as_vectors, moved

GROUPS = 8  # of each group norm
COMBINE: dict[str, Callable] = {
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    "add": ops.add,
    "multiply": ops.multiply,
}


class TimeAndCondition(nn.Module):
    """The time and the condition as one vector per sample, (batch, dim), for every ConvEmbed.

    The time goes through waves, Dense, gelu, Dense; labels through an Embedding, vectors through a
    Dense with bias; then both are combined. The silu that each ConvEmbed starts with is taken here,
    once for all.
    """

    def __init__(
        self,
        size: int,
        timesteps: int,
        classes: int | None,
        condition_dim: int | None,
        combine: str,
        rng: Generator,
    ):
        self.timesteps = timesteps
        self.classes = classes
        self.condition_dim = condition_dim
        self.combine = combine
        self.waves = self._made_waves(size, timesteps)
        self.time1 = Dense(size, size, rng)
        self.time2 = Dense(size, size, rng)
        self.condition: Any = None
        if classes is not None:
            self.condition = nn.Embedding(classes + 1, size, rng)
        elif condition_dim is not None:
            self.condition = Dense(condition_dim, size, rng)
        both_side_by_side = self.condition is not None and combine == "concat"
        self.dim = 2 * size if both_side_by_side else size

    def __call__(self, t: Any, condition: Any, batch: int) -> Tensor:
        like = self.time1.weight
        waves = self.waves_of(t, batch, like.data)
        if self.condition_dim is not None:
            condition = as_vectors(condition, batch, self.condition_dim, like)
        else:
            condition = as_labels(condition, batch, self.classes)
        waves, condition = moved(like, waves, condition)
        time = self.time2(ops.gelu(self.time1(waves)))
        if condition is None:
            return ops.silu(time)
        return ops.silu(COMBINE[self.combine](time, self.condition(condition)))

    def _made_waves(self, size: int, timesteps: int) -> nn.SinusoidalEmbedding:
        return nn.SinusoidalEmbedding(size, timesteps)

    def waves_of(self, t: Any, batch: int, like: Array) -> Any:
        """The waves of one time for all or one for each, (batch, size); still on the host."""
        return self.waves.on_host(as_times(t, batch, self.timesteps), like)


class UNet(nn.Module):
    """Images x (batch, height, width, channels), times and conditions to a prediction like x.

    It is called as model(x, t, condition=None), on one thread: `minidiff.sharded(model)` runs on
    all, as `diffusion.loss` and `diffusion.denoiser` do. `t` is one host number or (batch,), in 0 …
    timesteps, integers or reals. `condition` is None (null) or

    - with `classes=k`: host labels (batch,) in 0 … k, 0 being the null label;
    - with `condition_dim=d`, which takes the place of `classes`: vectors (batch, d), the zero
      vector being null;
    - with `classes=None`: None only.

    `combine` is how the embedded time and condition become one: "concat", "add" or "multiply".
    Without `attention` the bottom is one ResBlock. `rng` is a seed or a Generator for the initial
    weights. Images may have any size: one that is odd at some level is padded there. `width` times
    each multiplier is a multiple of 8. Source: Ho et al. 2020 (arXiv 2006.11239, appendix B), much
    reduced.
    """

    _embedding_type: type[TimeAndCondition] = TimeAndCondition

    def __init__(
        self,
        channels: int = 1,
        width: int = 16,
        multipliers: tuple[int, ...] = (1, 2, 3),
        classes: int | None = 10,
        timesteps: int = 100,
        combine: str = "concat",
        attention: bool = True,
        rng: int | Generator = 0,
        *,
        condition_dim: int | None = None,
    ):
        if condition_dim is not None:
            classes = None
            checks.whole("condition_dim", condition_dim, 1)
        if classes is not None:
            checks.whole("classes", classes, 1)
        checks.whole("channels", channels, 1)
        checks.whole("width", width, 1)
        checks.whole("timesteps", timesteps, 1)
        checks.among("combine", combine, COMBINE)
        checks.flag("attention", attention)
        if not isinstance(multipliers, tuple | list):
            raise TypeError(
                f"multipliers: given {type(multipliers).__name__}, wanted one integer a level, "
                f"such as (1, 2, 3)"
            )
        for k in multipliers:
            checks.whole("multipliers", k, 1)
        if not multipliers or any(width * k % GROUPS for k in (1, *multipliers)):
            raise ValueError(
                f"width: given {width} with multipliers {tuple(multipliers)}, wanted positive ones "
                f"whose products are multiples of {GROUPS}, the groups of the norms"
            )
        self.config: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "multipliers": list(multipliers),
            "classes": classes,
            "timesteps": timesteps,
            "combine": combine,
            "attention": attention,
            "condition_dim": condition_dim,
        }
        self.timesteps = timesteps
        self.sample_shape = (28, 28, channels)  # a digit's, until the loss has seen others
        rng = checks.generator("rng", rng)
        levels = len(multipliers)
        outs = [width * k for k in multipliers]  # channels below each level
        ins = [width, *outs[:-1]]  # channels at each level
        bottom = outs[-1]

        self.embedding = self._embedding_type(
            4 * width, timesteps, classes, condition_dim, combine, rng
        )
        dim = self.embedding.dim
        self.enter = Conv2d(channels, width, 3, rng)
        self.down_blocks = [ResBlock(i, i, dim, rng) for i in ins]
        self.down = [Conv2d(i, o, 4, rng, stride=2) for i, o in zip(ins[:-1], outs[:-1])]
        self.down.append(Conv2d(ins[-1], bottom, 3, rng))
        self.bottom = nn.ConditionalChain(ResBlock(bottom, bottom, dim, rng))
        if attention:
            self.bottom.layers += [nn.Attention(bottom, rng), ResBlock(bottom, bottom, dim, rng)]
        self.up_blocks = [ResBlock(i + o, o, dim, rng) for i, o in zip(ins, outs)]
        self.up = [nn.Upsample(outs[level], ins[level], rng) for level in range(1, levels)]
        self.leave = Conv2d(outs[0], channels, 3, rng)

    def __call__(self, x: Tensor | Array, t: int | float | Array, condition: Any = None) -> Tensor:
        x = as_images(x, self.config["channels"], self.enter.weight)
        return self._predicted(x, self.embedding(t, condition, x.shape[0]))

    def _predicted(self, x: Tensor | Array, embedding: Tensor) -> Tensor:
        """What it says of images whose times and conditions are embedded, (batch, dim)."""
        h = self.enter(x)
        skips = []
        for block, shrink in zip(self.down_blocks, self.down):
            h = block(h, embedding)
            skips.append(h)
            h = shrink(made_even(h) if shrink.stride == 2 else h)
        h = self.bottom(h, embedding)
        for level in reversed(range(len(skips))):
            h = ops.concatenate([skips[level], h], axis=-1)
            h = self.up_blocks[level](h, embedding)
            if level:
                h = cut_to(self.up[level - 1](h), skips[level - 1])
        return self.leave(h)


class ConvEmbed(nn.Module):
    """conv 3×3 → GroupNorm → + Dense(embedding) → silu."""

    def __init__(self, inputs: int, outputs: int, dim: int, rng: Generator):
        self.conv = Conv2d(inputs, outputs, 3, rng)
        self.norm = nn.GroupNormSilu(GROUPS, outputs)
        self.emb = Dense(dim, outputs, rng)

    def __call__(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.norm(self.conv(x), shift=self.emb(embedding))


class ResBlock(nn.Module):
    """ConvEmbed → conv 3×3 → GroupNorm → silu, + skip.

    The skip is x, or a 3×3 convolution of it where the channels change.
    """

    conditional = True

    def __init__(self, inputs: int, outputs: int, dim: int, rng: Generator):
        self.conv_embed = ConvEmbed(inputs, outputs, dim, rng)
        self.conv = Conv2d(outputs, outputs, 3, rng)
        self.norm = nn.GroupNormSilu(GROUPS, outputs)
        self.skip = Conv2d(inputs, outputs, 3, rng) if inputs != outputs else None

    def __call__(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv(self.conv_embed(x, embedding))
        return self.norm(h, skip=x if self.skip is None else self.skip(x))
