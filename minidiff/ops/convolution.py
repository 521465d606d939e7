"""Convolution of images (batch, height, width, channels) with weights (kh, kw, in, out).

A convolution is linear in the image x and in the weights w. So with a third array y, shaped like
its output, the sum

    L(x, w, y) = Σ y[position, out] · x[position + tap, in] · w[tap, in, out]

over positions, taps and channels is linear in each of the three. Each of its three corners is the
derivative of L for one array, made of the other two:

    conv2d(x, w)       has the shape of y: the convolution
    conv2d_dx(y, w)    has the shape of x: its gradient for x, which is the transposed convolution
    conv2d_dw(y, x)    has the shape of w: its gradient for w

Hence the derivatives of each corner are the other two corners, to any order; and forward, a corner
is its own derivative.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..checks import growth, whole
from ..kernels import call
from ..tape.forward import added
from ..tape.primitive import Primitive
from .elementwise import linear
from .shapes import expand_dims, squeeze, swapaxes

# `geometry` stands for stride, padding, dilation and groups.
# fmt: off
_conv2d = linear("conv2d", "x w * stride padding dilation groups", wants_floats=True,
                 x=lambda g, w, in_shape, **geometry:
                 conv2d_dx(g, w, x_size=in_shape[1:3], **geometry),
                 w=lambda g, x, in_shape, **geometry:
                 conv2d_dw(g, x, kernel=in_shape[:2], **geometry))
conv2d_dx = linear("conv2d_dx", "y w * x_size stride padding dilation groups", wants_floats=True,
                   y=lambda g, w, in_shape, x_size, **geometry:
                   _cropped(_conv2d(g, w, **geometry), in_shape),
                   w=lambda g, y, in_shape, x_size, **geometry:
                   conv2d_dw(y, g, kernel=in_shape[:2], **geometry))
conv2d_dw = linear("conv2d_dw", "y x * kernel stride padding dilation groups", wants_floats=True,
                   y=lambda g, x, in_shape, kernel, **geometry:
                   _cropped(_conv2d(x, g, **geometry), in_shape),
                   x=lambda g, y, in_shape, kernel, **geometry:
                   conv2d_dx(y, g, x_size=in_shape[1:3], **geometry))
# fmt: on


def _cropped(y, shape):
    """y cut to the height and width of `shape`.

    An x with an `output_padding` beyond the stride has room for more positions than y has.
    """
    return y if y.shape == shape else y[:, : shape[1], : shape[2]]


def _conv2d_bias_rule(g, x, w, needs, **geometry):
    """(dx, dw, db); one pass over g gives both dw and db."""
    dx = None
    dw = None
    db = None
    if needs[0]:
        dx = call("conv2d_dx", g, w, x_size=x.shape[1:3], **geometry)
    if needs[1] or needs[2]:
        dw, db = call("conv2d_dw_db", g, x, kernel=w.shape[:2], **geometry)
    return dx, dw, db


def _conv2d_bias_forward(tangents, x, w, **geometry):
    """ẋ ⋆ w + x ⋆ ẇ + ḃ"""
    dx, dw, db = tangents
    total = None if dx is None else _conv2d(dx, w, **geometry)
    if dw is not None:
        total = added(total, _conv2d(x, dw, **geometry))
    return added(total, db)


# fmt: off
_conv2d_bias = Primitive("conv2d_bias", "x w b * stride padding dilation groups", wants_floats=True,
                         joint=_conv2d_bias_rule, forward=_conv2d_bias_forward,
                         reference=lambda x, w, b, **geometry: _conv2d(x, w, **geometry) + b)
# fmt: on


def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation of images x with weights w, plus a bias b.

    x is (batch, h, w, in), w is (kh, kw, in / groups, out) and b (out,). `stride`, `padding` (zeros
    on each side) and `dilation` are ints or pairs (vertical, horizontal). Gives (batch, h′, w′,
    out), where h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1, and w′ alike. Raises
    ValueError if the shapes do not fit.
    """
    geometry = _geometry("conv2d", x, w, b, stride, padding, dilation, groups)
    return _conv2d(x, w, **geometry) if b is None else _conv2d_bias(x, w, b, **geometry)


