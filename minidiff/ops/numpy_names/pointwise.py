"""Pointwise functions: logarithms and powers of other bases, angles, remainders."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

import numpy as np

from ...kernels import from_host
from ...tape.tape import Value
from ..elementwise import (
    absolute,
    as_floats,
    cos,
    divide,
    equal,
    greater,
    isnan,
    less,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    pointwise,
    sigmoid,
    sin,
    smooth,
    sqrt,
    where,
    zeros_like,
)
from ..products import matmul
from ..shapes import expand_dims, squeeze
from .joining import array

log2 = smooth("log2", x=lambda g, x: g / (x * math.log(2)))
log10 = smooth("log10", x=lambda g, x: g / (x * math.log(10)))
exp2 = smooth("exp2", x=lambda g, out: g * out * math.log(2))
cbrt = smooth("cbrt", x=lambda g, out: g / (3 * out * out))
logaddexp = smooth(
    "logaddexp", "x y", x=lambda g, x, y: g * _weight(x, y), y=lambda g, x, y: g * _weight(y, x)
)

arcsinh = smooth("arcsinh", x=lambda g, x: g / hypot(x, 1))
arccosh = smooth("arccosh", x=lambda g, x: g / (sqrt(x - 1) * sqrt(x + 1)))
arctanh = smooth("arctanh", x=lambda g, x: g / ((1 - x) * (1 + x)))

# The angle and the length of the point (y, x); at the origin their derivatives are 0.
arctan2 = smooth(
    "arctan2",
    "x y",
    x=lambda g, x, y: g * (y / _length(x, y)) / _length(x, y),
    y=lambda g, x, y: -g * (x / _length(x, y)) / _length(x, y),
)
hypot = smooth(
    "hypot",
    "x y",
    x=lambda g, x, y: g * (x / _length(x, y)),
    y=lambda g, x, y: g * y / _length(x, y),
)

# x = y · steps + remainder: the derivative for x is 1, for y it is −steps.
remainder = pointwise("remainder", "x y", x=lambda g: g, y=lambda g, x, y: -g * floor_divide(x, y))
fmod = pointwise("fmod", "x y", x=lambda g: g, y=lambda g, x, y, out: -g * rint((x - out) / y))
floor_divide = pointwise(
    "floor_divide", "x y", x=lambda g: zeros_like(g), y=lambda g: zeros_like(g)
)
positive = pointwise("positive", x=lambda g: g)
rint = pointwise("rint", x=lambda g: zeros_like(g))
trunc = pointwise("trunc", x=lambda g: zeros_like(g))

mod = remainder
true_divide = divide
fabs = absolute


def reciprocal(x: Any) -> Any:
    """1 / x; of integers too, where NumPy rounds to 0."""
    return divide(1, x)


def copysign(x: Any, y: Any) -> Any:
    """|x| with the sign of y."""
    x, y = as_floats(x, y)
    return where(signbit(y), negative(absolute(x)), absolute(x))


def logaddexp2(x: Any, y: Any) -> Any:
    """log₂(2ˣ + 2ʸ), without overflow."""
    return logaddexp(multiply(x, math.log(2)), multiply(y, math.log(2))) / math.log(2)


def logit(x: Any) -> Any:
    """log(x / (1 − x)), the inverse of `sigmoid`."""
    (x,) = as_floats(x)
    return log(x) - log1p(negative(x))


def deg2rad(x: Any) -> Any:
    """Degrees as radians."""
    return multiply(x, math.pi / 180)


def rad2deg(x: Any) -> Any:
    """Radians as degrees."""
    return multiply(x, 180 / math.pi)


radians = deg2rad
degrees = rad2deg


def fmax(x: Any, y: Any) -> Any:
    """The larger of two; a number beside NaN is the larger one."""
    return where(isnan(x), y, where(isnan(y), x, maximum(x, y)))


def fmin(x: Any, y: Any) -> Any:
    """The smaller of two; a number beside NaN is the smaller one."""
    return where(isnan(x), y, where(isnan(y), x, minimum(x, y)))


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """x with numbers for NaN and ±inf (by default the largest there are); they get no gradient."""
    x = array(x)
    if x.dtype.kind != "f":
        return x
    limit = float(np.finfo(x.dtype).max)
    x = where(isnan(x), nan, x)
    x = where(equal(x, math.inf), limit if posinf is None else posinf, x)
    return where(equal(x, -math.inf), -limit if neginf is None else neginf, x)


# sin(u)/u is the mean of cos(u·t) for t in [0, 1]. These points and weights (Gauss and Legendre)
# give it to the last digit where |u| ≤ π, for derivatives of any order too.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_POINTS = (_POINTS + 1) / 2
_WEIGHTS = _WEIGHTS / 2


def sinc(x: Any) -> Any:
    """sin(πx) / (πx), and 1 at 0."""
    x = array(x)
    bare = x.data if isinstance(x, Value) else x
    dtype = bare.dtype if bare.dtype.kind == "f" else np.dtype(np.float64)
    points = from_host((_POINTS * math.pi).astype(dtype), bare)
    weights = from_host(_WEIGHTS.astype(dtype)[:, None], bare)
    is_near = less(absolute(x), 1)
    near = expand_dims(where(is_near, x, 0), -1)
    far = where(is_near, 1, x) * math.pi
    mean = squeeze(matmul(cos(near * points), weights), -1)
    return where(is_near, mean, sin(far) / far)


# --- questions: booleans, without derivatives ---

isinf = pointwise("isinf")
signbit = pointwise("signbit")
logical_not = pointwise("logical_not")
logical_and = pointwise("logical_and", "x y")
logical_or = pointwise("logical_or", "x y")
logical_xor = pointwise("logical_xor", "x y")
invert = pointwise("invert")
bitwise_and = pointwise("bitwise_and", "x y")
bitwise_or = pointwise("bitwise_or", "x y")
bitwise_xor = pointwise("bitwise_xor", "x y")
left_shift = pointwise("left_shift", "x y")
right_shift = pointwise("right_shift", "x y")


def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Where |x − y| ≤ atol + rtol · |y|; infinities are close to themselves."""
    x = multiply(array(x), 1.0)
    y = multiply(array(y), 1.0)
    is_near = logical_and(
        less(absolute(y), math.inf),
        logical_not(greater(absolute(x - y), atol + rtol * absolute(y))),
    )
    both_numbers = logical_not(logical_or(isnan(x), isnan(y)))
    close = logical_or(equal(x, y), logical_and(is_near, both_numbers))
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def _weight(x, y):
    """What x weighs in eˣ + eʸ; half where both are the same infinity."""
    same_infinity = logical_and(equal(x, y), isinf(x))
    return sigmoid(where(same_infinity, 0, x) - where(same_infinity, 0, y))


def _length(x, y):
    """The distance of (x, y) from the origin, and 1 at the origin."""
    length = hypot(x, y)
    return where(equal(length, 0), 1, length)
