"""`gradcheck`: derivatives held against finite differences, along random directions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .tensor import Tensor
from .transforms import fresh, pullback


def gradcheck(f: Callable, *args: Any, eps: float = 1e-6, rtol: float = 1e-5, atol: float = 1e-6, seed: int = 0) -> bool:
    """True if backward's derivative of f at `args` agrees with central differences; f gives a Tensor of any shape.

    Every float64 array or Tensor among `args` is differentiated, along each axis if it is small, else along random
    directions: ⟨∇⟨f, u⟩, d⟩ against ⟨f(x + εd) − f(x − εd), u⟩ / 2ε, for a random u.

    Raises AssertionError that names the argument and shows both numbers; TypeError if no argument is float64.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.array(a.data if isinstance(a, Tensor) else a) if _is_array(a) else a for a in args]
    wanted = [i for i, a in enumerate(arrays) if _is_array(a) and a.dtype == np.float64]
    if not wanted:
        raise TypeError("gradcheck needs an argument in float64: float32 has too few digits for differences")

    inputs = [fresh(Tensor(a)) if i in wanted else a for i, a in enumerate(arrays)]
    out = f(*inputs)
    u = rng.standard_normal(out.shape)
    gradients = pullback(out, [inputs[i] for i in wanted], Tensor(u))
    for i, gradient in zip(wanted, gradients):
        if gradient.shape != arrays[i].shape or gradient.dtype != np.float64:
            raise AssertionError(f"argument {i}: gradient is {gradient.dtype} {gradient.shape}; "
                                 f"wanted float64 {arrays[i].shape}")  # fmt: skip
        for d in _directions(arrays[i].shape, rng):
            shifted = [np.asarray(f(*[a + s * eps * d if j == i else a for j, a in enumerate(arrays)])) for s in (1, -1)]
            want = np.sum((shifted[0] - shifted[1]) * u) / (2 * eps)
            got = np.sum(gradient.data * d)
            if not np.abs(got - want) <= atol + rtol * np.abs(want):
                at = f" at {np.argwhere(d)[0].tolist()}" if np.count_nonzero(d) == 1 else " along a random direction"
                raise AssertionError(f"argument {i}{at}: backward gives {got:.9g}, finite differences {want:.9g}")
    return True


def gradgradcheck(f: Callable, *args: Any, seed: int = 0, **tolerances: float) -> bool:
    """`gradcheck` of the derivative itself, for f's float64 arguments and the upstream gradient: the second order."""
    rng = np.random.default_rng(seed)
    arrays = [np.array(a.data if isinstance(a, Tensor) else a) if _is_array(a) else a for a in args]
    wanted = [i for i, a in enumerate(arrays) if _is_array(a) and a.dtype == np.float64]
    u = rng.standard_normal(np.shape(f(*arrays)))

    for k in range(len(wanted)):

        def derivative(u: Any, *values: Any, k: int = k) -> Any:
            u = u if isinstance(u, Tensor) else Tensor(u)
            values = tuple(Tensor(v) if i in wanted and not isinstance(v, Tensor) else v for i, v in enumerate(values))
            inputs = [fresh(v) if i in wanted else v for i, v in enumerate(values)]
            out = f(*inputs)
            return pullback(out, [inputs[i] for i in wanted], u, create_graph=True)[k]

        gradcheck(derivative, u, *arrays, seed=seed, **tolerances)
    return True


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | Tensor)


def _directions(shape: tuple[int, ...], rng: np.random.Generator) -> list[np.ndarray]:
    size = int(np.prod(shape))
    if size <= 12:
        return [row.reshape(shape) for row in np.eye(size)]
    return [rng.standard_normal(shape) for _ in range(6)]
