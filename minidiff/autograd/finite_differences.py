"""`gradcheck`: derivatives held against finite differences, along random directions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .tensor import Tensor, as_tensor
from .transforms import pullback, recorded


def gradcheck(
    f: Callable,
    *args: Any,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    seed: int = 0,
) -> bool:
    """True if backward's derivative of f at `args` agrees with central differences; f gives a
    Tensor of any shape.

    Every float64 array or Tensor among `args` is differentiated, along each axis if it is small,
    else along random directions: ⟨∇⟨f, u⟩, d⟩ against ⟨f(x + εd) − f(x − εd), u⟩ / 2ε, for a random
    u. At a kink any slope between those of its two sides will do; across a jump nothing is
    compared. Besides, the same call must give the same bits twice, nothing upstream must give
    nothing, and the layout of u in memory must not matter.

    Raises AssertionError that names the argument and its worst element; TypeError if no argument is
    float64.
    """
    rng, (arrays, wanted) = np.random.default_rng(seed), _given(args)
    if not wanted:
        raise TypeError(
            "gradcheck needs an argument in float64: float32 has too few digits for differences"
        )

    def run(layout: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        out, inputs, _ = recorded(f, tuple(arrays), {}, tuple(wanted))
        u = layout(np.random.default_rng(seed).standard_normal(out.shape))
        return out.data, [g.data for g in pullback(out, inputs, Tensor(u))]

    out, gradients = run(lambda u: u)
    (out_again, again), (_, strided) = (
        run(lambda u: u),
        run(lambda u: np.repeat(u[..., None], 2, -1)[..., 0]),
    )
    _, none = run(np.zeros_like)
    u = np.random.default_rng(seed).standard_normal(out.shape)
    for k, i in enumerate(wanted):
        x, gradient = arrays[i], gradients[k]
        for broken, says in (
            (
                gradient.shape != x.shape or gradient.dtype != np.float64,
                f"gradient is {gradient.dtype} {gradient.shape}; wanted float64 {x.shape}",
            ),
            (out.tobytes() != out_again.tobytes(), "the same call twice gives different values"),
            (
                gradient.tobytes() != again[k].tobytes(),
                "the same call twice gives different gradients",
            ),
            (np.any(none[k]), "an upstream gradient of zeros gives a gradient that is not zero"),
            (
                not np.allclose(gradient, strided[k], rtol, atol, equal_nan=True),
                "an upstream gradient that is not contiguous gives another gradient",
            ),
        ):
            if broken:
                raise AssertionError(f"argument {i}: {says}")

        def miss(
            d: np.ndarray, i: int = i, gradient: np.ndarray = gradient
        ) -> tuple[float, float, float]:
            line = lambda t: float(
                np.sum(np.asarray(f(*arrays[:i], arrays[i] + t * d, *arrays[i + 1 :])) * u)
            )
            return _compare(line, float(np.sum(gradient * d)), eps, rtol, atol)

        rough = [
            (*miss(rng.standard_normal(x.shape)), "random directions")
            for _ in range(6 * (x.size > 12))
        ]
        if x.size <= 12 or any(error for error, *_ in rough):
            units = (
                (at, np.eye(1, x.size, at).reshape(x.shape))
                for at in rng.permutation(x.size)[:1000]
            )
            fine = [
                (*miss(unit), [int(j) for j in np.unravel_index(at, x.shape)]) for at, unit in units
            ]
            found: list = [each for each in fine if each[0]] or [each for each in rough if each[0]]
            if found:
                _, got, want, place = max(found)
                raise AssertionError(
                    f"argument {i} {x.shape}, worst at {place}: backward gives {got:.9g}, finite "
                    f"differences {want:.9g}; {len(found)} of {len(fine)} differ"
                )
    return True


def gradgradcheck(f: Callable, *args: Any, seed: int = 0, **tolerances: float) -> bool:
    """`gradcheck` of the derivative itself, for f's float64 arguments and the upstream gradient: the second order."""
    arrays, wanted = _given(args)
    u = np.random.default_rng(seed).standard_normal(np.shape(f(*arrays)))

    for k in range(len(wanted)):

        def derivative(u: Any, *values: Any, k: int = k) -> Any:
            out, inputs, _ = recorded(f, values, {}, tuple(wanted))
            return pullback(out, inputs, as_tensor(u), create_graph=True)[k]

        gradcheck(derivative, u, *arrays, seed=seed, **tolerances)
    return True


def _given(args: tuple) -> tuple[list, list[int]]:
    """The arguments with arrays and Tensors copied into arrays, and which of them are float64."""
    arrays = [np.array(a) if isinstance(a, np.ndarray | Tensor) else a for a in args]
    return arrays, [
        i for i, a in enumerate(arrays) if isinstance(a, np.ndarray) and a.dtype == np.float64
    ]


def _compare(
    line: Callable, got: float, eps: float, rtol: float, atol: float
) -> tuple[float, float, float]:
    """How far `got` is from the slope of `line` at 0, as (distance or 0, got, slope).

    At a kink the slopes on the two sides stay apart, however near they are taken; at a jump they
    grow.
    """
    slope = (line(eps) - line(-eps)) / (2 * eps)
    error = abs(got - slope)
    if error <= atol + rtol * abs(slope):
        return 0.0, got, slope
    here, near = line(0), eps / 8
    (left, right), (left_near, right_near) = (
        ((here - line(-h)) / h, (line(h) - here) / h) for h in (eps, near)
    )
    size = abs(left_near) + abs(right_near)
    jump = size * near > 1e-10 * max(1, abs(here)) and size > 4 * (abs(left) + abs(right))
    kink = abs(right_near - left_near) > abs(right - left) / 2
    slack = atol + rtol * size
    between = min(left_near, right_near) - slack <= got <= max(left_near, right_near) + slack
    return 0.0 if jump or (kink and between) else error if error == error else math.inf, got, slope
