"""Lane widths for the CPU kernels' tests."""

import pytest

from minidiff.kernels.cpu import vector


@pytest.fixture(params=[4, 8, 16])
def lanes(request):
    """Each width of vector in turn; every machine can run them all."""
    before = vector.lanes()
    vector.set_lanes(request.param)
    yield request.param
    vector.set_lanes(before)
