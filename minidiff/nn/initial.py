"""How parameters start: float32 draws from a NumPy Generator, so that a seed gives the same model everywhere."""

import math

import numpy as np

from ..autograd.tensor import Tensor


def parameter(array: np.ndarray) -> Tensor:
    """A float32 leaf that wants a gradient."""
    return Tensor(np.ascontiguousarray(array, dtype=np.float32), requires_grad=True)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Tensor:
    """U(−1/√fan_in, 1/√fan_in), for weights and their biases; `fan_in` is how many inputs one output sums.

    That is He et al. 2015 (arXiv 1502.01852, section 2.2) with the leaky slope √5, PyTorch's choice: a layer's output
    has a third of its input's variance, which the normalisation after it, or the next bias, makes up for.
    """
    bound = 1 / math.sqrt(fan_in)
    return parameter(rng.uniform(-bound, bound, shape))


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """N(0, 1), for embeddings."""
    return parameter(rng.standard_normal(shape))
