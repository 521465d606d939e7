"""Kernels that do with memory what they must not: the emulated device says who, and what."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.emulator

# name → the body of a kernel of two blocks of 64 threads, which gets x and y of 128 floats each,
# and what is said against it; None for nothing.
BODIES = {
    "right": ("y[i] = x[i];", None),
    "a write behind an array": ("y[i + 1] = x[i];", "writes 4 bytes outside of all arrays"),
    "a write before an array": ("y[i - 1] = x[i];", "writes 4 bytes outside of all arrays"),
    "a read behind an array": ("y[i] = x[i + 1];", "reads 4 bytes outside of all arrays"),
    "a read of another type": (
        "y[i] = ((const double*)x)[i];",
        "thread 0 of block 1 reads 8 bytes outside of all arrays",
    ),
    "a read of what nobody wrote": ("y[i] += x[i];", "reads 4 bytes that nobody has written"),
    "a read of a null pointer": ("y[i] = ((float*)nullptr)[i];", "outside of all arrays"),
    "far behind the shared memory": (
        "s[t] = x[i]; __syncthreads(); s[t * 1000 + 100] = s[t]; y[i] = s[t];",
        "outside of all arrays and of its shared memory",
    ),
    "one place for all blocks": (
        "y[t] = x[i];",
        "thread 0 of block 1 writes 4 bytes that thread 0 of block 0 writes too",
    ),
    "a sum without atomics": (
        "if (i == 0) y[0] = 0; y[0] += x[i];",
        "thread 1 of block 0 reads 4 bytes that thread 0 of block 0 writes",
    ),
    "a sum with atomics": ("if (!flags[i]) atomicAdd(sum, x[i]);", None),
    "a read beside atomics": (
        "atomicAdd(sum, x[i]); y[i] = *sum;",
        "thread 1 of block 0 updates 4 bytes that thread 0 of block 0 reads",
    ),
    "a neighbour, after a barrier": ("s[t] = x[i]; __syncthreads(); y[i] = s[(t + 1) % 64];", None),
    "a neighbour, without a barrier": (
        "s[t] = x[i]; y[i] = s[t ? t - 1 : 0];",
        "thread 1 of block 0 reads 4 bytes that thread 0 of block 0 writes",
    ),
    "a barrier for the warp alone": (
        "s[t] = x[i]; __syncwarp(); y[i] = s[63 - t];",
        "thread 0 of block 0 reads 4 bytes that thread 63 of block 0 writes",
    ),
    "a neighbour in the warp": ("s[t] = x[i]; __syncwarp(); y[i] = s[t ^ 1];", None),
    "one barrier where two are wanted": (
        "s[t] = x[i]; __syncthreads(); s[t] = s[63 - t]; __syncthreads(); y[i] = s[t];",
        "thread 32 of block 0 reads 4 bytes that thread 31 of block 0 writes",
    ),
    "shared memory that nobody wrote": (
        "if (t % 2) s[t] = x[i]; __syncthreads(); y[i] = s[t];",
        "reads 4 bytes that nobody has written",
    ),
    "behind the shared memory": (
        "s[t + 1] = x[i]; __syncthreads(); y[i] = s[t];",
        "outside of its shared memory",
    ),
    "bytes side by side": ("flags[i] = x[i] > 0;", None),
    "a shuffle": ("y[i] = __shfl_xor_sync(0xffffffff, x[i], 1);", None),
    "different barriers in a warp": (
        "if (t % 2) __syncthreads(); else __syncwarp();",
        "never ends: the threads of a warp wait at different barriers",
    ),
}
KERNEL = r"""
extern "C" __global__
void NAME(const float* x, float* y, float* sum, bool* flags) {
  __shared__ float s[64];
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  BODY
}"""


def launch(name):
    """Launch the kernel on new arrays, and give y, the sum and the flags."""
    import cupy

    kernel_name = "tests_" + "".join(c if c.isalpha() else "_" for c in name)
    body, _ = BODIES[name]
    code = KERNEL.replace("NAME", kernel_name).replace("BODY", body)
    x = cupy.asarray(np.random.default_rng(0).standard_normal(128), "f")
    y = cupy.empty(128, "f")
    total = cupy.zeros(1, "f")
    flags = cupy.zeros(128, bool)
    kernel = cupy.RawKernel(code, kernel_name)
    kernel((2,), (64,), (x, y, total, flags))
    return x.get(), y.get(), total.get(), flags.get()


def raises(message):
    from cupy_backends.cuda.api.driver import CUDADriverError

    return pytest.raises(CUDADriverError, match=message)


@pytest.mark.parametrize("name", BODIES)
def test_a_kernel_that(name, monkeypatch):
    monkeypatch.setenv("GPU_EMULATOR_ORDER", "")
    _, message = BODIES[name]
    if message is None:
        launch(name)
    else:
        with raises(message):
            launch(name)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", [name for name, (_, message) in BODIES.items() if message])
def test_it_is_noticed_in_any_order(name, seed, monkeypatch):
    monkeypatch.setenv("GPU_EMULATOR_ORDER", str(seed))
    with raises("kernel tests_"):
        launch(name)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_right_stays_so_in_any_order(seed, monkeypatch):
    monkeypatch.setenv("GPU_EMULATOR_ORDER", str(seed))
    x, y, _, _ = launch("right")
    np.testing.assert_array_equal(y, x)
    x, y, _, _ = launch("a neighbour, after a barrier")
    np.testing.assert_array_equal(y, np.roll(x.reshape(2, 64), -1, axis=1).ravel())
    x, y, _, _ = launch("a shuffle")
    np.testing.assert_array_equal(y, x.reshape(-1, 2)[:, ::-1].ravel())
    x, _, _, flags = launch("bytes side by side")
    np.testing.assert_array_equal(flags, x > 0)
    x, _, total, _ = launch("a sum with atomics")
    np.testing.assert_allclose(total, x.sum(), rtol=1e-5)


def test_an_array_that_was_freed(monkeypatch):
    import cupy

    monkeypatch.setenv("GPU_EMULATOR_ORDER", "")
    x = cupy.ones(128, "f")
    pointer = x.data.ptr
    del x
    code = 'extern "C" __global__ void tests_freed(float* y, float* x) { *y = *x; }'
    with raises("reads 4 bytes outside of all arrays"):
        cupy.RawKernel(code, "tests_freed")((1,), (1,), (cupy.empty(1, "f"), pointer))


def test_what_was_freed_serves_arrays_of_other_sizes():
    """One after the other, more than there is at a time."""
    import cupy

    for k in range(36):
        assert cupy.empty((2**29 + 4096 * k) // 4, "i").size


def test_a_product_of_what_nobody_wrote(capfd):
    import cupy
    from cupy_backends.cuda.libs.cublas import CUBLASError

    with pytest.raises(CUBLASError):
        cupy.empty((3, 4)) @ cupy.ones((4, 5))
    assert "a matrix product reads what nobody has written" in capfd.readouterr().err


def test_new_memory_holds_no_numbers():
    import cupy

    assert np.isnan(cupy.empty(5, "f").get()).all()
    assert (cupy.empty(5, "i").get() == -1).all()


def test_a_check_of_two_atomics_that_are_one_by_one(monkeypatch):
    """No race, as each access is atomic; but between the two others may come: that is played."""
    import cupy

    code = """extern "C" __global__ void tests_two_atomics(int* count) {
      int before = atomicAdd(count, 0);
      atomicExch(count, before + 1);
    }"""
    kernel = cupy.RawKernel(code, "tests_two_atomics")

    def count(seed):
        monkeypatch.setenv("GPU_EMULATOR_ORDER", seed)
        counter = cupy.zeros(1, "i")
        kernel((1,), (128,), (counter,))
        return counter.item()

    assert count("") == 128
    assert all(count(str(seed)) < 128 for seed in range(5))


def test_a_sum_that_depends_on_the_order(monkeypatch):
    import cupy

    numbers = np.tile(np.float32([1e8, 1, -1e8]), 100)
    sums = set()
    for seed in range(20):
        monkeypatch.setenv("GPU_EMULATOR_ORDER", str(seed))
        out = cupy.zeros(1, "f")
        cupy.add.at(out, cupy.zeros(300, "i"), cupy.asarray(numbers))
        sums.add(out.item())
    assert len(sums) > 1


# --- without the checks, which other tests of large networks do without ---


def run_unchecked(name, seed=""):
    """(y is right, what was printed) of a launch in a process of its own."""
    code = f"""
import numpy as np
from test_emulated_memory import launch
x, y, _, _ = launch({name!r})
print("right" if np.array_equal(y.reshape(2, 64)[:, 1:], x.reshape(2, 64)[:, :-1]) else "wrong")
"""
    environment = os.environ | {
        "GPU_EMULATOR_CHECK": "0",
        "GPU_EMULATOR_ORDER": seed,
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ["PYTHONPATH"]]),
    }
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    return result.stdout + result.stderr


def test_fences_show_a_write_behind_an_array():
    said = run_unchecked("a write behind an array")
    assert "wrote 4 bytes behind an allocation of 512 bytes" in said
    assert "wrote 4 bytes before an allocation of 512 bytes" in run_unchecked(
        "a write before an array"
    )


def test_a_missing_barrier_gives_wrong_numbers_in_another_order():
    assert "right" in run_unchecked("a neighbour, without a barrier")
    assert "wrong" in run_unchecked("a neighbour, without a barrier", "1")
