"""Networks as ONNX graphs: each follows the `__call__` of its class, on the same layers.

A graph is called with x (batch, channels, height, width), of any size that the network takes;
t (batch,), float32, whole or not; and `condition`: int64 labels (batch,), of which 0 is the null
label, or float32 vectors (batch, d); an unconditional network has no such input. A network of two
times has r (batch,), float32, at most t. It gives `output`, like x. Points are (batch, 2); a
classifier has x alone, and gives logits.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import models, nn
from ..models.mean_flow import FASTEST
from .files import Exported
from .onnx_graph import Graph
from .onnx_layers import (
    conv,
    cut_to,
    dense,
    dense_of_pixels,
    embedding,
    group_norm,
    halved,
    interval_waves,
    over_pixels,
    self_attention,
    silu,
    time_of,
    upsample,
    waves,
    whole_and_fraction,
)


def as_onnx(model: nn.Module, content: Exported) -> bytes:
    """The file of a network; `content` is what it holds beside the graph."""
    g = Graph(model, content.state)
    writer = NETWORKS[type(model).__name__]
    shape = shape_of(model)
    is_classifier = isinstance(model, models.LeNet5 | models.LeNet)
    if is_classifier:
        inputs = {"x": (np.float32, shape)}
        output = writer(g, model, "x")
        shape = ("batch", model.dense3.weight.shape[-1])
    else:
        inputs = {"x": (np.float32, shape), "t": (np.float32, ("batch",))}
        inputs |= condition_of(model.config)
        condition = "condition" if "condition" in inputs else None
        if isinstance(model, models.MeanFlowUNet):
            inputs["r"] = inputs["t"]
        output = writer(g, model, "x", "t", condition)
    return g.to_bytes(inputs, output, shape, {"minidiff": json.dumps(content.about)})


def shape_of(model: nn.Module) -> tuple:
    """Of x; what may be of any size has a name."""
    if isinstance(model, models.ConditionalMLP):
        return ("batch", 2)
    if isinstance(model, models.LeNet5):
        return ("batch", 1, 28, 28)
    if isinstance(model, models.LeNet):
        height, width, channels = model.shape
        return ("batch", channels, height, width)
    return ("batch", model.config["channels"], "height", "width")


def condition_of(config: dict[str, Any]) -> dict[str, tuple]:
    """The input for conditions, if the network takes any."""
    if config.get("condition_dim") is not None:
        return {"condition": (np.float32, ("batch", config["condition_dim"]))}
    if config["classes"] is not None:
        return {"condition": (np.int64, ("batch",))}
    return {}


# --- UNet ---


def unet(g: Graph, model: models.UNet, x: str, t: str, condition: str | None) -> str:
    times = waves(g, model.embedding.waves, t, model.timesteps)
    return unet_at(g, model, x, time_and_condition(g, model.embedding, times, condition))


def mean_flow_unet(
    g: Graph, model: models.MeanFlowUNet, x: str, t: str, condition: str | None
) -> str:
    times = interval_waves(g, model.embedding.waves, t, "r", FASTEST / model.timesteps)
    return unet_at(g, model, x, time_and_condition(g, model.embedding, times, condition))


def unet_at(g: Graph, model: models.UNet, x: str, emb: str) -> str:
    h = conv(g, model.enter, x)
    skips = []
    for block, shrink in zip(model.down_blocks, model.down):
        h = res_block(g, block, h, emb)
        skips.append(h)
        h = halved(g, shrink, h)
    h = block_of(g, model.bottom, h, emb)
    for level in reversed(range(len(skips))):
        h = g.add("Concat", skips[level], h, axis=1)
        h = res_block(g, model.up_blocks[level], h, emb)
        if level:
            h = cut_to(g, upsample(g, model.up[level - 1], h), skips[level - 1])
    return conv(g, model.leave, h)


def time_and_condition(g: Graph, module: Any, as_waves: str, condition: str | None) -> str:
    time = time_of(g, module, as_waves)
    if condition is None:
        return silu(g, time)
    row_of = embedding if module.condition_dim is None else dense
    other = row_of(g, module.condition, condition)
    if module.combine == "concat":
        return silu(g, g.add("Concat", time, other, axis=1))
    return silu(g, g.add({"add": "Add", "multiply": "Mul"}[module.combine], time, other))


def res_block(g: Graph, block: Any, x: str, emb: str) -> str:
    first = block.conv_embed
    h = group_norm(g, first.norm, conv(g, first.conv, x))
    h = silu(g, g.add("Add", h, over_pixels(g, dense(g, first.emb, emb))))
    h = silu(g, group_norm(g, block.norm, conv(g, block.conv, h)))
    return g.add("Add", h, x if block.skip is None else conv(g, block.skip, x))


def attention(g: Graph, layer: nn.Attention, x: str, emb: str) -> str:
    channels = layer.out.weight.shape[-1]
    seen = self_attention(g, conv(g, layer.qkv, x), x, layer.heads, channels)
    return g.add("Add", x, conv(g, layer.out, seen))


# --- ADMUNet ---


def adm(g: Graph, model: Any, x: str, t: str, condition: str | None) -> str:
    time = time_of(g, model.embedding, waves(g, model.embedding.waves, t, model.timesteps))
    if condition is not None:
        time = g.add("Add", time, embedding(g, model.embedding.label, condition))
    emb = silu(g, time)
    scaled, guess, scale = preconditioned(g, model.precondition, x, t)
    h = conv(g, model.enter, scaled)
    skips = []
    for block, shrink in zip(model.down_blocks, model.down):
        h = block_of(g, block, h, emb)
        skips.append(h)
        h = halved(g, shrink, h)
    h = block_of(g, model.bottom, h, emb)
    for block, grow, skip in reversed(list(zip(model.up_blocks, model.up, skips))):
        h = g.add("Concat", skip, cut_to(g, upsample(g, grow, h), skip), axis=1)
        h = block_of(g, block, h, emb)
    rest = conv(g, model.leave, silu(g, group_norm(g, model.norm, h)))
    return g.add("Add", guess, g.add("Mul", scale, rest))


def preconditioned(g: Graph, module: Any, x: str, t: str) -> tuple[str, str, str]:
    """The network's input, the guess of its output, and the scale of what is left.

    See `models.adm`. The schedule's angle is looked up, and interpolated between two whole times.
    """
    angles = np.arccos(np.sqrt(module.alpha_bar))
    slopes = np.append(np.diff(angles), 0)
    whole, fraction = whole_and_fraction(g, t)
    slope = g.add("Gather", g.constant(slopes), whole, axis=0)
    angle = g.add("Gather", g.constant(angles), whole, axis=0)
    angle = g.add("Add", angle, g.add("Mul", fraction, slope))
    angle = g.add("Reshape", angle, g.sizes(-1, 1, 1, 1))
    alpha = g.add("Cos", angle)
    sigma = g.add("Sin", angle)
    if module.is_straight:
        length = g.add("Add", alpha, sigma)
        alpha = g.add("Div", alpha, length)
        sigma = g.add("Div", sigma, length)
    spread = g.add("Mul", alpha, g.constant(module.std))
    variance = g.add("Add", g.add("Mul", spread, spread), g.add("Mul", sigma, sigma))
    deviation = g.add("Sqrt", variance)

    centred = g.add("Sub", x, g.add("Mul", alpha, g.constant(module.mean)))
    if module.is_straight:
        covariance = g.add("Sub", sigma, g.add("Mul", alpha, g.constant(module.std**2)))
        offset = g.constant(module.mean)
    else:
        covariance = g.add("Mul", g.add("Mul", alpha, sigma), g.constant(1 - module.std**2))
        offset = g.add("Mul", sigma, g.constant(module.mean))
    guess = g.add("Sub", g.add("Mul", centred, g.add("Div", covariance, variance)), offset)
    scale = g.add("Div", g.constant(module.std), deviation)
    return g.add("Div", centred, deviation), guess, scale


def adm_block(g: Graph, block: Any, x: str, emb: str) -> str:
    h = conv(g, block.conv1, silu(g, group_norm(g, block.norm1, x)))
    scale, shift = g.split(over_pixels(g, dense(g, block.emb, emb)), 2, axis=1)
    h = group_norm(g, block.norm2, h)
    h = g.add("Add", g.add("Mul", h, g.add("Add", scale, g.constant(1))), shift)
    h = conv(g, block.conv2, silu(g, h))
    return g.add("Add", h, x if block.skip is None else conv(g, block.skip, x))


def adm_attention(g: Graph, layer: Any, x: str, emb: str) -> str:
    qkv = dense_of_pixels(g, layer.qkv, group_norm(g, layer.norm, x))
    seen = self_attention(g, qkv, x, layer.heads, layer.out.weight.shape[-1])
    return g.add("Add", x, dense_of_pixels(g, layer.out, seen))


def block_of(g: Graph, block: Any, x: str, emb: str) -> str:
    """A block, or a chain of blocks and attention."""
    for layer in block.layers if isinstance(block, nn.ConditionalChain) else [block]:
        x = BLOCKS[type(layer)](g, layer, x, emb)
    return x


BLOCKS: dict[type, Callable] = {
    models.unet.ResBlock: res_block,
    nn.Attention: attention,
    models.adm.ResBlock: adm_block,
    models.adm.Attention: adm_attention,
}


# --- the others ---


def mlp(g: Graph, model: models.ConditionalMLP, x: str, t: str, condition: str | None) -> str:
    time = waves(g, model.time, t, model.timesteps)
    *conditioned, last = model.chain.layers
    for layer in conditioned:
        h = g.add("Add", dense(g, layer.x, x), dense(g, layer.time, time))
        if condition is not None:
            h = g.add("Add", h, embedding(g, layer.label, condition))
        x = silu(g, h)
    return dense(g, last, x)


def lenet(g: Graph, model: models.LeNet5 | models.LeNet, x: str) -> str:
    for convolution in (model.conv1, model.conv2):
        x = g.add("Relu", conv(g, convolution, x))
        x = g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    channels_last = g.add("Transpose", x, perm=[0, 2, 3, 1])
    h = g.add("Flatten", channels_last)
    for layer in (model.dense1, model.dense2):
        h = g.add("Relu", dense(g, layer, h))
    return dense(g, model.dense3, h)


NETWORKS: dict[str, Callable] = {
    "UNet": unet,
    "MeanFlowUNet": mean_flow_unet,
    "ADMUNet": adm,
    "ConditionalMLP": mlp,
    "LeNet": lenet,
    "LeNet5": lenet,
}
