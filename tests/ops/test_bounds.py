"""Operations that compiled code serves look at what they are given: it does not notice an end.

`benchmarks/reliability/bounds.py` draws such calls beside forbidden pages; these are what it found.
"""

import numpy as np
import pytest
from ops_table import OPS

import minidiff as md
from minidiff import kernels, ops
from minidiff.kernels import generic

GEOMETRY = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


@pytest.fixture(params=["vector", "loops", "generic"])
def kernel_set(request, monkeypatch):
    monkeypatch.setenv("MINIDIFF_KERNELS", request.param)
    kernels.forget()
    yield request.param
    monkeypatch.undo()
    kernels.forget()


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


X = normal(3, 6, 6, 16)
WRONG_DW = {
    "fewer images of g": (normal(1, 6, 6, 16), X, {}),
    "more images of g": (normal(4, 6, 6, 16), X, {}),
    "more rows of g": (normal(3, 9, 6, 16), X, {}),
    "no axis of images": (normal(6, 6, 16), X, {}),
    "stride 0": (normal(3, 6, 6, 16), X, {"stride": (0, 0)}),
    "dilation 0": (normal(3, 6, 6, 16), X, {"dilation": (0, 1)}),
    "groups that do not divide": (normal(3, 6, 6, 16), X, {"groups": 3}),
    "no groups": (normal(3, 6, 6, 16), X, {"groups": 0}),
}


@pytest.mark.parametrize("wrong", WRONG_DW)
def test_weight_gradients_of_what_does_not_fit(kernel_set, wrong):
    g, x, other = WRONG_DW[wrong]
    with pytest.raises((ValueError, TypeError)):
        ops.conv2d_dw(g, x, kernel=(3, 3), **(GEOMETRY | other))


def test_weight_gradients_where_no_row_was_computed(kernel_set):
    """Without windows there is nothing to sum, whatever the image has left over."""
    strided = GEOMETRY | {"stride": (3, 3), "dilation": (2, 1), "groups": 2}
    dw = ops.conv2d_dw(normal(3, 0, 3, 8), normal(3, 3, 9, 6), kernel=(3, 3), **strided)
    assert dw.shape == (3, 3, 3, 8)
    assert not dw.any()


def test_a_dense_layer_without_outputs(kernel_set):
    w = md.Tensor(normal(9, 0), requires_grad=True)
    y = ops.dense(normal(2, 5, 9), w, normal(0))
    y.backward(np.ones((2, 5, 0), np.float32))
    assert w.grad.shape == (9, 0)


def test_image_gradients_of_channels_that_do_not_fit(kernel_set):
    for channels in (8, 32):
        with pytest.raises(ValueError, match="conv2d_dx"):
            ops.conv2d_dx(normal(3, 6, 6, channels), normal(3, 3, 4, 16), x_size=(6, 6), **GEOMETRY)


@pytest.mark.parametrize("norm", ["group_norm", "group_norm_silu"])
def test_norms_of_one_axis(kernel_set, norm):
    with pytest.raises(ValueError, match=rf"{norm}: given x \(16,\), wanted \(batch, …, channels"):
        getattr(ops, norm)(normal(16), 2, normal(16), normal(16))


def test_embeddings_of_other_shapes(kernel_set):
    with pytest.raises(ValueError, match="table: given shape"):
        ops.embedding(normal(4, 3, 2), np.array([1, 2]))
    with pytest.raises(ValueError, match="embedding_dtable"):
        ops.embedding_dtable(normal(5, 8), np.array([0, 1, 2]), rows=4)


@pytest.mark.parametrize("name", ["conv2d", "dense", "embedding", "group_norm_silu", "silu"])
def test_arrays_in_the_byte_order_of_another_machine(kernel_set, name):
    sample = OPS[name].drawn[0]
    floats = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in sample]
    native = [a.astype(np.float32) if is_float else a for a, is_float in zip(sample, floats)]
    swapped = [a.astype(">f4") if is_float else a for a, is_float in zip(native, floats)]
    wanted = OPS[name].f(*native)
    for given in swapped, [swapped[0], *native[1:]]:
        found = OPS[name].f(*given)
        assert found.dtype == np.float32 and found.tobytes() == wanted.tobytes()
        leaves = [md.Tensor(a, requires_grad=f) if f else a for a, f in zip(given, floats)]
        ops.sum(OPS[name].f(*leaves)).backward()


def test_a_blend_of_another_number_of_samples(kernel_set):
    shares = np.ones((2, 1), np.float32)
    with pytest.raises(ValueError, match="broadcast"):
        kernels.call("blend", normal(6, 4), normal(6, 4), a=shares, b=shares)
    x = normal(6, 4)
    wanted = generic.blend(x, x, shares[:1], shares[:1])
    np.testing.assert_allclose(kernels.call("blend", x, x, a=shares[:1], b=shares[:1]), wanted)
