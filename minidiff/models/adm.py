"""A better network for images: the UNet of Dhariwal & Nichol, with Karras' preconditioning.

For widths (w, v, u), on 28×28 images:

    enter   28×28    3×3, channels → w
    down    28×28    ResBlock w → w     ───────────────── skip ─┐    then 4×4 stride 2, w → v
            14×14    ResBlock v → v     ────────── skip ─┐      │    then 4×4 stride 2, v → u
    bottom   7×7     ResBlock, Attention, ResBlock       │      │
    up      14×14    ×2 and 3×3, u → v, then ResBlock v + v → v ┘      │
            28×28    ×2 and 3×3, v → w, then ResBlock w + w → w ───────┘
    leave   28×28    norm, silu, 3×3, w → channels

What is better than in `UNet`:

- Every block is x + f(x), with the norms inside f: what goes around is never normalised.
- Each f ends in a layer that starts as zero, so that a new network is a linear function of x.
- The embedding scales what was normalised and shifts it.
- Input and output are preconditioned: see `Preconditioning`.
"""

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from .. import checks, nn, ops
from ..autograd.tensor import Tensor
from ..kernels import Array
from ..nn import Conv2d, Dense
from .halving import cut_to, made_even
from .inputs import as_images, as_labels, as_times, moved

GROUPS = 8  # of each group norm


class ADMUNet(nn.Module):
    """Images x (batch, height, width, channels), times and labels to a prediction of v, like x.

    It is called as model(x, t, condition=None), as `UNet` is: `t` is one host number or (batch,),
    in 0 … T; `condition` is None (null) or host labels (batch,) in 0 … classes, 0 being the null
    label, and None only where `classes` is None. It predicts v: train it by
    `diffusion.loss(model, schedule, x, labels, rng, "v")`; or, for flow matching, the velocity.

    - `alpha_bar` (T + 1,): of the schedule that it is trained on, such as
      `diffusion.cosine_schedule(100).alpha_bar`;
    - `mean`, `std`: of the pixels; those of MNIST's digits in [-1, 1], unless given;
    - `widths`: the channels at each size, multiples of 8; each size is half of the one before,
      rounded up;
    - `attention`: the sizes at which every block is followed by attention, counted from 0; unless
      given, it is at the smallest alone, as above. It costs the square of the pixels;
    - `predicts`: "v", or "velocity", for images on the straight path that has this alpha_bar, such
      as `diffusion.straight_schedule(1000).alpha_bar`;
    - `rng`: a seed or a Generator for the initial weights.

    Images may have any size: one that is odd somewhere is padded there. Raises ValueError for other
    widths. Source: Dhariwal & Nichol 2021, arXiv 2105.05233, section 3; Karras et al. 2022,
    arXiv 2206.00364, section 5; both much reduced.
    """

    def __init__(
        self,
        alpha_bar: Any,
        channels: int = 1,
        widths: tuple[int, ...] = (16, 32, 64),
        classes: int | None = 10,
        mean: float = -0.74,
        std: float = 0.62,
        attention: tuple[int, ...] | None = None,
        predicts: str = "v",
        rng: int | Generator = 0,
    ):
        checks.whole("channels", channels, 1)
        if classes is not None:
            checks.whole("classes", classes, 1)
        _check_widths(widths)
        attends = _sizes_with_attention(attention, len(widths))
        self.precondition = Preconditioning(alpha_bar, mean, std, predicts)
        self.config: dict[str, Any] = {
            "alpha_bar": self.precondition.alpha_bar.tolist(),
            "channels": channels,
            "widths": list(widths),
            "classes": classes,
            "mean": mean,
            "std": std,
        }
        if attention is not None:
            self.config["attention"] = list(attention)
        if predicts != "v":
            self.config["predicts"] = predicts
        self.predicts = predicts
        self.alpha_bar = self.precondition.alpha_bar
        self.timesteps = len(self.alpha_bar) - 1
        self.sample_shape = (28, 28, channels)  # a digit's, until the loss has seen others
        rng = checks.generator("rng", rng)
        *outer, inner = widths
        dim = 4 * widths[0]

        self.embedding = TimeAndLabel(dim, self.timesteps, classes, rng)
        self.enter = Conv2d(channels, widths[0], 3, rng)
        self.down_blocks = [block(w, w, dim, rng, size in attends) for size, w in enumerate(outer)]
        self.down = [Conv2d(i, o, 4, rng, stride=2) for i, o in pairwise(widths)]
        self.bottom = nn.ConditionalChain(ResBlock(inner, inner, dim, rng))
        if len(outer) in attends:
            self.bottom.layers.append(Attention(inner, rng))
        self.bottom.layers.append(ResBlock(inner, inner, dim, rng))
        self.up = [nn.Upsample(i, o, rng) for o, i in pairwise(widths)]
        self.up_blocks = [
            block(2 * w, w, dim, rng, size in attends) for size, w in enumerate(outer)
        ]
        self.norm = nn.GroupNormSilu(GROUPS, widths[0])
        self.leave = zero(Conv2d(widths[0], channels, 3, rng))

    def __call__(self, x: Tensor | Array, t: int | float | Array, condition: Any = None) -> Tensor:
        x = as_images(x, self.config["channels"], self.enter.weight)
        t = as_times(t, x.shape[0], self.timesteps)
        like = self.enter.weight
        inputs = self.embedding.inputs(t, condition)
        coefficients = self.precondition.coefficients(x, t)
        waves, labels, *coefficients = moved(like, *inputs, *coefficients)
        embedding = self.embedding(waves, labels)
        known = self.precondition(x, *coefficients)

        h = self.enter(known.input)
        skips = []
        for block, shrink in zip(self.down_blocks, self.down):
            h = block(h, embedding)
            skips.append(h)
            h = shrink(made_even(h))
        h = self.bottom(h, embedding)
        for block, grow, skip in reversed(list(zip(self.up_blocks, self.up, skips))):
            h = ops.concatenate([skip, cut_to(grow(h), skip)], axis=-1)
            h = block(h, embedding)
        rest = self.leave(self.norm(h))
        return known.guess + known.scale * rest


