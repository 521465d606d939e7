"""Register tiles: the innermost loops of every convolution and matrix product.

`product`: neighbouring output pixels × vectors of output channels, all sums in registers (here 4
pixels × 2 vectors). A step loads the weights of one input channel at one tap, and broadcasts that
input from each pixel:

                        w0   w1          weights of one tap and input channel: 2 vectors of output channels
          x(pixel 0) →  y00  y01
          x(pixel 1) →  y10  y11         y[p][v] += x[p] · w[v]
          x(pixel 2) →  y20  y21
          x(pixel 3) →  y30  y31

8 fused multiply-adds for 6 loads; 14 × 1, 7 × 2 or 7 × 3 fill AVX-512's 32 registers. Channels last
is what makes it work: a pixel's channels are a vector, and a row of taps is one run of memory (tap,
channel), hence one loop.

`outer`: the weight gradient. Taps × input channels down, output channels across, and the loop runs
over pixels: dw[t][v] += x[pixel + t] · g[pixel][v].
"""

from functools import partial

from . import functions

# Inputs of a weight gradient's tile (or Winograd's tiles) with 1, 2 and 3 vectors, for 32 and for
# 16 vector registers.
INPUTS = {32: {1: 16, 2: 8, 3: 8}, 16: {1: 8, 2: 4, 3: 4}}


def product(pixels: int, vectors: int, apart: int = 0):
    """y[p] = bias + Σ over tap rows i, tap columns j, steps k of x[i·x_row + j·x_column + p·x_pixel
    + k] · w[…].

    `left` is the number of output channels from the first on; only so many are stored. The vectors
    of a pixel of y are neighbours, or so many numbers `apart`.
    """

    def body(
        e,
        x,
        w,
        bias,
        y,
        rows,
        columns,
        steps,
        x_row,
        x_column,
        w_row,
        w_column,
        w_step,
        x_pixel,
        y_pixel,
        left,
    ):
        lanes = e.lanes
        start = [e.load(bias + v * lanes) for v in range(vectors)]
        sums = [[e.variable(start[v]) for v in range(vectors)] for _ in range(pixels)]

        @e.loop(rows)
        def _(i):
            @e.loop(columns)
            def _(j):
                taps, weights = x + i * x_row + j * x_column, w + i * w_row + j * w_column

                @e.loop(steps)
                def _(k):
                    here, row = taps + k, weights + k * w_step
                    weight = [e.load(row + v * lanes) for v in range(vectors)]
                    for p in range(pixels):
                        value = e.splat(here + x_pixel * p)
                        for v in range(vectors):
                            sums[p][v].set(e.fma(value, weight[v], sums[p][v].get()))

        store_sums(e, sums, y, y_pixel, left, apart)

    return body


def store_all(e, sums, places):
    """Each sum to its place."""
    for row, sums_row in zip(places, sums, strict=True):
        for place, total in zip(row, sums_row, strict=True):
            e.store(total.get(), place)


def store_sums(e, sums, y, y_pixel, left, apart=0):
    """sums[pixel][vector] to y, `left` channels of each pixel."""
    place = lambda p, v: y + y_pixel * p + v * (apart or e.lanes)
    each = [(total, place(p, v), v) for p, row in enumerate(sums) for v, total in enumerate(row)]

    def some():
        masks = [e.first(left - v * e.lanes) for v in range(len(sums[0]))]
        for total, place, v in each:
            e.store(total.get(), place, masks[v])

    e.when(
        e.fewer(left, len(sums[0]) * e.lanes),
        some,
        lambda: [e.store(total.get(), at) for total, at, _ in each],
    )


def by_vectors(e, channels, run):
    """run(vectors, first channel, times): tiles of 3 vectors and of 2 at the end, or the one there is."""
    vectors = channels // e.lanes
    twos = vectors * 2 % 3
    threes = (vectors - twos * 2) // 3

    several = lambda: (run(3, 0, threes), run(2, threes * (3 * e.lanes), twos))
    e.when(e.fewer(vectors, 2), lambda: run(1, 0, vectors), several)


def by_vectors_and_half(e, channels, run, half):
    """`by_vectors` for any number of channels; run takes an emitter first.

    If `half`, half a vector holds what is left when whole ones are full. That takes half the time
    of a whole one where registers go through their units in halves, and elsewhere hardly more.
    """
    whole = (
        channels // e.lanes * e.lanes if half else (channels + (e.lanes - 1)) // e.lanes * e.lanes
    )
    by_vectors(e, whole, partial(run, e))
    if half:
        run(e.half(), 1, whole, 1)


def leaves_half(channels: int, lanes: int) -> bool:
    """Whether half a vector holds what is left when whole ones are full."""
    return 0 < channels % lanes <= lanes // 2