def conv_transpose2d(
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transpose of `conv2d` as a linear map, plus a bias b.

    x is (batch, h, w, in), w is (kh, kw, in, out / groups) and b (out,). Gives (batch, h′, w′,
    out), where h′ = (h − 1)·stride − 2·padding + dilation·(kh − 1) + output_padding + 1, and w′
    alike. Inputs of several sizes give a convolution's output one size, and `output_padding`, less
    than the stride or the dilation, picks among them. Raises ValueError if the shapes do not fit.
    """
    geometry = _geometry("conv_transpose2d", x, w, b, stride, padding, dilation, groups)
    extra = pair("output_padding", output_padding, 0)
    y_size = []
    for i in (0, 1):
        step = geometry["stride"][i]
        border = geometry["padding"][i]
        tap_distance = geometry["dilation"][i]
        if extra[i] >= max(step, tap_distance):
            raise ValueError(
                f"output_padding: given {output_padding}, wanted less than the stride or dilation"
            )
        reach = tap_distance * (w.shape[i] - 1)
        y_size.append((x.shape[i + 1] - 1) * step - 2 * border + reach + extra[i] + 1)
    if min(y_size) < 1:
        raise ValueError(
            f"padding: given {padding}, wanted less: nothing is left of the output, "
            f"{y_size[0]} × {y_size[1]}"
        )
    growth(
        "stride, dilation",
        (stride, dilation),
        math.prod(x.shape),
        x.shape[0] * math.prod(y_size) * w.shape[2],
    )
    y = conv2d_dx(x, swapaxes(w, axis1=2, axis2=3), x_size=tuple(y_size), **geometry)
    return y if b is None else y + b


def conv1d(
    x: Any,
    w: Any,
    b: Any = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """`conv2d` for sequences: x (batch, n, in), w (k, in / groups, out), b (out,)."""
    if len(x.shape) != 3 or len(w.shape) != 3:
        raise ValueError(
            f"conv1d: given x {x.shape} and w {w.shape}, wanted (batch, n, in) and (k, in, out)"
        )
    # An image one pixel high.
    y = conv2d(
        expand_dims(x, 1),
        expand_dims(w, 0),
        b,
        stride=(1, stride),
        padding=(0, padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return squeeze(y, axis=1)


def pair(name: str, value: Any, low: int) -> tuple[int, int]:
    """An int, or two, as a pair of ints; ValueError unless both are at least `low`."""
    if type(value) is int and value >= low:
        return value, value
    both = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(both) != 2:
        raise ValueError(f"{name}: given {value!r}, wanted an integer or a pair of them")
    return whole(name, both[0], low), whole(name, both[1], low)


def _geometry(operation, x, w, b, stride, padding, dilation, groups):
    """The static arguments by name, with pairs for single numbers.

    Raises ValueError unless x, w and b fit them.
    """
    geometry = {
        "stride": pair("stride", stride, 1),
        "padding": pair("padding", padding, 0),
        "dilation": pair("dilation", dilation, 1),
        "groups": groups,
    }
    b_shape = None if b is None else b.shape
    _check_shapes(operation, x.shape, w.shape, b_shape, *geometry.values())
    return geometry


@lru_cache(1024)  # a network asks about the same few shapes again and again
def _check_shapes(operation, x, w, b, stride, padding, dilation, groups):
    if len(x) != 4 or len(w) != 4:
        raise ValueError(
            f"{operation}: given x {x} and w {w}, "
            f"wanted (batch, height, width, channels) and (kh, kw, in, out)"
        )
    whole("groups", groups, 1)
    if operation == "conv2d":
        in_channels = w[2] * groups
        out_channels = w[3]
        divided = out_channels
    else:
        in_channels = w[2]
        out_channels = w[3] * groups
        divided = in_channels
    if x[3] != in_channels:
        raise ValueError(
            f"{operation}: given x with {x[3]} channels, wanted {in_channels}, which w {w} takes "
            f"with groups={groups}; channels come last, and weights are (kh, kw, in, out)"
        )
    if divided % groups:
        raise ValueError(
            f"groups: given {groups}, wanted a divisor of the {divided} channels of w {w}"
        )
    if b not in (None, (out_channels,)):
        raise ValueError(f"b: given shape {b}, wanted ({out_channels},), one per output channel")
    sizes = zip(x[1:3], padding, dilation, w)
    if operation == "conv2d" and any(n + 2 * p < d * (k - 1) + 1 for n, p, d, k in sizes):
        raise ValueError(
            f"conv2d: given an image {x[1:3]} padded by {padding}, wanted one that the kernel "
            f"{w[:2]} fits in"
        )
    padded = [n + 2 * p for n, p in zip(x[1:3], padding)]
    growth("padding", padding, math.prod(x), x[0] * x[3] * math.prod(padded))
