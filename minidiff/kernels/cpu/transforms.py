"""Winograd's transforms (see `winograd`): of one row or column, then of runs of tiles and of
weights.

The points are 0, ±A, ±B, ∞. The columns of Aᵀ and the rows of G are their powers: one way the
product is the values of a polynomial at the points, the other way a sum over them; a point and its
negative share the even and the odd powers.
"""

from functools import partial, reduce
from operator import add

from .runs import Run

A, B = 5 / 8, 25 / 16
PLAIN = 1.0, 1.0, 1.0
# of G at 0, ±A, ±B
SCALES = 1 / (A * A * B * B), 1 / (2 * A * A * (A * A - B * B)), 1 / (2 * B * B * (B * B - A * A))


# --- of one row or column: lists of vectors in and out ---


def of_input(e, d):
    """Bᵀ d: 6 → 6. Negative coefficients multiply a negated vector: the constants are shared."""

    def minus(c, x, y):
        return e.fma(e.constant(c), -x, y)

    t, u = minus(B * B, d[2], d[4]), minus(B * B, d[1], d[3]) * A
    r, s = minus(A * A, d[2], d[4]), minus(A * A, d[1], d[3]) * B
    ends, both = e.constant(A * A * B * B), A * A + B * B
    first, last = (
        minus(both, d[2], e.fma(ends, d[0], d[4])),
        minus(both, d[3], e.fma(ends, d[1], d[5])),
    )
    return [first, t + u, t - u, r + s, r - s, last]


def values(e, c, scales=PLAIN):
    """n → 6: the polynomial with coefficients c at each point; ∞ gives the last coefficient.

    G g, or A d if plain.
    """

    def at(point, scale):
        even, odd = c[0] * scale, c[1] * (point * scale)
        for j, more in enumerate(c[2:], 2):
            factor = e.constant(point**j * scale)
            even, odd = (
                (even, e.fma(factor, more, odd)) if j % 2 else (e.fma(factor, more, even), odd)
            )
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


def both_ways(transform, lines):
    """The transform of each line, then of each column: (i, j, value) of each result."""
    columns = [transform(column) for column in zip(*map(transform, lines), strict=True)]
    return [(i, j, value) for j, column in enumerate(columns) for i, value in enumerate(column)]


# --- of a run of tiles: vector bodies; one vector of channels at a time ---


def read(taps):
    """V = Bᵀ x B: down each column once, into `lines`, for all tiles that see it; then across each tile."""
    border = taps // 2

    def body(e, x, zero, v, lines, numbers, height, width, channels):
        run, line = Run(e, numbers, 7 - taps), 6 * e.lanes
        # columns outside of the image, as the last ones may be too
        before = e.smaller(run.left, border) * -1 + border
        inside = (
            e.smaller(run.left + run.span + border, width) - run.left + e.smaller(run.left, border)
        )

        @e.loop(channels // e.lanes)
        def _(c):
            corner = (
                run.corner(x, height, width, channels) + (before - border) * channels + c * e.lanes
            )
            rows = [corner + width * channels * (i - border) for i in range(6)]
            rows = [
                e.choose(e.inside(run.top + (i - border), height), row, zero)
                for i, row in enumerate(rows)
            ]

            def down(first, count, values):
                @e.loop(count)
                def _(j):
                    for i, value in enumerate(values(j)):
                        e.store(value, lines + (first + j) * line + i * e.lanes)

            nothing = lambda _: [e.constant(0)] * 6
            down(0, before, nothing)
            down(
                before, inside, lambda j: of_input(e, [e.load(row + channels * j) for row in rows])
            )
            down(before + inside, run.span + 2 * border - before - inside, nothing)

            @e.loop(run.length)
            def _(k):
                place, start = run.positions(v, c, k), lines + run.start(k) * line
                for i in range(6):
                    row = [e.load(start + (line * j + i * e.lanes)) for j in range(6)]
                    for j, value in enumerate(of_input(e, row)):
                        e.store(value, place(i, j))

    return body


def write(taps):
    """y = bias + Aᵀ M A; `spare` is where the last row and column go of tiles that have none."""
    outputs, last = 7 - taps, 6 - taps

    def body(e, m, bias, y, spare, numbers, height, width, channels):
        run = Run(e, numbers, outputs)

        @e.loop(channels // e.lanes)
        def _(c):
            offset, corner = (
                e.load(bias + c * e.lanes),
                run.corner(y, height, width, channels) + c * e.lanes,
            )

            @e.loop(run.length)
            def _(k):
                place, first = run.positions(m, c, k), corner + run.start(k) * channels
                lines = [[e.load(place(i, j)) for j in range(6)] for i in range(6)]
                for i, j, value in both_ways(lambda m: sums(e, m, outputs), lines):
                    at = first + width * channels * i + channels * j
                    at = e.choose(run.is_tall, at, spare) if i == last else at
                    e.store(
                        value + offset, e.choose(run.is_wide(k), at, spare) if j == last else at
                    )

    return body


def read_gradient(e, g, zero, d, db, numbers, height, width, channels):
    """A g Aᵀ, and db += Σ g; the last row and column of tiles that have none are zeros."""
    run = Run(e, numbers, 4)

    @e.loop(channels // e.lanes)
    def _(c):
        total, corner = (
            e.variable(e.constant(0)),
            run.corner(g, height, width, channels) + c * e.lanes,
        )

        @e.loop(run.length)
        def _(k):
            place, first, lines = run.positions(d, c, k), corner + run.start(k) * channels, []
            for i in range(4):
                places = [first + width * channels * i + channels * j for j in range(4)]
                places = [e.choose(run.is_tall, p, zero) for p in places] if i == 3 else places
                lines.append(
                    [e.load(p) for p in [*places[:3], e.choose(run.is_wide(k), places[3], zero)]]
                )
            total.set(total.get() + reduce(add, [reduce(add, line) for line in lines]))
            for i, j, value in both_ways(partial(values, e), lines):
                e.store(value, place(i, j))

        e.store(e.load(db + c * e.lanes) + total.get(), db + c * e.lanes)


# --- of weights: `size` pairs of an input and an output at each tap or position ---


def weights(taps):
    """U = G w Gᵀ."""

    def body(e, w, u, size):
        @e.loop(size // e.lanes)
        def _(c):
            place = w + c * e.lanes
            lines = [
                [e.load(place + size * (taps * i + j)) for j in range(taps)] for i in range(taps)
            ]
            for i, j, value in both_ways(partial(values, e, scales=SCALES), lines):
                e.store(value, u + c * e.lanes + size * (6 * i + j))

    return body


def restore_weights(e, u, dw, size):
    """dw = Gᵀ dU G."""

    @e.loop(size // e.lanes)
    def _(c):
        place = u + c * e.lanes
        lines = [[e.load(place + size * (6 * i + j)) for j in range(6)] for i in range(6)]
        for i, j, value in both_ways(partial(sums, e, count=3, scales=SCALES), lines):
            e.store(value, dw + c * e.lanes + size * (3 * i + j))
