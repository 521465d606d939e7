"""Norms, attention, pointwise and optimiser kernels against `generic` in float64."""

import math

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.kernels import generic
from minidiff.kernels.cpu import KERNELS

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


def drawn(data, *shapes):
    return [data.draw(cases.arrays(*shape)) for shape in shapes]


def check_group_norm(x, weight, bias, scale, shift, g, groups, skip=None):
    vectors = weight, bias, scale, shift
    x64, g64, skip64 = cases.wide(x, g, skip)
    vectors64 = cases.wide(*vectors)
    name = "group_norm_silu"
    y, aux = cases.runs(name, name, x, *vectors, skip, groups, 1e-5)
    want, want_aux = generic.group_norm_silu(x64, *vectors64, skip64, groups, 1e-5)
    cases.close((y, aux), (want, want_aux))
    name = "group_norm_silu_grads"
    grads = cases.runs(name, name, g, x, *vectors, aux, groups)
    wanted = generic.group_norm_silu_grads(g64, x64, *vectors64, want_aux, groups)
    cases.close(grads, wanted, rtol=2e-4)


def check_group_norm_tangent(tangents, x, weight, bias, scale, shift, groups):
    operands = x, weight, bias, scale, shift
    operands64 = cases.wide(*operands)
    _, aux = generic.group_norm_silu(*operands, None, groups, 1e-5)
    _, want_aux = generic.group_norm_silu(*operands64, None, groups, 1e-5)
    name = "group_norm_silu_tangent"
    got = cases.runs(name, name, *tangents, *operands, aux, groups)
    want = generic.group_norm_silu_tangent(*cases.wide(*tangents), *operands64, want_aux, groups)
    cases.close(got, np.broadcast_to(want, x.shape), rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_group_norm(data):
    batch, height, width = (data.draw(st.integers(1, n)) for n in (3, 6, 6))
    channels = data.draw(st.sampled_from([8, 16, 24, 48]))
    groups = data.draw(st.sampled_from([1, 4, 8] if height * width > 2 else [1]))
    shape = (batch, height, width, channels)
    x, g, weight, bias = drawn(data, shape, shape, (channels,), (channels,))
    own = *drawn(data, (batch, channels), (batch, channels)), g
    scale, shift, skip = (part if data.draw(st.booleans()) else None for part in own)
    check_group_norm(x + np.float32(3), weight, bias, scale, shift, g, groups, skip)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_tangent_of_a_group_norm(data):
    """Any of the six operands may move, or none of them."""
    batch, height, width = (data.draw(st.integers(1, n)) for n in (3, 6, 6))
    channels = data.draw(st.sampled_from([8, 16, 24, 48]))
    groups = data.draw(st.sampled_from([1, 4, 8] if height * width > 2 else [1]))
    shape = (batch, height, width, channels)
    own = (batch, channels)
    operands = drawn(data, shape, (channels,), (channels,), own, own)
    has_own = [True] * 3 + [data.draw(st.booleans()) for _ in range(2)]
    operands = [part if has else None for part, has in zip(operands, has_own)]
    tangents = drawn(data, *(shape, (channels,), (channels,), own, own, shape))
    moves = [has and data.draw(st.booleans()) for has in (*has_own, True)]
    tangents = [part if move else None for part, move in zip(tangents, moves)]
    if any(moves):
        x, *vectors = operands
        check_group_norm_tangent(tangents, x + np.float32(3), *vectors, groups)


def test_group_norm_on_every_lane_width(lanes):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((2, 5, 7, 32)).astype(np.float32) for _ in range(2))
    vectors = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((32,), (32,), (2, 32), (2, 32))
    )
    vectors = list(vectors)
    check_group_norm(x, *vectors, g, 8)
    check_group_norm_tangent([g, *vectors, x], x, *vectors, 8)


def check_attention(qkv, g, heads):
    qkv64, g64 = cases.wide(qkv, g)
    out, p = cases.runs("self_attention", "self_attention", qkv, heads)
    want, want_p = generic.self_attention(qkv64, heads)
    cases.close(out, want)
    dqkv = cases.runs("self_attention_dqkv", "self_attention_dqkv", g, qkv, p, heads)
    cases.close(dqkv, generic.self_attention_dqkv(g64, qkv64, want_p, heads))
    moved = qkv[::-1].copy()
    name = "self_attention_tangent"
    tangent = cases.runs(name, name, moved, qkv, p, heads)
    cases.close(tangent, generic.self_attention_tangent(*cases.wide(moved), qkv64, want_p, heads))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_attention(data):
    batch, n, heads, d = (data.draw(st.integers(1, most)) for most in (3, 40, 3, 20))
    check_attention(*drawn(data, (batch, n, 3 * heads * d), (batch, n, heads * d)), heads)


