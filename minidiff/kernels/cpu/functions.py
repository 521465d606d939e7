"""Functions of vectors, written on an emitter's steps: they stay in registers where NumPy makes one
array a step.

eˣ = 2ⁿ · eᶠ,   n = round(x / ln 2),   f = x − n · ln 2 in [−0.35, 0.35],   eᶠ ≈ a polynomial of degree 7
"""

# The series 1/k! nudged to be best on the whole interval (Moshier, Cephes, expf); 2 ulp.
_POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
_LN2 = 0.693359375, -2.12194440e-4  # in two parts: n times the first is exact


def _exp_inside(e, x):
    """eˣ for −87 ≤ x ≤ 88, and NaN for NaN."""
    n = e.round(x * (1 / 0.6931471805599453))
    f = e.fma(n, e.constant(-_LN2[1]), e.fma(n, e.constant(-_LN2[0]), x))
    p = e.constant(_POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        p = e.fma(p, f, e.constant(coefficient))
    return (e.fma(p * f, f, f) + 1.0) * e.two_to(n)


def _clipped(e, x):
    low, high = e.constant(-87), e.constant(88)
    # compare and choose: a NaN is neither below nor above
    low_or_x = e.choose(e.below(x, low), low, x)
    return e.choose(e.below(high, x), high, low_or_x)


def exp(e, x):
    """eˣ: 0 below −87, infinite above 88, NaN for NaN."""
    result = e.choose(e.below(x, e.constant(-87)), e.constant(0), _exp_inside(e, _clipped(e, x)))
    return e.choose(e.below(e.constant(88), x), e.constant(float("inf")), result)


def sigmoid(e, x):
    """1 / (1 + e⁻ˣ), at least 10⁻³⁸."""
    return e.constant(1) / (_exp_inside(e, _clipped(e, e.constant(0) - x)) + 1.0)


def silu(e, x):
    return x * sigmoid(e, x)


def silu_dx(e, g, x):
    """g · s · (1 + x · (1 − s)), s = sigmoid(x)."""
    s = sigmoid(e, x)
    return g * s * e.fma(x, e.constant(1) - s, e.constant(1))


def summed(e, pixels, add):
    """The sum over so many pixels, in four parts side by side; add(total, pixel) is the total with one more."""
    sums, fours = [e.variable(e.constant(0)) for _ in range(4)], pixels // 4

    @e.loop(fours)
    def _(i):
        for k, total in enumerate(sums):
            total.set(add(total.get(), i * 4 + k))

    @e.loop(pixels - fours * 4)
    def _(i):
        sums[0].set(add(sums[0].get(), fours * 4 + i))

    a, b, c, d = (total.get() for total in sums)
    return (a + b) + (c + d)


# --- the same as bodies: of n numbers, not of a vector ---


def each(e, formula, places, y, n):
    """y[i] = formula of the places' i-th numbers, i < n: whole vectors first, then a masked rest."""
    whole = n // e.lanes
    rest = e.first(n - whole * e.lanes)

    @e.loop(whole)
    def _(i):
        e.store(formula(e, *(e.load(place + i * e.lanes) for place in places)), y + i * e.lanes)

    e.store(
        formula(e, *(e.load(place + whole * e.lanes, rest) for place in places)),
        y + whole * e.lanes,
        rest,
    )


def copied(e, x, y, n):
    each(e, lambda e, numbers: numbers, [x], y, n)


def silu_each(e, x, y, n):
    each(e, silu, [x], y, n)


def silu_dx_each(e, g, x, y, n):
    each(e, silu_dx, [g, x], y, n)
