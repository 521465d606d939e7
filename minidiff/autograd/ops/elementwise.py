"""Pointwise operations: each line is a name, its operands, and the derivative for each operand."""

import math
from typing import Any

from ...kernels import call
from ..primitive import Primitive


def pointwise(name: str, operands: str, **rules) -> Primitive:
    """A primitive whose operands are broadcast against each other."""
    return Primitive(name, operands, broadcasts=True, **rules)


add = pointwise("add", "x y", x=lambda g: g, y=lambda g: g)
subtract = pointwise("subtract", "x y", x=lambda g: g, y=lambda g: -g)
multiply = pointwise("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x)
divide = pointwise("divide", "x y", x=lambda g, y: g / y, y=lambda g, y, out: -g * out / y)
negative = pointwise("negative", "x", x=lambda g: -g)
power = pointwise("power", "x y", x=lambda g, x, y: g * y * power(x, _one_less(y)), y=lambda g, x, out: g * out * _log(x))

exp = pointwise("exp", "x", x=lambda g, out: g * out)
log = pointwise("log", "x", x=lambda g, x: g / x)
sqrt = pointwise("sqrt", "x", x=lambda g, out: g * 0.5 / out)
sin = pointwise("sin", "x", x=lambda g, x: g * cos(x))
cos = pointwise("cos", "x", x=lambda g, x: -g * sin(x))
tanh = pointwise("tanh", "x", x=lambda g, out: g * (1 - out * out))
sigmoid = pointwise("sigmoid", "x", x=lambda g, out: g * out * (1 - out))
erf = pointwise("erf", "x", x=lambda g, x: g * exp(-x * x) * (2 / math.sqrt(math.pi)))

# At a kink: relu and absolute take 0; maximum and minimum give each of two equals half.
relu = pointwise("relu", "x", x=lambda g, out: g * (out > 0))
sign = pointwise("sign", "x", x=lambda g: None)
absolute = pointwise("absolute", "x", x=lambda g, x: g * sign(x))
maximum = pointwise("maximum", "x y", x=lambda g, x, y: g * _wins(x, y), y=lambda g, x, y: g * _wins(y, x))
minimum = pointwise("minimum", "x y", x=lambda g, x, y: g * _wins(y, x), y=lambda g, x, y: g * _wins(x, y))
where = pointwise(
    "where", "condition x y", x=lambda g, condition: where(condition, g, 0), y=lambda g, condition: where(condition, 0, g)
)

# Comparisons have no derivative.
equal, not_equal = pointwise("equal", "x y"), pointwise("not_equal", "x y")
less, less_equal = pointwise("less", "x y"), pointwise("less_equal", "x y")
greater, greater_equal = pointwise("greater", "x y"), pointwise("greater_equal", "x y")
isfinite, isnan = pointwise("isfinite", "x"), pointwise("isnan", "x")

# Swish (Ramachandran et al. 2017) and gelu (Hendrycks & Gimpel 2016) have kernels of their own for the derivative.
silu = Primitive(
    "silu",
    "x",
    joint=lambda g, x: [call("silu_dx", g, x)],
    reference=lambda x: x * sigmoid(x),
)
_gelu = Primitive(
    "gelu",
    "x * approximate",
    joint=lambda g, x, approximate: [call("gelu_dx", g, x, approximate=approximate)],
    reference=lambda x, approximate: _plain_gelu(x, approximate),
)


def gelu(x: Any, approximate: str = "none") -> Any:
    """x · Φ(x), the Gaussian error linear unit; `approximate="tanh"` is its tanh form.

    Raises ValueError for another `approximate`.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh"; got {approximate!r}')
    return _gelu(x, approximate=approximate)


def _plain_gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _one_less(y):
    """The exponent of xʸ's derivative; where y is 0 the factor y is too, and x⁰⁻¹ must not spoil it at x = 0."""
    if isinstance(y, int | float):
        return y - 1 if y else 1
    return where(y == 0, 1.0, y - 1)


def _log(x):
    """log x for ∂xʸ/∂y, with 0 at x = 0, where xʸ stays 0 for every y > 0."""
    if isinstance(x, int | float):
        return math.log(x) if x > 0 else (0.0 if x == 0 else math.nan)
    return log(where(x == 0, 1.0, x))


def _wins(x, y):
    """1 where x is the larger, ½ at a tie, 0 elsewhere."""
    return 0.5 * (greater(x, y) * 1.0) + 0.5 * (greater_equal(x, y) * 1.0)
