"""What is compiled, when, and under which name it is cached."""

import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import config
from numba.core.dispatcher import Dispatcher
from numba.core.errors import TypingError

from minidiff.kernels import cpu, generic
from minidiff.kernels.cpu import KERNELS, compiled, vector

PAIR = (1, 1)


def arguments(function):
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def test_every_kernel_has_generics_arguments():
    for name, kernel in KERNELS.items():
        if hasattr(generic, name):
            assert arguments(kernel) == arguments(getattr(generic, name)), name


def test_numba_is_imported_with_the_first_kernel():
    code = """if True:
        import sys, minidiff.kernels.cpu as cpu
        assert "conv2d" in cpu.KERNELS and len(cpu.KERNELS) > 10
        assert "numba" not in sys.modules
        cpu.KERNELS["conv2d"]
        assert "numba" in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def test_a_kernel_is_compiled_for_one_signature_and_refuses_others():
    x, w = np.ones((1, 5, 6, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    for image in (x, np.asfortranarray(x), x[:, ::-1], np.broadcast_to(x[..., :1], x.shape)):
        for weights in (w, w[::-1], w.transpose(0, 1, 3, 2)):
            KERNELS["conv2d"](image, weights, PAIR, PAIR, PAIR, 1)
    # isinstance asks dead references too
    found = [a for a in gc.get_objects() if issubclass(type(a), Dispatcher)]
    ours = [a for a in found if a.py_func.__module__.startswith(cpu.__name__)]
    kernels = [a for a in ours if a._cache.__class__.__name__ != "NullCache"]
    assert any(a.py_func.__name__.startswith("correlate_") for a in kernels)
    assert {len(a.signatures) for a in kernels} == {1}
    with pytest.raises(TypeError):
        kernels[0](1j)


def test_numba_gets_its_own_level_back_where_compiling_fails():
    def wrong(x):
        return x.nothing

    before = config.OPT
    with pytest.raises(TypingError):
        compiled.compiled(wrong, (numba.float64,))
    assert config.OPT is before


def test_lanes_are_checked(monkeypatch):
    for wrong in (0, 5, 32):
        with pytest.raises(ValueError, match="wanted one of"):
            vector.set_lanes(wrong)
    environment = os.environ | {"MINIDIFF_LANES": "8"}
    code = "from minidiff.kernels.cpu import vector; print(vector.lanes())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == "8"


def test_the_cache_knows_every_source(tmp_path):
    assert len(compiled._sources()) == 64
    here = Path(compiled.__file__).parent
    copy = tmp_path / "cpu"
    shutil.copytree(here, copy, ignore=shutil.ignore_patterns("__pycache__"))
    same = compiled.digest(copy)
    assert same == compiled._sources()
    for source in "tiles.py", "rare/streaming.py":
        before = compiled.digest(copy)
        with (copy / source).open("a", encoding="utf-8") as file:
            file.write("\n")
        assert compiled.digest(copy) != before


def test_a_kernel_from_the_cache_gives_the_bits_of_a_fresh_one(tmp_path):
    code = """if True:
        import hashlib, numpy as np
        from minidiff.kernels.cpu import KERNELS
        def draw(*shape):
            return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
        x, shift, ones = draw(4, 7, 7, 48), draw(4, 48), np.ones(48, np.float32)
        y, aux = KERNELS["group_norm_silu"](x, ones, 0.1 * ones, shift, shift, x, 8, 1e-5)
        operands = draw(4, 7, 7, 48), x, ones, 0.1 * ones, shift, shift, aux
        grads = KERNELS["group_norm_silu_grads"](*operands, 8)
        print(hashlib.sha256(b"".join(a.tobytes() for a in (y, *grads))).hexdigest())"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    run = lambda: (
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=100,
        ).stdout
    )
    fresh = run()
    assert list(tmp_path.rglob("*.kernel"))
    assert run() == fresh


def test_threads_have_scratch_of_their_own():
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(compiled.scratch(100))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not np.shares_memory(*found)
    assert compiled.scratch(100).ctypes.data % 64 == 0


def test_threads_share_kernels():
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((4, 8, 9, 9, 16)).astype(np.float32)
    w = rng.standard_normal((3, 3, 16, 32)).astype(np.float32)
    wanted, found = [KERNELS["conv2d"](x, w, PAIR, PAIR, PAIR, 1) for x in xs], [[] for _ in xs]

    def work(k):
        for _ in range(20):
            found[k].append(KERNELS["conv2d"](xs[k], w, PAIR, PAIR, PAIR, 1))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, want in zip(found, wanted, strict=True):
        assert len(results) == 20
        for result in results:
            np.testing.assert_array_equal(result, want)
