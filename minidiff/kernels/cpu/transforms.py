"""Winograd's transforms of a tile, as `winograd` uses them: of one row or column, lists of vectors in and out.

The points are 0, ±A, ±B, ∞: the columns of the matrices are their powers.
"""

A, B = 3 / 4, 3 / 2
FA, FB = 1 / (2 * A * A * (A * A - B * B)), 1 / (2 * B * B * (B * B - A * A))


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


def of_products(e, m):
    """Aᵀ m: 6 → 4."""
    s1, s2, s3, s4 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return [
        m[0] + s1 + s3,
        e.fma(e.constant(B), s4, s2 * A),
        e.fma(e.constant(B * B), s3, s1 * (A * A)),
        e.fma(e.constant(B**3), s4, e.fma(e.constant(A**3), s2, m[5])),
    ]


def of_weights(e, g):
    """G g: 3 → 6."""
    s, h = e.fma(e.constant(A * A * FA), g[2], g[0] * FA), g[1] * (A * FA)
    t, u = e.fma(e.constant(B * B * FB), g[2], g[0] * FB), g[1] * (B * FB)
    return [g[0] * (1 / (A * A * B * B)), s + h, s - h, t + u, t - u, g[2]]


def of_gradient(e, d):
    """A d: 4 → 6."""
    s, h = e.fma(e.constant(A * A), d[2], d[0]), e.fma(e.constant(A**3), d[3], d[1] * A)
    p, q = e.fma(e.constant(B * B), d[2], d[0]), e.fma(e.constant(B**3), d[3], d[1] * B)
    return [d[0], s + h, s - h, p + q, p - q, d[3]]


def of_weight_gradient(e, u):
    """Gᵀ u: 6 → 3."""
    s, h, p, q = u[1] + u[2], u[1] - u[2], u[3] + u[4], u[3] - u[4]
    return [
        e.fma(e.constant(FB), p, e.fma(e.constant(FA), s, u[0] * (1 / (A * A * B * B)))),
        e.fma(e.constant(B * FB), q, h * (A * FA)),
        e.fma(e.constant(B * B * FB), p, e.fma(e.constant(A * A * FA), s, u[5])),
    ]


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
