"""What `devices()` says where there is no device, by CuPys that lack something."""

import sys
from types import SimpleNamespace

import pytest

import minidiff as md
from minidiff import kernels
from minidiff.kernels import gpu


class Library:
    """What CuPy raises where a library is missing."""

    def __init__(self, error=None):
        self.error = error

    def __call__(self):
        if self.error:
            raise self.error


class Array:
    """Of the CuPy that is played."""


def cupy(is_available=True, nvrtc=None, cublas=None):
    properties = {"name": b"NVIDIA H200", "totalGlobalMem": 139 << 30, "major": 9, "minor": 0}
    return SimpleNamespace(
        __version__="14.2.0",
        ndarray=Array,
        asarray=Array,
        asnumpy=Array,
        is_available=lambda: is_available,
        cuda=SimpleNamespace(
            nvrtc=SimpleNamespace(getVersion=Library(nvrtc)),
            device=SimpleNamespace(get_cublas_handle=Library(cublas)),
            Device=lambda: SimpleNamespace(id=0),
            runtime=SimpleNamespace(
                getDeviceProperties=lambda device: properties,
                driverGetVersion=lambda: 13010,
            ),
        ),
    )


@pytest.fixture
def devices(monkeypatch):
    """`devices()` with another CuPy, or with none."""

    def of(module):
        monkeypatch.setitem(sys.modules, "cupy", module)
        gpu.load.cache_clear()
        return md.devices()

    yield of
    kernels._backends.pop(Array, None)
    gpu.load.cache_clear()
    kernels.forget()


NVRTC = RuntimeError('Failure finding "libnvrtc.so.13"\nNo such file')
CUBLAS = ImportError('Failure finding "libcublas.so.13"')
INSTALL = r'type: pip install "minidiff\[cuda\]", or "minidiff\[cuda12\]" for CUDA 12'


@pytest.mark.parametrize(
    "module, reason",
    [
        (None, f"CuPy is not installed; {INSTALL}"),
        (cupy(is_available=False), "CuPy is installed, but finds no CUDA driver or device"),
        (
            cupy(nvrtc=NVRTC),
            rf'CuPy finds a device, but not all it needs \(Failure finding "libnvrtc.so.13"\); '
            rf"{INSTALL}",
        ),
        (cupy(cublas=CUBLAS), rf'needs \(Failure finding "libcublas.so.13"\); {INSTALL}'),
    ],
)
def test_why_there_is_none(devices, module, reason):
    found = devices(module)
    assert found == ["cpu"]
    with pytest.raises(
        ValueError, match=rf"given 'cuda', wanted one of \['cpu'\]; no cuda: .*{reason}"
    ):
        md.Tensor([1.0]).to("cuda")


def test_what_there_is(devices):
    found = devices(cupy())
    assert found == ["cpu", "cuda"]
    about = "NVIDIA H200, 139 GiB, sm_90, CUDA 13.1, CuPy 14.2.0"
    assert repr(found) == f"['cpu', 'cuda']; cuda: {about}"
