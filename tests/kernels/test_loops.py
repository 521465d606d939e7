"""The plain loops are a set of kernels like the others: held to `generic`, and to every promise."""

import inspect
import os
import subprocess
import sys
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_table import OPS

import minidiff as md
from minidiff import diffusion, ops
from minidiff.kernels import generic, loops
from minidiff.testing import LAYOUTS, arrays, convolutions, layouts

FLOATS = st.sampled_from([np.float32, np.float64])
COMPOSED = ["conv1d", "conv_transpose2d"]  # operations that call kernels of other names
# The operations that a kernel computes or, as "dense_dw_db" does, differentiates.
ROWS = [
    row
    for row in OPS
    if row in COMPOSED or any(f"{name}_".startswith(f"{row}_") for name in loops.KERNELS)
]
COMPILED = [loop for name, loop in vars(loops).items() if name.endswith("_loop")]


def agree(name, *arguments, **statics):
    """The loop's results, which must be `generic`'s, and its arguments as they were."""
    before = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
    out = results = getattr(loops, name)(*arguments, **statics)
    references = getattr(generic, name)(*arguments, **statics)
    if not isinstance(references, tuple):
        results = (results,)
        references = (references,)
    for result, reference in zip(results, references, strict=True):
        assert result.dtype == reference.dtype
        assert result.shape == reference.shape
        largest = np.abs(reference[np.isfinite(reference)]).max(initial=1)
        tolerance = 1e-5 if reference.dtype == np.float32 else 1e-13
        np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance * largest)
    for argument, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(argument, copy)
    return out


def test_every_loop_has_generics_name_and_arguments():
    for name, kernel in loops.KERNELS.items():
        assert kernel.__name__ == name
        assert inspect.signature(kernel) == inspect.signature(getattr(generic, name))


@settings(max_examples=60)
@given(st.data())
def test_convolution(data):
    dtype = data.draw(FLOATS)
    x, w, *sizes = data.draw(convolutions(dtype))
    b = data.draw(arrays((w.shape[3],), dtype))
    agree("conv2d", x, w, *sizes)
    agree("conv2d_bias", x, w, b, *sizes)
    g = data.draw(arrays(generic.conv2d(x, w, *sizes).shape, dtype))
    agree("conv2d_dx", g, w, x.shape[1:3], *sizes)
    agree("conv2d_dw", g, x, w.shape[:2], *sizes)
    agree("conv2d_dw_db", g, x, w.shape[:2], *sizes)


@settings(max_examples=40)
@given(st.data())
def test_dense(data):
    dtype = data.draw(FLOATS)
    rows = data.draw(st.lists(st.integers(0, 4), max_size=3))
    inputs, outputs = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    x = data.draw(arrays((*rows, inputs), dtype))
    w = data.draw(arrays((inputs, outputs), dtype))
    b = data.draw(arrays((outputs,), dtype))
    g = data.draw(arrays((*rows, outputs), dtype))
    agree("dense", x, w, b)
    agree("dense_dw_db", g, x)


@settings(max_examples=40)
@given(st.data())
def test_embedding(data):
    dtype = data.draw(FLOATS)
    rows, columns = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 20)))
    shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind = data.draw(st.sampled_from([np.int64, np.int32, np.uint8]))
    ids = data.draw(layouts())(rng.integers(0, rows, shape).astype(kind))
    agree("embedding", data.draw(arrays((rows, columns), dtype)), ids)
    agree("embedding_dtable", data.draw(arrays((*shape, columns), dtype)), ids, rows)


def test_ids_mean_what_they_mean_to_numpy():
    table = np.arange(6.0).reshape(3, 2)
    agree("embedding", table, np.array([-1, 0, -3]))
    agree("embedding_dtable", table, np.array([-1, 0, -1]), 3)
    for wrong in (3, -4):
        ids = np.array([0, wrong])
        for call in (
            lambda module, ids=ids: module.embedding(table, ids),
            lambda module, ids=ids: module.embedding_dtable(table[:2], ids, 3),
        ):
            with pytest.raises(IndexError) as error:
                call(generic)
            with pytest.raises(IndexError) as same:
                call(loops)
            assert str(same.value) == str(error.value)


PLAIN = (1, 1), (0, 0), (1, 1)  # stride, padding, dilation


@pytest.mark.parametrize(
    "name,shapes,others",
    [
        ("conv2d", [(2, 5, 5, 3), (3, 3, 4, 2)], [*PLAIN, 1]),
        ("conv2d", [(2, 5, 5, 3), (3, 3, 1, 2)], [*PLAIN, 3]),
        ("conv2d_dx", [(2, 3, 3, 4), (3, 3, 1, 2)], [(5, 5), *PLAIN, 1]),
        ("conv2d_dx", [(2, 3, 4, 2), (3, 3, 1, 2)], [(5, 5), *PLAIN, 1]),
        ("conv2d_dw", [(2, 4, 3, 2), (2, 5, 5, 1)], [(3, 3), *PLAIN, 1]),
        ("conv2d_dw", [(1, 3, 3, 2), (2, 5, 5, 1)], [(3, 3), *PLAIN, 1]),
        ("dense", [(2, 3), (4, 5)], [1.0]),
        ("dense_dw_db", [(2, 3), (4, 3)], []),
        ("embedding_dtable", [(2, 3)], [np.zeros(4, int), 2]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name, shapes, others):
    arguments = [np.ones(shape) for shape in shapes]
    for module in (generic, loops):
        with pytest.raises(ValueError):
            getattr(module, name)(*arguments, *others)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_out_where_generic_has_it(bad):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 6, 40), np.float32)
    w = rng.standard_normal((3, 3, 40, 40), np.float32)
    g = rng.standard_normal((2, 6, 6, 40), np.float32)
    sizes = (1, 1), (1, 1), (1, 1), 1
    x[1, 2, 3, 4] = bad
    g[0, 5, 5, 7] = bad
    assert not np.isfinite(loops.conv2d(x, w, *sizes)).all()
    with np.errstate(invalid="ignore"):
        agree("conv2d", x, w, *sizes)
        agree("conv2d_dx", g, w, (6, 6), *sizes)
        agree("conv2d_dw_db", g, x, (3, 3), *sizes)
        agree("dense", x, w[0, 0], w[0, 0, 0])
        agree("dense_dw_db", g, x)
    agree("embedding", x[1, 2], np.array([3, 0]))
    agree("embedding_dtable", g[0, 5], np.array([0, 1, 0, 1, 0, 1]), 2)


