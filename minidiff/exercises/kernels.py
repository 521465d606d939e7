"""Lesson 4, from seven loops to Winograd: a convolution, its gradients, a loop, fewer products."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .declared import exercise
from .evidence import PromiseError, agree, array_of, unchanged


def seven_loops(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """y[n, i, j, o] = Σ x[n, i + u, j + v, c] · w[u, v, c, o], as it stands."""
    y[:] = 0
    images, rows, columns, outputs = y.shape
    for n in range(images):
        for i in range(rows):
            for j in range(columns):
                for u in range(w.shape[0]):
                    for v in range(w.shape[1]):
                        for c in range(w.shape[2]):
                            for o in range(outputs):
                                y[n, i, j, o] += x[n, i + u, j + v, c] * w[u, v, c, o]


class Example:
    """A small convolution: images x, weights w, the result y, and a gradient g of it."""

    def __init__(self, images: int, size: tuple, taps: tuple, inputs: int, outputs: int):
        rng = np.random.default_rng(0)
        height, width = size
        self.x = rng.standard_normal((images, height, width, inputs))
        self.w = rng.standard_normal((*taps, inputs, outputs))
        self.rows = height - taps[0] + 1
        self.columns = width - taps[1] + 1
        shape = (images, self.rows, self.columns, outputs)
        self.y = np.empty(shape)
        seven_loops(self.x, self.w, self.y)
        self.g = rng.standard_normal(shape)

    def under(self, u: int, v: int) -> tuple[slice, ...]:
        """Where the pixels are that lie under a tap."""
        return np.s_[:, u : u + self.rows, v : v + self.columns]

    @property
    def taps(self) -> list[tuple[int, int]]:
        return list(np.ndindex(self.w.shape[:2]))


# The same number of channels everywhere first: there a wrong axis fits, and can be named.
EXAMPLES = [(2, (5, 5), (3, 3), 3, 3), (2, (5, 6), (2, 3), 2, 4)]


def _compared_with_loops(f: Callable, loops: Callable, least: float) -> str:
    """How many times faster f is than `loops`; PromiseError below `least`."""
    seconds = []
    for each in (f, loops):
        runs = []
        for _ in range(3):
            start = time.perf_counter()
            each()
            runs.append(time.perf_counter() - start)
        seconds.append(min(runs))
    faster = seconds[1] / seconds[0]
    if faster < least:
        raise PromiseError(
            f"The numbers are right, and it is only {faster:.1f} times as fast as seven loops in "
            f"Python; wanted {least:g} times at least."
        )
    return f"{faster:,.0f} times as fast as seven loops in Python."


@exercise(hint="y starts at 0. For each tap: y += x[:, u : u + rows, v : v + columns] @ w[u, v].")
def convolve(convolve: Callable) -> str:
    for sizes in EXAMPLES:
        e = Example(*sizes)
        upside_down = np.empty(e.y.shape)
        seven_loops(e.x, e.w[::-1, ::-1], upside_down)
        last = e.x[e.under(*e.taps[-1])] @ e.w[e.taps[-1]]
        suspects = {
            "The taps are upside down: tap (0, 0) meets the pixel (i, j) itself.": upside_down,
            "That is the last tap alone: the taps are added up.": last,
            "The last tap is missing.": e.y - last,
            "That is the mean of the taps: they are added up.": e.y / len(e.taps),
        }
        promise = "An output pixel is the sum over the taps of pixel @ matrix."
        got = array_of(unchanged(convolve, e.x, e.w), promise)
        if got.shape == e.x.shape[:3] + e.w.shape[3:]:
            raise PromiseError(
                f"{promise} It has as many pixels as x: there is no padding, so there is an output "
                f"only where all taps lie inside the image."
            )
        agree(got, e.y, promise, suspects)
    e = Example(2, (10, 10), (3, 3), 8, 8)
    loops = lambda: seven_loops(e.x, e.w, e.y)
    return _compared_with_loops(lambda: convolve(e.x, e.w), loops, least=5)


@exercise(
    hint="Forward, tap (u, v) took a slice of x and multiplied by w[u, v]. Backward, g times the "
    "transposed matrix is added to the same slice of dx, which starts at 0."
)
def convolve_dx(convolve_dx: Callable) -> None:
    for sizes in EXAMPLES:
        e = Example(*sizes)
        want = np.zeros(e.x.shape)
        shares = [(e.under(*tap), e.g @ e.w[tap].T) for tap in e.taps]
        for place, share in shares:
            want[place] += share
        suspects: dict[str, Any] = {}
        if sizes == EXAMPLES[0]:
            overwritten = np.zeros(e.x.shape)
            not_transposed = np.zeros(e.x.shape)
            mirrored = np.zeros(e.x.shape)
            for (place, share), tap, other in zip(shares, e.taps, reversed(e.taps)):
                overwritten[place] = share
                not_transposed[place] += e.g @ e.w[tap]
                mirrored[e.under(*other)] += share
            suspects = {
                "A tap's share replaced that of the tap before: shares are added.": overwritten,
                "The matrix w[u, v] is to be transposed: it takes outputs to inputs now.": (
                    not_transposed
                ),
                "The shares lie mirrored: each goes where its tap took its pixels.": mirrored,
            }
        promise = "Each pixel gets the shares of all outputs that used it."
        agree(unchanged(convolve_dx, e.g, e.w), want, promise, suspects)


@exercise(
    hint="For one tap: the pixels under it as a matrix (n · rows · columns, inputs), transposed, "
    "times g as a matrix (n · rows · columns, outputs)."
)
def convolve_dw(convolve_dw: Callable) -> None:
    for sizes in EXAMPLES:
        e = Example(*sizes)
        want = np.zeros(e.w.shape)
        first_image = np.zeros(e.w.shape)
        for tap in e.taps:
            pixels = e.x[e.under(*tap)]
            want[tap] = np.tensordot(pixels, e.g, axes=([0, 1, 2], [0, 1, 2]))
            first_image[tap] = np.tensordot(pixels[0], e.g[0], axes=([0, 1], [0, 1]))
        images, rows, columns, _ = e.g.shape
        suspects = {
            "That is the mean over the images: their shares are added.": want / images,
            "That is the mean over the pixels: their shares are added.": (
                want / (images * rows * columns)
            ),
            "That is the first image alone: the shares of all are added.": first_image,
            "The taps are upside down.": want[::-1, ::-1],
            "Inputs and outputs are exchanged: w is (…, inputs, outputs).": want.swapaxes(2, 3),
        }
        promise = "Each weight gets the shares of all outputs that used it."
        agree(unchanged(convolve_dw, e.x, e.g), want, promise, suspects)


@exercise(
    hint="Seven loops around y[n, i, j, o] += x[n, i + u, j + v, c] * w[u, v, c, o], y[:] = 0."
)
def convolution_loop(loop: Callable) -> str:
    import numba

    for sizes in EXAMPLES:
        e = Example(*sizes)
        y = np.full(e.y.shape, np.nan)
        given = [e.x.copy(), e.w.copy()]
        loop(*given, y)
        if not all(map(np.array_equal, given, [e.x, e.w])):
            raise PromiseError("It writes to x or w: only y is yours to write to.")
        promise = "y is the convolution of x and w."
        if np.isnan(y).all():
            raise PromiseError(
                f"{promise} y held NaN when you got it, and still does: it is memory that nobody "
                f"has cleared. Write 0 there first."
            )
        if np.isnan(y).any():
            place = [int(i) for i in np.argwhere(np.isnan(y))[0]]
            raise PromiseError(
                f"{promise} y[{', '.join(map(str, place))}] was never written: a loop is too short."
            )
        upside_down = np.empty(e.y.shape)
        seven_loops(e.x, e.w[::-1, ::-1], upside_down)
        last = e.x[e.under(*e.taps[-1])] @ e.w[e.taps[-1]]
        suspects = {
            "The taps are upside down.": upside_down,
            "The last tap is missing: a loop is too short.": e.y - last,
        }
        agree(y, e.y, promise, suspects)
    compiled = numba.njit(fastmath={"contract"})(loop)
    e = Example(1, (10, 10), (3, 3), 8, 8)
    y = np.empty(e.y.shape)
    try:
        compiled(e.x, e.w, y)
    except numba.core.errors.NumbaError as error:
        reason = " ".join(str(error).split())[:200]
        raise PromiseError(
            f"It is right in Python, and Numba cannot compile it: {reason}"
        ) from None
    agree(y, e.y, "Compiled, it gives the same.")
    loops = lambda: seven_loops(e.x, e.w, y)
    return _compared_with_loops(lambda: compiled(e.x, e.w, y), loops, least=10)


# --- fewer products ---


class Counted:
    """A number that counts its products with others of its kind; with constants they are free."""

    products = 0

    def __init__(self, value: float):
        self.value = value

    def __add__(self, other: Any) -> "Counted":
        return Counted(self.value + _value(other))

    __radd__ = __add__

    def __neg__(self) -> "Counted":
        return Counted(-self.value)

    def __sub__(self, other: Any) -> "Counted":
        return Counted(self.value - _value(other))

    def __rsub__(self, other: Any) -> "Counted":
        return Counted(_value(other) - self.value)

    def __mul__(self, other: Any) -> "Counted":
        Counted.products += isinstance(other, Counted)
        return Counted(self.value * _value(other))

    __rmul__ = __mul__

    def __truediv__(self, other: float) -> "Counted":
        return Counted(self.value / other)


def _value(number: Any) -> float:
    return number.value if isinstance(number, Counted) else number


@exercise(
    hint="The lesson's products are a = (d0 − d2) g0, b = (d1 + d2) (g0 + g1 + g2) / 2, "
    "c = (d2 − d1) (g0 − g1 + g2) / 2, e = (d1 − d3) g2. y0 = a + b + c, y1 = b − c − e."
)
def winograd(winograd: Callable) -> str:
    rng = np.random.default_rng(0)
    for _ in range(3):
        d = rng.standard_normal(4)
        g = rng.standard_normal(3)
        want = np.array([d[:3] @ g, d[1:] @ g])
        second = (d[1] + d[2]) * g.sum() / 2
        third = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2
        last = (d[1] - d[3]) * g[2]
        suspects = {
            "The two are exchanged.": want[::-1],
            "The taps are upside down.": np.array([d[:3] @ g[::-1], d[1:] @ g[::-1]]),
            "The sign of the last product, (d1 − d3) g2, is turned in y1.": (
                want + np.array([0, 2 * last])
            ),
            "The sign of the third product, with d2 − d1, is turned in y1.": (
                want + np.array([0, 2 * third])
            ),
            "The sums of taps in the middle are to be halved.": (
                want + np.array([second + third, second - third])
            ),
        }
        promise = "The outputs are d0 g0 + d1 g1 + d2 g2 and d1 g0 + d2 g1 + d3 g2."
        agree(np.array(winograd(d, g)), want, promise, suspects)
    Counted.products = 0
    winograd([Counted(n) for n in d], [Counted(n) for n in g])
    if Counted.products > 4:
        raise PromiseError(
            f"The numbers are right, by {Counted.products} products: four are enough."
        )
    return "Four products in place of six."
