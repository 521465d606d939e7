"""Register-tiled and Winograd convolutions against `generic` in float64."""

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.kernels import generic
from minidiff.kernels.cpu import KERNELS, convolution, direct, weight_gradient
from minidiff.kernels.cpu.counters import run_counts
from minidiff.kernels.cpu.problem import Problem
from minidiff.kernels.cpu.rare import streaming

ONES = ((1, 1), (1, 1), (1, 1))


def is_for_winograd(x_shape, outputs, kernel, *settings, of_weights=False):
    p = Problem.of(x_shape, kernel, outputs, *settings)
    ways = convolution.WAYS["conv2d_dw_db" if of_weights else "conv2d"]
    return any(way.fits(p) for way in ways if way.name in ("winograd", "dilated"))


@st.composite
def convolutions(draw):
    """x, w, b, g, stride, padding, dilation, groups."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (4, 4), (5, 5), (7, 7), (2, 3), (3, 1)]))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 2)]))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    dilation = (1, 1) if stride != (1, 1) else draw(st.sampled_from([(1, 1), (2, 2), (1, 3)]))
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    size = [n + draw(st.integers(0, 10)) for n in least]
    groups = draw(st.sampled_from([1, 1, 2, 3, 5, 17]))
    channels = [1, 3, 6, 10, 16, 24, 32, 80] if groups == 1 else [1, 1, 2, 3, 8, 16, 20]
    c_in, c_out = (draw(st.sampled_from(channels)) for _ in range(2))
    batch = draw(st.sampled_from([1, 2, 9]))
    out = generic.conv_size(size, kernel, stride, padding, dilation)
    x, w = cases.arrays(batch, *size, c_in * groups), cases.arrays(*kernel, c_in, c_out * groups)
    b, g = cases.arrays(c_out * groups), cases.arrays(batch, *out, c_out * groups)
    return draw(x), draw(w), draw(b), draw(g), stride, padding, dilation, groups


@settings(max_examples=50, deadline=None)  # many a shape is a kernel to compile
@given(convolutions())
def test_direct(convolution):
    x, w, _, g, *how, groups = convolution
    sides = (x.shape, w.shape[3]), (g.shape, x.shape[3])
    if not any(is_for_winograd(*side, w.shape[:2], *how, groups) for side in sides):
        cases.check_convolution(*convolution)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_small_groups(data):
    """As many groups in a vector as fit, the last one partly filled; more inputs than outputs."""
    inputs, outputs, groups = (data.draw(st.integers(least, 9)) for least in (1, 1, 2))
    kernel = data.draw(st.sampled_from([(1, 1), (2, 2), (3, 3), (1, 5)]))
    stride, dilation = data.draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]))
    how = (stride, stride), (data.draw(st.integers(0, 2)),) * 2, (dilation, dilation)
    size = [dilation * (k - 1) + 1 + data.draw(st.integers(0, 9)) for k in kernel]
    out, batch = generic.conv_size(size, kernel, *how), data.draw(st.integers(1, 3))
    shapes = (
        (batch, *size, inputs * groups),
        (*kernel, inputs, outputs * groups),
        (outputs * groups,),
    )
    arrays = [
        data.draw(cases.arrays(*shape)) for shape in (*shapes, (batch, *out, outputs * groups))
    ]
    if not any(
        is_for_winograd((batch, *size, n), n, kernel, *how, groups)
        for n in (8 * groups, 9 * groups)
    ):
        cases.check_convolution(*arrays, *how, groups)


SHAPES = [  # size, kernel, in, out, stride, padding, dilation, groups
    (9, 3, 1, 16, 1, 1, 1, 1),
    (9, 3, 16, 1, 1, 1, 1, 1),
    (9, 3, 1, 5, 1, 3, 1, 1),
    (7, 4, 16, 24, 2, 1, 1, 1),
    (8, 5, 6, 10, 1, 2, 1, 1),
    (15, 3, 3, 32, 1, 2, 2, 1),
    (14, 1, 20, 48, 1, 0, 1, 1),
    (7, 3, 24, 32, 1, 0, 1, 2),
    (12, 3, 9, 21, 1, 2, 2, 3),
    (9, 5, 32, 32, 2, 2, 1, 32),
    (8, 3, 5, 15, 1, 1, 1, 5),
    (7, 5, 40, 56, 1, 2, 1, 1),
    (6, 7, 16, 16, 1, 3, 1, 1),
    (6, 3, 16, 16, 1, 1, 1, 4),
    (7, 3, 24, 24, 2, 1, 1, 3),
    (9, 5, 24, 24, 1, 2, 1, 4),
    (7, 7, 48, 24, 1, 3, 1, 6),
    (8, 3, 16, 64, 1, 1, 1, 8),
    (9, 3, 64, 16, 2, 1, 1, 8),
    (6, 3, 7, 49, 1, 2, 2, 7),
    (8, 1, 20, 20, 1, 0, 1, 20),
    (13, 2, 16, 16, 3, 0, 1, 16),
    (9, 7, 40, 40, 1, 3, 1, 5),
    (10, 3, 64, 16, 2, 1, 1, 2),
    (8, 2, 24, 24, 1, 1, 1, 24),
]


@pytest.mark.parametrize(
    ("size", "kernel", "c_in", "c_out", "stride", "padding", "dilation", "groups"), SHAPES
)
def test_direct_on_every_lane_width(
    lanes, monkeypatch, size, kernel, c_in, c_out, stride, padding, dilation, groups
):
    """And as if every output were large enough to be written past the caches."""
    rng = np.random.default_rng(0)
    how = (stride, stride), (padding, padding), (dilation, dilation)
    out = generic.conv_size((size, size), (kernel, kernel), *how)
    shapes = (
        (9, size, size, c_in),
        (kernel, kernel, c_in // groups, c_out),
        (c_out,),
        (9, *out, c_out),
    )
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    for large in streaming.LARGE, 1:
        monkeypatch.setattr(streaming, "LARGE", large)
        cases.check_convolution(*arrays, *how, groups)


def by_winograd():
    """How often a convolution went by Winograd, as a plain one or as several."""
    return sum(n for key, n in run_counts.items() if key.endswith((": winograd", ": dilated")))


def rms(error):
    return float(np.sqrt(np.mean(np.square(error, dtype=np.float64))))


WINOGRAD = [  # batch, height, width, in, out, taps, groups, dilation
    (4, 28, 28, 16, 16, 3, 1, 1),
    (16, 6, 6, 16, 16, 3, 1, 1),
    (16, 7, 7, 48, 48, 3, 1, 1),
    (12, 7, 9, 32, 80, 3, 1, 1),
    (32, 4, 5, 80, 32, 3, 1, 1),
    (20, 5, 5, 32, 48, 3, 1, 1),
    (6, 13, 10, 16, 144, 3, 1, 1),
    (9, 11, 9, 8, 24, 3, 1, 1),
    (8, 28, 28, 8, 8, 3, 1, 1),
    (6, 13, 14, 64, 32, 3, 2, 1),
    (8, 9, 9, 24, 24, 3, 3, 1),
    (7, 9, 10, 48, 16, 5, 1, 1),
    (9, 8, 8, 32, 64, 5, 2, 1),
    (4, 12, 14, 32, 24, 3, 1, 2),
    (5, 17, 13, 96, 48, 3, 2, 3),
    (3, 17, 18, 32, 64, 5, 1, 2),
]


@pytest.mark.parametrize(
    ("batch", "height", "width", "c_in", "c_out", "taps", "groups", "dilation"), WINOGRAD
)
def test_winograd_is_as_exact_as_three_direct_ones(
    lanes, batch, height, width, c_in, c_out, taps, groups, dilation
):
    rng = np.random.default_rng(1)
    shapes = (
        (batch, height, width, c_in),
        (taps, taps, c_in // groups, c_out),
        (c_out,),
        (batch, height, width, c_out),
    )
    x, w, b, g = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    x64, w64, b64, g64 = cases.wide(x, w, b, g)
    how = (1, 1), (taps // 2 * dilation,) * 2, (dilation, dilation), groups
    before = by_winograd()
    y, dx = KERNELS["conv2d_bias"](x, w, b, *how), KERNELS["conv2d_dx"](g, w, (height, width), *how)
    dw, db = KERNELS["conv2d_dw_db"](g, x, (taps, taps), *how)
    assert by_winograd() > before

    p = Problem.of(x.shape, (taps, taps), c_out, *how)
    turned = direct.turned(w[::-1, ::-1], groups)
    plain = weight_gradient.weight_gradient(g, x, p)
    wanted = generic.conv2d_dw_db(g64, x64, (taps, taps), *how)
    for result, same, want in [
        (
            y,
            direct.forward(x, w, b, p),
            generic.conv2d_bias(x64, w64, b64, *how),
        ),
        (
            dx,
            direct.forward(g, turned, None, p.transposed()),
            generic.conv2d_dx(g64, w64, (height, width), *how),
        ),
        (dw, plain[0], wanted[0]),
        (db, plain[1], wanted[1]),
    ]:
        # the direct way sums up the weight gradient of each image by itself
        factor = 6 if result is dw else 3
        assert rms(result - want) <= factor * rms(same - want) + 1e-6 * (result is db)


@pytest.mark.parametrize("size", [13, 14])
def test_dilated_and_larger_by_an_output_padding(size):
    """A transposed convolution may give more rows than its input has: it is not 'same'."""
    rng = np.random.default_rng(3)
    shapes = (4, size + 1, size + 1, 32), (3, 3, 32, 32), (4, size, size, 32)
    x, w, g = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    x64, w64, g64 = cases.wide(x, w, g)
    how = (1, 1), (2, 2), (2, 2), 1
    dx = KERNELS["conv2d_dx"](g, w, (size + 1, size + 1), *how)
    cases.close(dx, generic.conv2d_dx(g64, w64, (size + 1, size + 1), *how))
    cases.close(
        KERNELS["conv2d_dw_db"](g, x, (3, 3), *how), generic.conv2d_dw_db(g64, x64, (3, 3), *how)
    )


@pytest.mark.parametrize(
    ("size", "channels", "kernel", "groups", "convolution", "of_weights"),
    [
        (28, 16, 3, 1, True, True),
        (28, 8, 3, 1, False, True),  # direct sums of 8 channels are too exact
        (28, 32, 3, 4, False, True),
        (6, 16, 3, 1, True, True),
        (5, 16, 3, 1, False, False),
        (5, 32, 3, 1, True, False),
        (28, 16, 5, 1, True, False),
        (7, 16, 5, 1, False, False),
        (28, 16, 7, 1, False, False),
    ],
)
def test_which_layers_are_for_winograd(
    lanes, size, channels, kernel, groups, convolution, of_weights
):
    how = (channels, (kernel, kernel), (1, 1), (kernel // 2, kernel // 2), (1, 1), groups)
    fits = [
        is_for_winograd((32, size, size, channels), *how, of_weights=weights)
        for weights in (False, True)
    ]
    assert fits == [convolution, of_weights]


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_winograd_takes_any_layout(data):
    batch, height, width = 32, data.draw(st.integers(4, 12)), data.draw(st.integers(5, 12))
    taps, groups, dilation = (
        data.draw(st.sampled_from(some)) for some in ([3, 5], [1, 1, 3], [1, 1, 2])
    )
    c_in, c_out = (data.draw(st.sampled_from([8, 16, 24, 32, 80])) for _ in range(2))
    x = data.draw(cases.arrays(batch, height, width, c_in * groups))
    w = data.draw(cases.arrays(taps, taps, c_in, c_out * groups))
    g = data.draw(cases.arrays(batch, height, width, c_out * groups))
    x64, w64, g64 = cases.wide(x, w, g)
    how = (1, 1), (taps // 2 * dilation,) * 2, (dilation, dilation), groups
    cases.close(cases.runs("conv2d", "conv2d", x, w, *how), generic.conv2d(x64, w64, *how))
    dx = cases.runs("conv2d_dx", "conv2d_dx", g, w, (height, width), *how)
    cases.close(dx, generic.conv2d_dx(g64, w64, (height, width), *how))
    dw = cases.runs("conv2d_dw", "conv2d_dw_db", g, x, (taps, taps), *how)
    cases.close(dw, generic.conv2d_dw(g64, x64, (taps, taps), *how))


@pytest.mark.parametrize(
    ("c_in", "c_out", "size"), [(16, 16, 28), (16, 32, 5), (1, 6, 12), (16, 1, 12)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_numbers_come_through(c_in, c_out, size, bad):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1, size, size, c_in)).astype(np.float32)
    w = rng.standard_normal((3, 3, c_in, c_out)).astype(np.float32)
    x[0, size // 2, size // 2, 0] = bad
    with np.errstate(invalid="ignore"):
        reached = ~np.isfinite(generic.conv2d(x, w, *ONES, 1))
    assert reached.sum() == 9 * c_out
    assert not np.isfinite(KERNELS["conv2d"](x, w, *ONES, 1)[reached]).any()
    g = np.ones((1, size, size, c_out), np.float32)
    assert not np.isfinite(KERNELS["conv2d_dw"](g, x, (3, 3), *ONES, 1)[:, :, 0]).any()


@pytest.mark.parametrize(
    ("depth", "each", "groups"),
    [(8, 8, 4), (4, 4, 3), (16, 32, 2), (1, 1, 20), (1, 3, 5), (6, 3, 5)],
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_groups_keep_what_is_not_finite_to_themselves(depth, each, groups, bad):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 28, 28, depth * groups)).astype(np.float32)
    w = rng.standard_normal((3, 3, depth, each * groups)).astype(np.float32)
    g = rng.standard_normal((2, 28, 28, each * groups)).astype(np.float32)
    x[0, 9, 9, depth], g[0, 9, 9, each] = bad, bad  # in the second group
    y, (dw, db) = (
        KERNELS["conv2d"](x, w, *ONES, groups),
        KERNELS["conv2d_dw_db"](g, x, (3, 3), *ONES, groups),
    )
    dx = KERNELS["conv2d_dx"](g, w, (28, 28), *ONES, groups)
    for result, size in ((y, each), (dw, each), (dx, depth)):
        finite = np.isfinite(result).all((0, 1, 2)).reshape(groups, size)
        assert finite.all(1).tolist() == [True, False] + [True] * (groups - 2)
    assert np.isfinite(db).sum() == len(db) - 1


def test_what_is_not_for_tiles_is_left_to_generic():
    rng, before = np.random.default_rng(3), cases.count()
    x, w = rng.standard_normal((2, 6, 6, 4)), rng.standard_normal((3, 3, 4, 4))
    how = (1, 1), (1, 1), (1, 1)
    y = KERNELS["conv2d_bias"](x, w, np.ones(4), *how, 1)
    assert y.dtype == np.float64
    assert cases.count() == before
    for shape in ((0, 6, 6, 4), (2, 6, 6, 0)):
        empty = np.zeros(shape, np.float32)
        y = KERNELS["conv2d"](empty, np.zeros((3, 3, shape[3], 5), np.float32), *how, 1)
        np.testing.assert_array_equal(y, np.zeros((shape[0], 6, 6, 5)))
        dw, db = KERNELS["conv2d_dw_db"](
            np.ones((shape[0], 6, 6, 5), np.float32), empty, (3, 3), *how, 1
        )
        assert dw.shape == (3, 3, shape[3], 5)
        assert (db == 36 * shape[0]).all()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_dense(data):
    """Small ones are BLAS's, and so both ways are seen."""
    leading = tuple(data.draw(st.lists(st.integers(1, 16), min_size=0, max_size=2)))
    c_in, c_out = data.draw(st.integers(1, 130)), data.draw(st.integers(1, 130))
    shapes = (*leading, c_in), (c_in, c_out), (c_out,), (*leading, c_out)
    x, w, b, g = (data.draw(cases.arrays(*shape)) for shape in shapes)
    x64, w64, b64, g64 = cases.wide(x, w, b, g)
    before = cases.count("dense", "dense_dw_db")
    cases.close(KERNELS["dense"](x, w, b), generic.dense(x64, w64, b64))
    cases.close(KERNELS["dense_dw_db"](g, x), generic.dense_dw_db(g64, x64))
    assert (cases.count("dense", "dense_dw_db") > before) == (x.size * c_out > convolution.SMALL)


def test_large_dense_layers_run_on_tiles():
    rng = np.random.default_rng(4)
    shapes = (20, 13, 40), (40, 50), (50,), (20, 13, 50)
    x, w, b, g = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    x64, w64, b64, g64 = cases.wide(x, w, b, g)
    cases.close(cases.runs("dense", "dense", x, w, b), generic.dense(x64, w64, b64))
    cases.close(cases.runs("dense_dw_db", "dense_dw_db", g, x), generic.dense_dw_db(g64, x64))
