"""NumPy's operations against HIPS autograd: values, first and second derivatives.

Shapes and layouts are drawn. Left out is what it does not have or does wrongly: flip, tile, repeat,
broadcasting in where, sorting of matrices.
"""

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_table.numpy_like import contracted, summed, with_axis
from ops_table.reductions import products, reduced
from ops_table.shapes import indexed

import minidiff as md
from minidiff import ops
from minidiff.testing import arrays, broadcasting

positive = arrays(low=0.3, high=2)
within = arrays(low=-0.8, high=0.8)
distinct = with_axis(distinct=True)

SAME = {
    **dict.fromkeys(["exp", "expm1", "sin", "cos", "arctan", "sinh", "cosh", "tanh"], arrays()),
    **dict.fromkeys(["absolute", "negative", "ravel"], arrays()),
    **dict.fromkeys(["log", "log1p", "sqrt"], positive),
    **dict.fromkeys(["tan", "arcsin", "arccos"], within),
    **dict.fromkeys(["add", "subtract", "multiply", "maximum", "minimum"], broadcasting()),
    "outer": st.tuples(arrays((3,)), arrays((4,))),
    "divide": broadcasting(low=0.5, high=2),
    "power": broadcasting(low=0.5, high=2),
    "matmul": products(),
    "cumsum": with_axis(none=True),
    "sort": distinct.filter(lambda row: row[0].ndim == 1),  # HIPS sorts vectors only
    "roll": with_axis(st.integers(-3, 3)),
    "tril": arrays((3, 4)),
    "triu": arrays((3, 4)),
    "diag": arrays((4,)) | arrays((3, 3)),
    "trace": arrays((3, 3)),
    "einsum": summed().filter(
        lambda row: "->" in row[0] and "." not in row[0] and "ii" not in row[0]
    ),
    "tensordot": contracted(),
}
OTHERS = [
    *(
        (
            name,
            lambda x, axis, keepdims, name=name: getattr(anp, name)(
                x, axis=axis, keepdims=keepdims
            ),
            lambda x, axis, keepdims, name=name: getattr(ops, name)(
                x, axis=axis, keepdims=keepdims
            ),
            reduced(min_side=1, distinct=True),
        )
        for name in ("sum", "mean", "max", "min", "prod", "var")
    ),
    ("logsumexp", lambda x, axis: anp.log(anp.sum(anp.exp(x), axis)), ops.logsumexp, distinct),
    ("sigmoid", lambda x: 1 / (1 + anp.exp(-x)), ops.sigmoid, arrays()),
    ("softplus", lambda x: anp.logaddexp(x, 0.0), ops.softplus, arrays()),
    ("silu", lambda x: x / (1 + anp.exp(-x)), ops.silu, arrays()),
    ("norm", lambda x: anp.linalg.norm(x), ops.norm, arrays((2, 3))),
    ("getitem", lambda x, index: x[index], ops.getitem, indexed()),
    (
        "where",
        lambda x, y: anp.where(x > 0, x, y),
        lambda x, y: ops.where(x > 0, x, y),
        st.tuples(arrays((2, 3)), arrays((2, 3))),
    ),
    ("clip", lambda x: anp.clip(x, -0.5, 0.5), lambda x: ops.clip(x, -0.5, 0.5), arrays()),
    ("reshape", lambda x: anp.reshape(x, (-1,)), lambda x: ops.reshape(x, (-1,)), arrays()),
    (
        "concatenate",
        lambda x, y: anp.concatenate([x, y]),
        lambda x, y: ops.concatenate([x, y]),
        st.tuples(arrays((2, 3)), arrays((1, 3))),
    ),
    (
        "softmax",
        lambda x, axis: anp.exp(x) / anp.sum(anp.exp(x), axis, keepdims=True),
        ops.softmax,
        distinct,
    ),
]
ROWS = [
    (name, getattr(anp, name), getattr(ops, name), draw) for name, draw in SAME.items()
] + OTHERS


@pytest.mark.parametrize("name,hips,f,draw", ROWS, ids=[row[0] for row in ROWS])
def test_agrees_with_hips_autograd(name, hips, f, draw):
    @settings(max_examples=15, deadline=None)
    @given(draw, st.integers(0, 99))
    def check(args, seed):
        args = args if isinstance(args, tuple) else (args,)
        differentiable = tuple(
            i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype == float
        )
        shape = np.shape(hips(*args))
        rng = np.random.default_rng(seed)
        u = rng.standard_normal(shape)
        directions = [rng.standard_normal(args[i].shape) for i in differentiable]

        def first(library, f, total):
            return library.grad(lambda *args: total(f(*args) * u), differentiable)

        def second(library, f, total):
            def along(*args):
                slopes = first(library, f, total)(*args)
                derivative = sum(total(slope * d) for slope, d in zip(slopes, directions))
                # Where f is linear, HIPS wants it to depend on an argument all the same.
                return derivative + 0.0 * total(args[differentiable[0]])

            return library.grad(along, differentiable)

        np.testing.assert_allclose(f(*args), hips(*args), rtol=1e-9, atol=1e-12)
        for order in (first, second):
            results = order(md, f, ops.sum)(*args)
            expected = order(autograd, hips, anp.sum)(*args)
            for result, value in zip(results, expected, strict=True):
                np.testing.assert_allclose(result, value, rtol=1e-7, atol=1e-9)

    check()
