"""Lane widths for the CPU kernels' tests, and sets of kernels for NumPy's arrays."""

import pytest

from minidiff import kernels
from minidiff.kernels.cpu import vector


@pytest.fixture(params=[4, 8, 16])
def lanes(request):
    """Each width of vector in turn; every machine can run them all."""
    before = vector.lanes()
    vector.set_lanes(request.param)
    yield request.param
    vector.set_lanes(before)


@pytest.fixture
def choose(monkeypatch):
    """A function that sets MINIDIFF_KERNELS for this test."""

    def choose(setting):
        monkeypatch.setenv("MINIDIFF_KERNELS", setting)
        kernels.forget()

    yield choose
    monkeypatch.undo()
    kernels.forget()
