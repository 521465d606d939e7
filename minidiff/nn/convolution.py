"""Convolutions as layers."""

from typing import Any

from .. import checks, ops
from ..autograd.tensor import Tensor
from .layers import Seed, uniform
from .module import Module


def _check_sizes(inputs, outputs, kernel, stride, padding, dilation, groups) -> None:
    """ValueError unless these are sizes that a convolution can have."""
    sizes = {
        "inputs": inputs,
        "outputs": outputs,
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "groups": groups,
    }
    for name, size in sizes.items():
        checks.whole(name, size, 1)
    checks.sizes(kernel=kernel, inputs=inputs, outputs=outputs)
    if padding is not None:
        checks.whole("padding", padding)
    for name in ("inputs", "outputs"):
        if sizes[name] % groups:
            raise ValueError(f"{name}: given {sizes[name]}, wanted a multiple of {groups} groups")


class Conv2d(Module):
    """Cross-correlation of images x (batch, h, w, in) with its weight, plus its bias.

    `weight` is (kernel, kernel, in / groups, out), `bias` (out,). Gives (batch, h′, w′, out), where
    h′ = ⌊(h + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1.

    With a `dilation`, neighbouring taps meet pixels that lie so far apart. With `groups`, inputs
    and outputs are cut into so many groups, and an output sums only inputs of its own group.
    Without a `padding`, it is the one that keeps the size where the stride is 1 and the kernel odd.
    Weight and bias start as U(±1/√(kernel²·in / groups)).

    Raises ValueError if `dilation` or `groups` is less than 1, or if `groups` does not divide
    inputs and outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rng: Seed = None,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        dilation: int = 1,
        groups: int = 1,
    ):
        rng = checks.generator("rng", rng)
        _check_sizes(inputs, outputs, kernel, stride, padding, dilation, groups)
        depth = inputs // groups
        fan_in = kernel * kernel * depth
        self.weight = uniform(rng, (kernel, kernel, depth, outputs), fan_in=fan_in)
        has_bias = checks.flag("bias", bias)
        self.bias = uniform(rng, (outputs,), fan_in=fan_in) if has_bias else None
        self.stride = stride
        self.padding = dilation * (kernel - 1) // 2 if padding is None else padding
        self.dilation = dilation
        self.groups = groups

    def __call__(self, x: Any) -> Tensor:
        return ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class Conv1d(Module):
    """`Conv2d` for sequences x (batch, n, in); `weight` is (kernel, in / groups, out)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rng: Seed = None,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
        dilation: int = 1,
        groups: int = 1,
    ):
        rng = checks.generator("rng", rng)
        _check_sizes(inputs, outputs, kernel, stride, padding, dilation, groups)
        depth = inputs // groups
        fan_in = kernel * depth
        self.weight = uniform(rng, (kernel, depth, outputs), fan_in=fan_in)
        has_bias = checks.flag("bias", bias)
        self.bias = uniform(rng, (outputs,), fan_in=fan_in) if has_bias else None
        self.stride = stride
        self.padding = dilation * (kernel - 1) // 2 if padding is None else padding
        self.dilation = dilation
        self.groups = groups

    def __call__(self, x: Any) -> Tensor:
        return ops.conv1d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class ConvTranspose2d(Module):
    """The transposed convolution: what is the derivative of `Conv2d` is the layer here.

    `weight` is (kernel, kernel, in, out / groups), `bias` (out,). Images (batch, h, w, in) become
    (batch, h′, w′, out), where h′ = (h − 1)·stride − 2·padding + dilation·(kernel − 1)
    + output_padding + 1. Weight and bias start as U(±1/√(kernel²·out / groups)), as in PyTorch.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        rng: Seed = None,
        stride: int = 1,
        padding: int = 0,
        output_padding: int = 0,
        bias: bool = True,
        dilation: int = 1,
        groups: int = 1,
    ):
        rng = checks.generator("rng", rng)
        _check_sizes(inputs, outputs, kernel, stride, padding, dilation, groups)
        checks.whole("output_padding", output_padding)
        depth = outputs // groups
        fan_in = kernel * kernel * depth
        self.weight = uniform(rng, (kernel, kernel, inputs, depth), fan_in=fan_in)
        has_bias = checks.flag("bias", bias)
        self.bias = uniform(rng, (outputs,), fan_in=fan_in) if has_bias else None
        self.stride = stride
        self.padding = padding
        self.output_padding = output_padding
        self.dilation = dilation
        self.groups = groups

    def __call__(self, x: Any) -> Tensor:
        return ops.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class Upsample(Module):
    """Each pixel becomes a block of 2 × 2, then a 3×3 convolution from `inputs` to `outputs`."""

    def __init__(self, inputs: int, outputs: int, rng: Seed = None):
        rng = checks.generator("rng", rng)
        self.conv = Conv2d(inputs, outputs, 3, rng)

    def __call__(self, x: Any) -> Tensor:
        return self.conv(ops.upsample_nearest(x, 2))
