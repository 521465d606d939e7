"""Kernels that take each number by itself: activations, the loss, what optimisers do.

`cp.ElementwiseKernel` makes a kernel of the line for one element. It broadcasts its operands, and T
is the dtype of the arrays among them; a Python number becomes a T.
"""

import math

import cupy as cp
from cupyx.scipy.special import erf as erf
from cupyx.scipy.special import erfc as erfc

from .source import mean_square

# The bounds are for infinity: times 0 it would be NaN.
SILU = """
__device__ T silu(T x) { return max(x, T(-1000)) / (1 + exp(-x)); }

__device__ T silu_slope(T x) {
  T s = 1 / (1 + exp(-x));
  x = min(max(x, T(-1000)), T(1000));
  return s * (1 + x * (1 - s));
}
"""
# x · Φ(x) and its slope Φ(x) + x · φ(x); with tanh, Φ is (1 + tanh(u)) / 2.
GELU = f"""
const T ROOT_HALF = {math.sqrt(0.5)!r};
const T ROOT_2_PI = {math.sqrt(2 / math.pi)!r};

__device__ T gelu(T x) {{
  x = max(x, T(-40));
  return T(0.5) * x * (1 + erf(x * ROOT_HALF));
}}

__device__ T gelu_slope(T x) {{
  x = min(max(x, T(-40)), T(40));
  T density = T(0.5) * ROOT_2_PI * exp(T(-0.5) * x * x);
  return T(0.5) * (1 + erf(x * ROOT_HALF)) + x * density;
}}

__device__ T tanh_gelu(T x) {{
  x = max(x, T(-40));
  return T(0.5) * x * (1 + tanh(ROOT_2_PI * (x + T(0.044715) * x * x * x)));
}}

__device__ T tanh_gelu_slope(T x) {{
  x = min(max(x, T(-40)), T(40));
  T t = tanh(ROOT_2_PI * (x + T(0.044715) * x * x * x));
  T slope_of_u = ROOT_2_PI * (1 + T(3 * 0.044715) * x * x);
  return T(0.5) * (1 + t + x * (1 - t * t) * slope_of_u);
}}
"""


def _kernel(name: str, operands: str, results: str, line: str, preamble: str = ""):
    return cp.ElementwiseKernel(operands, results, line, f"minidiff_{name}", preamble=preamble)


sigmoid = _kernel("sigmoid", "T x", "T y", "y = 1 / (1 + exp(-x))")
softplus = _kernel("softplus", "T x", "T y", "y = max(x, T(0)) + log1p(exp(-abs(x)))")
silu = _kernel("silu", "T x", "T y", "y = silu(x)", SILU)
silu_dx = _kernel("silu_dx", "T g, T x", "T dx", "dx = g * silu_slope(x)", SILU)
_gelu = {
    "none": _kernel("gelu", "T x", "T y", "y = gelu(x)", GELU),
    "tanh": _kernel("tanh_gelu", "T x", "T y", "y = tanh_gelu(x)", GELU),
}
_gelu_dx = {
    "none": _kernel("gelu_dx", "T g, T x", "T dx", "dx = g * gelu_slope(x)", GELU),
    "tanh": _kernel("tanh_gelu_dx", "T g, T x", "T dx", "dx = g * tanh_gelu_slope(x)", GELU),
}
_blend = _kernel("blend", "T x, T y, T a, T b", "T out", "out = a * x + b * y")


def gelu(x, approximate):
    """x · Φ(x), exact or (`approximate` = "tanh") by tanh."""
    return _gelu[approximate](x)


def gelu_dx(g, x, approximate):
    return _gelu_dx[approximate](g, x)


def blend(x, y, a, b):
    """a·x + b·y; a and b are numbers, or arrays that are broadcast."""
    return _blend(x, y, a, b)


def upsample_nearest(x, scale):
    b, h, w, c = x.shape
    y = cp.empty((b, h, scale, w, scale, c), x.dtype)
    y[...] = x[:, :, None, :, None, :]
    return y.reshape((b, h * scale, w * scale, c))


# --- the loss ---

_mean_square_dx = _kernel(
    "mse_loss_dx", "T g, T x, T y, T factor", "T dx", "dx = g * factor * (x - y)"
)


def mse_loss(x, y):
    return mean_square(x, y)


def mse_loss_dx(g, x, y):
    return _mean_square_dx(g, x, y, 2 / max(x.size, 1))


# --- optimisers, which write in place ---

_adam = _kernel(
    "adam",
    "T grad, T lr, T share1, T share2, T correction1, T correction2, T eps, T weight_decay",
    "T param, T m, T v",
    """
    m += (grad - m) * share1;
    v += (grad * grad - v) * share2;
    param -= lr * (m * correction1 / (sqrt(v * correction2) + eps) + weight_decay * param);
    """,
)
_ema = _kernel("ema", "T param, T share", "T average", "average += (param - average) * share")


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    """Kingma & Ba 2015, algorithm 1; decay as in Loshchilov & Hutter 2019; `step` counts from 1."""
    shares = (1 - beta1, 1 - beta2)
    corrections = (1 / (1 - beta1**step), 1 / (1 - beta2**step))
    _adam(grad, lr, *shares, *corrections, eps, weight_decay, param, m, v)


def ema(average, param, decay):
    """average ← decay·average + (1 − decay)·param"""
    _ema(param, 1 - decay, average)
