"""For the CPU kernels' tests: drawn shapes and layouts, and comparisons with `generic`."""

import numpy as np
from hypothesis import strategies as st

from minidiff.kernels import generic
from minidiff.kernels.cpu import KERNELS
from minidiff.kernels.cpu.counters import run_counts

EPS = 2.0**-24


def wide(*arrays):
    """float32 arrays in float64, all else as it is."""
    is_single = [getattr(a, "dtype", None) == np.float32 for a in arrays]
    return [a.astype(np.float64) if single else a for a, single in zip(arrays, is_single)]


def layouts(array, layout):
    """Equal arrays that lie differently in memory."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "strided":
        spaced = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        spaced[..., ::2] = array
        return spaced[..., ::2]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


LAYOUTS = st.sampled_from(["plain", "fortran", "reversed", "strided", "read-only"])


@st.composite
def arrays(draw, *shape, scale=1.0):
    """Normal float32 numbers of that shape, in some layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return layouts((rng.standard_normal(shape) * scale).astype(np.float32), draw(LAYOUTS))


def count(*kernels):
    """How often kernels have run, whichever way they went; without names, all of them."""
    counted = [key.partition(": ")[0] for key in run_counts.elements()]
    return sum(key in kernels for key in counted) if kernels else len(counted)


def runs(name, counted, *arguments, **static):
    """The CPU kernel's results, having seen that it ran itself and left its arguments alone."""
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    earlier = count(counted)
    result = KERNELS[name](*arguments, **static)
    assert count(counted) > earlier, f"{name} fell back to generic"
    for a, b in zip(arguments, before, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
    return result


def close(result, wanted, rtol=2e-5):
    """Compares with float64 results relative to their largest number; the dtype is float32."""
    for got, want in zip(_flat(result), _flat(wanted), strict=True):
        if want is None:
            assert got is None
            continue
        assert got.dtype == np.float32
        assert got.shape == want.shape
        np.testing.assert_allclose(
            got, want, rtol=rtol, atol=rtol * max(1.0, np.abs(want).max(initial=0))
        )


def _flat(results):
    if isinstance(results, tuple):
        return [leaf for part in results for leaf in _flat(part)]
    return [results]


def check_convolution(x, w, b, g, stride, padding, dilation, groups=1):
    """Forward and all gradients within K·2⁻²⁴·(|x| ⋆ |w|), K the number of products in a sum."""
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x64, w64, b64, g64 = wide(x, w, b, g)
    kernel, size = w.shape[:2], x.shape[1:3]

    def within(got, want, bound, terms):
        assert got.dtype == np.float32
        assert got.shape == want.shape
        assert (np.abs(got - want) <= (terms + 2) * EPS * bound + 1e-30).all()

    y = runs("conv2d_bias", "conv2d", x, w, b, **how)
    terms = kernel[0] * kernel[1] * w.shape[2]
    bound = generic.conv2d(np.abs(x64), np.abs(w64), **how) + np.abs(b64)
    within(y, generic.conv2d_bias(x64, w64, b64, **how), bound, terms)
    within(runs("conv2d", "conv2d", x, w, **how), generic.conv2d(x64, w64, **how), bound, terms)

    dx = runs("conv2d_dx", "conv2d_dx", g, w, size, **how)
    bound = generic.conv2d_dx(np.abs(g64), np.abs(w64), size, **how)
    within(
        dx,
        generic.conv2d_dx(g64, w64, size, **how),
        bound,
        kernel[0] * kernel[1] * w.shape[3] // groups,
    )

    dw, db = runs("conv2d_dw_db", "conv2d_dw_db", g, x, kernel, **how)
    bound = generic.conv2d_dw(np.abs(g64), np.abs(x64), kernel, **how)
    pixels = g.shape[0] * g.shape[1] * g.shape[2]
    want_dw, want_db = generic.conv2d_dw_db(g64, x64, kernel, **how)
    within(dw, want_dw, bound, pixels)
    within(db, want_db, np.abs(g64).sum((0, 1, 2)), pixels)
