"""Hypothesis strategies: shapes, memory layouts, arrays and tensors, arguments of convolutions, noise schedules."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..autograd.tensor import Tensor

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda x: np.array(x, order="C"),
    "fortran": lambda x: np.array(x, order="F"),
    "strided": lambda x: np.repeat(x[..., None], 2, axis=-1)[..., 0],
    "reversed": lambda x: np.array(x[::-1], order="C")[::-1] if x.ndim else np.array(x),
}
"""The same elements in another arrangement of memory: name -> function of an array."""


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> st.SearchStrategy:
    """Shapes: by default up to three axes of up to four elements, those of no axis and of no element among them."""
    return hnp.array_shapes(
        min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )


def layouts() -> st.SearchStrategy:
    """Functions that give an array's elements in another memory layout: the values of `LAYOUTS`."""
    return st.sampled_from(list(LAYOUTS)).map(LAYOUTS.__getitem__)


@st.composite
def arrays(
    draw: Callable,
    shape: tuple[int, ...] | st.SearchStrategy | None = None,
    dtype: Any = np.float64,
    low: float | None = None,
    high: float | None = None,
    distinct: bool = False,
    seed: int | None = None,
) -> np.ndarray:
    """Arrays of random numbers, in any layout: standard normal, or uniform between `low` and
    `high`.

    Hypothesis draws the shape (from `shapes()`, unless `shape` is one or a strategy), the layout
    and, unless it is given, a seed; the numbers come from that seed, so no draw sits on a kink. Now
    and then the first axis is broadcast: then elements repeat and the array is read-only. Not so
    with `distinct`, which keeps elements 0.1 apart, for operations that compare them.
    """
    size = draw(
        shapes()
        if shape is None
        else shape
        if isinstance(shape, st.SearchStrategy)
        else st.just(shape)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)) if seed is None else seed)
    if distinct:
        count = int(np.prod(size))
        numbers = (
            rng.permutation(count).reshape(size) - count / 2 + rng.uniform(-0.2, 0.2, size)
        ) / 5
    elif low is None or high is None:
        numbers = rng.standard_normal(size)
    else:
        numbers = rng.uniform(low, high, size)
    x = draw(layouts())(np.asarray(numbers, dtype))
    if not distinct and x.ndim and x.shape[0] > 1 and draw(st.integers(0, 7)) == 0:
        x = np.broadcast_to(x[:1], x.shape)
    return x


@st.composite
def broadcasting(draw: Callable, number: int = 2, **how: Any) -> tuple[np.ndarray, ...]:
    """`number` arrays whose shapes can be broadcast against each other; `how` is for `arrays`."""
    found = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=number, max_dims=3, min_side=0, max_side=3)
    )
    # one for all: two draws could be the same, and so would be the elements
    seed = draw(st.integers(0, 2**32 - 1))
    return tuple(
        draw(arrays(shape, seed=seed + i, **how)) for i, shape in enumerate(found.input_shapes)
    )


def tensors(**how: Any) -> st.SearchStrategy:
    """Leaf Tensors that require a gradient, of arrays as `arrays(**how)` gives them."""
    return arrays(**how).map(lambda x: Tensor(x, requires_grad=True))


@st.composite
def convolutions(draw: Callable, dtype: Any = np.float64) -> tuple:
    """Arguments (x, w, stride, padding, dilation, groups) of a small `conv2d` that fit each other.

    x is (batch, height, width, groups · in), w (kh, kw, in, groups · out); the batch may be empty,
    the pairs uneven.
    """

    def pair(low: int, high: int) -> st.SearchStrategy:
        return st.tuples(st.integers(low, high), st.integers(low, high))

    kernel, stride, dilation, groups = (
        draw(pair(1, 3)),
        draw(pair(1, 2)),
        draw(pair(1, 2)),
        draw(st.integers(1, 2)),
    )
    padding, channels, extra = draw(pair(0, 2)), draw(pair(1, 2)), draw(pair(0, 3))
    least = [max(d * (k - 1) + 1 - 2 * p, 1) for d, k, p in zip(dilation, kernel, padding)]
    size = (least[0] + extra[0], least[1] + extra[1])
    x = draw(arrays((draw(st.integers(0, 2)), *size, groups * channels[0]), dtype))
    w = draw(arrays((*kernel, channels[0], groups * channels[1]), dtype))
    return x, w, stride, padding, dilation, groups


def schedules() -> st.SearchStrategy:
    """Diffusion schedules: linear, cosine and sigmoid ones, some brought to zero terminal SNR, of 21 to 200 steps."""
    from .. import diffusion

    made = (diffusion.linear_schedule, diffusion.cosine_schedule, diffusion.sigmoid_schedule)
    plain = st.builds(lambda make, steps: make(steps), st.sampled_from(made), st.integers(21, 200))
    return plain | plain.map(diffusion.zero_terminal_snr)
