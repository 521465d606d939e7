"""What products in bfloat16 would give the 3 × 3 convolutions of the UNet (AVX-512-BF16).

    python benchmarks/bfloat16.py [--batch 16] [--rounds 60]

`vdpbf16ps` adds two products of bfloat16 to each float32 lane, so a register tile takes half as
many steps. It is compared with the same tile in float32 and with the kernel that the layers take
(Winograd), on one thread, in turns. Each layer's input is padded and rounded beforehand. A real
kernel would have to do both: rounding is timed apart. The error is the root mean square of the
difference from float64, divided by that of the output.
"""

import argparse
import time

import numba
import numpy as np
from llvmlite import binding, ir

from minidiff.kernels import find
from minidiff.kernels.cpu.emitter import Emitted
from minidiff.kernels.cpu.vector import vector

LANES = 16
# size, in, out
LAYERS = [(28, 16, 16), (14, 32, 32), (14, 48, 32), (7, 48, 48), (7, 80, 48), (7, 48, 144)]


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _BFloat)

    def __hash__(self):
        return hash(_BFloat)


PAIRS = ir.VectorType(_BFloat(), 2 * LANES)


def fma(e, x, w, total):
    return e.fma(x, w, total)


def dot(e, pairs_x, pairs_w, total):
    """total + the products of both halves of each lane."""
    x, w = (e.ir.bitcast(pairs.ir, PAIRS) for pairs in (pairs_x, pairs_w))
    return Emitted(e, e._call("llvm.x86.avx512bf16.dpbf16ps.512", e.vector, total.ir, x, w))


def tile(pixels, vectors, product):
    """A register tile: `pixels` neighbours of a row × `vectors` of outputs.

    One pixel holds `words` numbers: channels, or pairs of channels.
    """

    def body(e, x, w, y, row, words, outputs):
        sums = [[e.variable(e.constant(0)) for _ in range(vectors)] for _ in range(pixels)]

        @e.loop(3)
        def _(i):
            @e.loop(words * 3)  # the three taps of a row lie side by side
            def _(j):
                taps = w + (i * words * 3 + j) * outputs
                weights = [e.load(taps + v * LANES) for v in range(vectors)]
                for p in range(pixels):
                    number = e.load_broadcast(x + i * row + j + words * p)
                    for total, weight in zip(sums[p], weights):
                        total.set(product(e, number, weight, total.get()))

        for p in range(pixels):
            for v in range(vectors):
                e.store(sums[p][v].get(), y + outputs * p + v * LANES)

    return vector(body, LANES)


def convolution(pixels, vectors, product):
    run = tile(pixels, vectors, product)

    @numba.njit(nogil=True)
    def convolve(x, w, y):
        images, height, width, outputs = y.shape
        words = x.shape[3]
        row = x.shape[2] * words
        x_flat = x.reshape(x.size)
        w_flat = w.reshape(w.size)
        y_flat = y.reshape(y.size)
        for n in range(images):
            for i in range(height):
                for j in range(0, width, pixels):
                    pixel = ((n * height + i) * width + j) * outputs
                    for c in range(0, outputs, vectors * LANES):
                        first = (n * (height + 2) + i) * row + j * words
                        places = x_flat[first:], w_flat[c:], y_flat[pixel + c :]
                        run((*places, row, words, outputs))

    return convolve


@numba.njit(nogil=True)
def to_bfloat(bits, halves):
    """The upper half of each float32's bits, rounded to the nearest, ties to even."""
    for k in range(bits.size):
        halves[k] = (
            bits[k] + np.uint32(0x7FFF) + (bits[k] >> np.uint32(16) & np.uint32(1))
        ) >> np.uint32(16)


def rounded(x):
    halves = np.empty(x.shape, np.uint16)
    to_bfloat(x.reshape(-1).view(np.uint32), halves.reshape(-1))
    return halves


def spin(product):
    """A function that does nothing but products in registers."""

    def body(e, out, steps):
        sums = [e.variable(e.constant(0)) for _ in range(12)]
        a = e.load(out)
        b = e.load(out + LANES)

        @e.loop(steps)
        def _(_):
            for total in sums:
                total.set(product(e, a, b, total.get()))

        for k, total in enumerate(sums):
            e.store(total.get(), out + k * LANES)

    run = vector(body, LANES)
    memory = np.zeros(12 * LANES, np.float32)

    @numba.njit(nogil=True)
    def spin(out, steps):
        run((out, steps))

    return lambda: spin(memory, 100_000)


def in_turns(calls, rounds):
    """Median microseconds of processor time of each call."""
    times = []
    for _ in range(rounds + 2):
        times.append([])
        for call in calls:
            start = time.thread_time_ns()
            call()
            times[-1].append((time.thread_time_ns() - start) / 1e3)
    return np.median(times[2:], axis=0)


def compare(rng, batch, rounds, size, c_in, c_out):
    """Times of a layer in microseconds, and the errors of its three ways.

    The times are of the layer's own kernel, the tile in float32, the tile in bfloat16, and of
    rounding the input.
    """
    kernel = find("conv2d", np.ndarray)
    x = rng.standard_normal((batch, size, size, c_in), "f")
    w = rng.standard_normal((3, 3, c_in, c_out), "f")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.empty((2, batch, size, size, c_out), np.float32)
    x_pairs = rounded(padded).view(np.float32)  # two channels in the place of one
    w_pairs = rounded(w).reshape(9, c_in // 2, 2, c_out).swapaxes(2, 3).copy().view(np.float32)
    vectors = min(c_out // LANES, 3)
    pixels = 14 if size % 14 == 0 and vectors < 3 else 7
    single, pairwise = (convolution(pixels, vectors, product) for product in (fma, dot))
    calls = (
        lambda: kernel(x, w, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1),
        lambda: single(padded, w, y[0]),
        lambda: pairwise(x_pairs, w_pairs, y[1]),
        lambda: rounded(padded),
    )
    times = in_turns(calls, rounds)
    exact = sum(
        padded[:, i : i + size, j : j + size].astype(float) @ w[i, j].astype(float)
        for i in range(3)
        for j in range(3)
    )
    results = calls[0](), *y
    errors = [np.sqrt(np.mean((out - exact) ** 2) / np.mean(exact**2)) for out in results]
    return times, errors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    if not binding.get_host_cpu_features().get("avx512bf16"):
        raise SystemExit("this processor has no AVX512-BF16")
    single, pairwise = in_turns([spin(fma), spin(dot)], 20)
    print(f"register peak: {2 * single / pairwise:.2f} times the products of float32")
    print(f"batch {options.batch}, one thread; error of each of the three")
    print(f"{'':16s}   kernel µs   float32  bfloat16  + rounding  kernel/both")
    rng = np.random.default_rng(0)
    for size, c_in, c_out in LAYERS:
        (kernel, *tiles, rounding), errors = compare(
            rng, options.batch, options.rounds, size, c_in, c_out
        )
        name = f"{size}×{size} {c_in}→{c_out}"
        print(
            f"{name:16s}{kernel:12.0f}{tiles[0]:10.0f}{tiles[1]:10.0f}{rounding:12.0f}"
            f"{kernel / (tiles[1] + rounding):12.2f}"
            + "".join(f"{error:10.1e}" for error in errors)
        )


if __name__ == "__main__":
    main()
