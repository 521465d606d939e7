"""Convolution of images (batch, height, width, channels) with weights (kh, kw, in, out)."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

from functools import lru_cache
from typing import Any

import numpy as np

from ..kernels import call
from ..tape.primitive import Primitive
from .shapes import expand_dims, squeeze, swapaxes

# The three corners of one trilinear form Σ y·x·w: the derivative of each is another.
_conv2d = Primitive("conv2d", "x w * stride padding dilation groups",
                    x=lambda g, w, in_shape, **how: conv2d_dx(g, w, x_size=in_shape[1:3], **how),
                    w=lambda g, x, in_shape, **how: conv2d_dw(g, x, kernel=in_shape[:2], **how))  # fmt: skip
conv2d_dx = Primitive("conv2d_dx", "y w * x_size stride padding dilation groups",
                      y=lambda g, w, in_shape, x_size, **how: _inside(_conv2d(g, w, **how), in_shape),
                      w=lambda g, y, in_shape, x_size, **how: conv2d_dw(y, g, kernel=in_shape[:2], **how))  # fmt: skip
conv2d_dw = Primitive("conv2d_dw", "y x * kernel stride padding dilation groups",
                      y=lambda g, x, in_shape, kernel, **how: _inside(_conv2d(x, g, **how), in_shape),
                      x=lambda g, y, in_shape, kernel, **how: conv2d_dx(y, g, x_size=in_shape[1:3], **how))  # fmt: skip


def _conv2d_bias_rule(g, x, w, needs, **how):
    dx = call("conv2d_dx", g, w, x_size=x.shape[1:3], **how) if needs[0] else None
    return dx, *(
        call("conv2d_dw_db", g, x, kernel=w.shape[:2], **how)
        if needs[1] or needs[2]
        else (None, None)
    )


_conv2d_bias = Primitive("conv2d_bias", "x w b * stride padding dilation groups",
                         joint=_conv2d_bias_rule,
                         reference=lambda x, w, b, **how: _conv2d(x, w, **how) + b)  # fmt: skip


def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation of images x (batch, h, w, in) with weights w (kh, kw, in / groups, out),
    plus b (out,).

    `stride`, `padding` (zeros on each side) and `dilation` are ints or pairs (vertical,
    horizontal). Gives (batch, h′, w′, out), h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1) / stride⌋
    + 1. Raises ValueError if the shapes do not fit.
    """
    how = _how("conv2d", x, w, b, stride, padding, dilation, groups)
    return _conv2d(x, w, **how) if b is None else _conv2d_bias(x, w, b, **how)


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
    """The transpose of `conv2d` as a linear map; w is (kh, kw, in, out / groups), seen from x
    (batch, h, w, in).

    Gives (batch, h′, w′, out), h′ = (h − 1)·stride − 2·padding + dilation·(kh − 1) + output_padding
    + 1: several sizes of a convolution's input give one output, and `output_padding` < max(stride,
    dilation) picks among them. Raises ValueError if the shapes do not fit.
    """
    how = _how("conv_transpose2d", x, w, b, stride, padding, dilation, groups)
    s, p, d, more = (
        how["stride"],
        how["padding"],
        how["dilation"],
        pair("output_padding", output_padding, 0),
    )
    if any(more[i] >= max(s[i], d[i]) for i in (0, 1)):
        raise ValueError(
            f"conv_transpose2d: output_padding must be less than stride or dilation; got {output_padding}"
        )
    h, v = (
        (x.shape[i + 1] - 1) * s[i] - 2 * p[i] + d[i] * (w.shape[i] - 1) + more[i] + 1
        for i in (0, 1)
    )
    if h < 1 or v < 1:
        raise ValueError(
            f"conv_transpose2d: padding={padding} leaves nothing of the output, {h} × {v}"
        )
    y = conv2d_dx(x, swapaxes(w, axis1=2, axis2=3), x_size=(h, v), **how)
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
            f"conv1d: x must be (batch, n, in), w (k, in, out); got {x.shape}, {w.shape}"
        )
    rows = (1, stride), (0, padding), (1, dilation)
    return squeeze(conv2d(expand_dims(x, 1), expand_dims(w, 0), b, *rows, groups), axis=1)


def _inside(y, shape):
    """The part of y that has that height and width: an `output_padding` beyond the stride makes room for more."""
    return y if y.shape == shape else y[:, : shape[1], : shape[2]]


def pair(name: str, value: Any, least: int) -> tuple[int, int]:
    """An int, or two, as a pair of ints not smaller than `least`."""
    if type(value) is int and value >= least:
        return value, value
    both = (value, value) if np.ndim(value) == 0 else tuple(value)
    if len(both) != 2 or any(not isinstance(v, int | np.integer) or v < least for v in both):
        raise ValueError(
            f"{name} must be an int or a pair of ints, at least {least}; got {value!r}"
        )
    return int(both[0]), int(both[1])


def _how(name, x, w, b, stride, padding, dilation, groups):
    """The static arguments by name, as pairs, once x, w and b fit."""
    pairs = pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
    return _checked(name, x.shape, w.shape, None if b is None else b.shape, *pairs, groups)


@lru_cache(1024)  # of shapes: a network asks for the same few again and again
def _checked(name, x, w, b, stride, padding, dilation, groups):
    if len(x) != 4 or len(w) != 4:
        raise ValueError(
            f"{name}: x must be (batch, height, width, channels), w (kh, kw, in, out); got {x}, {w}"
        )
    # the axis of w that has all groups' channels; the other has one group's
    cuts = 3 if name == "conv2d" else 2
    cin, out = (n if axis == cuts else n * groups for axis, n in enumerate(w[2:], 2))
    if x[3] != cin or groups < 1 or w[cuts] % groups:
        raise ValueError(
            f"{name}: x has {x[3]} channels, w {w} with groups={groups} takes {cin}; channels come last, "
            f"and weights are (kh, kw, in, out)"
        )
    if b not in (None, (out,)):
        raise ValueError(
            f"{name}: b must have shape ({out},), one for each output channel; got {b}"
        )
    sizes = zip(x[1:], padding, dilation, w)
    if name == "conv2d" and any(n + 2 * p < d * (k - 1) + 1 for n, p, d, k in sizes):
        raise ValueError(
            f"conv2d: a kernel {w[:2]} does not fit in an image {x[1:3]} padded by {padding}"
        )
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