def test_attention_on_every_lane_width(lanes):
    rng = np.random.default_rng(0)
    check_attention(*(rng.standard_normal((2, 49, c)).astype(np.float32) for c in (144, 48)), 4)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_pointwise(data):
    shape = data.draw(SHAPES)
    x, g = data.draw(cases.arrays(*shape, scale=4.0)), data.draw(cases.arrays(*shape))
    x64, g64 = cases.wide(x, g)
    cases.close(cases.runs("silu", "silu", x), generic.silu(x64))
    cases.close(cases.runs("silu_dx", "silu_dx", g, x), generic.silu_dx(g64, x64))
    cases.close(cases.runs("gelu", "gelu", x, approximate="none"), generic.gelu(x64, "none"))
    cases.close(
        cases.runs("gelu_dx", "gelu_dx", g, x, approximate="none"),
        generic.gelu_dx(g64, x64, "none"),
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_blend(data):
    """Sample by sample in float64; and a sample's bits do not depend on the others."""
    batch, rows, each = (
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(59, 90)),
        data.draw(st.booleans()),
    )
    shape = data.draw(st.sampled_from([(batch, rows, 140), (batch, rows, 5, 28)]))
    (x, y), rng = drawn(data, shape, shape), np.random.default_rng(batch)
    column = (batch, *[1] * (len(shape) - 1))
    a, b = (
        rng.standard_normal(column, "f") if each else float(rng.standard_normal()) for _ in range(2)
    )
    z = cases.runs("blend", "blend", x, y, a=a, b=b)
    shares = [np.broadcast_to(np.ravel(share).astype(np.float64), batch) for share in (a, b)]
    cases.close(
        z, np.stack([p * u + q * v for p, q, u, v in zip(*shares, *cases.wide(x, y))]), rtol=1e-6
    )
    a, b = (share[-1:] if each else share for share in (a, b))
    np.testing.assert_array_equal(KERNELS["blend"](x[-1:], y[-1:], a, b), z[-1:])


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_updates_in_place(data):
    shape = data.draw(SHAPES)
    rng = np.random.default_rng(0)
    param, m, v, average = (rng.standard_normal(shape).astype(np.float32) for _ in range(4))
    grad, v = data.draw(cases.arrays(*shape)), v * v
    wanted = cases.wide(param, grad, m, v, average)
    how = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1, "step": 3}
    before = cases.count("adam", "ema")
    KERNELS["adam"](param, grad, m, v, **how)
    KERNELS["ema"](average, param, decay=0.9)
    assert cases.count("adam", "ema") == before + 2
    generic.adam(*wanted[:4], **how)
    generic.ema(wanted[4], wanted[0], decay=0.9)
    cases.close((param, m, v, average), (wanted[0], wanted[2], wanted[3], wanted[4]))


def test_updates_of_views_reach_the_array():
    param, average = np.ones((4, 6), np.float32)[:, ::2], np.zeros((4, 6), np.float32)[:, ::2]
    m, v, grad = (np.zeros((4, 3), np.float32) for _ in range(3))
    KERNELS["adam"](
        param, grad + 1, m, v, lr=0.1, beta1=0.9, beta2=0.99, eps=0.0, weight_decay=0.0, step=1
    )
    np.testing.assert_allclose(param, 0.9, rtol=1e-6)
    KERNELS["ema"](average, param, decay=0.5)
    np.testing.assert_allclose(average, 0.45, rtol=1e-6)


