"""Which kernel an array gets: by its own type, then by those it derives from.

And which set of kernels NumPy's arrays get: the one that MINIDIFF_KERNELS names.
"""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import strict

import minidiff as md
from minidiff import diffusion, kernels, ops
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
# where each stands in plain code
PLAIN = ["generic", "generic", "generic", "activations", "generic"]
LOOPS = ["loops" if name in loops.KERNELS else plain for name, plain in zip(NAMES, PLAIN)]
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
        ("generic", PLAIN, "False"),
        ("loops", LOOPS, "True"),
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


def test_host_arrays_move_to_a_device_together():
    given = [np.arange(6.0).reshape(2, 3), None, np.arange(5), np.float32([[1], [2]]), np.ones(0)]
    with strict.registered() as backend:
        copies = []
        moving = replace(backend, from_host=lambda a: copies.append(a) or backend.from_host(a))
        kernels.register(moving)
        moved = kernels.from_host_together(given, like=backend.from_host(np.ones(1)))
        assert len(copies) == 1
        assert moved[1] is None
        for there, here in zip(moved, given):
            if here is not None:
                assert type(there) is strict.StrictArray
                assert there.dtype == here.dtype
                np.testing.assert_array_equal(kernels.to_host(there), here)
    stayed = kernels.from_host_together(given, like=np.ones(1))
    assert all(a is b for a, b in zip(stayed, given))


def test_a_batch_on_a_device_is_not_cut():
    x = np.random.default_rng(0).standard_normal((100, 4096))
    pieces = []

    def mean(x):
        pieces.append(len(x))
        return ops.mean(x)

    sharded = md.sharded(mean)
    sharded(md.Tensor(x))
    assert sum(pieces) == 100
    assert len(pieces) > 1
    pieces.clear()
    with strict.registered() as backend:
        sharded(md.Tensor(backend.from_host(x)))
    assert pieces == [100]


def test_a_sampler_on_a_device_says_in_the_end_where_samples_stopped_being_finite():
    schedule = diffusion.cosine_schedule(20)

    def fails_at_10(x, t, condition):
        bad = np.full(x.shape, np.nan if t[0] <= 10 else 0.0)
        return diffusion.Prediction(kernels.from_host(bad, x), x)

    denoise = diffusion.Denoise(fails_at_10, schedule)
    times = [20, 15, 10, 5, 0]
    with strict.registered() as backend:
        x = backend.from_host(np.ones((3, 2)))
        steps = diffusion.samplers.ddim(denoise, x, times=times)
        seen = []
        with pytest.raises(RuntimeError, match="at t = 5"):
            for step in steps:
                seen.append(step.t)
        assert seen == [15, 10, 5, 0]
    steps = diffusion.samplers.ddim(denoise, np.ones((3, 2)), times=times)
    assert [next(steps).t, next(steps).t] == [15, 10]
    with pytest.raises(RuntimeError, match="at t = 5"):
        next(steps)
