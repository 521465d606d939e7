"""NumPy's functions and methods on Tensors: the same numbers as on arrays, or a refusal."""

import numpy as np
import pytest

from minidiff import Tensor, grad, ops
from minidiff.autograd.numpy_protocol import OPERATIONS

A = np.random.default_rng(0).uniform(0.5, 2, (2, 3))
B = np.random.default_rng(1).uniform(0.5, 2, (2, 3))
SQUARE = np.random.default_rng(2).uniform(0.5, 2, (2, 2, 3))

# Names that mean several things, and arguments whose places differ from those of our operations.
SAME = """
    np.linalg.norm(x); np.linalg.norm(x, 2); np.linalg.norm(x, 1); np.linalg.norm(x, np.inf)
    np.linalg.norm(x, "nuc"); np.linalg.norm(x, "fro", (0, 1), True); np.linalg.norm(x, 3, 1)
    np.linalg.norm(x, axis=0, keepdims=True); np.linalg.norm(c, 2, (0, 1)); np.linalg.norm(x, -2)
    np.trace(c); np.trace(c, 1); np.trace(c, axis1=1, axis2=2); np.prod(x, 0)
    np.prod(x, keepdims=True)
    np.sum(x, 0, None, None, True); np.var(x, 0, None, None, 1); np.std(x, axis=1, ddof=1)
    np.max(x, 1, None, True); np.clip(x, 0.6, 1); np.diagonal(c, 0, 1, 2); np.median(x, 0)
    np.quantile(x, 0.3, 1); np.average(x, 0, y); np.average(x, weights=y); np.cumprod(x, 1)
    np.diff(x, 1, 0); np.roll(x, 1, 0); np.gradient(x)[0]; np.gradient(x, 2.0, axis=1)
    np.stack([x, y], 1); np.append(x, y, 1); np.insert(x, 1, 0.5, 1); np.delete(x, 1, 1)
    np.einsum("ij,ij->j", x, y); np.tensordot(x, y, 2); np.cross(x, y); np.mod(x, y); x % y
    x // y; 7 % x; 7.5 // x; divmod(x, y)[1]; +x; (x > 1) & (y > 1); (x > 1) | (y > 1)
    ~(x > 1); (x > 1) ^ (y > 1); x.any(); (x > 1).all(axis=1); x.flatten(); x.copy()
    (x > 1) << 2; 12 >> (x > 1); 3 << (x > 1); np.right_shift(9, x > 1)
    x.dot(y.T); x.cumprod(axis=1); c.trace(); c.diagonal(1); np.isclose(x, y); np.ones_like(x)
    np.where(x > 1, x, y); np.sinc(x); np.logaddexp(x, y); np.full_like(x, 3); np.take(x, [1], 1)
"""


def expressions(text):
    return [part.strip() for line in text.splitlines() for part in line.split(";") if part.strip()]


@pytest.mark.parametrize("expression", expressions(SAME))
def test_the_same_as_numpy(expression):
    names = {"np": np}
    arrays = names | {"x": A, "y": B, "c": SQUARE}
    tensors = names | {"x": Tensor(A, requires_grad=True), "y": Tensor(B), "c": Tensor(SQUARE)}
    result = eval(expression, tensors)
    expected = np.asarray(eval(expression, arrays))
    assert isinstance(result, Tensor)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result.data, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.prod(x, 0, np.float64), "np.prod: given dtype=.*minidiff.ops.prod"),
        (lambda x: np.mean(x, dtype=np.float32), "np.mean: given dtype"),
        (lambda x: np.sum(x, where=x > 1), "np.sum: given where"),
        (lambda x: np.sum(x, initial=1.0), "np.sum: given initial"),
        (lambda x: np.sum(x, out=np.zeros(())), "np.sum: given out"),
        (lambda x: np.quantile(x, 0.5, method="lower"), "np.quantile: given method='lower'"),
        (lambda x: np.trace(x, dtype=np.float32), "np.trace: given dtype"),
        (lambda x: np.add.reduce(x), "np.add.reduce cannot be recorded.*minidiff.ops.add"),
        (lambda x: np.linalg.eig(x), "np.eig cannot be recorded"),
        (lambda x: np.fft.fft(x), "np.fft cannot be"),
    ],
)
def test_refused(f, message):
    with pytest.raises(TypeError, match=message):
        f(Tensor(A, requires_grad=True))


def test_the_full_matrices_of_an_svd_are_refused():
    with pytest.raises(ValueError, match="full_matrices: given True"):
        np.linalg.svd(Tensor(A))


def test_the_operation_of_a_function_is_named_like_it():
    """So no function leads to another one's operation; NumPy's second names are one object."""
    for function, operation in OPERATIONS.items():
        space = ops.linalg if function in vars(np.linalg).values() else ops
        own = getattr(space, function.__name__, None) or getattr(ops, function.__name__, None)
        assert own is operation, function