def test_not_finite_numbers():
    x = np.array([-np.inf, -1000, -88, 0, 88, 1000, np.inf, np.nan] * 3, np.float32)
    assert np.isnan(KERNELS["silu"](x)[[7, 15, 23]]).all()
    qkv = np.ones((1, 2, 3), np.float32)
    for bad in (np.nan, np.inf):
        qkv[0, 1, 1] = bad  # a key: every query meets it
        assert np.isnan(KERNELS["self_attention"](qkv, 1)[0]).all()
    many = np.full((2, 5000), np.inf, np.float32)
    assert np.isposinf(KERNELS["blend"](many, many, 1.0, 2.0)).all()
    assert np.isnan(KERNELS["blend"](many, many, 1.0, 0.0)).all()
    images = np.ones((1, 4, 4, 16), np.float32)
    images[0, 0, 0, 3] = np.nan
    for bad in (np.nan, np.inf):
        images[0, 0, 0, 3] = bad
        ones = np.ones(16, np.float32)
        y, _ = KERNELS["group_norm_silu"](images, ones, ones, None, None, None, 8, 1e-5)
        assert np.isnan(y[..., 2:4]).all()
        assert np.isfinite(y[..., 4:]).all()


def test_float64_and_nothing_at_all_are_generic():
    before = cases.count()
    for x in (np.ones((2, 3, 3, 16)), np.ones((0, 3, 3, 16), np.float32)):
        results = [
            KERNELS["silu"](x),
            KERNELS["gelu"](x, "none"),
            KERNELS["self_attention"](x[:, 0, :, :3], 1)[0],
        ]
        assert all(result.dtype == x.dtype for result in results)
        assert all((result.size == 0) == (x.size == 0) for result in results)
    assert KERNELS["blend"](np.ones((2, 9000)), np.ones((2, 9000)), 0.5, 1.5).dtype == np.float64
    x, ones = np.ones((2, 3, 3, 16)), np.ones(16)
    y, aux = KERNELS["group_norm_silu"](x, ones, ones, None, None, None, 8, 1e-5)
    dx, *_ = KERNELS["group_norm_silu_grads"](x, x, ones, ones, None, None, aux, 8)
    assert y.dtype == dx.dtype == x.dtype
    assert cases.count() == before


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_embedding(data):
    rows, d, shape = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 20)), data.draw(SHAPES)
    ids = data.draw(
        st.lists(st.integers(0, rows - 1), min_size=math.prod(shape), max_size=math.prod(shape))
    )
    ids = np.array(ids).reshape(shape)
    table, g = drawn(data, (rows, d), (*shape, d))
    table64, g64 = cases.wide(table, g)
    cases.close(cases.runs("embedding", "embedding", table, ids), generic.embedding(table64, ids))
    gradient = cases.runs("embedding_dtable", "embedding_dtable", g, ids, rows)
    cases.close(gradient, generic.embedding_dtable(g64, ids, rows))


def check_conditioned_dense(g, ids, *operands):
    y, z = cases.runs("conditioned_dense", "conditioned_dense", *operands, ids)
    want, want_z = generic.conditioned_dense(*cases.wide(*operands), ids)
    cases.close((y, z), (want, want_z))
    name, kept = "conditioned_dense_grads", [operands[k] for k in (0, 1, 3, 4)]
    how = ids, len(operands[-1]), (True,) * 8
    cases.close(
        cases.runs(name, name, g, *kept, z, *how),
        getattr(generic, name)(*cases.wide(g, *kept), want_z, *how),
    )


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_conditioned_dense(data):
    batch, i, n, d, rows = (data.draw(st.integers(1, most)) for most in (9, 20, 20, 20, 4))
    ids = np.array(data.draw(st.lists(st.integers(0, rows - 1), min_size=batch, max_size=batch)))
    shapes = (batch, n), (batch, i), (i, n), (n,), (batch, d), (d, n), (n,), (rows, n)
    g, *operands = drawn(data, *shapes)
    check_conditioned_dense(g, ids, *operands)


def test_conditioned_dense_on_every_lane_width(lanes):
    rng = np.random.default_rng(0)
    shapes = (7, 19), (7, 5), (5, 19), (19,), (7, 3), (3, 19), (19,), (4, 19)
    g, *operands = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    check_conditioned_dense(g, rng.integers(0, 4, 7), *operands)


def test_ids_that_are_no_rows_are_numpys_errors():
    table, ids = np.ones((3, 2), np.float32), np.array([0, 3])
    with pytest.raises(IndexError, match="3"):
        KERNELS["embedding"](table, ids)
    with pytest.raises(IndexError, match="3"):
        KERNELS["embedding_dtable"](np.ones((2, 2), np.float32), ids, 3)
