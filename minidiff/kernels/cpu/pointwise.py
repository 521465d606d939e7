"""Pointwise kernels and their gradients, Adam and the moving average: one pass over memory each.

GELU is a loop that calls C's erf; the others are made of vectors.
"""

import math

import numba
import numpy as np

from .. import generic
from . import functions
from .compiled import contiguous, for_lanes, kernel, number, numbers
from .ran import ran
from .vector import lanes

FLOAT32 = np.dtype(np.float32)  # compared in half the time that the type takes


# --- bodies ---


@kernel(*(numbers,) * 4)
def blend_loop(e, x, y, shares, z, samples, size):
    """z = a · x + b · y; `shares` are a and then b of each sample."""

    @e.loop(samples)
    def _(i):
        a, b, at = e.splat(shares + i), e.splat(shares + samples + i), i * size
        functions.each(e, lambda e, x, y: e.fma(b, y, a * x), [x + at, y + at], z + at, size)


@kernel(*(numbers,) * 4, *(number,) * 6)
def adam_loop(e, param, grad, m, v, towards_grad, towards_square, rate, unbias, tiny, decay, n):
    def vector(i, some):
        p, g, mean, square = (e.load(place + i, some) for place in (param, grad, m, v))
        mean, square = (
            e.fma(g - mean, towards_grad, mean),
            e.fma(e.fma(g, g, -square), towards_square, square),
        )
        change = e.fma(decay, p, rate * mean / (e.sqrt(square * unbias) + tiny))
        for value, place in (p - change, param), (mean, m), (square, v):
            e.store(value, place + i, some)

    whole = n // e.lanes
    e.loop(whole)(lambda i: vector(i * e.lanes, None))
    vector(whole * e.lanes, e.first(n - whole * e.lanes))


@kernel(numbers, numbers, number)
def ema_loop(e, average, param, share, n):
    functions.each(
        e, lambda e, total, new: e.fma(new - total, share, total), [average, param], average, n
    )


# --- the loops ---

silu_loop = kernel(numbers, numbers)(functions.silu_each)
silu_dx_loop = kernel(*(numbers,) * 3)(functions.silu_dx_each)


@for_lanes((numbers, numbers, numba.intp))
def gelu_loop(x, y, n):
    for i in range(n):
        y[i] = np.float32(0.5) * x[i] * (1 + math.erf(x[i] * np.float32(math.sqrt(0.5))))


@for_lanes((*(numbers,) * 3, numba.intp))
def gelu_dx_loop(g, x, y, n):
    for i in range(n):
        density = math.exp(np.float32(-0.5) * x[i] * x[i]) * np.float32(1 / math.sqrt(2 * math.pi))
        y[i] = g[i] * (
            np.float32(0.5) * (1 + math.erf(x[i] * np.float32(math.sqrt(0.5)))) + x[i] * density
        )


# --- the wrappers ---


def _fast(a, b) -> bool:
    return a.dtype == b.dtype == FLOAT32 and a.shape == b.shape and a.size > 0


def _run(name, loop, arrays, *sizes):
    ran[name] += 1
    flat = [contiguous(array).reshape(-1) for array in arrays]
    y = np.empty(arrays[0].shape, np.float32)
    loop(*flat, y.reshape(-1), *(sizes or [y.size]))
    return y


def silu(x):
    return _run("silu", silu_loop(lanes()), [x]) if _fast(x, x) else generic.silu(x)


def silu_dx(g, x):
    return _run("silu_dx", silu_dx_loop(lanes()), [g, x]) if _fast(g, x) else generic.silu_dx(g, x)


def gelu(x, approximate):
    fast = approximate == "none" and _fast(x, x)
    return _run("gelu", gelu_loop(), [x]) if fast else generic.gelu(x, approximate)


def gelu_dx(g, x, approximate):
    fast = approximate == "none" and _fast(g, x)
    return _run("gelu_dx", gelu_dx_loop(), [g, x]) if fast else generic.gelu_dx(g, x, approximate)


def blend(x, y, a, b):
    """a·x + b·y; a and b are two numbers, or two columns (batch, 1, …)."""
    if not _fast(x, y):
        return generic.blend(x, y, a, b)
    shares = np.array((a, b), np.float32)
    samples = shares.size // 2
    return _run("blend", blend_loop(lanes()), [x, y, shares], samples, x.size // samples)


def _update(name, loop, arrays, *numbers):
    """In place; `generic` does it for arrays that are no plain float32 of one shape."""
    shape = arrays[0].shape
    flat = [
        a.reshape(-1) for a in arrays if a.dtype == FLOAT32 and a.flags.carray and a.shape == shape
    ]
    if len(flat) < len(arrays):
        getattr(generic, name)(*arrays, *numbers)
        return
    ran[name] += 1
    loop(*flat, *numbers)


def _adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    rate, unbias = lr / (1 - beta1**step), 1 / (1 - beta2**step)
    adam_loop(lanes())(
        param, grad, m, v, 1 - beta1, 1 - beta2, rate, unbias, eps, lr * weight_decay, param.size
    )


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    _update(
        "adam", _adam, (param, contiguous(grad), m, v), lr, beta1, beta2, eps, weight_decay, step
    )


def ema(average, param, decay):
    loop = lambda average, param, decay: ema_loop(lanes())(average, param, 1 - decay, average.size)
    _update("ema", loop, (average, contiguous(param)), decay)
