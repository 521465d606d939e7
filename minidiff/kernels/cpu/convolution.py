"""The convolution kernels of the table: which way each shape takes.

float32 runs on register tiles (`direct`); anything else is `generic`'s. A dilated convolution is a
plain one of the pixels that lie a dilation apart, and as that it may be one for Winograd:

    0 1 0 1 0        dilation 2: a tap reaches only pixels of its own kind, which are taken
    2 3 2 3 2   →    for four images:   0 0 0    1 1    2 2 2    3 3
    0 1 0 1 0                           0 0 0    1 1
"""

import numpy as np

from .. import generic
from . import direct, weight_gradient, winograd
from .compiled import contiguous
from .ran import ran
from .vector import lanes


def _fast(a, b) -> bool:
    return a.dtype == b.dtype == np.float32 and a.size > 0 and b.size > 0


def _plain(x_shape, channels, kernel, stride, padding, dilation, groups, of_weights=False):
    """The padding of those plain convolutions that a dilated one is, if they are for Winograd
    ('same'); else None.

    Over fewer than 24 channels, Winograd saves less than the copies cost.
    """
    (count, height, width, c_in), (d, f) = x_shape, dilation
    plain = padding[0] // d, padding[1] // f
    if dilation == (1, 1) or (plain[0] * d, plain[1] * f) != padding or c_in < 24 * groups:
        return None
    shape = count * d * f, -(-height // d), -(-width // f), c_in
    return (
        plain
        if winograd.fits(
            lanes(), shape, channels, kernel, stride, plain, (1, 1), groups, of_weights
        )
        else None
    )


def _apart(a, dilation):
    """Pixels that lie a dilation apart as images of their own, filled up with zeros to one size."""
    (d, f), (height, width, channels) = dilation, a.shape[1:]
    if height % d or width % f:
        a = np.pad(a, ((0, 0), (0, -height % d), (0, -width % f), (0, 0)))
    parts = a.reshape(len(a), a.shape[1] // d, d, a.shape[2] // f, f, channels)
    return parts.transpose(0, 2, 4, 1, 3, 5).reshape(-1, parts.shape[1], parts.shape[3], channels)


def _joined(parts, size, dilation):
    """Such images together again, without what was filled up."""
    (d, f), (height, width, channels) = dilation, parts.shape[1:]
    a = np.empty((len(parts) // (d * f), height * d, width * f, channels), parts.dtype)
    into = a.reshape(-1, height, d, width, f, channels).transpose(0, 2, 4, 1, 3, 5)
    into[:] = parts.reshape(-1, d, f, height, width, channels)
    return contiguous(a[:, : size[0], : size[1]])


def conv2d(x, w, stride, padding, dilation, groups):
    return conv2d_bias(x, w, None, stride, padding, dilation, groups)


def conv2d_bias(x, w, b, stride, padding, dilation, groups):
    fast = _fast(x, w)
    if fast and (
        width := winograd.fits(
            lanes(), x.shape, w.shape[3], w.shape[:2], stride, padding, dilation, groups
        )
    ):
        ran["winograd"] += 1
        return winograd.forward(contiguous(x), w, b, groups, width)
    if fast and (
        plain := _plain(x.shape, w.shape[3], w.shape[:2], stride, padding, dilation, groups)
    ):
        return _joined(
            conv2d_bias(_apart(x, dilation), w, b, stride, plain, (1, 1), groups),
            x.shape[1:3],
            dilation,
        )
    out = generic.conv_size(x.shape[1:3], w.shape[:2], stride, padding, dilation)
    if not fast or min(out) < 1:
        y = generic.conv2d(x, w, stride, padding, dilation, groups)
        return y if b is None else y + b
    ran["conv2d"] += 1
    return direct.forward(contiguous(x), w, b, out, stride, padding, dilation, groups)


def conv2d_dx(g, w, x_size, stride, padding, dilation, groups):
    if not _fast(g, w) or min(x_size) < 1 or (stride != (1, 1) and dilation != (1, 1)):
        return generic.conv2d_dx(g, w, x_size, stride, padding, dilation, groups)
    if width := winograd.fits(
        lanes(), g.shape, w.shape[2] * groups, w.shape[:2], stride, padding, dilation, groups
    ):
        ran["winograd_dx"] += 1
        return winograd.forward(
            contiguous(g), direct.turned(w[::-1, ::-1], groups), None, groups, width
        )
    same = x_size == g.shape[1:3]  # the output_padding of a transposed convolution makes x larger
    if same and (
        plain := _plain(
            g.shape, w.shape[2] * groups, w.shape[:2], stride, padding, dilation, groups
        )
    ):
        apart = _apart(g, dilation)
        return _joined(
            conv2d_dx(apart, w, apart.shape[1:3], stride, plain, (1, 1), groups), x_size, dilation
        )
    ran["conv2d_dx"] += 1
    return direct.input_gradient(contiguous(g), w, x_size, stride, padding, dilation, groups)


def conv2d_dw(g, x, kernel, stride, padding, dilation, groups):
    return conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups)[0]


def conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups):
    if not _fast(g, x) or min(kernel) < 1:
        return generic.conv2d_dw_db(g, x, kernel, stride, padding, dilation, groups)
    same = x.shape[1:3] == g.shape[1:3]
    if same and (
        plain := _plain(
            x.shape, g.shape[3], kernel, stride, padding, dilation, groups, of_weights=True
        )
    ):
        return conv2d_dw_db(
            _apart(g, dilation), _apart(x, dilation), kernel, stride, plain, (1, 1), groups
        )
    g, x = contiguous(g), contiguous(x)
    if width := winograd.fits(
        lanes(), x.shape, g.shape[3], kernel, stride, padding, dilation, groups, of_weights=True
    ):
        ran["winograd_dw_db"] += 1
        return winograd.weight_and_bias_gradient(g, x, groups, width)
    ran["conv2d_dw_db"] += 1
    return weight_gradient.weight_and_bias_gradient(g, x, kernel, stride, padding, dilation, groups)


SMALL = 1 << 18  # multiply-adds: up to here BLAS is quicker, and uses one thread


def dense(x, w, b):
    """A dense layer is a 1 × 1 convolution of one row of pixels."""
    if not _fast(x, w) or x.size * w.shape[1] <= SMALL:
        return generic.dense(x, w, b)
    ran["dense"] += 1
    rows = contiguous(x).reshape(1, 1, -1, x.shape[-1])
    y = direct.forward(rows, w[None, None], b, rows.shape[1:3], (1, 1), (0, 0), (1, 1))
    return y.reshape(*x.shape[:-1], w.shape[1])


def dense_dw_db(g, x):
    if not _fast(g, x) or x.size * g.shape[-1] <= SMALL:
        if g.ndim == 2:
            return np.matmul(x.T, g), np.add.reduce(g, 0)
        return generic.dense_dw_db(g, x)
    ran["dense_dw_db"] += 1
    g, x = (contiguous(a).reshape(1, 1, -1, a.shape[-1]) for a in (g, x))
    dw, db = weight_gradient.weight_and_bias_gradient(g, x, (1, 1), (1, 1), (0, 0), (1, 1))
    return dw.reshape(dw.shape[2:]), db
