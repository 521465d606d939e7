"""The emulated device itself: CuPy on it agrees with NumPy, and what is wrong is noticed."""

import math

import numpy as np
import pytest

pytestmark = pytest.mark.emulator
ORDERS = ["", "1", "2", "3"]  # of GPU_EMULATOR_ORDER; "" is in order


@pytest.fixture(params=ORDERS, ids=lambda seed: f"order {seed}")
def order(request, monkeypatch):
    """Threads and blocks in order, then in three that are drawn."""
    monkeypatch.setenv("GPU_EMULATOR_ORDER", request.param)


@pytest.fixture
def cupy():
    import cupy

    return cupy


def normals(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def add_at(xp, a, b):
    out = xp.zeros(5, xp.float32)
    xp.add.at(out, xp.asarray([0, 3, 3, 4, 0, 0]), a[:6, 0])
    return out


def set_slices(xp, a, b):
    a = a.copy()
    a[::2, 1:4] = b[::2, 2:5]
    a[xp.asarray([1, 5])] *= 2
    return a


def tensordot(xp, a, b):
    return xp.tensordot(a.reshape(3, 4, 7), b.reshape(4, 3, 7), axes=((0, 1), (1, 0)))


# A call gets cupy or numpy, and two arrays (12, 7) of that library.
CALLS = {
    "arithmetic with broadcasting": lambda xp, a, b: (2 * a - b[:, :1]) / (xp.abs(b) + 1) ** 2,
    "exp, tanh, where": lambda xp, a, b: xp.where(a > b, xp.exp(a), xp.tanh(b)),
    "float64": lambda xp, a, b: xp.log1p(xp.abs(a.astype(xp.float64))),
    "sum over all axes": lambda xp, a, b: a.sum(),
    "sum of 100,000": lambda xp, a, b: xp.arange(100_000, dtype=xp.float64).sum(),
    "sum, max, mean, var of rows": lambda xp, a, b: a.sum(1) + a.max(1) + a.mean(1) + a.var(1),
    "argmax of columns": lambda xp, a, b: a.argmax(0),
    "cumsum": lambda xp, a, b: xp.cumsum(a, axis=0),
    "argsort": lambda xp, a, b: xp.argsort(a, 1, kind="stable"),
    "sort": lambda xp, a, b: xp.sort(a, 0),
    "lexsort": lambda xp, a, b: xp.lexsort(a),
    "gather with repeats": lambda xp, a, b: a[xp.asarray([0, 3, 3, -1])],
    "scatter-add with repeats": add_at,
    "assignment to slices and places": set_slices,
    "mask": lambda xp, a, b: a[a > 0],
    "concatenate, flip, transpose": lambda xp, a, b: xp.concatenate([a, b[::-1]], 1).T,
    "pad": lambda xp, a, b: xp.pad(a, ((1, 2), (0, 3)), mode="reflect"),
    "matmul 2-D": lambda xp, a, b: a @ b.T,
    "matmul 3-D": lambda xp, a, b: a.reshape(3, 4, 7) @ b.reshape(3, 7, 4),
    "matmul 4-D by 2-D": lambda xp, a, b: a.reshape(2, 3, 2, 7) @ b[:7].reshape(7, 7),
    "matmul by a vector": lambda xp, a, b: a @ b[0],
    "tensordot": tensordot,
    "einsum": lambda xp, a, b: xp.einsum("ij,kj->ik", a, b, optimize=True),
    "quantile": lambda xp, a, b: xp.quantile(xp.abs(a), 0.9, axis=(1,), keepdims=True),
}


@pytest.mark.parametrize("name", CALLS)
def test_cupy_gives_what_numpy_gives(name, order, cupy):
    a = normals(12, 7)
    b = normals(12, 7, seed=1)
    want = CALLS[name](np, a, b)
    got = CALLS[name](cupy, cupy.asarray(a), cupy.asarray(b)).get()
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


# --- kernels of our own ---

BLOCK_SUM = r"""
extern "C" __global__ void tests_block_sum(const float* x, float* sums) {
  extern __shared__ float s[];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (int half = blockDim.x / 2; half; half /= 2) {
    if (t < half) s[t] += s[t + half];
    __syncthreads();
  }
  if (t == 0) sums[blockIdx.x] = s[0];
}"""
WARP_SUM = r"""
template <class T> __global__ void tests_warp_sum(const T* x, T* sum) {
  T s = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int by = 16; by; by /= 2) s += __shfl_down_sync(0xffffffff, s, by);
  if (threadIdx.x % 32 == 0) atomicAdd(sum, s);
}"""


def test_an_elementwise_kernel(order, cupy):
    silu = cupy.ElementwiseKernel("T x", "T y", "y = x / (1 + exp(-x))", "tests_silu")
    x = normals(640)
    np.testing.assert_allclose(silu(cupy.asarray(x)).get(), x / (1 + np.exp(-x)), rtol=1e-6)


def test_a_reduction_kernel(order, cupy):
    squares = cupy.ReductionKernel("T x", "T y", "x * x", "a + b", "y = a", "0", "tests_squares")
    x = normals(5, 128)
    np.testing.assert_allclose(squares(cupy.asarray(x), axis=1).get(), (x**2).sum(1), rtol=1e-5)


def test_sums_of_blocks_in_shared_memory(order, cupy):
    x = normals(640)
    sums = cupy.empty(5, "f")
    kernel = cupy.RawKernel(BLOCK_SUM, "tests_block_sum")
    kernel((5,), (128,), (cupy.asarray(x), sums), shared_mem=128 * 4)
    np.testing.assert_allclose(sums.get(), x.reshape(5, 128).sum(1), rtol=1e-4, atol=1e-5)


def test_a_template_of_shuffles_and_atomics(order, cupy):
    x = normals(640)
    total = cupy.zeros(1, "f")
    module = cupy.RawModule(code=WARP_SUM, name_expressions=["tests_warp_sum<float>"])
    module.get_function("tests_warp_sum<float>")((5,), (128,), (cupy.asarray(x), total))
    np.testing.assert_allclose(total.get(), x.sum(), rtol=1e-4)


def test_erf(order, cupy):
    from cupyx.scipy.special import erf

    x = normals(50)
    np.testing.assert_allclose(erf(cupy.asarray(x)).get(), [*map(math.erf, x)], rtol=1e-6)


# --- what it counts ---


def test_what_is_asked_of_the_device_is_counted(cupy):
    import gpu_emulator

    with gpu_emulator.counted() as counts:
        x = cupy.asarray(normals(10))
        y = (x + 1) * 2
        z = cupy.empty_like(y)
        z.data.copy_from_device(y.data, y.nbytes)
        z.fill(0)
        y.get()
    assert counts == {
        "launches": 2,
        "host_to_device": 1,
        "device_to_host": 1,
        "device_to_device": 1,
        "memsets": 1,
        "allocations": 4,
        "syncs": 1,
    }
