"""Dilated convolutions as plain ones: pixels that lie a dilation apart are images of their own.

    0 1 0 1 0        dilation 2: a tap meets only pixels of its own kind, which make
    2 3 2 3 2   →    four images:   0 0 0    1 1    2 2 2    3 3
    0 1 0 1 0                       0 0 0    1 1

The plain ones go by Winograd. Over fewer than 24 channels, that saves less than the copies cost.
"""

import numpy as np

from .. import winograd
from ..compiled import contiguous
from ..problem import Problem
from ..views import ceil_divide


def _plain(p: Problem) -> Problem:
    """The plain convolution of all those images."""
    d, f = p.dilation
    size = ceil_divide(p.size[0], d), ceil_divide(p.size[1], f)
    return p._replace(
        images=p.images * d * f,
        size=size,
        out=size,
        padding=(p.padding[0] // d, p.padding[1] // f),
        dilation=(1, 1),
    )


def _is_several_plain_ones(p: Problem) -> bool:
    in_dilations = all(n % d == 0 for n, d in zip(p.padding, p.dilation, strict=True))
    enough = p.inputs >= 24 * p.groups
    return p.dilation != (1, 1) and in_dilations and p.out == p.size and enough


def fits(p: Problem) -> bool:
    return _is_several_plain_ones(p) and winograd.fits(_plain(p))


def fits_weight_gradient(p: Problem) -> bool:
    return _is_several_plain_ones(p) and winograd.fits_weight_gradient(_plain(p))


def _apart(a, dilation):
    """Pixels that lie a dilation apart as images of their own, filled up with zeros to one size."""
    d, f = dilation
    height, width, channels = a.shape[1:]
    if height % d or width % f:
        a = np.pad(a, ((0, 0), (0, -height % d), (0, -width % f), (0, 0)))
    parts = a.reshape(len(a), a.shape[1] // d, d, a.shape[2] // f, f, channels)
    return parts.transpose(0, 2, 4, 1, 3, 5).reshape(-1, parts.shape[1], parts.shape[3], channels)


def _joined(parts, size, dilation):
    """Such images together again, without what was filled up."""
    d, f = dilation
    height, width, channels = parts.shape[1:]
    a = np.empty((len(parts) // (d * f), height * d, width * f, channels), parts.dtype)
    target = a.reshape(-1, height, d, width, f, channels).transpose(0, 2, 4, 1, 3, 5)
    target[:] = parts.reshape(-1, d, f, height, width, channels)
    return contiguous(a[:, : size[0], : size[1]])


def forward(x, w, b, p: Problem):
    y = winograd.forward(_apart(x, p.dilation), w, b, _plain(p))
    return _joined(y, p.out, p.dilation)


def weight_gradient(g, x, p: Problem):
    return winograd.weight_gradient(_apart(g, p.dilation), _apart(x, p.dilation), _plain(p))