def _check_widths(widths: Any) -> None:
    if not isinstance(widths, tuple | list) or not widths:
        raise TypeError(
            f"widths: given {widths!r}, wanted one integer a size, such as (16, 32, 64)"
        )
    for width in widths:
        checks.whole("widths", width, 1)
        if width % GROUPS:
            raise ValueError(
                f"widths: given {width}, wanted multiples of {GROUPS}, the groups of the norms"
            )


def _sizes_with_attention(attention: Any, sizes: int) -> tuple[int, ...]:
    if attention is None:
        return (sizes - 1,)
    if not isinstance(attention, tuple | list):
        raise TypeError(f"attention: given {attention!r}, wanted sizes, such as (1, 2), or None")
    return tuple(checks.whole("attention", size, 0, sizes - 1) for size in attention)


class Known(NamedTuple):
    """What is known without a network: its input, a guess, the scale of what is left."""

    input: Any
    guess: Any
    scale: Any


class Preconditioning:
    """The best linear guess of v or the velocity: the network has to learn the rest only.

    Take pixels of mean μ and standard deviation s. Then x_t = α x_0 + σ ε has the mean α μ and the
    variance α² s² + σ² = m². From x_t alone v = α ε − σ x_0 is guessed best, on a line, by

        −σ μ + (x_t − α μ) α σ (1 − s²) / m²

    and what the guess leaves has the standard deviation s / m. So the network is given
    (x_t − α μ) / m and its output is multiplied by s / m: both are of variance 1 at all times.
    Source: Karras et al. 2022, arXiv 2206.00364, table 1 and appendix B.6, for x_0 and μ = 0.

    On the straight path, α + σ = 1, the velocity ε − x_0 is guessed best by

        −μ + (x_t − α μ) (σ − α s²) / m²

    and what this leaves has the same standard deviation, s / m.
    """

    def __init__(self, alpha_bar: Any, mean: float, std: float, predicts: str = "v"):
        self.is_straight = checks.among("predicts", predicts, ("v", "velocity")) == "velocity"
        self.alpha_bar = np.asarray(alpha_bar, np.float64)
        if self.alpha_bar.ndim != 1 or len(self.alpha_bar) < 2:
            raise ValueError(
                f"alpha_bar: given shape {self.alpha_bar.shape}, wanted (T + 1,) with T >= 1: type "
                "schedule.alpha_bar"
            )
        for end in self.alpha_bar.min(), self.alpha_bar.max():
            checks.among("alpha_bar", float(end), checks.Between(0, 1))
        self.mean = checks.among("mean", mean, checks.Between(-math.inf, math.inf, "()"))
        self.std = checks.among("std", std, checks.Between(0, ends="(]"))

    def coefficients(self, x: Any, t: np.ndarray) -> list[np.ndarray]:
        """What `__call__` takes, of times (batch,): host arrays that are broadcast against x."""
        # Between two whole times the angle is interpolated: alpha = cos, sigma = sin.
        angle = np.interp(t, np.arange(len(self.alpha_bar)), np.arccos(np.sqrt(self.alpha_bar)))
        alpha = np.cos(angle)
        sigma = np.sin(angle)
        if self.is_straight:
            length = alpha + sigma
            alpha = alpha / length
            sigma = sigma / length
        variance = (alpha * self.std) ** 2 + sigma**2
        deviation = np.sqrt(variance)

        middle = alpha * self.mean
        if self.is_straight:
            slope = (sigma - alpha * self.std**2) / variance
            offset = np.full_like(sigma, self.mean)
        else:
            slope = alpha * sigma * (1 - self.std**2) / variance
            offset = sigma * self.mean
        shape = (-1, *(1,) * (len(x.shape) - 1))
        values = (middle, slope, offset, 1 / deviation, self.std / deviation)
        return [value.astype(x.dtype).reshape(shape) for value in values]

    def __call__(
        self, x: Any, middle: Array, slope: Array, offset: Array, shrink: Array, scale: Array
    ) -> Known:
        centred = x - middle
        return Known(centred * shrink, centred * slope - offset, scale)