@pytest.mark.skipif(not hasattr(COMPILED[0], "signatures"), reason="Numba compiles nothing here")
def test_each_loop_is_compiled_for_two_dtypes_and_nothing_else(choose):
    choose("loops")
    layouts = LAYOUTS | {"read-only": lambda x: np.broadcast_to(x, x.shape)}
    for name in ROWS:
        for sample, dtype, layout in product(
            OPS[name].drawn, (np.float32, np.float64), layouts.values()
        ):
            arguments = []
            for argument in sample:
                if isinstance(argument, np.ndarray):
                    floats = argument.dtype.kind == "f"
                    array = layout(argument.astype(dtype if floats else np.int32))
                    argument = md.Tensor(array, requires_grad=floats)
                arguments.append(argument)
            ops.sum(OPS[name].f(*arguments)).backward()
    for loop in COMPILED:
        assert len(loop.signatures) == 2, loop.py_func.__name__


@pytest.mark.parametrize("name", ROWS)
def test_operations_keep_their_promises_on_loops_that_agree_with_generic(name, choose, monkeypatch):
    choose("loops")
    calls = Counter()

    def compared(kernel):
        def call(*arrays, **statics):
            calls[kernel] += 1
            return agree(kernel, *arrays, **statics)

        return call

    for kernel in loops.KERNELS:
        monkeypatch.setitem(loops.KERNELS, kernel, compared(kernel))
    OPS[name].check(examples=12)
    assert any(name in COMPOSED or kernel.startswith(name) for kernel in calls)


@pytest.mark.parametrize("name", ROWS)
def test_operations_on_loops_refuse(name, choose):
    choose("loops")
    for arguments, error, pattern in OPS[name].errors:
        with pytest.raises(error, match=pattern):
            OPS[name].f(*arguments)


def trained(setting, choose):
    """Losses of a few steps of a small conditional UNet."""
    choose(setting)
    model = md.models.UNet(width=8, multipliers=(1, 2), timesteps=50)
    optimizer = md.optim.Adam(model.parameters(), lr=1e-2)
    schedule = diffusion.cosine_schedule(50)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    losses = []
    for _ in range(8):
        loss = diffusion.loss(model, schedule, images, np.arange(1, 5), rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_network_trains_on_loops_as_it_does_on_the_other_sets(choose):
    losses = trained("loops", choose)
    assert losses[-1] < losses[0]
    for other in ("generic", "vector"):
        np.testing.assert_allclose(losses, trained(other, choose), rtol=1e-3)


def test_without_a_compiler_the_loops_are_plain_functions():
    code = """if True:
        import types
        import numpy as np
        from minidiff.kernels import generic, loops
        assert isinstance(loops.conv2d_loop, types.FunctionType)
        rng = np.random.default_rng(0)
        x, w = rng.standard_normal((1, 4, 4, 2)), rng.standard_normal((3, 3, 1, 4))
        sizes = (1, 2), (1, 1), (1, 1), 2
        y = generic.conv2d(x, w, *sizes)
        np.testing.assert_allclose(loops.conv2d(x, w, *sizes), y)
        dx = generic.conv2d_dx(y, w, (4, 4), *sizes)
        np.testing.assert_allclose(loops.conv2d_dx(y, w, (4, 4), *sizes), dx)
        dw = generic.conv2d_dw(y, x, (3, 3), *sizes)
        np.testing.assert_allclose(loops.conv2d_dw(y, x, (3, 3), *sizes), dw)
        np.testing.assert_allclose(loops.dense(x, w[0, 0, 0, :2, None], w[0, 0, 0, :1]),
                                   generic.dense(x, w[0, 0, 0, :2, None], w[0, 0, 0, :1]))
        np.testing.assert_array_equal(loops.embedding(x[0, 0], np.array([3, 1])), x[0, 0, [3, 1]])
    """
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=300)


def test_float16_is_refused_by_its_name():
    x = np.ones((1, 3, 3, 1), np.float16)
    for call in (
        lambda: loops.conv2d(x, x, (1, 1), (0, 0), (1, 1), 1),
        lambda: loops.dense(x, x[0, 0, :1], x[0, 0, 0]),
        lambda: loops.embedding(x[0, :, :, 0], np.zeros(2, int)),
    ):
        with pytest.raises(TypeError, match="given float16, wanted float32 or float64"):
            call()