def test_formats():
    loss = Tensor(np.float64(0.12345), requires_grad=True)
    assert f"{loss:.3f}" == "0.123"
    assert f"{Tensor([[7]]):d}" == "7"
    assert f"{loss}" == str(loss)
    assert round(loss, 2) == 0.12
    with pytest.raises(TypeError, match=r"format '.3f': given a Tensor of shape \(2, 3\)"):
        f"{Tensor(A):.3f}"


def test_lists_and_copies():
    x = Tensor(A, requires_grad=True)
    assert x.tolist() == A.tolist()
    assert x.nbytes == A.nbytes
    copy = x.copy()
    assert not np.shares_memory(copy.data, x.data)
    copy.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones_like(A))
    np.testing.assert_array_equal(np.stack((x > 1).nonzero()), np.stack((A > 1).nonzero()))


def test_an_array_of_tensors_keeps_their_gradients():
    g = grad(lambda x: ops.sum(ops.array([[x[0], 2.0], [x[1] * x[1], x[0]]]) * 3))(A[0])
    np.testing.assert_allclose(g, [6, 6 * A[0, 1], 0])
    assert ops.array([1, 2]).dtype == int
    mixed = ops.array([Tensor(np.float32(1)), 0.1])
    assert mixed.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_tails_of_the_normal(dtype):
    """Far out, against the asymptotic series; nothing is NaN or lost."""
    x = np.array([-1e4, -300, -60], dtype)
    z = x.astype(float)
    ratio = np.log1p(-1 / z**2 + 3 / z**4 - 15 / z**6)
    series = -0.5 * z * z - np.log(-z) - 0.5 * np.log(2 * np.pi) + ratio
    np.testing.assert_allclose(ops.log_ndtr(x), series, rtol=10 * np.finfo(dtype).eps)
    slope = grad(lambda x: ops.sum(ops.log_ndtr(x)))(x)
    assert slope.dtype == dtype
    np.testing.assert_allclose(slope, -z - 1 / z + 2 / z**3, rtol=1e-6)
    edges = np.array([-np.inf, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(ops.log_ndtr(edges), [-np.inf, 0, np.nan])
    np.testing.assert_array_equal(ops.erfc(edges), [2, 0, np.nan])


def test_at_the_edges():
    """Derivatives where formulas divide by 0, and where several factors are 0."""
    inf = np.inf

    def slope(f, *x):
        return grad(lambda *x: ops.sum(f(*x)), tuple(range(len(x))))(*map(np.asarray, x))

    np.testing.assert_array_equal(slope(ops.hypot, [0.0, 3], [0.0, 4]), [[0, 0.6], [0, 0.8]])
    np.testing.assert_array_equal(slope(ops.arctan2, [0.0], [0.0]), [[0], [0]])
    for x in (inf, -inf):
        np.testing.assert_array_equal(slope(ops.logaddexp, x, x), [0.5, 0.5])
    np.testing.assert_array_equal(slope(ops.sinc, [0.0]), [[0]])
    np.testing.assert_allclose(
        grad(grad(lambda x: ops.sinc(x)))(np.array(0.0)), -(np.pi**2) / 3, rtol=1e-13
    )
    np.testing.assert_array_equal(slope(ops.cumprod, [2.0, 0, 3, 0]), [[1, 8, 0, 0]])
    np.testing.assert_array_equal(slope(ops.nan_to_num, [1.0, np.nan, inf]), [[1, 0, 0]])


def test_determinants_at_the_edges():
    """Of singular matrices the derivative is the matrix of cofactors; signs do not underflow."""
    slope = grad(ops.linalg.det)
    np.testing.assert_allclose(slope(np.array([[1.0, 2], [2, 4]])), [[4, -2], [-2, 1]], atol=1e-14)
    np.testing.assert_array_equal(slope(np.zeros((3, 3))), np.zeros((3, 3)))
    small = -1e-5 * np.eye(99)
    assert [float(part) for part in ops.linalg.slogdet(small)] == [*np.linalg.slogdet(small)]


@pytest.mark.parametrize(
    "f",
    [
        *(ops.diff, ops.cumprod, ops.median, ops.sinc, ops.nan_to_num, ops.average, ops.gradient),
        *(lambda x: ops.inner(x, [1.0, 2.0]), lambda x: ops.vdot(x, x), ops.vstack, ops.atleast_2d),
        *(lambda x: ops.append(x, x), lambda x: ops.kron(x, [1.0, 2.0])),
    ],
)
def test_a_list_of_tensors_is_an_array(f):
    """Its gradient is that of the array with these elements."""
    x = A[0, :2]
    from_list = grad(lambda x: ops.sum(f([x[0], x[1]])))(x)
    from_array = grad(lambda x: ops.sum(f(x)))(x)
    np.testing.assert_allclose(from_list, from_array, rtol=1e-12)
    assert from_array.any() or f is ops.nan_to_num
