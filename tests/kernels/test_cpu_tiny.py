"""Every CPU kernel once, on tiny shapes.

These run compiled, and once more step by step with NUMBA_DISABLE_JIT=1.
"""

import os
import subprocess
import sys

import cases
import numpy as np
import pytest

from minidiff.kernels import generic
from minidiff.kernels.cpu import KERNELS, vector
from minidiff.kernels.cpu.counters import run_counts
from minidiff.kernels.cpu.rare import streaming

PAIR = (1, 1)


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


# with 0, what is read beyond an image is beyond the array
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("c_in", "c_out", "stride", "dilation"),
    [
        (3, 5, 1, 1),
        (3, 1, 1, 1),
        (2, 4, 2, 1),
        (1, 6, 1, 2),
        (1, 1, 1, 1),
        (1, 1, 2, 1),
        (2, 2, 1, 1),
    ],
)
@pytest.mark.parametrize("large", [streaming.LARGE, 1])  # outputs are written past the caches
def test_direct(monkeypatch, c_in, c_out, stride, dilation, groups, padding, large):
    monkeypatch.setattr(streaming, "LARGE", large)
    c_out *= groups
    how = (stride, stride), (padding, padding), (dilation, dilation)
    out = generic.conv_size((5, 6), (3, 3), *how)
    x, w = normal(1, 5, 6, c_in * groups), normal(3, 3, c_in, c_out)
    cases.check_convolution(x, w, normal(c_out), normal(1, *out, c_out), *how, groups)


@pytest.mark.parametrize(
    ("c_in", "c_out", "stride", "groups"), [(3, 5, 1, 1), (2, 3, 2, 2), (2, 2, 1, 4)]
)
def test_direct_across_images(c_in, c_out, stride, groups):
    c_out *= groups
    how = (stride, stride), PAIR, PAIR
    out = generic.conv_size((3, 2), (3, 3), *how)
    x, w = normal(5, 3, 2, c_in * groups), normal(3, 3, c_in, c_out)
    cases.check_convolution(x, w, normal(c_out), normal(5, *out, c_out), *how, groups)


@pytest.mark.parametrize(
    ("c_in", "c_out", "groups"), [(8, 8, 2), (4, 4, 4), (5, 2, 3), (2, 2, 3), (1, 1, 6), (1, 1, 7)]
)
def test_groups_that_fill_a_vector(c_in, c_out, groups):
    """Step by step, a place outside an array is an error."""
    x, w = normal(2, 4, 5, c_in * groups), normal(3, 3, c_in, c_out * groups)
    cases.check_convolution(
        x, w, normal(w.shape[3]), normal(2, 2, 3, w.shape[3]), PAIR, (0, 0), PAIR, groups
    )


def test_depthwise_without_neighbours():
    cases.check_convolution(
        normal(2, 3, 2, 5), normal(1, 1, 1, 5), normal(5), normal(2, 3, 2, 5), PAIR, (0, 0), PAIR, 5
    )


def test_embedding():
    table, ids, g = normal(4, 3), np.array([0, 2, 2]), normal(3, 3)
    cases.close(cases.runs("embedding", "embedding", table, ids), table[ids].astype(np.float64))
    gradient = cases.runs("embedding_dtable", "embedding_dtable", g, ids, 4)
    cases.close(gradient, generic.embedding_dtable(*cases.wide(g), ids, 4))


def test_conditioned_dense():
    x, w, b, e, v, c, table = [
        normal(*shape) for shape in ((3, 2), (2, 5), (5,), (3, 4), (4, 5), (5,), (2, 5))
    ]
    ids = np.array([0, 1, 1])
    y, z = cases.runs("conditioned_dense", "conditioned_dense", x, w, b, e, v, c, table, ids)
    want, want_z = generic.conditioned_dense(*cases.wide(x, w, b, e, v, c, table), ids)
    cases.close((y, z), (want, want_z))
    gradients = KERNELS["conditioned_dense_grads"](y, x, w, e, v, z, ids, 2, (True,) * 8)
    wanted = generic.conditioned_dense_grads(
        want, *cases.wide(x, w, e, v), want_z, ids, 2, (True,) * 8
    )
    cases.close(gradients, wanted)


@pytest.mark.parametrize(("taps", "groups"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_winograd(taps, groups):
    images, height = {3: (12, 6), 5: (1, 8)}[taps]
    x, w = normal(images, height, 9, 16 * groups), normal(taps, taps, 16, 16 * groups)
    g, how = normal(images, height, 9, 16 * groups), (PAIR, (taps // 2, taps // 2), PAIR, groups)
    x64, w64, g64 = cases.wide(x, w, g)
    ways = [run_counts["conv2d: winograd"], run_counts["conv2d_dx: winograd"]]
    cases.close(cases.runs("conv2d", "conv2d", x, w, *how), generic.conv2d(x64, w64, *how))
    dx = cases.runs("conv2d_dx", "conv2d_dx", g, w, (height, 9), *how)
    cases.close(dx, generic.conv2d_dx(g64, w64, (height, 9), *how))
    assert run_counts["conv2d: winograd"] == ways[0] + 1
    assert run_counts["conv2d_dx: winograd"] == ways[1] + 1
    both = cases.runs("conv2d_dw_db", "conv2d_dw_db", g, x, (taps, taps), *how)
    cases.close(both, generic.conv2d_dw_db(g64, x64, (taps, taps), *how))


def test_norm():
    x = normal(2, 3, 2, 8)
    vectors = normal(8), normal(8), normal(2, 8), normal(2, 8)
    y, aux = KERNELS["group_norm_silu"](x, *vectors, x, 4, 1e-5)
    want, want_aux = generic.group_norm_silu(*cases.wide(x, *vectors, x), 4, 1e-5)
    cases.close((y, aux), (want, want_aux))
    grads = KERNELS["group_norm_silu_grads"](y, x, *vectors, aux, 4)
    wanted = generic.group_norm_silu_grads(*cases.wide(y, x, *vectors), want_aux, 4)
    cases.close(grads, wanted, rtol=2e-4)


def test_attention():
    qkv, g = normal(2, 5, 12), normal(2, 5, 4)
    out, p = KERNELS["self_attention"](qkv, 2)
    want, want_p = generic.self_attention(*cases.wide(qkv), 2)
    cases.close(out, want)
    dqkv = KERNELS["self_attention_dqkv"](g, qkv, p, 2)
    cases.close(dqkv, generic.self_attention_dqkv(*cases.wide(g, qkv), want_p, 2))


def test_others():
    x, y = normal(3, 7), normal(2, 21).reshape(-1)[:21].reshape(3, 7)
    cases.close(KERNELS["silu_dx"](x, y), generic.silu_dx(*cases.wide(x, y)))
    cases.close(KERNELS["gelu_dx"](x, y, "none"), generic.gelu_dx(*cases.wide(x, y), "none"))
    x, y, a, b = normal(3, 3000), normal(2, 4500).reshape(3, 3000), *normal(2, 3, 1)
    cases.close(
        cases.runs("blend", "blend", x, y, a=a, b=b), generic.blend(*cases.wide(x, y, a, b))
    )


@pytest.mark.skipif(not vector.JIT, reason="this is that run")
def test_all_of_these_step_by_step():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "MINIDIFF_LANES": "4"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
