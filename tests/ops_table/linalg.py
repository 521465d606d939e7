"""`ops.linalg`: NumPy's functions are the references."""

import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minidiff.ops import linalg
from minidiff.testing import arrays

from .row import Op

# Far from singular, and with eigenvalues and singular values far from each other.
spread = np.diag([1.0, 2.5, 4.0])
regular = (arrays((3, 3), low=-0.3, high=0.3) | arrays((2, 3, 3), low=-0.3, high=0.3)).map(
    lambda x: x + spread
)
wide = (arrays((2, 3), low=-0.3, high=0.3) | arrays((2, 3, 2), low=-0.3, high=0.3)).map(
    lambda x: x + np.eye(*x.shape[-2:]) * np.arange(1.0, x.shape[-1] + 1)
)
symmetric = regular.map(lambda x: x + x.mT)
singular = np.ones((2, 2))
flat = [((np.ones(2),), ValueError, "dimension")]
none = [((singular,), ValueError, "[Ss]ingular")]


def row(name, f, reference, samples, errors, **how):
    return Op(f"linalg.{name}", f, reference, samples, errors, how)


def same(name, samples, errors, **how):
    return row(name, getattr(linalg, name), getattr(np.linalg, name), samples, errors, **how)


def signless(vectors):
    """What eigenvectors and singular vectors are without their signs."""
    return vectors * vectors


@st.composite
def systems(draw):
    """(a, b) of a @ x = b"""
    a = draw(regular)
    sizes = [(3,), (3, 2), (2, 3, 1)]
    return a, draw(st.sampled_from(sizes).flatmap(arrays))


@st.composite
def sized(draw):
    """(x, ord, axis, keepdims)"""
    x = draw(arrays((3, 2, 3), low=0.2, high=1) | wide.filter(lambda x: x.ndim == 3))
    vector = st.sampled_from([None, 0, 1, 2, 3, -1, 0.5, math.inf, -math.inf])
    matrix = st.sampled_from([None, "fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf])
    axis = draw(st.integers(-3, 2) | st.sampled_from([(-2, -1), (2, 1), (1, 2)]))
    order = draw(matrix if isinstance(axis, tuple) else vector)
    # Where two elements are equally large, the largest and the smallest have a kink.
    assume(len(np.unique(np.abs(x))) == x.size)
    return x, order, axis, draw(st.booleans())


ROWS = [
    same("inv", regular, none),
    same("solve", systems(), [((singular, np.ones(2)), ValueError, "[Ss]ingular")]),
    same("pinv", wide, flat),
    same("det", regular, flat),
    row(
        "cofactors",
        linalg._cofactors,
        lambda x: np.linalg.det(x)[..., None, None] * np.linalg.inv(x).mT,
        regular,
        flat,
    ),
    row(
        "signdet",
        lambda x: x * linalg._signdet(x)[..., None, None],
        lambda x: x * np.linalg.slogdet(x)[0][..., None, None],
        regular,
        flat,
    ),
    row(
        "logabsdet",
        lambda x: linalg.slogdet(x)[1],
        lambda x: np.linalg.slogdet(x)[1],
        regular,
        flat,
    ),
    row(
        "slogdet",
        lambda x: linalg.slogdet(x)[0] + linalg.slogdet(-x)[1],
        lambda x: np.linalg.slogdet(x)[0] + np.linalg.slogdet(-x)[1],
        regular,
        flat,
    ),
    same("cholesky", regular, [((-np.eye(2),), ValueError, "[Pp]ositive definite")]),
    row(
        "eigh",
        lambda x, half: signless(linalg.eigh(x, half)[1]),
        lambda x, half: signless(np.linalg.eigh(x, half)[1]),
        st.tuples(symmetric, st.sampled_from("LU")),
        [((np.eye(2), "X"), ValueError, "UPLO: given 'X'")],
    ),
    same("eigvalsh", regular, [((np.eye(2), "X"), ValueError, "UPLO: given 'X'")]),
    row(
        "svd",
        lambda x, part: signless(linalg.svd(x, full_matrices=False)[part]),
        lambda x, part: signless(np.linalg.svd(x, full_matrices=False)[part]),
        st.tuples(wide, st.integers(0, 2)),
        [((np.ones(2), 0), ValueError, "x: given shape")],
    ),
    same("svdvals", wide, [((np.ones(2),), ValueError, "x: given shape")]),
    same(
        "norm",
        sized(),
        [
            ((np.ones(2), "fro", 0), ValueError, "ord: given 'fro' for a vector"),
            ((np.ones((2, 2)), 3), ValueError, "ord: given 3 for a matrix"),
            ((np.ones((2, 2, 2)), 2), ValueError, "axis: given 3 axes"),
        ],
    ),
    same(
        "matrix_power",
        st.tuples(regular, st.integers(-2, 5)),
        [((singular, -1), ValueError, "[Ss]ingular")],
    ),
    row(
        "multi_dot",
        lambda x, y: linalg.multi_dot([x, y, x.mT]),
        lambda x, y: x @ y @ x.mT,
        st.tuples(arrays((2, 3)), arrays((3, 3))),
        [((np.ones((2, 3)), np.ones((2, 3))), ValueError, "matmul")],
    ),
]