def row(sizes, half=False, tile=product):
    """A row of pixels, all channels: tiles of `sizes[vectors]` pixels, the last of which overlaps
    the one before it.

    `channels` of y are stored, whole vectors computed; the other arguments are `product`'s. Other
    tiles than `product` are for one vector.
    """

    def body(
        e,
        x,
        w,
        bias,
        y,
        count,
        rows,
        columns,
        steps,
        x_row,
        x_column,
        w_row,
        w_column,
        w_step,
        x_pixel,
        y_pixel,
        channels,
    ):
        def run(e, vectors, start, times):
            pixels, compute = sizes[vectors], tile(sizes[vectors], vectors)

            @e.loop(times)
            def _(group):
                c = start + group * (vectors * e.lanes)

                @e.loop((count + (pixels - 1)) // pixels)
                def _(t):
                    p = e.smaller(t * pixels, count - pixels)
                    compute(
                        e,
                        x + p * x_pixel,
                        w + c,
                        bias + c,
                        y + p * y_pixel + c,
                        rows,
                        columns,
                        steps,
                        x_row,
                        x_column,
                        w_row,
                        w_column,
                        w_step,
                        x_pixel,
                        y_pixel,
                        channels - c,
                    )

        by_vectors_and_half(e, channels, run, half) if tile is product else run(e, 1, 0, 1)

    return body


def outer(inputs: int, vectors: int, apart: int = 0):
    """dw[t] += Σ over pixel rows i and columns j of x[i·x_row + j·x_column + t] · g[i·g_row + j·g_column + …]."""

    def body(e, x, g, dw, rows, columns, x_row, x_column, g_row, g_column, dw_input):
        lanes = e.lanes
        places = [[dw + dw_input * t + v * lanes for v in range(vectors)] for t in range(inputs)]
        sums = [[e.variable(e.load(place)) for place in row] for row in places]

        @e.loop(rows)
        def _(i):
            inputs_row, g_first = x + i * x_row, g + i * g_row

            @e.loop(columns)
            def _(j):
                here, across = inputs_row + j * x_column, g_first + j * g_column
                gradient = [e.load(across + v * (apart or lanes)) for v in range(vectors)]
                for t in range(inputs):
                    value = e.splat(here + t)
                    for v in range(vectors):
                        sums[t][v].set(e.fma(value, gradient[v], sums[t][v].get()))

        store_all(e, sums, places)

    return body


def taps(sizes, half=False):
    """One row of taps of a weight gradient, `inputs` × `outputs`, in tiles of `sizes[vectors]` inputs."""

    def body(
        e,
        x,
        g,
        dw,
        inputs,
        outputs,
        rows,
        columns,
        x_row,
        x_column,
        g_row,
        g_column,
        dw_input,
        _x_tap,
        _x_taps,
    ):
        def run(e, vectors, start, times):
            some, tile = sizes[vectors], outer(sizes[vectors], vectors)

            @e.loop(inputs // some)
            def _(part):
                t = part * some

                @e.loop(times)
                def _(group):
                    c = start + group * (vectors * e.lanes)
                    at = dw + t * dw_input + c
                    tile(
                        e,
                        x + t,
                        g + c,
                        at,
                        rows,
                        columns,
                        x_row,
                        x_column,
                        g_row,
                        g_column,
                        dw_input,
                    )

        by_vectors_and_half(e, outputs, run, half)

    return body


def stream(e, source, y, head, count):
    """Copy `count` numbers past the caches; the first `head` and the last ones fill no aligned vector of y."""
    e.store(e.load(source), y, e.first(head))
    whole = (count - head) // e.lanes

    @e.loop(whole)
    def _(k):
        e.stream(e.load(source + (head + k * e.lanes)), y + (head + k * e.lanes))

    done = head + whole * e.lanes
    e.store(e.load(source + done), y + done, e.first(count - done))


def column_sums(e, g, out, pixels, step, vectors):
    """out[v] += Σ over pixels of g[pixel · step + v], for so many vectors of channels.

    Four of them side by side, along the memory; what is left one by one, each in four sums.
    """
    fours = vectors // 4

    @e.loop(fours)
    def _(part):
        places = [[out + (part * 4 + v) * e.lanes] for v in range(4)]
        sums = [[e.variable(e.load(place))] for (place,) in places]

        @e.loop(pixels)
        def _(pixel):
            for v, (total,) in enumerate(sums):
                total.set(total.get() + e.load(g + pixel * step + (part * 4 + v) * e.lanes))

        store_all(e, sums, places)

    @e.loop(vectors - fours * 4)
    def _(part):
        c = (fours * 4 + part) * e.lanes
        total = functions.summed(
            e, pixels, lambda total, pixel: total + e.load(g + pixel * step + c)
        )
        e.store(e.load(out + c) + total, out + c)


def cleared(e, a, size):
    """Zeros: so many, whole vectors of them."""
    e.loop(size // e.lanes)(lambda i: e.store(e.constant(0), a + i * e.lanes))
