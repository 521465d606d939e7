"""Each kernel of `kernels/cuda` against the one of its name in `generic`, on NumPy.

On the emulated device blocks and threads also come in orders that are drawn.
"""

import sys
from itertools import product

import numpy as np
import pytest

import minidiff as md
from minidiff.kernels import cuda as on_device
from minidiff.kernels import find, from_host_together, generic

pytestmark = pytest.mark.gpu
md.devices()  # loads CuPy, and with it the emulated device
ORDERS = ["", "1", "2", "3"] if "gpu_emulator" in sys.modules else [""]


@pytest.fixture(params=ORDERS, ids=lambda seed: f"order {seed}")
def order(request, monkeypatch):
    monkeypatch.setenv("GPU_EMULATOR_ORDER", request.param)


rng = np.random.default_rng(0)


def normals(*shape):
    return rng.standard_normal(shape)


def conv_cases():
    """(x, w, geometry): sizes, strides, paddings, dilations and groups, none of them round."""
    sizes = [(2, 5, 4, 3, 2), (1, 7, 7, 1, 5), (3, 6, 9, 4, 6), (0, 5, 5, 2, 3), (2, 1, 1, 3, 4)]
    ways = [
        ((3, 3), (1, 1), (1, 1), (1, 1)),
        ((1, 1), (1, 1), (0, 0), (1, 1)),
        ((4, 4), (2, 2), (1, 1), (1, 1)),
        ((2, 3), (1, 2), (2, 3), (2, 1)),
        ((1, 1), (2, 1), (0, 1), (1, 1)),
    ]
    for (b, h, w, c, out), (kernel, stride, padding, dilation) in product(sizes, ways):
        for groups in (1, 2):
            if c % groups or out % groups:
                continue
            geometry = {
                "stride": stride,
                "padding": padding,
                "dilation": dilation,
                "groups": groups,
            }
            reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
            if h + 2 * padding[0] >= reach[0] and w + 2 * padding[1] >= reach[1]:
                yield normals(b, h, w, c), normals(*kernel, c // groups, out), geometry


def convolutions():
    for x, w, geometry in conv_cases():
        y = generic.conv2d(x, w, **geometry)
        g = normals(*y.shape)
        bias = normals(w.shape[3])
        yield "conv2d", (x, w), geometry
        yield "conv2d_bias", (x, w, bias), geometry
        yield "conv2d_dx", (g, w), {"x_size": x.shape[1:3], **geometry}
        yield "conv2d_dw", (g, x), {"kernel": w.shape[:2], **geometry}
        yield "conv2d_dw_db", (g, x), {"kernel": w.shape[:2], **geometry}


def norms():
    shapes = [((2, 5, 3, 8), 4), ((3, 1, 1, 6), 1), ((1, 17, 40), 1), ((2, 9, 33), 33), ((4, 6), 2)]
    for (shape, groups), given in product([*shapes, ((0, 3, 8), 4)], product([0, 1], repeat=3)):
        b, c = shape[0], shape[-1]
        x = normals(*shape) * 2 + 3
        weight = normals(c)
        bias = normals(c)
        scale = normals(b, c) if given[0] else None
        shift = normals(b, c) if given[1] else None
        skip = normals(*shape) if given[2] else None
        how = {"groups": groups, "eps": 1e-5}
        g = normals(*shape)
        yield "group_norm_silu", (x, weight, bias, scale, shift, skip), how
        yield "group_norm_silu_grads", (g, x, weight, bias, scale, shift), how
        if not any(given):
            yield "group_norm", (x, weight, bias), how
            yield "group_norm_grads", (g, x, weight, bias), how


def pointwise():
    x = np.concatenate([normals(200) * 4, [0, 50, -50, 200, -200, 1e30, -1e30]])
    g = normals(len(x))
    for name in ("sigmoid", "softplus", "silu", "erf", "erfc"):
        yield name, (x,), {}
    yield "silu_dx", (g, x), {}
    for approximate in ("none", "tanh"):
        yield "gelu", (x,), {"approximate": approximate}
        yield "gelu_dx", (g, x), {"approximate": approximate}
    yield "blend", (normals(3, 2, 2), normals(3, 2, 2)), {"a": 0.5, "b": -1.5}
    for scale in (1, 2, 3):
        yield "upsample_nearest", (normals(2, 3, 2, 3),), {"scale": scale}
    for shape in ((7,), (40, 33), (70_000,), (0, 3)):
        yield "mse_loss", (normals(*shape), normals(*shape)), {}
        yield "mse_loss_dx", (normals(), normals(*shape), normals(*shape)), {}


def attention():
    for shape in ((3, 7), (2, 300), (2, 3, 33), (0, 4)):
        x = normals(*shape) * 5
        for name, axis in product(("softmax", "log_softmax"), range(-1, len(shape) - 1)):
            yield name, (x,), {"axis": axis}
    peaks = np.zeros((2, 300))
    peaks[:, 255] = 1000  # the last of a block's threads has it
    yield "softmax", (peaks,), {"axis": -1}
    for b, n, c, heads in ((2, 5, 6, 3), (1, 49, 8, 1), (3, 1, 4, 4), (0, 3, 4, 2), (1, 300, 2, 1)):
        yield "self_attention", (normals(b, n, 3 * c),), {"heads": heads}
        yield "self_attention_dqkv", (normals(b, n, c), normals(b, n, 3 * c)), {"heads": heads}


def layers():
    for shape, out in (((3, 4), 5), ((2, 3, 4), 1), ((0, 4), 2), ((1501, 3), 40)):
        x = normals(*shape)
        w = normals(shape[-1], out)
        g = normals(*shape[:-1], out)
        yield "matmul", (x, w), {}
        yield "dense", (x, w, normals(out)), {}
        yield "dense_dx", (g, w), {}
        yield "dense_dw_db", (g, x), {}
    for rows, shape, columns in ((3, (10,), 5), (4, (3, 2), 40), (2, (0,), 3), (2, (50,), 3)):
        ids = rng.integers(0, rows, shape)
        yield "embedding_dtable", (normals(*shape, columns), ids), {"rows": rows}
    x = normals(6, 2)
    e = normals(6, 4)
    w = normals(2, 5)
    v = normals(4, 5)
    ids = rng.integers(0, 3, 6)
    yield "conditioned_dense", (x, w, normals(5), e, v, normals(5), normals(3, 5), ids), {}
    for needs in ([True] * 8, [False] * 8):
        operands = (normals(6, 5), x, w, e, v, normals(6, 5), ids)
        yield "conditioned_dense_grads", operands, {"rows": 3, "needs": needs}


def updates():
    arrays = [normals(*shape) for shape in ((3, 4), (), (0, 2), (5000,), (2, 2, 2))]
    many = [normals(3) for _ in range(400)]
    for some in (arrays, many):
        yield "flattened", some, {}
        for max_norm in (0.5, 1e9):
            yield "clip_norm", some, {"max_norm": max_norm}
        yield "ema_all", some + [normals(*a.shape) for a in some], {"decay": 0.9}
    yield "ema", (normals(9), normals(9)), {"decay": 0.99}
    rates = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 0.1, "weight_decay": 0.2, "step": 3}
    yield "adam", (normals(9), normals(9), normals(9), normals(9) ** 2), rates


