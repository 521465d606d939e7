"""First and second derivatives against HIPS autograd, on the rows of `OPS`.

They are the operations that it has under NumPy's name. Needs the extra `dev`: pytest tests/oracles
"""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from ops_table import OPS

import minidiff as md


def softmax(x, axis):
    """eˣ over its sum. Less the largest x, since the rows draw some in the thousands."""
    e = anp.exp(x - anp.max(x, axis, keepdims=True))
    return e / anp.sum(e, axis, keepdims=True)


def log_softmax(x, axis):
    x = x - anp.max(x, axis, keepdims=True)
    return x - anp.log(anp.sum(anp.exp(x), axis, keepdims=True))


# Not there: outer, diag, tril, triu, trace, where, einsum, repeat and tile, which HIPS
# differentiates for a part of the shapes only.
SAME = """
    add subtract multiply divide power maximum minimum negative exp log sqrt sin cos tan arcsin
    arccos arctan sinh cosh tanh expm1 log1p absolute matmul tensordot reshape transpose swapaxes
    roll ravel cumsum std
"""
REDUCED = ["sum", "mean", "prod", "var", "max", "min"]
WRITTEN = {
    "concatenate": lambda axis, *xs: anp.concatenate(xs, axis),
    "stack": lambda axis, *xs: anp.stack(xs, axis),
    "sigmoid": lambda x: 1 / (1 + anp.exp(-x)),
    "silu": lambda x: x / (1 + anp.exp(-x)),
    "softplus": lambda x: anp.log(1 + anp.exp(x)),
    "mish": lambda x: x * anp.tanh(anp.log(1 + anp.exp(x))),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": lambda x, axis, keepdims: anp.log(
        anp.sum(anp.exp(x), axis=axis, keepdims=keepdims)
    ),
    "mse_loss": lambda x, y: anp.mean((x - y) ** 2),
    "dense": lambda x, w, b: anp.matmul(x, w) + b,
}


def oracle(name):
    if name in WRITTEN:
        return WRITTEN[name]
    if name in REDUCED:
        return lambda x, axis, keepdims: getattr(anp, name)(x, axis=axis, keepdims=keepdims)
    return getattr(anp, name)


def derivatives(f, sum_, grad_, arguments, wanted):
    """The gradients of Σ u·f and of Σ v·gradient, with fixed u and v, for each wanted argument."""

    def weights(x):
        return np.cos(np.arange(x.size) + 1.0).reshape(x.shape)

    u = weights(f(*arguments))
    first = grad_(lambda *a: sum_(f(*a) * u), wanted)
    vs = [weights(gradient) for gradient in first(*arguments)]
    second = grad_(lambda *a: sum(sum_(g * v) for g, v in zip(first(*a), vs)), wanted)
    return *first(*arguments), *second(*arguments)


# The second derivatives of what is linear.
@pytest.mark.filterwarnings("ignore:Output seems independent of input")
@pytest.mark.parametrize("name", sorted({*SAME.split(), *REDUCED, *WRITTEN}))
def test_derivatives(name):
    for arguments in OPS[name].drawn:
        wanted = tuple(
            i for i, a in enumerate(arguments) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        )
        arguments = tuple(np.array(a) if i in wanted else a for i, a in enumerate(arguments))
        got = derivatives(OPS[name].f, md.ops.sum, md.grad, arguments, wanted)
        want = derivatives(oracle(name), anp.sum, grad, arguments, list(wanted))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