class TimeAndLabel(nn.Module):
    """The time and the label as one vector per sample, (batch, dim), for every ResBlock.

    The time goes through waves, Dense, gelu, Dense; the label's row of an Embedding is added. The
    silu that each ResBlock starts with is taken here, once for all.
    """

    def __init__(self, dim: int, timesteps: int, classes: int | None, rng: Generator):
        self.classes = classes
        self.waves = nn.SinusoidalEmbedding(dim, timesteps)
        self.time1 = Dense(dim, dim, rng)
        self.time2 = Dense(dim, dim, rng)
        self.label = nn.Embedding(classes + 1, dim, rng) if classes is not None else None

    def inputs(self, t: np.ndarray, condition: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """What `__call__` takes, of times (batch,) and a condition, on the host."""
        waves = self.waves.on_host(t, self.time1.weight.data)
        return waves, as_labels(condition, len(t), self.classes)

    def __call__(self, waves: Array, labels: Array | None) -> Tensor:
        time = self.time2(ops.gelu(self.time1(waves)))
        return ops.silu(time if self.label is None else time + self.label(labels))


class ResBlock(nn.Module):
    """x + f(x): norm, silu, conv 3×3; norm, scaled and shifted by the embedding, silu, conv 3×3.

    The last convolution starts as zero. x passes a 1×1 convolution where the channels change.
    """

    conditional = True

    def __init__(self, inputs: int, outputs: int, dim: int, rng: Generator):
        self.norm1 = nn.GroupNormSilu(GROUPS, inputs)
        self.conv1 = Conv2d(inputs, outputs, 3, rng)
        self.emb = zero(Dense(dim, 2 * outputs, rng))
        self.norm2 = nn.GroupNormSilu(GROUPS, outputs)
        self.conv2 = zero(Conv2d(outputs, outputs, 3, rng))
        self.skip = Conv2d(inputs, outputs, 1, rng) if inputs != outputs else None

    def __call__(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x))
        both = self.emb(embedding)
        channels = h.shape[-1]
        h = self.norm2(h, scale=both[:, :channels], shift=both[:, channels:])
        return self.conv2(h) + (x if self.skip is None else self.skip(x))


def block(inputs: int, outputs: int, dim: int, rng: Generator, attends: bool) -> nn.Module:
    """A ResBlock, followed by attention where it is asked for."""
    first = ResBlock(inputs, outputs, dim, rng)
    return nn.ConditionalChain(first, Attention(outputs, rng)) if attends else first


class Attention(nn.Module):
    """x + f(x): norm, each pixel looks at each pixel in `heads` ways, a layer that starts as 0."""

    def __init__(self, channels: int, rng: Generator, heads: int = 4):
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = Dense(channels, 3 * channels, rng, bias=False)
        self.out = zero(Dense(channels, channels, rng))

    def __call__(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        pixels = ops.reshape(self.norm(x), shape=(batch, height * width, channels))
        seen = self.out(ops.self_attention(self.qkv(pixels), self.heads))
        return x + ops.reshape(seen, shape=x.shape)


def zero(layer: Any) -> Any:
    """The layer, with weight and bias 0: a new block adds nothing to what goes around it."""
    for p in layer.parameters():
        p.data[...] = 0
    return layer
