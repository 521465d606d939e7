"""The normal distribution: erf; erfc, log Φ and φ/Φ to the last digits far from its middle too.

1 − erf(x) has no digits left from x = 6 on, and log Φ(x) is lost with it. What keeps them is a
scaled function that neither over- nor underflows: x·e^(x²)·erfc(x), which rises to 1/√π.
"""

import math

from . import namespace

_STEP = 0.5
_ROOT_HALF = math.sqrt(0.5)


def erf(x):
    """2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)), terms of one sign; from |x| = 6 on it is ±1."""
    xp = namespace(x)
    far = xp.abs(x) >= 6
    limit = xp.sign(x)
    x = xp.clip(x, -6, 6)
    term = total = x
    for n in range(1, 140):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    series = total * xp.exp(-x * x) * (2 / math.sqrt(math.pi))
    return xp.where(far, limit, xp.clip(series, -1, 1))


def _scaled_erfc(x):
    """x·e^(x²)·erfc(x) = 2/π · ∫ e^(−t²) / (1 + (t/x)²) dt over t ≥ 0, for x ≥ 1.

    The integral is summed in steps. That is exact but for the integrand's pole at t = ix, whose
    share is known (Goodwin 1949; Hunter and Regan 1972).
    """
    xp = namespace(x)
    total = 1
    for n in range(1, 13):
        t = n * _STEP
        total = total + 2 * math.exp(-t * t) / (1 + (t / x) ** 2)
    # from here on the pole's share is below the last digit
    last = math.pi / _STEP
    near = xp.minimum(x, last)
    turns = 2 * last * near
    pole = 2 * near * xp.exp(near * near - turns) / (1 - xp.exp(-turns))
    return total * (_STEP / math.pi) - xp.where(x < last, pole, 0)


def _bell(x):
    """e^(−x²); x² is taken apart, since its rounding error would be a share of the result."""
    xp = namespace(x)
    x = xp.clip(x, -40, 40)
    head = xp.round(x * 16) / 16
    return xp.exp(-head * head) * xp.exp((head - x) * (head + x))


def erfc(x):
    """1 − erf(x)."""
    xp = namespace(x)
    size = xp.maximum(xp.abs(x), 1)
    far = _bell(x) * _scaled_erfc(size) / size
    middle = 1 - erf(xp.clip(x, -1, 1))
    return xp.where(x >= 1, far, xp.where(x <= -1, 2 - far, middle))


def log_ndtr(x):
    """log Φ(x), the logarithm of the normal distribution function."""
    xp = namespace(x)
    size = xp.maximum(-x, 1.5) * _ROOT_HALF
    far = xp.log(0.5 * _scaled_erfc(size)) - xp.log(size) - size * size
    near = xp.log1p(-0.5 * erfc(xp.maximum(x, -1.5) * _ROOT_HALF))
    return xp.where(x < -1.5, far, near)


def inverse_mills(x):
    """φ(x) / Φ(x), the derivative of log Φ."""
    xp = namespace(x)
    size = xp.maximum(-x, 1.5) * _ROOT_HALF
    far = math.sqrt(2 / math.pi) * size / _scaled_erfc(size)
    right = xp.maximum(x, -1.5) * _ROOT_HALF
    near = _bell(right) / (math.sqrt(2 * math.pi) * (1 - 0.5 * erfc(right)))
    return xp.where(x < -1.5, far, near)
