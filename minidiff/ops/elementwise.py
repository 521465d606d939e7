"""Pointwise operations: each line is a name, its operands, and the derivative for each operand.

In a rule, g is the gradient of the output. The rule gives the gradient of its operand, which is
g times the derivative. Its other parameters are the operands and `out`, the output.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

import numpy as np

from ..checks import among
from ..kernels import call
from ..tape.primitive import Primitive
from ..tape.tape import Value


def pointwise(name: str, operands: str = "x", **rules) -> Primitive:
    """A primitive whose operands are broadcast against each other.

    Element goes by element, so a rule serves in both directions: g times the derivative on the way
    back, and the tangent times the derivative on the way forward.
    """
    return Primitive(name, operands, broadcasts=True, forward="symmetric", **rules)


def smooth(name: str, operands: str = "x", **rules) -> Primitive:
    """A pointwise primitive that makes no sense on integers: they become float64."""
    return pointwise(name, operands, wants_floats=True, **rules)


def linear(name: str, arguments: str, **rules) -> Primitive:
    """A primitive that is linear in each operand that has a rule: forward, it is its derivative."""
    return Primitive(name, arguments, forward="linear", **rules)


def as_floats(*operands: Any) -> list:
    """The operands with integers as floats: of the dtype that one has, else float64.

    It is what `smooth` does, for functions that are composed. Numbers stay as they are.
    """
    dtypes = [x.dtype for x in operands if hasattr(x, "dtype")]
    dtype = next((dtype for dtype in dtypes if dtype.kind == "f"), np.dtype(np.float64))
    return [_float(x, dtype) if hasattr(x, "dtype") else x for x in operands]


def _float(x, dtype):
    """x, or its integers in another dtype; they have no gradient."""
    if x.dtype.kind not in "iub":
        return x
    return type(x)(x.data.astype(dtype)) if isinstance(x, Value) else x.astype(dtype)


# fmt: off
add = pointwise("add", "x y", x=lambda g: g, y=lambda g: g)
subtract = pointwise("subtract", "x y", x=lambda g: g, y=lambda g: -g)
multiply = pointwise("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x)
divide = pointwise("divide", "x y", x=lambda g, y: g / y, y=lambda g, y, out: -g * out / y)
negative = pointwise("negative", x=lambda g: -g)
power = pointwise("power", "x y",
                  x=lambda g, x, y: g * _slope(x, y),
                  y=lambda g, x, out: g * out * _log(x))

exp = smooth("exp", x=lambda g, out: g * out)
expm1 = smooth("expm1", x=lambda g, out: g * (out + 1))
log = smooth("log", x=lambda g, x: g / x)
log1p = smooth("log1p", x=lambda g, x: g / (1 + x))
sqrt = smooth("sqrt", x=lambda g, out: g * 0.5 / out)
sin = smooth("sin", x=lambda g, x: g * cos(x))
cos = smooth("cos", x=lambda g, x: -g * sin(x))
tan = smooth("tan", x=lambda g, out: g * (1 + out * out))
arcsin = smooth("arcsin", x=lambda g, x: g / sqrt(1 - x * x))
arccos = smooth("arccos", x=lambda g, x: -g / sqrt(1 - x * x))
arctan = smooth("arctan", x=lambda g, x: g / (1 + x * x))
sinh = smooth("sinh", x=lambda g, x: g * cosh(x))
cosh = smooth("cosh", x=lambda g, x: g * sinh(x))
tanh = smooth("tanh", x=lambda g, out: g * (1 - out * out))
sigmoid = smooth("sigmoid", x=lambda g, out: g * out * (1 - out))
softplus = smooth("softplus", x=lambda g, x: g * sigmoid(x))
erf = smooth("erf", x=lambda g, x: g * exp(-x * x) * (2 / math.sqrt(math.pi)))

# At a kink: relu and absolute take 0; maximum and minimum give each of two equals half.
relu = pointwise("relu", x=lambda g, out: where(greater(out, 0), g, 0))
absolute = pointwise("absolute", x=lambda g, x: g * sign(x))
abs = absolute
maximum = pointwise("maximum", "x y",
                    x=lambda g, x, y: _share(g, x, y),
                    y=lambda g, x, y: _share(g, y, x))
minimum = pointwise("minimum", "x y",
                    x=lambda g, x, y: _share(g, y, x),
                    y=lambda g, x, y: _share(g, x, y))
where = pointwise("where", "condition x y",
                  x=lambda g, condition: where(condition, g, 0),
                  y=lambda g, condition: where(condition, 0, g))

# Steps have the derivative 0 everywhere, and comparisons none.
zeros_like = pointwise("zeros_like", x=lambda g: zeros_like(g))
sign = pointwise("sign", x=lambda g: zeros_like(g))
floor = pointwise("floor", x=lambda g: zeros_like(g))
ceil = pointwise("ceil", x=lambda g: zeros_like(g))
round = pointwise("round", x=lambda g: zeros_like(g))
equal = pointwise("equal", "x y")
not_equal = pointwise("not_equal", "x y")
less = pointwise("less", "x y")
less_equal = pointwise("less_equal", "x y")
greater = pointwise("greater", "x y")
greater_equal = pointwise("greater_equal", "x y")
isfinite = pointwise("isfinite")
isnan = pointwise("isnan")

# Swish (Ramachandran et al. 2017) and gelu (Hendrycks & Gimpel 2016) are common enough that their
# derivatives have kernels. A kernel is not on the tape, so `reference` serves higher derivatives.
silu = Primitive("silu", "x", wants_floats=True,
                 joint=lambda g, x: [call("silu_dx", g, x)], forward="symmetric",
                 reference=lambda x: maximum(x, -1000) * sigmoid(x))
_gelu = Primitive("gelu", "x * approximate", wants_floats=True,
                  joint=lambda g, x, approximate: [call("gelu_dx", g, x, approximate=approximate)],
                  forward="symmetric",
                  reference=lambda x, approximate: x * _normal_cdf(x, approximate))
# fmt: on


def gelu(x: Any, approximate: str = "none") -> Any:
    """x · Φ(x), the Gaussian error linear unit; `approximate="tanh"` is its tanh form.

    Raises ValueError for another `approximate`.
    """
    return _gelu(x, approximate=among("approximate", approximate, ("none", "tanh")))


def _normal_cdf(x, approximate):
    """Φ(x), the distribution function of the standard normal, exact or approximate."""
    if approximate == "tanh":
        return 0.5 * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """x, but not below `a_min` nor above `a_max` (numbers, arrays or None).

    At a bound the gradient goes to x.
    """
    x = x if a_min is None else where(less(x, a_min), a_min, x)
    return x if a_max is None else where(greater(x, a_max), a_max, x)


def square(x: Any) -> Any:
    """x · x"""
    return multiply(x, x)


def mish(x: Any) -> Any:
    """x · tanh(softplus(x)) (Misra 2019)."""
    (x,) = as_floats(x)
    near = clip(x, -1000, 50)  # tanh is 1 on the right of it, and −∞ · 0 would be NaN
    return where(greater(x, 50), x, near * tanh(softplus(near)))


def softsign(x: Any) -> Any:
    """x / (1 + |x|), from −1 to 1 like tanh, which it meets at 0 (Glorot & Bengio 2010)."""
    (x,) = as_floats(x)
    x = clip(x, -1e30, 1e30)  # where it is ±1 long since, and ∞ / ∞ would be NaN
    return x / (1 + absolute(x))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha · (eˣ − 1) (Clevert et al. 2016); at 0 the derivative is alpha."""
    return where(greater(x, 0), x, alpha * expm1(clip(x, a_max=0)))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha · (e^(x/alpha) − 1), so that the slope at 0 is 1 (Barron 2017)."""
    return where(greater(x, 0), x, alpha * expm1(clip(x, a_max=0) / alpha))


def selu(x: Any) -> Any:
    """1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope · x; at 0 the derivative is the slope."""
    return where(greater(x, 0), x, multiply(negative_slope, x))


def hard_swish(x: Any) -> Any:
    """x · clip(x + 3, 0, 6) / 6 (Howard et al. 2019).

    At ±3 the derivative is that of the parabola between.
    """
    (x,) = as_floats(x)
    parabola = clip(x, -3, 3)
    parabola = parabola * (parabola + 3) / 6
    return where(greater(x, 3), x, where(less(x, -3), 0, parabola))


def _slope(x, y):
    """∂xʸ/∂x = y·xʸ⁻¹.

    Where y is 0 it is 0. At x = 0 the factor 0⁻¹ must not spoil that. Elsewhere the factor must
    stay: the derivative of y·xʸ⁻¹ for y is x⁻¹ there.
    """
    if isinstance(y, int | float):
        return y * power(x, y - 1) if y else zeros_like(x)
    return y * power(where(equal(y, 0), where(equal(x, 0), 1, x), x), y - 1)


def _log(x):
    """log x for ∂xʸ/∂y, with 0 at x = 0, where xʸ stays 0 for every y > 0."""
    if isinstance(x, int | float):
        if x == 0:
            return 0.0
        return math.log(x) if x > 0 else math.nan
    return log(where(equal(x, 0), 1, x))


def _share(g, x, y):
    """What x gets of the gradient g of max(x, y): all of it where x is larger, half at a tie.

    `where` keeps the dtype of g; a mask times g might widen it.
    """
    return where(greater(x, y), g, where(equal(x, y), 0.5 * g, 0))
