"""NumPy's `linalg`: solving, inverting and taking apart matrices, with derivatives of every order.

Matrices are the last two axes; axes before them are a batch. The rules are those of Giles (2008),
"Collected matrix derivative results for forward and reverse mode algorithmic differentiation". What
NumPy says of a matrix that has no inverse (LinAlgError, a ValueError) is said here too.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

import math
from typing import Any

from numpy.lib.array_utils import normalize_axis_index

from ..kernels import namespace
from ..tape.primitive import Primitive
from . import reductions
from .elementwise import absolute, equal, sign, where, zeros_like
from .numpy_names import joining
from .numpy_names.joining import make_diagonal
from .numpy_names.summaries import ones_like
from .products import matmul
from .shapes import expand_dims, moveaxis, tril

# --- solving ---

inv = Primitive(
    "linalg.inv",
    "x",
    kernel=lambda x: namespace(x).linalg.inv(x),
    x=lambda g, out: -(out.mT @ g @ out.mT),
)
_solve = Primitive(
    "linalg.solve",
    "a b",
    kernel=lambda a, b: namespace(a).linalg.solve(a, b),
    broadcasts=True,
    a=lambda g, a, out: -(_solve(a.mT, g) @ out.mT),
    b=lambda g, a: _solve(a.mT, g),
)
pinv = Primitive(
    "linalg.pinv",
    "x",
    kernel=lambda x: namespace(x).linalg.pinv(x),
    x=lambda g, x, out: _pinv_rule(g, x, out),
)


def solve(a: Any, b: Any) -> Any:
    """The x of a @ x = b, for square matrices a (…, n, n) and b (…, n, m), or one vector b (n,).

    Raises LinAlgError if a has no inverse.
    """
    if len(b.shape) == 1:
        return _solve(a, expand_dims(b, -1))[..., 0]
    return _solve(a, b)


def _pinv_rule(g, x, out):
    """Golub and Pereyra (1973), equation 4.12; the rank must not change nearby."""
    g = g.mT
    p = out.mT
    outside_columns = g - x @ (out @ g)
    outside_rows = g - (g @ out) @ x
    return -(p @ g.mT @ p) + outside_columns @ out @ p + p @ out @ outside_rows


# --- determinants ---

det = Primitive(
    "linalg.det",
    "x",
    kernel=lambda x: namespace(x).linalg.det(x),
    x=lambda g, x: _scaled(g, _cofactors(x)),
)
_cofactors = Primitive(
    "linalg.cofactors",
    "x",
    kernel=lambda x: _cofactors_kernel(x),
    x=lambda g, x, out: _cofactors_rule(g, x, out),
)
_logabsdet = Primitive(
    "linalg.logabsdet",
    "x",
    kernel=lambda x: namespace(x).linalg.slogdet(x)[1],
    x=lambda g, x: _scaled(g, inv(x).mT),
)
_signdet = Primitive(
    "linalg.signdet",
    "x",
    kernel=lambda x: namespace(x).linalg.slogdet(x)[0],
    x=lambda g, x: zeros_like(x),
)


def slogdet(x: Any) -> tuple[Any, Any]:
    """(the sign of the determinant, the logarithm of its size): it neither over- nor underflows."""
    return _signdet(x), _logabsdet(x)


def _cofactors_kernel(x):
    """The derivative of the determinant, det(x)·x⁻ᵀ, but of any x: from its singular values."""
    xp = namespace(x)
    u, s, vt = xp.linalg.svd(x)
    others = xp.where(xp.eye(s.shape[-1], dtype=bool), 1, xp.expand_dims(s, -2))
    products = xp.prod(others, -1) * xp.expand_dims(xp.linalg.det(u) * xp.linalg.det(vt), -1)
    return xp.matmul(u * xp.expand_dims(products, -2), vt)


def _cofactors_rule(g, x, out):
    """The second derivative of the determinant; x must have an inverse."""
    inverse = inv(x).mT
    total = reductions.sum(g * out, axis=(-2, -1), keepdims=True)
    return total * inverse - inverse @ g.mT @ out


def _scaled(numbers, matrices):
    """Each matrix times its number."""
    return expand_dims(expand_dims(numbers, -1), -1) * matrices


# --- taking apart ---

_cholesky = Primitive(
    "linalg.cholesky",
    "x",
    kernel=lambda x: namespace(x).linalg.cholesky(x),
    x=lambda g, out: _cholesky_rule(g, out),
)
# Several results in one array: eigenvalues as a row above the matrix of eigenvectors; and the
# matrices U, V and, in a row, the singular values.
_eigh = Primitive(
    "linalg.eigh",
    "x",
    kernel=lambda x: _rows(namespace(x), *namespace(x).linalg.eigh(x)),
    x=lambda g, out: _eigh_rule(g, out),
)
_svd = Primitive(
    "linalg.svd",
    "x",
    kernel=lambda x: _svd_kernel(x),
    x=lambda g, out, in_shape: _svd_rule(g, out, in_shape[-2]),
)


def cholesky(x: Any) -> Any:
    """The lower triangular L with L @ Lᵀ = x, for positive definite x: its lower half is read.

    Raises LinAlgError if x is not positive definite.
    """
    return _cholesky(_mirrored(x))


def eigh(x: Any, UPLO: str = "L") -> tuple[Any, Any]:
    """(eigenvalues in ascending order, eigenvectors as columns) of symmetric matrices.

    It reads the lower half of x, or with "U" the upper. Eigenvectors have a derivative where no two
    eigenvalues are the same. Raises ValueError for another `UPLO`.
    """
    if UPLO not in ("L", "U"):
        raise ValueError(f"UPLO: given {UPLO!r}, wanted 'L' or 'U'")
    out = _eigh(_mirrored(x if UPLO == "L" else x.mT))
    return out[..., 0, :], out[..., 1:, :]


def eigvalsh(x: Any, UPLO: str = "L") -> Any:
    """The eigenvalues that `eigh` gives."""
    return eigh(x, UPLO)[0]


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, Vᵀ) with x = U @ diag(S) @ Vᵀ and S in descending order; only S, without `compute_uv`.

    U and Vᵀ have derivatives where no two singular values are the same and none is 0. Raises
    ValueError for the full matrices of an x that is not square: their further columns may be any.
    """
    if len(x.shape) < 2:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted matrices (…, n, m)")
    rows, columns = x.shape[-2:]
    if full_matrices and compute_uv and rows != columns:
        raise ValueError(
            f"full_matrices: given True for shape {tuple(x.shape)}, wanted False or a square"
        )
    out = _svd(x)
    values = out[..., rows, :]
    if not compute_uv:
        return values
    return out[..., :rows, :], values, out[..., rows + 1 :, :].mT


