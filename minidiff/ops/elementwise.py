"""Pointwise operations: each line is a name, its operands, and the derivative for each operand."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

from ..kernels import call
from ..tape.primitive import Primitive


def pointwise(name: str, operands: str = "x", **rules) -> Primitive:
    """A primitive whose operands are broadcast against each other."""
    return Primitive(name, operands, broadcasts=True, **rules)


add = pointwise("add", "x y", x=lambda g: g, y=lambda g: g)
subtract = pointwise("subtract", "x y", x=lambda g: g, y=lambda g: -g)
multiply = pointwise("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x)
divide = pointwise("divide", "x y", x=lambda g, y: g / y, y=lambda g, y, out: -g * out / y)
negative = pointwise("negative", x=lambda g: -g)
power = pointwise(
    "power", "x y", x=lambda g, x, y: g * _slope(x, y), y=lambda g, x, out: g * out * _log(x)
)

exp = pointwise("exp", x=lambda g, out: g * out)
expm1 = pointwise("expm1", x=lambda g, out: g * (out + 1))
log = pointwise("log", x=lambda g, x: g / x)
log1p = pointwise("log1p", x=lambda g, x: g / (1 + x))
sqrt = pointwise("sqrt", x=lambda g, out: g * 0.5 / out)
sin = pointwise("sin", x=lambda g, x: g * cos(x))
cos = pointwise("cos", x=lambda g, x: -g * sin(x))
tan = pointwise("tan", x=lambda g, out: g * (1 + out * out))
arcsin = pointwise("arcsin", x=lambda g, x: g / sqrt(1 - x * x))
arccos = pointwise("arccos", x=lambda g, x: -g / sqrt(1 - x * x))
arctan = pointwise("arctan", x=lambda g, x: g / (1 + x * x))
sinh = pointwise("sinh", x=lambda g, x: g * cosh(x))
cosh = pointwise("cosh", x=lambda g, x: g * sinh(x))
tanh = pointwise("tanh", x=lambda g, out: g * (1 - out * out))
sigmoid = pointwise("sigmoid", x=lambda g, out: g * out * (1 - out))
softplus = pointwise("softplus", x=lambda g, x: g * sigmoid(x))
erf = pointwise("erf", x=lambda g, x: g * exp(-x * x) * (2 / math.sqrt(math.pi)))

# At a kink: relu and absolute take 0; maximum and minimum give each of two equals half.
relu = pointwise("relu", x=lambda g, out: where(greater(out, 0), g, 0))
absolute = pointwise("absolute", x=lambda g, x: g * sign(x))
abs = absolute
maximum = pointwise(
    "maximum", "x y", x=lambda g, x, y: _share(g, x, y), y=lambda g, x, y: _share(g, y, x)
)
minimum = pointwise(
    "minimum", "x y", x=lambda g, x, y: _share(g, y, x), y=lambda g, x, y: _share(g, x, y)
)
_where = {
    "x": lambda g, condition: where(condition, g, 0),
    "y": lambda g, condition: where(condition, 0, g),
}
where = pointwise("where", "condition x y", **_where)

# Steps have the derivative 0 everywhere, and comparisons none.
zeros_like, sign, floor, ceil, round = (
    pointwise(name, x=lambda g: zeros_like(g))
    for name in ("zeros_like", "sign", "floor", "ceil", "round")
)
equal, not_equal, less, less_equal, greater, greater_equal = (
    pointwise(name, "x y")
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
)
isfinite, isnan = pointwise("isfinite"), pointwise("isnan")

# Swish (Ramachandran et al. 2017) and gelu (Hendrycks & Gimpel 2016) have kernels of their own for
# the derivative.
silu = Primitive(
    "silu", "x", joint=lambda g, x: [call("silu_dx", g, x)], reference=lambda x: x * sigmoid(x)
)
_gelu = Primitive("gelu", "x * approximate",
                  joint=lambda g, x, **how: [call("gelu_dx", g, x, **how)],
                  reference=lambda x, approximate: 0.5 * x * (1 + _bend(x, approximate)))  # fmt: skip


def gelu(x: Any, approximate: str = "none") -> Any:
    """x · Φ(x), the Gaussian error linear unit; `approximate="tanh"` is its tanh form.

    Raises ValueError for another `approximate`.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh"; got {approximate!r}')
    return _gelu(x, approximate=approximate)


def _bend(x, approximate):
    """2Φ(x) − 1, exact or approximate."""
    if approximate == "tanh":
        return tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    return erf(x * math.sqrt(0.5))


def clip(x: Any, a_min: Any = None, a_max: Any = None) -> Any:
    """x, but not below `a_min` nor above `a_max` (numbers, arrays or None); at a bound the gradient goes to x."""
    x = x if a_min is None else where(less(x, a_min), a_min, x)
    return x if a_max is None else where(greater(x, a_max), a_max, x)


def square(x: Any) -> Any:
    """x · x"""
    return multiply(x, x)


def mish(x: Any) -> Any:
    """x · tanh(softplus(x)) (Misra 2019)."""
    return x * tanh(softplus(x))


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha · (eˣ − 1) (Clevert et al. 2016); at 0 the derivative is alpha."""
    return where(greater(x, 0), x, alpha * expm1(clip(x, a_max=0)))


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope · x; at 0 the derivative is the slope."""
    return where(greater(x, 0), x, negative_slope * x)


def hard_swish(x: Any) -> Any:
    """x · clip(x + 3, 0, 6) / 6 (Howard et al. 2019); at ±3 the derivative is that of the parabola between."""
    return x * clip(x + 3, 0, 6) / 6


def _slope(x, y):
    """∂xʸ/∂x = y·xʸ⁻¹; where y is 0 it is 0, and 0⁻¹ must not spoil that, nor its derivative for y, which is x⁻¹."""
    if isinstance(y, int | float):
        return y * power(x, y - 1) if y else zeros_like(x)
    return y * power(where(equal(y, 0), where(equal(x, 0), 1, x), x), y - 1)


def _log(x):
    """log x for ∂xʸ/∂y, with 0 at x = 0, where xʸ stays 0 for every y > 0."""
    if isinstance(x, int | float):
        return math.log(x) if x > 0 else (0.0 if x == 0 else math.nan)
    return log(where(equal(x, 0), 1, x))


def _share(g, x, y):
    """What x gets of the gradient of max(x, y): all where it is larger, half at a tie (a mask · g would widen g)."""
    return where(greater(x, y), g, where(equal(x, y), 0.5 * g, 0))
