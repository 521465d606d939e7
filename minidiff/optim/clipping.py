"""Gradients cut to a common length."""

from collections.abc import Iterable
from typing import Any

from .. import checks, kernels
from ..autograd.tensor import Tensor
from .optimizers import listed


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> Any:
    """Scale all gradients by one factor so that their common norm is at most `max_norm`.

    The norm is that of all elements of all gradients together; what it was before is returned, a
    float. On a device it is an array there, (): who looks at it waits for the device. Parameters
    without a gradient do not count.

    Raises ValueError for a `max_norm` that is not positive. Source: Pascanu et al. 2013
    (arXiv 1211.5063, algorithm 1).
    """
    checks.among("max_norm", max_norm, checks.Between(0, ends="(]"))
    tensors = listed(parameters)
    for p in tensors:
        if not isinstance(p, Tensor):
            raise TypeError(f"parameters: given {type(p).__name__}, wanted Tensors")
    found = [p.grad for p in tensors if p.grad is not None]
    gradients = [g.data if isinstance(g, Tensor) else g for g in found]
    return kernels.call("clip_norm", *gradients, max_norm=max_norm) if gradients else 0.0
