"""What differentiation itself needs."""

import numpy as np
from hypothesis import strategies as st

from minidiff.tape.primitive import alias, broadcast_to, sum_to
from minidiff.testing import broadcasting

from .elementwise import unary
from .row import Op


def _sum_to(x, shape):
    x = x.sum(tuple(range(x.ndim - len(shape))))
    return x.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


@st.composite
def broadcast(draw):
    """(x, a shape that x can be broadcast to)"""
    x, y = draw(broadcasting(2))
    return x, np.broadcast_shapes(x.shape, y.shape)


@st.composite
def summed(draw):
    """(x, a shape that could have been broadcast to x's)"""
    x, y = draw(broadcasting(2))
    return np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, y.shape))), y.shape


ROWS = [
    unary("alias", alias, np.array),
    Op(
        "broadcast_to",
        broadcast_to,
        np.broadcast_to,
        broadcast(),
        [((np.ones(3), (2,)), ValueError, "broadcast")],
    ),
    Op(
        "sum_to",
        sum_to,
        _sum_to,
        summed(),
        [((np.ones((2, 3)), (2,)), ValueError, "reshape|shape")],
    ),
]
