"""Pointwise kernels and their gradients, Adam and the moving average: one pass over memory each.

Swish is made of vectors (`functions.mapped`); the others are loops that LLVM vectorises by itself.
"""

import math

import numba
import numpy as np

from .. import generic
from . import functions
from .compiled import contiguous, for_lanes, numbers, unbound
from .ran import ran
from .vector import lanes

step = unbound  # bound by `compiled`
FLOAT32 = np.dtype(np.float32)  # compared in half the time that the type takes


# --- the loops ---


@for_lanes((numbers,) * 2, step=(functions.silu_each, 2))
def silu_loop(x, y):
    step(x, 0, y, 0, len(x))


@for_lanes((numbers,) * 3, step=(functions.silu_dx_each, 3))
def silu_dx_loop(g, x, y):
    step(g, 0, x, 0, y, 0, len(x))


@for_lanes((numbers,) * 2)
def gelu_loop(x, y):
    for i in range(len(x)):
        y[i] = np.float32(0.5) * x[i] * (1 + math.erf(x[i] * np.float32(math.sqrt(0.5))))


@for_lanes((numbers,) * 3)
def gelu_dx_loop(g, x, y):
    for i in range(len(x)):
        density = math.exp(np.float32(-0.5) * x[i] * x[i]) * np.float32(1 / math.sqrt(2 * math.pi))
        y[i] = g[i] * (np.float32(0.5) * (1 + math.erf(x[i] * np.float32(math.sqrt(0.5)))) + x[i] * density)


@for_lanes((numbers,) * 4)
def blend_loop(x, y, shares, z):
    samples = len(shares) // 2
    size = len(x) // samples
    for i in range(samples):
        a, b, rows = shares[i], shares[samples + i], slice(i * size, (i + 1) * size)
        xs, ys, zs = x[rows], y[rows], z[rows]
        for j in range(size):
            zs[j] = a * xs[j] + b * ys[j]


@for_lanes((*(numbers,) * 4, *(numba.float64,) * 5, numba.intp))
def adam_loop(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    towards_grad, towards_square = np.float32(1 - beta1), np.float32(1 - beta2)
    rate, unbias = np.float32(lr / (1 - beta1**step)), np.float32(1 / (1 - beta2**step))
    tiny, decay = np.float32(eps), np.float32(lr * weight_decay)
    for i in range(len(param)):
        m[i] += (grad[i] - m[i]) * towards_grad
        v[i] += (grad[i] * grad[i] - v[i]) * towards_square
        param[i] -= rate * m[i] / (np.sqrt(v[i] * unbias) + tiny) + decay * param[i]


@for_lanes((numbers, numbers, numba.float64))
def ema_loop(average, param, decay):
    share = np.float32(1 - decay)
    for i in range(len(average)):
        average[i] += (param[i] - average[i]) * share


# --- the wrappers ---


def _fast(a, b) -> bool:
    return a.dtype == b.dtype == FLOAT32 and a.shape == b.shape and a.size > 0


def _run(name, loop, *arrays):
    ran[name] += 1
    flat = [contiguous(array).reshape(-1) for array in arrays]
    y = np.empty(arrays[0].shape, np.float32)
    loop(*flat, y.reshape(-1))
    return y


def silu(x):
    return _run("silu", silu_loop(lanes()), x) if _fast(x, x) else generic.silu(x)


def silu_dx(g, x):
    return _run("silu_dx", silu_dx_loop(lanes()), g, x) if _fast(g, x) else generic.silu_dx(g, x)


def gelu(x, approximate):
    fast = approximate == "none" and _fast(x, x)
    return _run("gelu", gelu_loop(), x) if fast else generic.gelu(x, approximate)


def gelu_dx(g, x, approximate):
    fast = approximate == "none" and _fast(g, x)
    return _run("gelu_dx", gelu_dx_loop(), g, x) if fast else generic.gelu_dx(g, x, approximate)


def blend(x, y, a, b):
    """a·x + b·y; a and b are two numbers, or two columns (batch, 1, …)."""
    if not _fast(x, y):
        return generic.blend(x, y, a, b)
    return _run("blend", blend_loop(), x, y, np.array((a, b), np.float32))


def _update(name, loop, arrays, *numbers):
    """In place; `generic` does it for arrays that are no plain float32 of one shape."""
    shape = arrays[0].shape
    flat = [a.reshape(-1) for a in arrays if a.dtype == FLOAT32 and a.flags.carray and a.shape == shape]
    if len(flat) < len(arrays):
        getattr(generic, name)(*arrays, *numbers)
        return
    ran[name] += 1
    loop()(*flat, *numbers)


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    _update("adam", adam_loop, (param, contiguous(grad), m, v), lr, beta1, beta2, eps, weight_decay, step)


def ema(average, param, decay):
    _update("ema", ema_loop, (average, contiguous(param)), decay)