def svdvals(x: Any) -> Any:
    """The singular values, in descending order."""
    return svd(x, compute_uv=False)


def _rows(xp, values, vectors):
    return xp.concatenate([xp.expand_dims(values, -2), vectors], -2)


def _svd_kernel(x):
    xp = namespace(x)
    u, s, vt = xp.linalg.svd(x, full_matrices=False)
    return xp.concatenate([u, xp.expand_dims(s, -2), vt.mT], -2)


def _mirrored(x):
    """The symmetric matrix whose lower half is that of x."""
    if len(x.shape) < 2:
        raise ValueError(f"x: given shape {tuple(x.shape)}, wanted matrices (…, n, n)")
    return tril(x) + tril(x, k=-1).mT


def _cholesky_rule(g, lower):
    """Murray (2016), "Differentiation of the Cholesky decomposition", equation 10."""
    inner = tril(lower.mT @ tril(g))
    inner = inner - 0.5 * _only_diagonal(inner)
    root = inv(lower)
    whole = root.mT @ inner @ root
    return 0.5 * (whole + whole.mT)


def _eigh_rule(g, out):
    values = out[..., 0, :]
    vectors = out[..., 1:, :]
    inner = _gaps(values) * (vectors.mT @ g[..., 1:, :]) + make_diagonal(g[..., 0, :])
    return vectors @ inner @ vectors.mT


