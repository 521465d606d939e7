"""Swish, GELU, blending, Adam, the moving average: each one pass over memory.

They are vector bodies, but for GELU: it is a plain loop that calls C's erf.
"""

import math
from functools import cache

import numpy as np

from .. import generic
from . import functions, sweeps, vector
from .compiled import compiled, contiguous, kernel, number, numbers, whole
from .counters import run_counts

FLOAT32 = np.dtype(np.float32)  # comparing with this takes half the time of comparing with the type


# --- bodies ---


@kernel(numbers, numbers, whole)
def silu_kernel(e, x, y, n):
    sweeps.pointwise(e, functions.silu, [x], y, n)


@kernel(numbers, numbers, numbers, whole)
def silu_dx_kernel(e, g, x, dx, n):
    sweeps.pointwise(e, functions.silu_dx, [g, x], dx, n)


@kernel(numbers, numbers, numbers, numbers, whole, whole)
def blend_kernel(e, x, y, shares, z, samples, size):
    """z = a · x + b · y; `shares` has a of every sample, then b of every sample."""

    @e.loop(samples)
    def sample(n):
        a = e.load_broadcast(shares + n)
        b = e.load_broadcast(shares + samples + n)
        first = n * size
        mixed = lambda e, x, y: e.fma(b, y, a * x)
        sweeps.pointwise(e, mixed, [x + first, y + first], z + first, size)


@kernel(*(numbers,) * 4, *(number,) * 6, whole)
def adam_kernel(e, param, grad, m, v, one_less_beta1, one_less_beta2, rate, unbias, eps, decay, n):
    """Adam (Kingma & Ba 2015, algorithm 1).

    The bias of m is corrected in `rate`, that of v by `unbias`.
    """

    def vector(i, mask):
        p, g, mean, square = (e.load(array + i, mask) for array in (param, grad, m, v))
        mean = e.fma(g - mean, one_less_beta1, mean)
        square = e.fma(e.fma(g, g, -square), one_less_beta2, square)
        change = e.fma(decay, p, rate * mean / (e.sqrt(square * unbias) + eps))
        e.store(p - change, param + i, mask)
        e.store(mean, m + i, mask)
        e.store(square, v + i, mask)

    vectors = n // e.lanes
    e.loop(vectors)(lambda k: vector(k * e.lanes, None))
    vector(vectors * e.lanes, e.mask_first(n - vectors * e.lanes))


@kernel(numbers, numbers, number, whole)
def ema_kernel(e, average, param, share, n):
    """average ← average + share · (param − average)"""
    towards = lambda e, old, new: e.fma(new - old, share, old)
    sweeps.pointwise(e, towards, [average, param], average, n)


# --- loops; they are compiled when they are first needed ---


FAR_LEFT = np.float32(-40)  # where Φ is 0; −∞ times it would be NaN


def _gelu(x, y, n):
    for i in range(n):
        z = FAR_LEFT if x[i] < FAR_LEFT else x[i]
        y[i] = np.float32(0.5) * z * (1 + math.erf(z * np.float32(math.sqrt(0.5))))


def _gelu_dx(g, x, y, n):
    for i in range(n):
        z = FAR_LEFT if x[i] < FAR_LEFT else x[i]
        z = -FAR_LEFT if z > -FAR_LEFT else z
        density = math.exp(np.float32(-0.5) * z * z) * np.float32(1 / math.sqrt(2 * math.pi))
        share = np.float32(0.5) * (1 + math.erf(z * np.float32(math.sqrt(0.5))))
        y[i] = g[i] * (share + z * density)


@cache
def gelu_loop():
    return compiled(_gelu, (numbers, numbers, whole), "gelu")


@cache
def gelu_dx_loop():
    return compiled(_gelu_dx, (numbers, numbers, numbers, whole), "gelu_dx")


# --- the kernels of the table ---


def _fast(a, b) -> bool:
    return a.dtype == b.dtype == FLOAT32 and a.shape == b.shape and a.size > 0


def _new_array(name, run, arrays, *sizes):
    """run(*arrays, y, *sizes) on flat arrays; gives y, which has the first array's shape."""
    run_counts[name] += 1
    flat = [contiguous(array).reshape(-1) for array in arrays]
    y = np.empty(arrays[0].shape, np.float32)
    run(*flat, y.reshape(-1), *(sizes or [y.size]))
    return y


def silu(x):
    if not _fast(x, x):
        return generic.silu(x)
    return _new_array("silu", silu_kernel(vector.lanes()), [x])


def silu_dx(g, x):
    if not _fast(g, x):
        return generic.silu_dx(g, x)
    return _new_array("silu_dx", silu_dx_kernel(vector.lanes()), [g, x])


def gelu(x, approximate):
    if approximate != "none" or not _fast(x, x):
        return generic.gelu(x, approximate)
    return _new_array("gelu", gelu_loop(), [x])


def gelu_dx(g, x, approximate):
    if approximate != "none" or not _fast(g, x):
        return generic.gelu_dx(g, x, approximate)
    return _new_array("gelu_dx", gelu_dx_loop(), [g, x])


def blend(x, y, a, b):
    """a·x + b·y; a and b are two numbers, or two columns (batch, 1, …)."""
    if not _fast(x, y):
        return generic.blend(x, y, a, b)
    shares = np.array((a, b), np.float32)
    samples = shares.size // 2
    if samples > 1 and x.shape[:1] != (samples,):
        return generic.blend(x, y, a, b)
    run = blend_kernel(vector.lanes())
    return _new_array("blend", run, [x, y, shares], samples, x.size // samples)


def _flat(*arrays):
    """The arrays as flat ones, or None unless all are plain float32 arrays of one shape."""
    shape = arrays[0].shape
    flat = []
    for a in arrays:
        if a.dtype != FLOAT32 or not a.flags.carray or a.shape != shape:
            return None
        flat.append(a.reshape(-1))
    return flat


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    """In place: param, m and v."""
    flat = _flat(param, contiguous(grad), m, v)
    if flat is None:
        generic.adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step)
        return
    run_counts["adam"] += 1
    rate = lr / (1 - beta1**step)
    unbias = 1 / (1 - beta2**step)
    factors = map(float, (1 - beta1, 1 - beta2, rate, unbias, eps, lr * weight_decay))
    adam_kernel(vector.lanes())(*flat, *factors, param.size)


def ema(average, param, decay):
    """In place: average."""
    flat = _flat(average, contiguous(param))
    if flat is None:
        generic.ema(average, param, decay)
        return
    run_counts["ema"] += 1
    ema_kernel(vector.lanes())(*flat, float(1 - decay), average.size)
