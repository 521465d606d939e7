"""Functions of a vector: eˣ, the sigmoid, and swish with its derivative.

They are chains of steps that stay in registers, where NumPy would make an array for each step.

    eˣ = 2ⁿ · eᶠ,   n = round(x / ln 2),   f = x − n · ln 2 in [−0.35, 0.35]

and eᶠ is nearly a polynomial of degree 7.
"""

# The series 1/k!, changed a little to be best on the whole interval (Moshier, Cephes, expf): 2 ulp.
_POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
# ln 2 in two parts: n times the first is exact.
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4


def _exp_in_range(e, x):
    """eˣ for −87 ≤ x ≤ 88, and NaN for NaN."""
    n = e.round(x * (1 / 0.6931471805599453))
    f = e.fma(n, e.constant(-_LN2_HIGH), x)
    f = e.fma(n, e.constant(-_LN2_LOW), f)
    p = e.constant(_POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        p = e.fma(p, f, e.constant(coefficient))
    return (e.fma(p * f, f, f) + 1.0) * e.exp2i(n)


def _clipped(e, x, highest=87):
    """x, brought to −87 … highest. A NaN is neither too small nor too large, and stays."""
    low = e.constant(-87)
    high = e.constant(highest)
    x = e.select(e.lt(x, low), low, x)
    return e.select(e.lt(high, x), high, x)


def exp(e, x):
    """eˣ: 0 below −87, infinite above 88, NaN for NaN."""
    result = _exp_in_range(e, _clipped(e, x, 88))
    result = e.select(e.lt(x, e.constant(-87)), e.constant(0), result)
    return e.select(e.lt(e.constant(88), x), e.constant(float("inf")), result)


def _sigmoid_in_range(e, x):
    """1 / (1 + e⁻ˣ) for −88 ≤ x ≤ 87."""
    return e.constant(1) / (_exp_in_range(e, e.constant(0) - x) + 1.0)


def sigmoid(e, x):
    """1 / (1 + e⁻ˣ), but never less than 10⁻³⁸."""
    return _sigmoid_in_range(e, _clipped(e, x))


def silu(e, x):
    """x · sigmoid(x), which is also called swish; at −∞ it is 0, but for 10⁻³⁶."""
    low = e.constant(-87)
    high = e.constant(87)
    x = e.select(e.lt(x, low), low, x)
    return x * _sigmoid_in_range(e, e.select(e.lt(high, x), high, x))


def silu_dx(e, g, x):
    """g · s · (1 + x · (1 − s)), s = sigmoid(x)."""
    x = _clipped(e, x)
    s = _sigmoid_in_range(e, x)
    return g * s * e.fma(x, e.constant(1) - s, e.constant(1))