def _svd_rule(g, out, rows):
    """Townsend (2016), "Differentiating the singular value decomposition", equation 31."""
    u = out[..., :rows, :]
    s = out[..., rows, :]
    v = out[..., rows + 1 :, :]
    of_u = u.mT @ g[..., :rows, :]
    of_v = v.mT @ g[..., rows + 1 :, :]
    gaps = _gaps(s * s)
    column = expand_dims(s, -1)
    row = expand_dims(s, -2)
    inner = (
        (gaps * (of_u - of_u.mT)) * row
        + column * (gaps * (of_v - of_v.mT))
        + make_diagonal(g[..., rows, :])
    )
    one_over = where(equal(row, 0), 0, 1 / where(equal(row, 0), 1, row))
    outside_u = (g[..., :rows, :] - u @ of_u) * one_over
    outside_v = (g[..., rows + 1 :, :] - v @ of_v) * one_over
    return u @ inner @ v.mT + outside_u @ v.mT + u @ outside_v.mT


def _gaps(values):
    """1 / (valueⱼ − valueᵢ), and 0 where they are the same, as on the diagonal."""
    difference = expand_dims(values, -2) - expand_dims(values, -1)
    same = equal(difference, 0)
    return where(same, 0, 1 / where(same, 1, difference))


def _only_diagonal(x):
    return make_diagonal(joining.diagonal(x, 0, -2, -1))


# --- sizes ---


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """NumPy's norm of vectors (one axis) or of matrices (two axes).

    Without `ord` it is the root of the sum of squares, over all axes if `axis` is None too. Of a
    vector, `ord` is a power: (Σ |x|^ord)^(1/ord), ±inf for the largest and smallest, 0 for how many
    are not 0. Of a matrix it is "fro", "nuc" (the sum of the singular values), ±2 (the
    largest and smallest of them), ±1 (of the columns' sums of |x|) or ±inf (of the rows').

    Raises ValueError for an `ord` that the vector or matrix does not have, or for three axes.
    """
    n = len(x.shape)
    if axis is None and (ord is None or (n == 2 and ord == "fro")):
        return reductions.norm(x, None, None, keepdims)
    if axis is None:
        axis = range(n)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if len(axes) == 1:
        if isinstance(ord, str):
            raise ValueError(f"ord: given {ord!r} for a vector, wanted a number or None")
        if ord == 0:
            return reductions.sum(absolute(sign(x)), axis=axes, keepdims=keepdims)
        return reductions.norm(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError(f"axis: given {len(axes)} axes of shape {tuple(x.shape)}, wanted 1 or 2")
    if ord in (None, "fro"):
        return reductions.norm(x, None, axes, keepdims)
    rows, columns = (normalize_axis_index(a, n) for a in axes)
    size = _matrix_norm(moveaxis(x, (rows, columns), (-2, -1)), ord)
    if keepdims:
        for a in sorted((rows, columns)):
            size = expand_dims(size, a)
    return size


def _matrix_norm(x, ord):
    if ord in (1, -1, math.inf, -math.inf):
        sums = reductions.sum(absolute(x), axis=-2 if abs(ord) == 1 else -1)
    elif ord in ("nuc", 2, -2):
        sums = svdvals(x)
    else:
        raise ValueError(f"ord: given {ord!r} for a matrix, wanted 'fro', 'nuc', ±1, ±2 or ±inf")
    if ord == "nuc":
        return reductions.sum(sums, axis=-1)
    return (reductions.max if ord > 0 else reductions.min)(sums, axis=-1)


def matrix_power(x: Any, n: int) -> Any:
    """x @ x @ …, n times; the inverse's for n < 0."""
    if n < 0:
        return matrix_power(inv(x), -n)
    if n == 0:
        return make_diagonal(ones_like(x[..., 0]))
    half = matrix_power(x, n // 2) if n > 1 else None
    square = x if half is None else matmul(half, half)
    return matmul(square, x) if n > 1 and n % 2 else square


def multi_dot(arrays: Any) -> Any:
    """The product of several matrices, from left to right."""
    first, *rest = arrays
    for x in rest:
        first = matmul(first, x)
    return first
