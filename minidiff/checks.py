"""What all rooms ask of their arguments. Every error reads «name: given A, wanted B»."""

import math
from typing import Any

import numpy as np


def whole(name: str, value: Any, low: int = 0, high: float = math.inf) -> int:
    """The value as an int; ValueError unless it is an integer from low to high."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or not low <= value <= high:
        limits = f"from {low} to {high}" if high < math.inf else f"of at least {low}"
        raise ValueError(f"{name}: given {value!r}, wanted an integer {limits}")
    return int(value)
