"""Hypothesis strategies: shapes, memory layouts, arrays, tensors, convolutions, noise schedules."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
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
    """Shapes, by default of up to three axes with up to four elements each.

    Shapes without axes and shapes without elements are among them.
    """
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
    """Arrays of random numbers, in any layout: standard normal, or uniform from `low` to `high`.

    Hypothesis draws the shape (from `shapes()`, unless `shape` is one or a strategy), the layout
    and, unless it is given, a seed; the numbers come from that seed, so no draw sits on a kink. Now
    and then the first axis is broadcast: then elements repeat and the array is read-only. Not so
    with `distinct`, which keeps elements 0.1 apart, for operations that compare them.
    """
    if shape is None:
        shape = shapes()
    size = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    if seed is None:
        seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if distinct:
        count = int(np.prod(size))
        ranks = rng.permutation(count).reshape(size) - count / 2
        numbers = (ranks + rng.uniform(-0.2, 0.2, size)) / 5
    elif low is None or high is None:
        numbers = rng.standard_normal(size)
    else:
        numbers = rng.uniform(low, high, size)
    x = draw(layouts())(np.asarray(numbers, dtype))
    if not distinct and x.ndim and x.shape[0] > 1 and draw(st.integers(0, 7)) == 0:
        x = np.broadcast_to(x[:1], x.shape)
    return x


@st.composite
def broadcasting(draw: Callable, number: int = 2, **options: Any) -> tuple[np.ndarray, ...]:
    """`number` arrays whose shapes can be broadcast against each other.

    `options` are those of `arrays`.
    """
    drawn = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=number, max_dims=3, min_side=0, max_side=3)
    )
    # One seed for all: two seeds could be drawn alike, and the elements would be the same.
    seed = draw(st.integers(0, 2**32 - 1))
    return tuple(
        draw(arrays(shape, seed=seed + i, **options)) for i, shape in enumerate(drawn.input_shapes)
    )


def tensors(**options: Any) -> st.SearchStrategy:
    """Leaf Tensors that require a gradient, of arrays as `arrays(**options)` gives them."""
    return arrays(**options).map(lambda x: Tensor(x, requires_grad=True))


@st.composite
def convolutions(draw: Callable, dtype: Any = np.float64) -> tuple:
    """Arguments (x, w, stride, padding, dilation, groups) of a small `conv2d` that fit each other.

    x is (batch, height, width, groups · in), w (kh, kw, in, groups · out); the batch may be empty,
    the pairs uneven.
    """

    def pair(low: int, high: int) -> st.SearchStrategy:
        return st.tuples(st.integers(low, high), st.integers(low, high))

    kernel = draw(pair(1, 3))
    stride = draw(pair(1, 2))
    dilation = draw(pair(1, 2))
    groups = draw(st.integers(1, 2))
    padding = draw(pair(0, 2))
    inputs, outputs = draw(pair(1, 2))
    extra = draw(pair(0, 3))
    batch = draw(st.integers(0, 2))
    # The image is at least as large as the dilated kernel.
    height, width = (
        max(d * (k - 1) + 1 - 2 * p, 1) + e for d, k, p, e in zip(dilation, kernel, padding, extra)
    )
    x = draw(arrays((batch, height, width, groups * inputs), dtype))
    w = draw(arrays((*kernel, inputs, groups * outputs), dtype))
    return x, w, stride, padding, dilation, groups


def schedules() -> st.SearchStrategy:
    """Diffusion schedules of 21 to 200 steps: linear, cosine and sigmoid ones.

    Some are brought to zero terminal SNR.
    """
    from .. import diffusion

    families = (diffusion.linear_schedule, diffusion.cosine_schedule, diffusion.sigmoid_schedule)
    plain = st.builds(
        lambda family, steps: family(steps), st.sampled_from(families), st.integers(21, 200)
    )
    return plain | plain.map(diffusion.zero_terminal_snr)


def widest(samples: st.SearchStrategy) -> tuple:
    """Of fifty draws, always the same, the one with the most arrays of two axes longer than 1.

    An array of one such axis lies in memory as its elements are numbered, in whatever order.
    """
    draws: list[tuple] = []

    @settings(
        max_examples=50,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(samples)
    def draw(args: tuple) -> None:
        draws.append(args)

    draw()
    return max(draws, key=wide_arrays)


def wide_arrays(args: tuple) -> int:
    """How many of the arguments are arrays with two axes longer than 1 and with elements."""
    arrays = [a for a in args if isinstance(a, np.ndarray) and a.size]
    return len([a for a in arrays if np.count_nonzero(np.greater(a.shape, 1)) > 1])
