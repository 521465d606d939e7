"""The normal distribution: erfc, Φ and log Φ, exact in the tails (the kernels say how)."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

from ..elementwise import exp, multiply, smooth

erfc = smooth(
    "erfc",
    x=lambda g, x: g * exp(-x * x) * (-2 / math.sqrt(math.pi)),
)
log_ndtr = smooth("log_ndtr", x=lambda g, x: g * inverse_mills(x))
inverse_mills = smooth("inverse_mills", x=lambda g, x, out: -g * out * (x + out))


def ndtr(x: Any) -> Any:
    """Φ(x), the share of a normal distribution below x."""
    return 0.5 * erfc(multiply(x, -math.sqrt(0.5)))
