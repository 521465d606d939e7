"""Layers as ONNX nodes. Images are (batch, channels, height, width) here, as ONNX has them."""

import math
from typing import Any

import numpy as np

from .. import nn
from .onnx_graph import Graph

EPS = 1e-5  # of the group norms


def conv(g: Graph, layer: nn.Conv2d, x: str, pads: list[int] | None = None) -> str:
    """`pads` are above, left, below, right."""
    weights = [g.weight(w) for w in (layer.weight, layer.bias) if w is not None]
    return g.add(
        "Conv",
        x,
        *weights,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 4 if pads is None else pads,
        dilations=[layer.dilation] * 2,
        group=layer.groups,
    )


def dense(g: Graph, layer: nn.Dense, x: str) -> str:
    """Of rows (batch, in)."""
    weights = [g.weight(w) for w in (layer.weight, layer.bias) if w is not None]
    return g.add("Gemm", x, *weights, transB=1)


def dense_of_pixels(g: Graph, layer: nn.Dense, x: str) -> str:
    """Of images: a 1×1 convolution."""
    inputs, outputs = layer.weight.shape
    weights = [g.add("Reshape", g.weight(layer.weight), g.sizes(outputs, inputs, 1, 1))]
    if layer.bias is not None:
        weights.append(g.weight(layer.bias))
    return g.add("Conv", x, *weights)


def embedding(g: Graph, layer: nn.Embedding, ids: str) -> str:
    return g.add("Gather", g.weight(layer.weight), ids, axis=0)


def silu(g: Graph, x: str) -> str:
    return g.add("Mul", x, g.add("Sigmoid", x))


def gelu(g: Graph, x: str) -> str:
    """x Φ(x) = x (1 + erf(x / √2)) / 2"""
    erf = g.add("Erf", g.add("Mul", x, g.constant(1 / math.sqrt(2))))
    return g.add("Mul", g.add("Mul", x, g.constant(0.5)), g.add("Add", erf, g.constant(1)))


def group_norm(g: Graph, layer: nn.GroupNorm, x: str) -> str:
    """The groups as images of one row each, which InstanceNormalization takes one by one."""
    rows = g.add("Reshape", x, g.sizes(0, layer.groups, -1))
    ones = g.constant(np.ones(layer.groups))
    zeros = g.constant(np.zeros(layer.groups))
    normal = g.add("InstanceNormalization", rows, ones, zeros, epsilon=EPS)
    normal = g.add("Reshape", normal, g.add("Shape", x))
    columns = [as_column(g, g.weight(w)) for w in (layer.weight, layer.bias)]
    return g.add("Add", g.add("Mul", normal, columns[0]), columns[1])


def as_column(g: Graph, vector: str) -> str:
    """(channels,) as (channels, 1, 1)."""
    return g.add("Reshape", vector, g.sizes(-1, 1, 1))


def over_pixels(g: Graph, vectors: str) -> str:
    """(batch, channels) as (batch, channels, 1, 1)."""
    return g.add("Reshape", vectors, g.sizes(0, -1, 1, 1))


def upsample(g: Graph, layer: nn.Upsample, x: str) -> str:
    """Pixel 2i and pixel 2i + 1 are the old pixel i."""
    scales = g.constant([1, 1, 2, 2])
    rounding = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return conv(g, layer.conv, g.add("Resize", x, "", scales, mode="nearest", **rounding))


def halved(g: Graph, layer: nn.Conv2d, x: str) -> str:
    """A convolution of stride 2 whose result has half of the size, rounded up.

    One more row of zeros below, one more column on the right: where the size is even, no window
    reaches them.
    """
    if layer.stride == 1:
        return conv(g, layer, x)
    before = layer.padding
    return conv(g, layer, x, [before, before, before + 1, before + 1])


def cut_to(g: Graph, x: str, other: str) -> str:
    """Images without what the other, perhaps smaller ones have not."""
    size = g.add("Slice", g.add("Shape", other), g.sizes(2), g.sizes(4))
    return g.add("Slice", x, g.sizes(0, 0), size, g.sizes(2, 3))


def self_attention(g: Graph, qkv: str, like: str, heads: int, channels: int) -> str:
    """Every pixel looks at every pixel: qkv (batch, 3 · channels, h, w) to one like `like`."""
    d = channels // heads
    parts = g.add("Reshape", qkv, g.sizes(0, 3 * heads, d, -1))  # (batch, 3 · heads, d, pixels)
    q, k, v = g.split(parts, 3, axis=1)
    scaled = g.add("Mul", q, g.constant(1 / math.sqrt(d)))
    rows = g.add("Transpose", scaled, perm=[0, 1, 3, 2])
    weights = g.add("Softmax", g.add("MatMul", rows, k), axis=-1)
    seen = g.add("MatMul", v, g.add("Transpose", weights, perm=[0, 1, 3, 2]))
    return g.add("Reshape", seen, g.add("Shape", like))


# --- times ---


def whole_and_fraction(g: Graph, t: str) -> tuple[str, str]:
    """⌊t⌋ as integers (batch,), and what is left of t, (batch,)."""
    floor = g.add("Floor", t)
    return g.add("Cast", floor, to=g.onnx.TensorProto.INT64), g.add("Sub", t, floor)


def waves(g: Graph, layer: nn.SinusoidalEmbedding, t: str, timesteps: int) -> str:
    """The embedding of times, whole or not, in float32 alone, which every device has.

    The angles of whole times are looked up, and turned by that of the fraction, which is small:
    sin(a + b) = sin a cos b + cos a sin b.
    """
    phase = np.arange(timesteps + 1)[:, None] * layer.frequencies
    whole, fraction = whole_and_fraction(g, t)
    sin_a = g.add("Gather", g.constant(np.sin(phase)), whole, axis=0)
    cos_a = g.add("Gather", g.constant(np.cos(phase)), whole, axis=0)
    b = g.add("Mul", g.add("Reshape", fraction, g.sizes(-1, 1)), g.constant(layer.frequencies))
    sin_b = g.add("Sin", b)
    cos_b = g.add("Cos", b)
    sin = g.add("Add", g.add("Mul", sin_a, cos_b), g.add("Mul", cos_a, sin_b))
    cos = g.add("Sub", g.add("Mul", cos_a, cos_b), g.add("Mul", sin_a, sin_b))
    return _in_turns(g, sin, cos, layer)


def interval_waves(
    g: Graph, layer: nn.SinusoidalEmbedding, t: str, r: str, to_radians: float
) -> str:
    """The embeddings of t and of t − r beside each other: few radians, which float32 holds."""
    scaled = g.constant(layer.frequencies * to_radians)
    parts = []
    for time in (t, g.add("Sub", t, r)):
        phase = g.add("Mul", g.add("Reshape", time, g.sizes(-1, 1)), scaled)
        parts.append(_in_turns(g, g.add("Sin", phase), g.add("Cos", phase), layer))
    return g.add("Concat", *parts, axis=1)


def _in_turns(g: Graph, sin: str, cos: str, layer: nn.SinusoidalEmbedding) -> str:
    """Sines and cosines (batch, dim / 2) as (batch, dim), one after the other."""
    pairs = [g.add("Unsqueeze", x, g.sizes(2)) for x in (sin, cos)]
    return g.add("Reshape", g.add("Concat", *pairs, axis=2), g.sizes(0, len(layer.frequencies) * 2))


def time_of(g: Graph, embedding: Any, as_waves: str) -> str:
    """Dense, gelu, Dense of a time as waves: what the UNets' embeddings begin with."""
    return dense(g, embedding.time2, gelu(g, dense(g, embedding.time1, as_waves)))
