"""The rows of `OPS` on arrays that refuse every implicit conversion, with the generic kernels."""

import numpy as np
import pytest
import strict
from ops_table import OPS

from minidiff import Tensor, kernels


def on_device(value):
    if isinstance(value, tuple | list):
        return type(value)(map(on_device, value))
    return strict.from_host(value) if isinstance(value, np.ndarray) else value


def gradients(f, arguments, create_graph):
    """(value, gradients) on the host, with an upstream gradient of ones that vary."""
    leaves = [
        Tensor(a, requires_grad=True) if getattr(a, "dtype", None) == np.float64 else a
        for a in arguments
    ]
    out = f(*leaves)
    assert type(out.data) is type(next(v for v in leaves if isinstance(v, Tensor)).data)
    if out.requires_grad:
        upstream = np.cos(np.arange(out.size, dtype=np.float64)).reshape(out.shape)
        out.backward(kernels.from_host(upstream, out.data), create_graph=create_graph)
    grads = [leaf.grad for leaf in leaves if isinstance(leaf, Tensor)]
    results = [out.data, *(g.data if isinstance(g, Tensor) else g for g in grads)]
    return [None if r is None else kernels.to_host(r) for r in results]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", OPS)
def test_on_a_strict_device(name, create_graph):
    row = OPS[name]
    for arguments in row.drawn[:3]:
        on_host = gradients(row.f, arguments, create_graph)
        with strict.registered():
            on_strict = gradients(row.f, on_device(arguments), create_graph)
        for a, b in zip(on_strict, on_host, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def floats_of(arguments):
    """The places of the float arrays among the arguments."""
    return [i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]


def of_several_floats(row):
    return [arguments for arguments in row.drawn if len(floats_of(arguments)) > 1]


@pytest.mark.parametrize("name", [name for name, row in OPS.items() if of_several_floats(row)])
def test_operands_on_two_devices_are_an_error(name):
    row = OPS[name]
    for arguments in of_several_floats(row):
        floats = floats_of(arguments)
        with strict.registered():
            moved = [on_device(a) if i == floats[-1] else a for i, a in enumerate(arguments)]
            with pytest.raises(TypeError, match=r"cpu.*strict|host array"):
                row.f(*(Tensor(a) if i in floats else a for i, a in enumerate(moved)))


def test_the_stand_in_refuses():
    host = np.ones(2)
    device = strict.from_host(host)
    for implicit in (
        lambda: np.asarray(device),
        lambda: np.exp(device),
        lambda: np.sum(device),
        lambda: host + device,
        lambda: device * host,
        lambda: device[np.array([0])],
        lambda: np.concatenate([host, device]),
    ):
        with pytest.raises(TypeError):
            implicit()


def test_moving_there_and_back():
    x = Tensor(np.arange(3.0), requires_grad=True)
    with strict.registered():
        there = x.to("strict")
        assert there.device == "strict"
        assert there.requires_grad
        (there * there).sum().backward()
        assert isinstance(there.grad, strict.StrictArray)
        np.testing.assert_array_equal(there.to("cpu").data, x.data)
        assert "strict" in repr(there)