ROOMS = [convolutions, norms, pointwise, attention, layers, updates]


def with_aux(kernels, name, operands, statics):
    """The gradients of a norm or of attention need what the way there handed on."""
    statics = dict(statics)
    if name.startswith("group_norm") and name.endswith("grads"):
        g, x, weight, bias, *rest = operands
        eps = statics.pop("eps")
        norm = kernels(name.removesuffix("_grads"))
        rest_there = [*rest, None] if rest else []
        _, aux = norm(x, weight, bias, *rest_there, groups=statics["groups"], eps=eps)
        operands = (g, x, weight, bias, *rest, aux)
    if name == "self_attention_dqkv":
        _, aux = kernels("self_attention")(operands[1], **statics)
        operands = (*operands, aux)
    return operands, statics


def written(name, count):
    """Which of so many operands the kernel writes into."""
    some = {"adam": [0, 2, 3], "ema": [0], "ema_all": range(count // 2), "clip_norm": range(count)}
    return some.get(name, [])


def results(kernels, name, operands, statics):
    """What the kernel gives, but for `aux`, and what it has written into its operands."""
    given, statics = with_aux(kernels, name, operands, statics)
    out = kernels(name)(*given, **statics)
    if name in ("group_norm", "group_norm_silu", "self_attention"):
        out = out[0]
    found = list(out) if isinstance(out, tuple) else [out]
    return found + (list(operands) if written(name, len(operands)) else [])


def of_generic(name):
    return getattr(generic, name, None) or getattr(np, name)


def in_order(array):
    """On the device, its numbers side by side."""
    import cupy

    return cupy.asarray(array)


def apart(array):
    """On the device, every second number of rows that are twice as long: none is contiguous."""
    if array.ndim == 0:
        return in_order(array)
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return in_order(wide)[..., ::2]


def check(name, operands, statics, dtype, lay=in_order):
    import cupy

    cast = [a.astype(dtype) if getattr(a, "dtype", None) == np.float64 else a for a in operands]
    cast = [None if a is None else a.copy() for a in cast]
    lays = [in_order if k in written(name, len(cast)) else lay for k in range(len(cast))]
    moved = [None if a is None else how(a) for a, how in zip(cast, lays)]
    with np.errstate(over="ignore", invalid="ignore"):
        want = results(of_generic, name, cast, statics)
    got = results(lambda name: find(name, cupy.ndarray), name, moved, statics)
    assert len(got) == len(want)
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    for a, b in zip(got, want):
        if b is None:
            assert a is None
            continue
        a = cupy.asnumpy(a)
        assert a.shape == np.shape(b)
        if np.size(b):
            size = np.nan_to_num(np.abs(b)).max()
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(size, 1))
            assert a.dtype == np.asarray(b).dtype or name == "clip_norm"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("room", ROOMS)
def test_a_kernel_gives_what_the_generic_one_gives(room, dtype, order):
    check_room(room, dtype, in_order)


@pytest.mark.parametrize("room", ROOMS)
def test_operands_need_not_lie_in_order(room):
    check_room(room, np.float64, apart)


def check_room(room, dtype, lay):
    for name, operands, statics in room():
        try:
            check(name, operands, statics, dtype, lay)
        except Exception as error:
            error.add_note(f"{name} of {[np.shape(a) for a in operands]}, {statics}")
            raise


def test_every_kernel_is_tried():
    tried = {name for room in ROOMS for name, _, _ in room()}
    assert tried == set(on_device.KERNELS)


def test_slices_and_transposed_arrays_are_taken_as_they_are(order):
    import cupy

    x = normals(6, 9, 8)
    for view in (x[::2, 1:8:2], x.transpose(1, 0, 2), x[..., ::-1]):
        moved = cupy.asarray(x)
        same = {(3, 4, 8): moved[::2, 1:8:2], (9, 6, 8): moved.transpose(1, 0, 2)}
        on_it = same.get(view.shape, moved[..., ::-1])
        weight = normals(8)
        want, _ = generic.group_norm(view, weight, weight, 4, 1e-5)
        there = cupy.asarray(weight)
        got, _ = find("group_norm", cupy.ndarray)(on_it, there, there, 4, 1e-5)
        np.testing.assert_allclose(cupy.asnumpy(got), want, rtol=1e-9, atol=1e-9)
        want = generic.softmax(view, 0)
        got = find("softmax", cupy.ndarray)(on_it, 0)
        np.testing.assert_allclose(cupy.asnumpy(got), want, rtol=1e-9, atol=1e-9)


def test_a_batch_that_does_not_fit_the_workspace_goes_in_pieces(order, monkeypatch):
    import cupy

    from minidiff.kernels.cuda import convolution

    x, w, geometry = next(conv_cases())
    x = normals(5, *x.shape[1:])
    g = normals(*generic.conv2d(x, w, **geometry).shape)
    monkeypatch.setattr(convolution, "WORKSPACE", 2 * x[0].size * 9 * 8)
    for name, operands, statics in [
        ("conv2d", (x, w), {}),
        ("conv2d_dx", (g, w), {"x_size": x.shape[1:3]}),
        ("conv2d_dw", (g, x), {"kernel": w.shape[:2]}),
    ]:
        before = len(list(convolution._pieces(x, x[0].size * 9)))
        assert before == 3
        want = getattr(generic, name)(*operands, **statics, **geometry)
        got = getattr(convolution, name)(*map(cupy.asarray, operands), **statics, **geometry)
        np.testing.assert_allclose(cupy.asnumpy(got), want, rtol=1e-9, atol=1e-9)


def test_infinity_and_nan_go_through():
    import cupy

    x = np.array([np.inf, -np.inf, np.nan, 0.0])
    g = np.ones(4)
    for name, operands, statics in [
        ("silu", (x,), {}),
        ("silu_dx", (g, x), {}),
        ("gelu", (x,), {"approximate": "none"}),
        ("gelu_dx", (g, x), {"approximate": "none"}),
        ("gelu", (x,), {"approximate": "tanh"}),
        ("gelu_dx", (g, x), {"approximate": "tanh"}),
        ("sigmoid", (x,), {}),
        ("softplus", (x,), {}),
        ("softmax", (np.array([[0.0, np.nan], [-np.inf, 1], [np.inf, 0], [-1, 1]]),), {"axis": -1}),
    ]:
        with np.errstate(invalid="ignore"):
            want = getattr(generic, name)(*operands, **statics)
        got = find(name, cupy.ndarray)(*map(cupy.asarray, operands), **statics)
        np.testing.assert_allclose(cupy.asnumpy(got), want, err_msg=name)


def test_arrays_of_several_dtypes_move_together():
    import cupy

    like = cupy.zeros(1)
    given = [normals(3, 2), rng.integers(0, 9, 5), None, np.float32(normals(7)), np.zeros((0, 2))]
    given = [*given, normals(4, 4).T, 5.0]
    moved = from_host_together(given, like)
    for a, b in zip(moved, given):
        if isinstance(b, np.ndarray):
            assert isinstance(a, cupy.ndarray)
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(cupy.asnumpy(a), b)
        else:
            assert a is b
