"""Which kernel an array gets: by its own type, then by those it derives from.

And which set of kernels NumPy's arrays get: the one that MINIDIFF_KERNELS names.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from minidiff import kernels, ops
from minidiff.kernels import loops


class Marked(np.ndarray):
    """An array with a backend of its own, though its type derives from NumPy's."""


@pytest.fixture
def marked():
    """A function that registers Marked arrays, whose `exp` is a certain number; forgotten after."""

    def register(answer):
        table = {"exp": lambda x: np.full_like(x, answer)}
        kernels.register(kernels.Backend(Marked, "marked", np, lambda: table))
        return np.zeros(2).view(Marked)

    yield register
    del kernels._backends[Marked]
    kernels.forget()


def test_an_array_of_a_derived_type_gets_its_own_kernels(marked):
    x = marked(5.0)
    assert kernels.backend_of(x).device == "marked"
    np.testing.assert_array_equal(ops.exp(x), [5, 5])
    np.testing.assert_array_equal(ops.exp(np.zeros(2)), [1, 1])


def test_a_backend_registered_again_is_asked_again(marked):
    np.testing.assert_array_equal(ops.exp(marked(5.0)), [5, 5])
    np.testing.assert_array_equal(ops.exp(marked(6.0)), [6, 6])


def test_an_array_of_a_type_that_nobody_registered_is_one_of_those_it_derives_from():
    class Plain(np.ndarray):
        pass

    assert kernels.backend_of(np.zeros(2).view(Plain)).device == "cpu"
    with pytest.raises(TypeError, match=r"given str, wanted one of the types numpy\.ndarray"):
        kernels.backend_of("no array")


NAMES = ["conv2d", "dense_dw_db", "embedding", "silu", "softmax"]
ASKED = f"""
import sys
import numpy as np
import minidiff as md
print("numba" in sys.modules)
for name in {NAMES}:
    print(md.kernels.find(name, np.ndarray).__module__.split(".")[2])
print("numba" in sys.modules)
"""


@pytest.mark.parametrize(
    "setting,modules,numba",
    [
        ("generic", ["generic"] * len(NAMES), "False"),
        ("loops", ["loops" if name in loops.KERNELS else "generic" for name in NAMES], "True"),
        ("vector", ["cpu", "cpu", "cpu", "cpu", "generic"], "True"),
    ],
)
def test_the_setting_chooses_the_kernels_and_whether_numba_is_imported(setting, modules, numba):
    environment = os.environ | {"MINIDIFF_KERNELS": setting}
    command = [sys.executable, "-c", ASKED]
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.split() == ["False", *modules, numba]


def test_the_default_is_vector(choose, monkeypatch):
    choose("loops")
    monkeypatch.delenv("MINIDIFF_KERNELS")
    kernels.forget()
    assert kernels.find("conv2d", np.ndarray).__module__.startswith("minidiff.kernels.cpu.")


def test_a_set_that_is_not_there_is_refused(choose):
    choose("loop")
    words = r"^MINIDIFF_KERNELS: given 'loop', wanted one of \['generic', 'loops', 'vector'\]$"
    for _ in range(2):
        with pytest.raises(ValueError, match=words):
            kernels.find("exp", np.ndarray)
    choose("generic")
    assert kernels.find("exp", np.ndarray) is np.exp
