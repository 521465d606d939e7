"""Every operation on the device against the CPU: values and two orders of derivative."""

import numpy as np
import pytest
from both import assert_same, on_device, order
from ops_table import OPS

from minidiff import Tensor, kernels

pytestmark = pytest.mark.gpu
DRAWS = 3


def upstream(out):
    """Some gradient for a Tensor to start from."""
    numbers = np.cos(np.arange(out.size, dtype=np.float64)).reshape(out.shape)
    return kernels.from_host(numbers.astype(out.dtype), out.data)


def derivatives(f, arguments, orders):
    """The value, then for each order the gradients of all float arguments (or None)."""
    leaves = [
        Tensor(a, requires_grad=True) if getattr(a, "dtype", np.dtype(int)).kind == "f" else a
        for a in arguments
    ]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    out = f(*leaves)
    assert type(out.data) is type(tensors[0].data)
    found = [out]
    for left in reversed(range(orders)):
        if not (isinstance(out, Tensor) and out.requires_grad):
            break
        for tensor in tensors:
            tensor.grad = None
        out.backward(upstream(out), create_graph=left > 0)
        gradients = [tensor.grad for tensor in tensors]
        found += gradients
        parts = [(g * upstream(g)).sum() for g in gradients if isinstance(g, Tensor)]
        out = sum(parts[1:], parts[0]) if parts else None
    return found


def in_single(value):
    """The arguments with float32 for float64."""
    if isinstance(value, tuple | list):
        return type(value)(map(in_single, value))
    return value.astype(np.float32) if getattr(value, "dtype", None) == np.float64 else value


@pytest.mark.parametrize("name", OPS)
def test_an_operation_gives_what_it_gives_on_the_cpu(name):
    row = OPS[name]
    orders = row.options.get("order", 2)
    for arguments in row.drawn[:DRAWS]:
        want = derivatives(row.f, arguments, orders)
        assert_same(derivatives(row.f, on_device(arguments), orders), want, 1e-9, 1e-11)


@pytest.mark.parametrize("name", OPS)
def test_in_single_precision(name):
    row = OPS[name]
    arguments = in_single(row.drawn[0])
    want = derivatives(row.f, arguments, 1)
    scale = max(np.abs(w.data).max(initial=1) for w in want if isinstance(w, Tensor))
    bound = row.options.get("single", 1e-4)
    got = derivatives(row.f, on_device(arguments), 1)
    assert_same(got, want, bound, bound * scale)


@pytest.mark.emulator
@pytest.mark.parametrize("name", OPS)
def test_no_order_of_threads_changes_more_than_rounding(name):
    row = OPS[name]
    arguments = row.drawn[0]
    want = derivatives(row.f, arguments, 1)
    for seed in (1, 2):
        with order(seed):
            assert_same(derivatives(row.f, on_device(arguments), 1), want, 1e-9, 1e-11)
