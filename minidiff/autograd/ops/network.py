"""What networks are made of: convolution, pooling, normalisation, embedding, attention, softmax and losses.

Images are (batch, height, width, channels). Fused operations have one joint rule, and a reference in plain primitives.
"""

import math
from typing import Any

import numpy as np

from ...kernels import call
from ..primitive import Primitive
from .elementwise import exp, log, silu
from .reductions import matmul, max, mean, sum
from .shapes import getitem, reshape, swapaxes

# --- convolution. The three corners of one trilinear form: the derivative of each is another ---

_conv2d = Primitive(
    "conv2d",
    "x w * stride padding dilation groups",
    x=lambda g, w, in_shape, stride, padding, dilation, groups: conv2d_dx(
        g, w, x_size=in_shape[1:3], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    w=lambda g, x, in_shape, stride, padding, dilation, groups: conv2d_dw(
        g, x, kernel=in_shape[:2], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
conv2d_dx = Primitive(
    "conv2d_dx",
    "y w * x_size stride padding dilation groups",
    y=lambda g, w, stride, padding, dilation, groups: _conv2d(
        g, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    w=lambda g, y, in_shape, stride, padding, dilation, groups: conv2d_dw(
        y, g, kernel=in_shape[:2], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)
conv2d_dw = Primitive(
    "conv2d_dw",
    "y x * kernel stride padding dilation groups",
    y=lambda g, x, stride, padding, dilation, groups: _conv2d(
        x, g, stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
    x=lambda g, y, in_shape, stride, padding, dilation, groups: conv2d_dx(
        y, g, x_size=in_shape[1:3], stride=stride, padding=padding, dilation=dilation, groups=groups
    ),
)


def _conv2d_bias_rule(g, x, w, needs, stride, padding, dilation, groups):
    how = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    dx = call("conv2d_dx", g, w, x_size=x.shape[1:3], **how) if needs[0] else None
    return dx, *(call("conv2d_dw_db", g, x, kernel=w.shape[:2], **how) if needs[1] or needs[2] else (None, None))


_conv2d_bias = Primitive(
    "conv2d_bias",
    "x w b * stride padding dilation groups",
    joint=_conv2d_bias_rule,
    reference=lambda x, w, b, **how: _conv2d(x, w, **how) + b,
)


def conv2d(x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """Cross-correlation of images x (batch, h, w, in) with weights w (kh, kw, in / groups, out), plus b (out,).

    `stride`, `padding` (zeros on each side) and `dilation` are ints or pairs (vertical, horizontal).
    Gives (batch, h′, w′, out), h′ = ⌊(h + 2·padding − dilation·(kh − 1) − 1) / stride⌋ + 1.
    Raises ValueError if the shapes do not fit.
    """
    stride, padding, dilation = pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
    _check_conv(x, w, b, padding, dilation, groups)
    how = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _conv2d(x, w, **how) if b is None else _conv2d_bias(x, w, b, **how)


def pair(name: str, value: Any, least: int) -> tuple[int, int]:
    """An int, or two, as a pair of ints not smaller than `least`."""
    both = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(both) != 2 or any(not isinstance(v, int | np.integer) or v < least for v in both):
        raise ValueError(f"{name} must be an int or a pair of ints, at least {least}; got {value!r}")
    return int(both[0]), int(both[1])


def _check_conv(x, w, b, padding, dilation, groups):
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise ValueError(
            f"conv2d: x must be (batch, height, width, channels) and w (kh, kw, in, out); got {x.shape} and {w.shape}"
        )
    if x.shape[3] != w.shape[2] * groups or w.shape[3] % groups:
        raise ValueError(
            f"conv2d: x has {x.shape[3]} channels, w {tuple(w.shape)} with groups={groups} takes {w.shape[2] * groups}; "
            f"channels come last, and weights are (kh, kw, in / groups, out)"
        )
    if b is not None and tuple(b.shape) != (w.shape[3],):
        raise ValueError(f"conv2d: b must have shape ({w.shape[3]},), one for each output channel; got {b.shape}")
    if any(n + 2 * p < d * (k - 1) + 1 for n, k, p, d in zip(x.shape[1:3], w.shape[:2], padding, dilation)):
        raise ValueError(f"conv2d: a kernel {w.shape[:2]} does not fit in an image {x.shape[1:3]} padded by {padding}")


# --- dense and embedding ---


def _dense_rule(g, x, w, needs):
    dx = matmul(g, swapaxes(w, axis1=0, axis2=1)) if needs[0] else None
    return dx, *(call("dense_dw_db", g, x) if needs[1] or needs[2] else (None, None))


_dense = Primitive("dense", "x w b", joint=_dense_rule, reference=lambda x, w, b: matmul(x, w) + b)
_embedding = Primitive(
    "embedding", "table ids", table=lambda g, ids, in_shape: embedding_dtable(g, ids, rows=in_shape[0])
)
embedding_dtable = Primitive("embedding_dtable", "y ids * rows", y=lambda g, ids: _embedding(g, ids))


def dense(x: Any, w: Any, b: Any = None) -> Any:
    """x (…, in) @ w (in, out) + b (out,). Raises ValueError if the shapes do not fit."""
    if len(w.shape) != 2 or not x.shape or x.shape[-1] != w.shape[0]:
        raise ValueError(f"dense: x (…, in) does not fit w (in, out): got {tuple(x.shape)} and {tuple(w.shape)}")
    return matmul(x, w) if b is None else _dense(x, w, b)


def embedding(table: Any, ids: Any) -> Any:
    """Rows of a table (rows, d) at integer ids of any shape: ids.shape + (d,).

    Raises IndexError for an id outside 0 … rows − 1 (ids on the host are checked; NumPy's negative ids are refused).
    """
    ids = np.asarray(ids) if isinstance(ids, list | tuple | int) else ids
    if ids.dtype.kind not in "iu":
        raise TypeError(f"embedding: ids must be integers; got {ids.dtype}")
    if isinstance(ids, np.ndarray) and ids.size and not (0 <= ids.min() and ids.max() < table.shape[0]):
        raise IndexError(f"embedding: ids must lie in 0 … {table.shape[0] - 1}; got {ids.min()} … {ids.max()}")
    return _embedding(table, ids)


# --- pooling and resampling ---

_max_pool2d = Primitive(
    "max_pool2d",
    "x * size stride",
    x=lambda g, aux, in_shape, size, stride: max_pool2d_dx(g, aux, x_size=in_shape[1:3], size=size, stride=stride),
)
max_pool2d_dx = Primitive(
    "max_pool2d_dx",
    "y index * x_size size stride",
    y=lambda g, index, size, stride: max_pool2d_pick(g, index, size=size, stride=stride),
)
max_pool2d_pick = Primitive(
    "max_pool2d_pick",
    "x index * size stride",
    x=lambda g, index, in_shape, size, stride: max_pool2d_dx(g, index, x_size=in_shape[1:3], size=size, stride=stride),
)
_upsample_nearest = Primitive("upsample_nearest", "x * scale", x=lambda g, scale: upsample_nearest_dx(g, scale=scale))
upsample_nearest_dx = Primitive("upsample_nearest_dx", "y * scale", y=lambda g, scale: _upsample_nearest(g, scale=scale))


def max_pool2d(x: Any, size: int, stride: int | None = None) -> Any:
    """The largest value in each size × size window of (batch, h, w, channels); `stride` is `size` unless given.

    Of equal values the first gets the gradient. Raises ValueError if a window does not fit.
    """
    if len(x.shape) != 4 or size > x.shape[1] or size > x.shape[2]:
        raise ValueError(f"max_pool2d: windows of {size} × {size} need images (batch, h, w, channels); got {x.shape}")
    return _max_pool2d(x, size=size, stride=stride or size)


def upsample_nearest(x: Any, scale: int) -> Any:
    """Each pixel of (batch, h, w, channels) becomes a block of scale × scale."""
    return _upsample_nearest(x, scale=scale)


# --- normalisation ---


def _plain_group_norm(x, weight, bias, groups, eps):
    parts = reshape(x, shape=(x.shape[0], -1, groups, x.shape[-1] // groups))
    centred = parts - mean(parts, axis=(1, 3), keepdims=True)
    normal = centred / (mean(centred * centred, axis=(1, 3), keepdims=True) + eps) ** 0.5
    return reshape(normal, shape=x.shape) * weight + bias


def _plain_group_norm_silu(x, weight, bias, shift, groups, eps):
    y = _plain_group_norm(x, weight, bias, groups, eps)
    if shift is not None:
        y = y + reshape(shift, shape=(shift.shape[0], *(1,) * (len(x.shape) - 2), shift.shape[1]))
    return silu(y)


_group_norm = Primitive(
    "group_norm",
    "x weight bias * groups eps",
    joint=lambda g, x, weight, bias, aux, groups: call("group_norm_grads", g, x, weight, bias, aux, groups=groups),
    reference=_plain_group_norm,
)
_group_norm_silu = Primitive(
    "group_norm_silu",
    "x weight bias shift * groups eps",
    joint=lambda g, x, weight, bias, shift, aux, groups: call(
        "group_norm_silu_grads", g, x, weight, bias, shift, aux, groups=groups
    ),
    reference=_plain_group_norm_silu,
)


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    """Each sample's groups of channels brought to mean 0 and variance 1, then · weight + bias (Wu & He 2018).

    x (batch, …, channels); weight, bias (channels,). Raises ValueError if `groups` does not divide the channels.
    """
    _check_group_norm(x, groups, weight, bias)
    return _group_norm(x, weight, bias, groups=groups, eps=eps)


def group_norm_silu(x: Any, groups: int, weight: Any, bias: Any, shift: Any = None, eps: float = 1e-5) -> Any:
    """silu(group_norm(x) + shift) in one pass; shift (batch, channels) is the same for all of a sample's pixels."""
    _check_group_norm(x, groups, weight, bias)
    if shift is not None and tuple(shift.shape) != (x.shape[0], x.shape[-1]):
        raise ValueError(f"group_norm_silu: shift must be (batch, channels) of x {x.shape}; got {shift.shape}")
    return _group_norm_silu(x, weight, bias, shift, groups=groups, eps=eps)


def _check_group_norm(x, groups, weight, bias):
    c = x.shape[-1]
    if groups < 1 or c % groups or tuple(weight.shape) != (c,) or tuple(bias.shape) != (c,):
        raise ValueError(
            f"group_norm: groups={groups} must divide the {c} channels of x {tuple(x.shape)}, and weight and bias be "
            f"({c},); got {tuple(weight.shape)} and {tuple(bias.shape)}"
        )


# --- softmax, attention, losses ---

softmax = Primitive(
    "softmax",
    "x * axis=-1",
    joint=lambda g, out, axis: [call("softmax_dx", g, out, axis=axis)],
    reference=lambda x, axis: _plain_softmax(x, axis),
)
log_softmax = Primitive(
    "log_softmax", "x * axis=-1", x=lambda g, out, axis: g - exp(out) * sum(g, axis=axis, keepdims=True)
)
_attention = Primitive(
    "attention",
    "q k v * scale",
    joint=lambda g, q, k, v, aux, scale: call("attention_grads", g, q, k, v, aux, scale=scale),
    reference=lambda q, k, v, scale: matmul(_plain_softmax(matmul(q, swapaxes(k, axis1=-1, axis2=-2)) * scale, -1), v),
)
_cross_entropy = Primitive(
    "cross_entropy",
    "logits labels",
    joint=lambda g, aux, labels: [call("cross_entropy_dlogits", g, aux, labels), None],
    reference=lambda logits, labels: -mean(getitem(log_softmax(logits), (np.arange(len(labels)), labels))),
)
_mse_loss = Primitive(
    "mse_loss",
    "x y",
    joint=lambda g, x, y, needs: _mse_rule(g, x, y, needs),
    reference=lambda x, y: mean((x - y) * (x - y)),
)


def _plain_softmax(x, axis):
    e = exp(x - max(x, axis=axis, keepdims=True))
    return e / sum(e, axis=axis, keepdims=True)


def _mse_rule(g, x, y, needs):
    dx = call("mse_loss_dx", g, x, y)
    return dx if needs[0] else None, -dx if needs[1] else None


def attention(q: Any, k: Any, v: Any) -> Any:
    """softmax(q kᵀ / √d) v over the last two axes (…, positions, d) (Vaswani et al. 2017, eq. 1)."""
    if q.shape[-1] != k.shape[-1] or k.shape[:-1] != v.shape[:-1] or q.shape[:-2] != k.shape[:-2]:
        raise ValueError(f"attention: q, k, v must be (…, positions, d); got {q.shape}, {k.shape} and {v.shape}")
    return _attention(q, k, v, scale=1 / math.sqrt(q.shape[-1]))


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean over rows of −log softmax(logits)[label]; logits (n, classes), labels (n,) ints in 0 … classes − 1.

    Raises ValueError for shapes that do not fit, IndexError for a label out of range.
    """
    labels = np.asarray(labels) if isinstance(labels, list | tuple) else labels
    if len(logits.shape) != 2 or tuple(labels.shape) != tuple(logits.shape[:1]):
        raise ValueError(f"cross_entropy: wants logits (n, classes), labels (n,); got {logits.shape}, {labels.shape}")
    if isinstance(labels, np.ndarray) and labels.size and not (0 <= labels.min() and labels.max() < logits.shape[1]):
        raise IndexError(f"cross_entropy: labels must lie in 0 … {logits.shape[1] - 1}; "
                         f"got {labels.min()} … {labels.max()}")  # fmt: skip
    return _cross_entropy(logits, labels)


def mse_loss(x: Any, y: Any) -> Any:
    """The mean of (x − y)² over all elements. Raises ValueError if the shapes differ."""
    if tuple(x.shape) != tuple(y.shape):
        raise ValueError(f"mse_loss: x and y must have one shape; got {tuple(x.shape)} and {tuple(y.shape)}")
    return _mse_loss(x, y)
