"""Winograd's transforms of a tile, as `winograd` uses them: of one row or column, lists of vectors in and out.

The points are 0, ±A, ±B, ∞. The columns of Aᵀ and the rows of G are their powers: one way the product is the values of
a polynomial at the points, the other way a sum over them; a point and its negative share the even and the odd powers.
"""

A, B = 5 / 8, 25 / 16
PLAIN = 1.0, 1.0, 1.0
SCALES = 1 / (A * A * B * B), 1 / (2 * A * A * (A * A - B * B)), 1 / (2 * B * B * (B * B - A * A))  # of G at 0, ±A, ±B


def of_input(e, d):
    """Bᵀ d: 6 → 6. Negative coefficients multiply a negated vector: the constants are shared."""

    def minus(c, x, y):
        return e.fma(e.constant(c), -x, y)

    t, u = minus(B * B, d[2], d[4]), minus(B * B, d[1], d[3])
    r, s = minus(A * A, d[2], d[4]), minus(A * A, d[1], d[3])
    ends, both = e.constant(A * A * B * B), A * A + B * B
    first, last = minus(both, d[2], e.fma(ends, d[0], d[4])), minus(both, d[3], e.fma(ends, d[1], d[5]))
    a, b = e.constant(A), e.constant(B)
    return [first, e.fma(a, u, t), minus(A, u, t), e.fma(b, s, r), minus(B, s, r), last]


def values(e, c, scales=PLAIN):
    """n → 6: the polynomial with coefficients c at each point; ∞ gives the last coefficient. G g, or A d if plain."""

    def at(point, scale):
        even, odd = c[0] * scale, c[1] * (point * scale)
        for j, more in enumerate(c[2:], 2):
            factor = e.constant(point**j * scale)
            even, odd = (even, e.fma(factor, more, odd)) if j % 2 else (e.fma(factor, more, even), odd)
        return even + odd, even - odd

    return [c[0] * scales[0], *at(A, scales[1]), *at(B, scales[2]), c[-1]]


def sums(e, m, count, scales=PLAIN):
    """6 → count: the transpose of `values`. Gᵀ u, or Aᵀ m if plain."""
    ends = {0: m[0] * scales[0], count - 1: m[5]}
    parts = (m[1] + m[2], m[3] + m[4]), (m[1] - m[2], m[3] - m[4])

    def total(j):
        (a, b), factor = parts[j % 2], A**j * scales[1]
        first = e.fma(e.constant(factor), a, ends[j]) if j in ends else a * factor
        return e.fma(e.constant(B**j * scales[2]), b, first)

    return [total(j) for j in range(count)]


def both_ways(e, transform, lines, before, after, load, store):
    """The transform of each row, load(i), into `lines`, then of each column: store(j, its values).

    `before` × `after` vectors lie in between. Rows and columns are loops at run time: with all 36 places at hand, LLVM
    keeps their addresses in memory, and reading them takes twice as long as the arithmetic.
    """

    @e.loop(before)
    def _(i):
        for j, value in enumerate(transform(e, load(i))):
            e.store(value, lines + i * (after * e.lanes) + j * e.lanes)

    @e.loop(after)
    def _(j):
        column = lines + j * e.lanes
        store(j, transform(e, [e.load(column + i * (after * e.lanes)) for i in range(before)]))
