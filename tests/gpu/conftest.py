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


def pytest_collection_finish(session):
    wanted = {mark.name for item in session.items for mark in item.iter_markers()}
    if wanted & {"gpu", "emulator"} and "cuda" not in md.devices():
        end(f"no CUDA device: {md.devices().about_cuda}")
    if "emulator" in wanted and "gpu_emulator" not in sys.modules:
        end("no emulated device here")


def end(reason):
    pytest.exit(
        f"nothing was tested, for there is {reason}.\n{HOW_TO}", pytest.ExitCode.USAGE_ERROR
    )


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
