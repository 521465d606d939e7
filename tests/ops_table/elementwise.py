"""Pointwise operations."""

import math

import numpy as np
from hypothesis import strategies as st

from minidiff import ops
from minidiff.testing import arrays, broadcasting

from .row import MIXED, Op, mixed

erf = np.vectorize(math.erf, otypes=[float])
cosh = np.cosh


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def unary(name, f, reference, samples=None, **options):
    """Of one array, any shape; an array of no numbers is refused."""
    errors = [(("text",), TypeError, f"{name}: x: given 'text', wanted an array")]
    return Op(name, f, reference, arrays() if samples is None else samples, errors, options)


def composed(name, reference, samples=None):
    """Of one array too, but one of its parts refuses what is no number."""
    errors = [(("text",), TypeError, "x: given 'text', wanted an array")]
    return Op(name, getattr(ops, name), reference, arrays() if samples is None else samples, errors)


def of_equals(name, f):
    """Where both are equal each gets half of the gradient: of x and x that is what x has."""
    errors = [(("text",), TypeError, "given 'text', wanted an array")]
    return Op(name, f, np.array, arrays(), errors)


def binary(name, f, reference, samples=None, **options):
    """Of two arrays that are broadcast against each other."""
    errors = [
        (mixed((3,), (3,)), TypeError, f"{name}.*{MIXED}"),
        ((np.ones(2), np.ones(3)), ValueError, r"\(2,\) \(3,\)"),
    ]
    return Op(name, f, reference, broadcasting() if samples is None else samples, errors, options)


positive = arrays(low=0.3, high=3)
exponents = arrays((2,), low=-2, high=3) | st.sampled_from([0, 1, 2, -1.5])
powers = st.tuples(arrays((3, 1), low=0.3, high=2), exponents)
# Numbers away from 0, where these have a kink.
signed = arrays(low=0.1, high=2.5).map(
    lambda x: np.where(np.arange(x.size).reshape(x.shape) % 2, -x, x)
)
chosen = broadcasting(3).map(lambda xs: (xs[0] > 0, *xs[1:]))
comparisons = [
    binary(name, getattr(ops, name), getattr(np, name), order=0)
    for name in ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
]

ROWS = [
    binary("add", ops.add, np.add),
    binary("subtract", ops.subtract, np.subtract),
    binary("multiply", ops.multiply, np.multiply),
    binary("divide", ops.divide, np.divide, broadcasting(low=0.4, high=2)),
    binary("power", ops.power, np.power, powers),
    binary("maximum", ops.maximum, np.maximum),
    binary("minimum", ops.minimum, np.minimum),
    of_equals("maximum (of equals)", lambda x: ops.maximum(x, x)),
    of_equals("minimum (of equals)", lambda x: ops.minimum(x, x)),
    *comparisons,
    Op(
        "where",
        ops.where,
        np.where,
        chosen,
        [((np.ones(2, bool), *mixed((2,), (2,))), TypeError, f"where.*{MIXED}")],
    ),
    unary("negative", ops.negative, np.negative),
    unary("exp", ops.exp, np.exp),
    unary("log", ops.log, np.log, positive),
    unary("sqrt", ops.sqrt, np.sqrt, positive),
    unary("sin", ops.sin, np.sin),
    unary("cos", ops.cos, np.cos),
    unary("tanh", ops.tanh, np.tanh),
    unary("sigmoid", ops.sigmoid, sigmoid),
    unary("erf", ops.erf, erf),
    unary("relu", ops.relu, lambda x: np.where(x > 0, x, 0)),
    unary("sign", ops.sign, np.sign),
    unary("absolute", ops.absolute, np.absolute),
    unary("isfinite", ops.isfinite, np.isfinite, order=0),
    unary("isnan", ops.isnan, np.isnan, order=0),
    unary("softplus", ops.softplus, lambda x: np.log(1 + np.exp(x))),
    composed("mish", lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
    composed("softsign", lambda x: x / (1 + np.abs(x))),
    composed("elu", lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1), signed),
    composed("celu", lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1), signed),
    composed(
        "selu",
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
        signed,
    ),
    composed("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x), signed),
    composed("hard_swish", lambda x: x * np.clip(x + 3, 0, 6) / 6, signed),
    unary("silu", ops.silu, lambda x: x * sigmoid(x)),
    Op(
        "gelu",
        ops.gelu,
        gelu,
        st.tuples(arrays(), st.sampled_from(["none", "tanh"])),
        [((np.ones(2), "exact"), ValueError, "approximate: given 'exact', wanted one of")],
    ),
]
