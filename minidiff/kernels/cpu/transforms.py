"""Winograd's transforms (see `winograd`): of one row or column, then of runs of tiles, of weights.

The points are 0, ±A, ±B, ∞. The columns of Aᵀ and the rows of G are their powers: one way the
product is the values of a polynomial at the points, the other way a sum over them; a point and its
negative share the even and the odd powers.
"""

from functools import partial, reduce
from operator import add

from .runs import Run
from .views import View

A = 5 / 8
B = 25 / 16
PLAIN = (1.0, 1.0, 1.0)
# of G at 0, ±A, ±B
SCALES = (
    1 / (A * A * B * B),
    1 / (2 * A * A * (A * A - B * B)),
    1 / (2 * B * B * (B * B - A * A)),
)


# --- of one row or column: lists of vectors in and out ---


def of_input(e, d):
    """Bᵀ d: 6 → 6. Negative coefficients multiply a negated vector: the constants are shared."""

    def minus(c, x, y):
        return e.fma(e.constant(c), -x, y)

    even_b = minus(B * B, d[2], d[4])
    odd_b = minus(B * B, d[1], d[3]) * A
    even_a = minus(A * A, d[2], d[4])
    odd_a = minus(A * A, d[1], d[3]) * B
    both = A * A + B * B
    ends = e.constant(A * A * B * B)
    first = minus(both, d[2], e.fma(ends, d[0], d[4]))
    last = minus(both, d[3], e.fma(ends, d[1], d[5]))
    return [first, even_b + odd_b, even_b - odd_b, even_a + odd_a, even_a - odd_a, last]


def values(e, c, scales=PLAIN):
    """n → 6: the polynomial with coefficients c at each point; ∞ gives the last coefficient.

    G g, or A d if plain.
    """

    def at(point, scale):
        even = c[0] * scale
        odd = c[1] * (point * scale)
        for j, coefficient in enumerate(c[2:], 2):
            factor = e.constant(point**j * scale)
            if j % 2:
                odd = e.fma(factor, coefficient, odd)
            else:
                even = e.fma(factor, coefficient, even)
        return even + odd, even - odd

    return [c[0] * scales[0], *at(A, scales[1]), *at(B, scales[2]), c[-1]]


def sums(e, m, count, scales=PLAIN):
    """6 → count: the transpose of `values`. Gᵀ u, or Aᵀ m if plain."""
    ends = {0: m[0] * scales[0], count - 1: m[5]}
    even = m[1] + m[2], m[3] + m[4]
    odd = m[1] - m[2], m[3] - m[4]

    def total(j):
        a, b = odd if j % 2 else even
        factor = A**j * scales[1]
        first = e.fma(e.constant(factor), a, ends[j]) if j in ends else a * factor
        return e.fma(e.constant(B**j * scales[2]), b, first)

    return [total(j) for j in range(count)]


def both_ways(transform, lines):
    """The transform of each line, then of each column: (i, j, value) of each result."""
    columns = [transform(column) for column in zip(*map(transform, lines), strict=True)]
    return [(i, j, value) for j, column in enumerate(columns) for i, value in enumerate(column)]


# --- of a run of tiles: vector bodies; one vector of channels at a time ---


