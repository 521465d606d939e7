"""NumPy's own functions, called on Tensors with odd arguments: NumPy's value, or a refusal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff import Tensor, ops
from minidiff.testing import arrays, shapes

REDUCTIONS = "sum prod mean max min var std any all ptp argmax argmin cumsum cumprod median average"
OTHERS = "sort argsort trace diag tril triu diff gradient flip roll squeeze expand_dims repeat norm"
OTHERS += " concatenate quantile clip round ravel diagonal partition count_nonzero"
NAMES = f"{REDUCTIONS} {OTHERS}".split()
FUNCTIONS = [getattr(np, name, None) or getattr(np.linalg, name) for name in NAMES]
POSITIONAL = [None, 0, 1, -1, 2, (0, 1), (-1, 0), (0, 0), (), np.float64, True, 0.5, "F", np.inf]
NAMED = {
    "axis": [None, 0, 1, -1, (0, 1), (1, 0), (0, 0)],
    "keepdims": [True, False],
    "dtype": [np.float32, np.float64],
    "out": [None, np.zeros(3)],
    "where": [True, np.array([True, False, True])],
    "initial": [2.0],
    "ddof": [1],
    "ord": [1, 2, "fro", np.inf, -np.inf, 0],
    "k": [1, -1],
    "axis1": [1],
    "prepend": [0.0],
}


def of_tensors(x):
    return [of_tensors(part) for part in x] if isinstance(x, list) else Tensor(x.copy())


def bare(out):
    if isinstance(out, list | tuple):
        return [bare(part) for part in out]
    return out.data if isinstance(out, Tensor) else out


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # means of nothing
def test_numpys_value_or_a_refusal():
    keywords = st.sampled_from(list(NAMED)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(NAMED[name]))
    )

    @settings(max_examples=400, deadline=None)
    @given(
        st.sampled_from(FUNCTIONS),
        arrays(shapes()),
        st.lists(st.sampled_from(POSITIONAL), max_size=2),
        st.lists(keywords, max_size=2).map(dict),
    )
    def check(function, x, positional, named):
        operand = [x, x] if function is np.concatenate else x
        try:
            wanted = function(operand, *positional, **named)
            got = function(of_tensors(operand), *positional, **named)
        except (TypeError, ValueError, IndexError, ZeroDivisionError):
            return
        several = isinstance(wanted, list | tuple)
        pairs = zip(bare(got), wanted, strict=True) if several else [(bare(got), wanted)]
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-6)
            assert np.shape(a) == np.shape(b)

    check()


SQUARE = np.array([[1.0, -2.0], [3.0, 0.5]])


@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_a_matrix(order):
    np.testing.assert_allclose(np.linalg.norm(Tensor(SQUARE), order), np.linalg.norm(SQUARE, order))


def test_what_means_something_else_is_refused():
    x = Tensor(SQUARE)
    for call in (
        lambda: np.prod(x, 0, np.float64),
        lambda: np.gradient(Tensor(np.ones(3)), np.array([0.0, 1.0, 3.0])),
        lambda: np.insert(x, [0, 1], 5.0),
        lambda: np.sum(x, axis=(0, 0)),
        lambda: np.prod(x, axis=(0, 0)),
        lambda: np.linalg.cholesky(Tensor(np.ones(2))),
        lambda: np.tensordot(Tensor(np.ones(2)), x),
        lambda: np.diag(Tensor(np.ones((2, 2, 2)))),
    ):
        with pytest.raises((TypeError, ValueError, IndexError)):
            call()


def test_a_trace_of_three_axes_is_a_vector():
    x = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(np.trace(Tensor(x)), np.trace(x))


@pytest.mark.parametrize("triangle", [np.tril, np.triu])
def test_the_triangle_of_a_vector_has_a_gradient_of_its_shape(triangle):
    x = Tensor(np.ones(3), requires_grad=True)
    triangle(x).sum().backward()
    np.testing.assert_array_equal(x.grad, triangle(np.ones((3, 3))).sum(0))


def test_linear_algebra_of_stacks_is_numpys_or_refused():
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    x = x @ np.swapaxes(x, 1, 2)
    for name in set(np.linalg.__all__) - {"LinAlgError"}:
        function = getattr(np.linalg, name)
        try:
            wanted = function(x)
            got = function(Tensor(x))
        except (TypeError, ValueError):
            continue
        parts = zip(got, wanted) if isinstance(got, tuple) else [(got, wanted)]
        for part, expected in parts:
            np.testing.assert_allclose(part.data, expected, rtol=1e-6, err_msg=name)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, np.inf, np.nan]), min_size=1, max_size=4))
def test_medians_of_infinities_and_nan(values):
    got = np.median(Tensor(np.array(values)))
    assert np.array_equal(got.data, np.median(values), equal_nan=True)


@pytest.mark.filterwarnings("error")
def test_a_list_is_no_number_to_multiply_by():
    x = np.ones((2, 2))
    for y in ([2.0, 3.0], (2, 3), [[1, 2], [3, 4]]):
        try:
            got = ops.dot(x, y)
        except (TypeError, ValueError):
            continue
        np.testing.assert_array_equal(got, np.dot(x, y))


@pytest.mark.parametrize("indices", [True, None, [True, False], np.array([False, True]), 0.5])
def test_take_takes_integers_alone(indices):
    with pytest.raises(TypeError, match=r"indices: given .*, wanted integers"):
        ops.take(np.ones(2), indices)
