"""The same computation on the CPU, with its generic kernels, and on the device."""

import contextlib
import os

import numpy as np

import minidiff as md
from minidiff import kernels


def on_device(value):
    """The same arguments with every array moved, in tuples and lists too."""
    if isinstance(value, tuple | list):
        return type(value)(map(on_device, value))
    is_array = isinstance(value, np.ndarray | np.floating)
    return kernels.to_device(np.asarray(value), "cuda") if is_array else value


def on_host(value):
    """Arrays and Tensors of any device as NumPy arrays; what is None stays None."""
    if value is None:
        return None
    return kernels.to_host(value.data if isinstance(value, md.Tensor) else value)


def assert_same(got, want, rtol, atol=0.0):
    """Lists of arrays of any device, some of them None: same dtypes, numbers within the bounds."""
    for a, b in zip(map(on_host, got), map(on_host, want), strict=True):
        assert (a is None) == (b is None), "only one of them has a gradient"
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def assert_same_gradients(got, want):
    """Lists of arrays: the gradients of one network for its parameters, in single precision.

    Some are exactly 0, as of a bias before a norm of each channel alone: what stands in them is
    rounding of terms as large as other gradients, and so is measured by the whole.
    """
    whole = np.sqrt(sum(np.sum(b**2) for b in want))
    for a, b in zip(got, want, strict=True):
        assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b) + 1e-6 * whole


@contextlib.contextmanager
def order(seed):
    """In the block an emulated device runs blocks and threads in an order drawn from the seed.

    A real one has orders of its own.
    """
    before = os.environ.get("GPU_EMULATOR_ORDER", "")
    os.environ["GPU_EMULATOR_ORDER"] = str(seed)
    try:
        yield
    finally:
        os.environ["GPU_EMULATOR_ORDER"] = before