def read(taps):
    """V = Bᵀ x B: first down the columns of the run, into `lines`, then across each tile.

    A column is transformed once for all tiles that see it.
    """
    border = taps // 2

    def body(e, x, zero, v, lines, run, size):
        run = Run(e, run, 7 - taps)
        lines = View(lines, 6 * e.lanes, e.lanes)  # (column, position i)
        image = run.from_corner(x, size)
        # columns of zeros before the image, columns of it, and columns of zeros after it
        before = border + e.min(run.plan.left, border) * -1
        end = e.min(run.plan.left + run.plan.span + border, size.width)
        inside = end - run.plan.left + e.min(run.plan.left, border)
        after = run.plan.span + 2 * border - before - inside

        @e.loop(size.channels // e.lanes)
        def vector(c):
            corner = image[:, before - border :, c * e.lanes :]
            rows = []
            for i in range(6):
                is_row = e.inside(run.plan.top + (i - border), size.height)
                place = e.select(is_row, corner.at(i - border), zero)
                rows.append(View(place, size.channels))

            def down(first, count, column):
                @e.loop(count)
                def store(j):
                    for i, value in enumerate(column(j)):
                        e.store(value, lines.at(first + j, i))

            zeros = lambda j: [e.constant(0)] * 6
            down(0, before, zeros)
            down(before, inside, lambda j: of_input(e, [e.load(row.at(j)) for row in rows]))
            down(before + inside, after, zeros)

            @e.loop(run.plan.length)
            def tile(k):
                place = run.positions(v, c, k)
                start = lines[run.start(k) :]
                for i in range(6):
                    across = of_input(e, [e.load(start.at(j, i)) for j in range(6)])
                    for j, value in enumerate(across):
                        e.store(value, place(i, j))

    return body


def write(taps):
    """y = bias + Aᵀ M A; tiles with fewer outputs write their last row or column to `spare`."""
    outputs = 7 - taps
    last = outputs - 1

    def body(e, m, bias, y, spare, run, size):
        run = Run(e, run, outputs)
        image = run.from_corner(y, size)

        @e.loop(size.channels // e.lanes)
        def vector(c):
            offset = e.load(bias + c * e.lanes)

            @e.loop(run.plan.length)
            def tile(k):
                place = run.positions(m, c, k)
                first = image[:, run.start(k) :, c * e.lanes :]
                lines = [[e.load(place(i, j)) for j in range(6)] for i in range(6)]
                for i, j, value in both_ways(lambda line: sums(e, line, outputs), lines):
                    to = first.at(i, j)
                    if i == last:
                        to = e.select(run.is_tall, to, spare)
                    if j == last:
                        to = e.select(run.is_wide(k), to, spare)
                    e.store(value + offset, to)

    return body


def read_gradient(e, g, zero, d, db, run, size):
    """D = A g Aᵀ, and db += Σ g; a tile with fewer outputs ends in zeros."""
    run = Run(e, run, 4)
    image = run.from_corner(g, size)

    @e.loop(size.channels // e.lanes)
    def vector(c):
        total = e.variable(e.constant(0))

        @e.loop(run.plan.length)
        def tile(k):
            place = run.positions(d, c, k)
            first = image[:, run.start(k) :, c * e.lanes :]
            lines = []
            for i in range(4):
                places = [first.at(i, j) for j in range(4)]
                if i == 3:
                    places = [e.select(run.is_tall, p, zero) for p in places]
                places[3] = e.select(run.is_wide(k), places[3], zero)
                lines.append([e.load(p) for p in places])
            total.set(total.get() + reduce(add, [reduce(add, line) for line in lines]))
            for i, j, value in both_ways(partial(values, e), lines):
                e.store(value, place(i, j))

        of_channels = db + c * e.lanes
        e.store(e.load(of_channels) + total.get(), of_channels)


# --- of weights: `size` pairs of an input and an output at each tap or position ---


def weights(taps):
    """U = G w Gᵀ."""

    def body(e, w, u, size):
        w = View(w, taps * size, size, 1)  # (tap row, tap column, pair)
        u = View(u, 6 * size, size, 1)  # (position i, position j, pair)

        @e.loop(size // e.lanes)
        def vector(k):
            c = k * e.lanes
            lines = [[e.load(w.at(i, j, c)) for j in range(taps)] for i in range(taps)]
            for i, j, value in both_ways(partial(values, e, scales=SCALES), lines):
                e.store(value, u.at(i, j, c))

    return body


def restore_weights(e, u, dw, size):
    """dw = Gᵀ dU G."""
    u = View(u, 6 * size, size, 1)
    dw = View(dw, 3 * size, size, 1)

    @e.loop(size // e.lanes)
    def vector(k):
        c = k * e.lanes
        lines = [[e.load(u.at(i, j, c)) for j in range(6)] for i in range(6)]
        for i, j, value in both_ways(partial(sums, e, count=3, scales=SCALES), lines):
            e.store(value, dw.at(i, j, c))
