"""Upsample by `scale` (nearest), then convolve: one transposed convolution, and nothing of the large size is read.

Each output pixel meets only a few different inputs: a 3 × 3 kernel over pixels doubled in size meets 2 × 2. Adding up
the taps that meet the same input gives a kernel that is larger by scale − 1 and has the stride `scale`:

    w (turned)  a b c              on doubled pixels      . . X X Y Y . .       the outputs of one phase share
    box         1 1          K = a  a+b  b+c  c                 ↑ phase 0       two of K's four taps: 4/9 of the
                                                                  ↑ phase 1     products in two dimensions

So y = conv2d_dx(x, K), a convolution's input gradient; hence dx = conv2d(g, K), and dK is that convolution's weight
gradient, which the box sum takes back to dw.
"""

import numpy as np

from .. import generic
from . import direct
from .compiled import contiguous
from .ran import ran


def _kernel(w: np.ndarray, scale: int) -> np.ndarray:
    """K: (k + scale − 1, …, out, in)."""
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)
    high, wide = w.shape[:2]
    k = np.zeros((high + scale - 1, wide + scale - 1, *turned.shape[2:]), np.float32)
    for i in range(scale):
        for j in range(scale):
            k[i : i + high, j : j + wide] += turned
    return k


def _fast(a, b, kernel, padding) -> bool:
    same = tuple(2 * p + 1 for p in padding) == tuple(kernel)
    return same and a.dtype == b.dtype == np.float32 and a.size > 0 and b.size > 0


def upsample_conv2d(x, w, b, scale, padding):
    """conv2d(upsample_nearest(x, scale), w, b) with stride 1."""
    if not _fast(x, w, w.shape[:2], padding):
        return generic.conv2d_bias(generic.upsample_nearest(x, scale), w, b, (1, 1), padding, (1, 1), 1)
    ran["upsample_conv2d"] += 1
    size = (x.shape[1] * scale, x.shape[2] * scale)
    return direct.input_gradient(contiguous(x), _kernel(w, scale), size, (scale, scale), padding, (1, 1), b)


def upsample_conv2d_dx(g, w, scale, padding):
    if not _fast(g, w, w.shape[:2], padding):
        size = tuple(n + k - 1 - 2 * p for n, k, p in zip(g.shape[1:3], w.shape[:2], padding, strict=True))
        return generic.upsample_nearest_dx(generic.conv2d_dx(g, w, size, (1, 1), padding, (1, 1), 1), scale)
    ran["upsample_conv2d_dx"] += 1
    size = (g.shape[1] // scale, g.shape[2] // scale)
    return direct.forward(contiguous(g), _kernel(w, scale), None, size, (scale, scale), padding, (1, 1))


def upsample_conv2d_dw_db(g, x, kernel, scale, padding):
    """Both gradients (dw, db)."""
    if not _fast(g, x, kernel, padding):
        return generic.conv2d_dw_db(g, generic.upsample_nearest(x, scale), kernel, (1, 1), padding, (1, 1), 1)
    ran["upsample_conv2d_dw_db"] += 1
    high, wide = kernel
    larger = (high + scale - 1, wide + scale - 1)
    g = contiguous(g)
    dk, _ = direct.weight_and_bias_gradient(contiguous(x), g, larger, (scale, scale), padding, (1, 1))
    turned = sum(dk[i : i + high, j : j + wide] for i in range(scale) for j in range(scale))
    return np.ascontiguousarray(turned[::-1, ::-1].transpose(0, 1, 3, 2)), direct.bias_gradient(g)
