"""Pointwise kernels and their gradients, Adam and the moving average: one pass over memory each.

Swish is made of vectors (`functions.mapped`); the others are loops that LLVM vectorises by itself.
"""

import math
from functools import cache

import numba
import numpy as np

from .. import generic
from . import functions
from .compiled import compiled, contiguous, numbers, unbound
from .ran import ran
from .vector import lanes

step = unbound  # bound by `compiled`


# --- the loops ---


def one(x, y):
    step(x, 0, y, 0, len(x))


def two(g, x, y):
    step(g, 0, x, 0, y, 0, len(x))


def gelu_loop(x, y):
    for i in range(len(x)):
        y[i] = np.float32(0.5) * x[i] * (1 + math.erf(x[i] * np.float32(math.sqrt(0.5))))


def gelu_dx_loop(g, x, y):
    for i in range(len(x)):
        density = math.exp(np.float32(-0.5) * x[i] * x[i]) * np.float32(1 / math.sqrt(2 * math.pi))
        y[i] = g[i] * (np.float32(0.5) * (1 + math.erf(x[i] * np.float32(math.sqrt(0.5)))) + x[i] * density)


def blend_loop(x, y, shares, z):
    samples = len(shares) // 2
    size = len(x) // samples
    for i in range(samples):
        a, b, rows = shares[i], shares[samples + i], slice(i * size, (i + 1) * size)
        xs, ys, zs = x[rows], y[rows], z[rows]
        for j in range(size):
            zs[j] = a * xs[j] + b * ys[j]


def adam_loop(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    towards_grad, towards_square = np.float32(1 - beta1), np.float32(1 - beta2)
    rate, unbias = np.float32(lr / (1 - beta1**step)), np.float32(1 / (1 - beta2**step))
    tiny, decay = np.float32(eps), np.float32(lr * weight_decay)
    for i in range(len(param)):
        m[i] += (grad[i] - m[i]) * towards_grad
        v[i] += (grad[i] * grad[i] - v[i]) * towards_square
        param[i] -= rate * m[i] / (np.sqrt(v[i] * unbias) + tiny) + decay * param[i]


def ema_loop(average, param, decay):
    share = np.float32(1 - decay)
    for i in range(len(average)):
        average[i] += (param[i] - average[i]) * share


_real = numba.float64


@cache
def _mapped(formula, inputs, width):
    loop = (one, two)[inputs - 1]
    mapped = functions.mapped(formula, inputs, width)
    return compiled(loop, (numbers,) * (inputs + 1), f"_{formula.__name__}x{width}", step=mapped)


_ARGUMENTS = {
    gelu_loop: (numbers,) * 2,
    gelu_dx_loop: (numbers,) * 3,
    blend_loop: (numbers,) * 4,
    adam_loop: (*(numbers,) * 4, *(_real,) * 5, numba.intp),
    ema_loop: (numbers, numbers, _real),
}


@cache
def _loop(loop):
    return compiled(loop, _ARGUMENTS[loop])


# --- the wrappers ---


def _fast(a, b) -> bool:
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and a.size > 0


def _in_place(*arrays) -> bool:
    shape = arrays[0].shape
    return all(a.dtype == np.float32 and a.flags.carray and a.shape == shape for a in arrays)


def _run(name, loop, *arrays):
    ran[name] += 1
    flat = [contiguous(array).reshape(-1) for array in arrays]
    y = np.empty(arrays[0].shape, np.float32)
    loop(*flat, y.reshape(-1))
    return y


def silu(x):
    return _run("silu", _mapped(functions.silu, 1, lanes()), x) if _fast(x, x) else generic.silu(x)


def silu_dx(g, x):
    return _run("silu_dx", _mapped(functions.silu_dx, 2, lanes()), g, x) if _fast(g, x) else generic.silu_dx(g, x)


def gelu(x, approximate):
    fast = approximate == "none" and _fast(x, x)
    return _run("gelu", _loop(gelu_loop), x) if fast else generic.gelu(x, approximate)


def gelu_dx(g, x, approximate):
    fast = approximate == "none" and _fast(g, x)
    return _run("gelu_dx", _loop(gelu_dx_loop), g, x) if fast else generic.gelu_dx(g, x, approximate)


def blend(x, y, a, b):
    """a·x + b·y; a and b are two numbers, or two columns (batch, 1, …)."""
    if not _fast(x, y):
        return generic.blend(x, y, a, b)
    return _run("blend", _loop(blend_loop), x, y, np.array((a, b), np.float32))


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    grad = contiguous(grad)
    if not _in_place(param, grad, m, v):
        generic.adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step)
        return
    ran["adam"] += 1
    flat = param.reshape(-1), grad.reshape(-1), m.reshape(-1), v.reshape(-1)
    _loop(adam_loop)(*flat, lr, beta1, beta2, eps, weight_decay, step)


def ema(average, param, decay):
    param = contiguous(param)
    if not _in_place(average, param):
        generic.ema(average, param, decay)
        return
    ran["ema"] += 1
    _loop(ema_loop)(average.reshape(-1), param.reshape(-1), decay)
