"""Loops along memory, for vector bodies: copies, formulas for every number, sums."""


def pointwise(e, formula, sources, target, count):
    """target[i] = formula(e, sources[0][i], …), i < count: whole vectors, then a masked rest."""
    whole = count // e.lanes
    rest = e.mask_first(count - whole * e.lanes)

    @e.loop(whole)
    def vector(i):
        at = i * e.lanes
        e.store(formula(e, *(e.load(source + at) for source in sources)), target + at)

    at = whole * e.lanes
    e.store(formula(e, *(e.load(source + at, rest) for source in sources)), target + at, rest)


def copy(e, source, target, count):
    """target = source, so many numbers."""
    pointwise(e, lambda e, x: x, [source], target, count)


def clear(e, target, count):
    """target = 0, so many numbers, a whole number of vectors."""

    @e.loop(count // e.lanes)
    def vector(i):
        e.store(e.constant(0), target + i * e.lanes)


def sum_over(e, count, add):
    """The sum of `count` terms, in four partial sums side by side.

    add(total, k) is the total with term k.
    """
    sums = [e.variable(e.constant(0)) for _ in range(4)]
    fours = count // 4

    @e.loop(fours)
    def four_terms(i):
        for k, total in enumerate(sums):
            total.set(add(total.get(), i * 4 + k))

    @e.loop(count - fours * 4)
    def remaining_term(i):
        sums[0].set(add(sums[0].get(), fours * 4 + i))

    a, b, c, d = (total.get() for total in sums)
    return (a + b) + (c + d)


def column_sums(e, rows, out, count, vectors):
    """out[c] += Σ of rows[i, c] over `count` rows, for so many vectors of columns.

    `rows` is a view (row, column). Four vectors go down the rows side by side; those that are left
    go one by one, each in four partial sums.
    """
    fours = vectors // 4

    @e.loop(fours)
    def four_vectors(part):
        columns = [(part * 4 + v) * e.lanes for v in range(4)]
        sums = [e.variable(e.constant(0)) for _ in columns]

        @e.loop(count)
        def row(i):
            for total, c in zip(sums, columns, strict=True):
                total.set(total.get() + e.load(rows.at(i, c)))

        for total, c in zip(sums, columns, strict=True):
            e.store(e.load(out + c) + total.get(), out + c)

    @e.loop(vectors - fours * 4)
    def one_vector(part):
        c = (fours * 4 + part) * e.lanes
        total = sum_over(e, count, lambda total, i: total + e.load(rows.at(i, c)))
        e.store(e.load(out + c) + total, out + c)
