"""Tests of what runs on a CUDA device.

Those marked `gpu` run on any, real or played by the CPU; those marked `emulator` ask for what only
the one that is played can say. Where there is none the run ends, and its exit status says so.
"""

import os
import sys

import pytest

import minidiff as md
from minidiff import kernels

HOW_TO = """
A device that is played by the CPU needs g++ and a minute:

    python tests/standins/gpu/build.py
    build/gpu/run -m pytest -m "gpu or emulator"
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    on_device = [item for item in items if marks(item) & {"gpu", "emulator"}]
    reason = ""
    if on_device and "cuda" not in md.devices():
        reason = f"no CUDA device: {md.devices().about_cuda}"
    elif "gpu_emulator" not in sys.modules and any("emulator" in marks(item) for item in on_device):
        reason = "no emulated device here"
    if not reason:
        return
    config.nothing_was_tested = f"nothing was tested, for there is {reason}.\n{HOW_TO}"
    if not hasattr(config, "workerinput"):
        pytest.exit(config.nothing_was_tested, pytest.ExitCode.USAGE_ERROR)
    # one process of several cannot end the run: the first test says it for all
    items[:] = on_device[:1]


def marks(item):
    return {mark.name for mark in item.iter_markers()}


@pytest.fixture(autouse=True, scope="session")
def a_device(pytestconfig):
    if hasattr(pytestconfig, "nothing_was_tested"):
        pytest.fail(pytestconfig.nothing_was_tested, pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def generic_kernels_on_the_cpu():
    """What the device is compared with; no other kernels are compiled."""
    before = os.environ.get("MINIDIFF_KERNELS")
    os.environ["MINIDIFF_KERNELS"] = "generic"
    kernels.forget()
    yield
    os.environ.pop("MINIDIFF_KERNELS")
    if before is not None:
        os.environ["MINIDIFF_KERNELS"] = before
    kernels.forget()
