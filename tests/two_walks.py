"""The oracle of forward mode: a derivative along a direction from two walks back.

The vector-Jacobian product uᵀJ is linear in u, so its own derivative for u, times v, is J v
(Townsend 2017, "A new trick for calculating Jacobian vector products"). No forward rule has a part
in it.
"""

import numpy as np

from minidiff import Tensor, ops
from minidiff.autograd.transforms import trace, vjp
from minidiff.tape.primitive import new_variable
from minidiff.tape.tape import recording


def jvp(f, xs, vs):
    """(f(*xs), its derivative along vs), as arrays of the host; xs are arrays."""
    out, variables, _ = trace(f, tuple(map(Tensor, xs)), {}, tuple(range(len(xs))))
    with recording(True):
        u = new_variable(Tensor(np.zeros_like(out.data)))
        total = ops.sum(u * 0.0)  # so that it depends on u even where f is constant
        for row, v in zip(vjp(out, variables, u, create_graph=True), vs):
            total = total + ops.sum(row * v)
        (tangent,) = vjp(total, [u])
    return out.data, tangent.data
