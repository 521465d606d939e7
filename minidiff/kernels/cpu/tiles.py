"""Register tiles: the innermost loops of every convolution and matrix product.

`product`: neighbouring output pixels × vectors of output channels, all sums in registers (here 4
pixels × 2 vectors). A step loads the weights of one input channel at one tap, and broadcasts that
input from each pixel:

                        w0   w1          weights of one tap and input: 2 vectors of outputs
          x(pixel 0) →  y00  y01
          x(pixel 1) →  y10  y11         y[p][v] += x[p] · w[v]
          x(pixel 2) →  y20  y21
          x(pixel 3) →  y30  y31

8 fused multiply-adds for 6 loads; 14 × 1, 7 × 2 or 7 × 3 fill AVX-512's 32 registers. Channels last
is what makes it work: a pixel's channels are a vector, and a row of taps is one run of memory (tap,
channel), hence one loop.

`outer`: the weight gradient. Inputs go down, output channels across, and the sums run over pixels:
dw[t][v] += x[pixel][t] · g[pixel][v].
"""

from .views import ceil_divide

# Inputs of a weight gradient's tile (or Winograd's tiles of an image) for 1, 2 and 3 vectors of
# outputs, where there are 32 registers, and 16.
INPUTS = {32: {1: 16, 2: 8, 3: 8}, 16: {1: 8, 2: 4, 3: 4}}


def product(pixels: int, vectors: int):
    """y[p, v] = bias[v] + Σ x[p, …] · w[…, v], the sum over the axes `…`, whose sizes are `over`.

    The operands are views: x (pixel, *summed), w (*summed, vector), bias (vector,), y (pixel,
    vector). Of each pixel, the first `channels` numbers are stored.
    """

    def tile(e, x, w, bias, y, over, channels):
        start = [e.load(bias.at(v)) for v in range(vectors)]
        sums = [[e.variable(start[v]) for v in range(vectors)] for _ in range(pixels)]

        @e.loop(*over)
        def step(*k):
            weights = [e.load(w.at(*k, v)) for v in range(vectors)]
            for p in range(pixels):
                value = e.load_broadcast(x.at(p, *k))
                for v in range(vectors):
                    sums[p][v].set(e.fma(value, weights[v], sums[p][v].get()))

        store_sums(e, sums, y, channels)

    return tile


def store_sums(e, sums, y, channels):
    """sums[pixel][vector] to y (pixel, vector): the first `channels` numbers of each pixel."""
    vectors = len(sums[0])

    def store_all(masks):
        for p, of_pixel in enumerate(sums):
            for v, total in enumerate(of_pixel):
                e.store(total.get(), y.at(p, v), masks[v])

    def store_some():
        store_all([e.mask_first(channels - v * e.lanes) for v in range(vectors)])

    partly_filled = e.lt(channels, vectors * e.lanes)
    e.when(partly_filled, store_some, lambda: store_all([None] * vectors))


def outer(inputs: int, vectors: int):
    """dw[t, v] += Σ x[…, t] · g[…, v], the sum over the axes `…`, whose sizes are `over`.

    The operands are views: x (*summed, input), g (*summed, vector), dw (input, vector).
    """

    def tile(e, x, g, dw, over):
        places = [[dw.at(t, v) for v in range(vectors)] for t in range(inputs)]
        # Each call's sums by themselves: in one long sum float32 would lose digits.
        sums = [[e.variable(e.constant(0)) for _ in row] for row in places]

        @e.loop(*over)
        def step(*k):
            gradient = [e.load(g.at(*k, v)) for v in range(vectors)]
            for t in range(inputs):
                value = e.load_broadcast(x.at(*k, t))
                for v in range(vectors):
                    sums[t][v].set(e.fma(value, gradient[v], sums[t][v].get()))

        for row, places_of_row in zip(sums, places, strict=True):
            for total, place in zip(row, places_of_row, strict=True):
                e.store(e.load(place) + total.get(), place)

    return tile


def by_vectors(e, channels, run):
    """run(e, vectors, first, times) for all channels, where `times` tiles lie side by side.

    They have 3 vectors and then 2, or 1 where there is only one. The last vector may be partly
    filled.
    """
    vectors = ceil_divide(channels, e.lanes)
    twos = vectors * 2 % 3
    threes = (vectors - twos * 2) // 3

    def several():
        run(e, 3, 0, threes)
        run(e, 2, threes * (3 * e.lanes), twos)

    e.when(e.lt(vectors, 2), lambda: run(e, 1, 0, vectors), several)


def overlapping(e, count, size):
    """A decorator: runs the function with the first pixel of each tile of `size` pixels.

    The last of the `count` pixels may be too few for a tile: that one overlaps the one before it.
    """

    def run(body):
        @e.loop(ceil_divide(count, size))
        def tile(t):
            body(e.min(t * size, count - size))

    return run


def tiled_product(sizes: dict[int, int], split=by_vectors):
    """`product` for any number of pixels and channels, in tiles of `sizes[vectors]` pixels.

    The views are those of `product`, but with axes of single channels in place of vectors. `split`
    cuts the channels into vectors.
    """

    def body(e, x, w, bias, y, pixels, over, channels):
        def run(e, vectors, first, times):
            tile = product(sizes[vectors], vectors)

            @e.loop(times)
            def part_of_channels(k):
                c = first + k * (vectors * e.lanes)

                @overlapping(e, pixels, sizes[vectors])
                def part_of_pixels(p):
                    views = x[p:], w[..., c :: e.lanes], bias[c :: e.lanes], y[p:, c :: e.lanes]
                    tile(e, *views, over, channels - c)

        split(e, channels, run)

    return body


def tiled_outer(sizes: dict[int, int], split=by_vectors):
    """`outer` for any number of inputs and channels, in tiles of `sizes[vectors]` inputs.

    The views are those of `outer`, but with axes of single channels in place of vectors. Inputs and
    channels of dw are padded: whole tiles are written, and those that are too many mean nothing.
    """

    def body(e, x, g, dw, inputs, channels, over):
        def run(e, vectors, first, times):
            size = sizes[vectors]
            tile = outer(size, vectors)

            @e.loop(inputs // size, times)
            def part(j, k):
                t = j * size
                c = first + k * (vectors * e.lanes)
                tile(e, x[..., t:], g[..., c :: e.lanes], dw[t:, c :: e.lanes], over)

        split(e, channels, run)

    return body
