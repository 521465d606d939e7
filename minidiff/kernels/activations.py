"""The activations that have kernels, in plain array code: a part of `generic`."""

import math

from . import namespace
from .tails import erf

_TANH = math.sqrt(2 / math.pi)  # of gelu


def sigmoid(x):
    """1 / (1 + e⁻ˣ), from e^(−|x|) so that nothing overflows."""
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x):
    """log(1 + eˣ), without overflow."""
    xp = namespace(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def silu(x):
    """x · sigmoid(x); far to the left the sigmoid is 0, and −∞ times it would be NaN."""
    return namespace(x).maximum(x, -1000) * sigmoid(x)


def silu_dx(g, x):
    s = sigmoid(x)
    x = namespace(x).clip(x, -1000, 1000)
    return g * (s * (1 + x * (1 - s)))


def gelu(x, approximate):
    """x · Φ(x) ≈ x/2 · (1 + tanh(√(2/π)·(x + 0.044715 x³))) (Hendrycks & Gimpel 2016)."""
    x = namespace(x).maximum(x, -40)  # −∞ · 0 would be NaN
    if approximate == "tanh":
        return 0.5 * x * (1 + namespace(x).tanh(_TANH * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_dx(g, x, approximate):
    x = namespace(x).clip(x, -40, 40)
    if approximate == "tanh":
        t = namespace(x).tanh(_TANH * (x + 0.044715 * x * x * x))
        return g * 0.5 * (1 + t + x * (1 - t * t) * (_TANH * (1 + 3 * 0.044715 * x * x)))
    density = namespace(x).exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return g * (0.5 * (1 + erf(x * math.sqrt(0.5))) + x * density)
