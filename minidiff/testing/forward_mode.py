"""What an operation promises of forward mode: it is the same derivative as backward's.

A derivative J has two products. Backward gives uᵀJ and forward J v, so ⟨u, J v⟩ = ⟨uᵀJ, v⟩ for any
upstream gradient u and any direction v. What backward gives is held against finite differences by
another promise; this one holds forward to it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd.directional import jvp
from ..autograd.tensor import Tensor, as_tensor
from ..autograd.transforms import grad


def forward_derivative(case: Any) -> None:
    """Forward and backward agree: for all operands, for each alone, and on their derivatives."""
    out, _ = case.forward(case.args, case.operands)
    if not case.order or not out.requires_grad or out.dtype.kind != "f":
        return
    rng = np.random.default_rng(2)
    vs = {i: _like(rng, case.args[i]) for i in case.operands}
    u = _like(rng, out)
    gradients = case.results(case.args, upstream=u)
    tangent = _checked_tangent(case, vs, out)
    terms = {i: gradients[f"gradient of argument {i}"] * vs[i] for i in vs}
    _agree(case, "of all arguments", u * tangent, list(terms.values()), 1e-9)
    for i in vs if len(vs) > 1 else ():
        alone = _along(case, case.args, {i: vs[i]})
        _agree(case, f"of argument {i}", u * alone, [terms[i]], 1e-9)
    _in_float32(case, vs, tangent)
    if case.order > 1 and out.dtype == np.float64:
        _second_derivatives(case, vs, u)


def _checked_tangent(case: Any, vs: dict[int, np.ndarray], out: Tensor) -> np.ndarray:
    """The tangent; it is an array of its own, and leaves the directions alone."""
    before = {i: v.tobytes() for i, v in vs.items()}
    tangent = _along(case, case.args, vs)
    if tangent.shape != out.shape or tangent.dtype != out.dtype:
        case.fail(
            f"wrong forward derivative: it is {tangent.dtype} {tangent.shape}, wanted {out.dtype} "
            f"{out.shape}, as the value"
        )
    for i, v in vs.items():
        if v.tobytes() != before[i]:
            case.fail(f"mutated input: the direction of argument {i} was written to")
        if np.shares_memory(v, tangent):
            case.fail(f"aliasing: the forward derivative shares memory with direction {i}")
    return tangent


def _in_float32(case: Any, vs: dict[int, np.ndarray], tangent: np.ndarray) -> None:
    """float32 in, float32 out, however the directions lie in memory."""
    narrow = case.arranged(lambda a: a.astype(np.float32))
    plain = {i: v.astype(np.float32) for i, v in vs.items()}
    strided = {i: np.repeat(v[..., None], 2, -1)[..., 0] for i, v in plain.items()}
    for directions in (plain, strided):
        got = _along(case, narrow, directions)
        dtype = np.float32 if tangent.dtype == np.float64 else tangent.dtype
        if got.dtype != dtype:
            case.fail(f"wrong dtype: float32 arguments, and the forward derivative is {got.dtype}")
        text = "float32 gives another {what} than float64"
        what = "forward derivative"
        case.compare({what: got}, {what: tangent}, case.single, text)


def _second_derivatives(case: Any, vs: dict[int, np.ndarray], u: np.ndarray) -> None:
    """d²⟨f, u⟩ along v twice: backward and forward, in every order."""
    places = list(vs)
    xs = tuple(case.args[i] for i in places)
    directions = tuple(vs.values())
    every = tuple(range(len(places)))
    f = _of_moving(case, case.args, places)

    def total(products: Any) -> Any:
        return sum(ops.sum(a * b) for a, b in products)

    def by_backward(*xs: Any) -> Any:
        gradients = grad(lambda *xs: ops.sum(as_tensor(f(*xs)) * u), every)(*xs)
        return total(zip(gradients, directions))

    def by_forward(*xs: Any) -> Any:
        return ops.sum(as_tensor(jvp(f, xs, directions)[1]) * u)

    def backward_over(slope: Callable) -> list:
        return [a * b for a, b in zip(grad(slope, every)(*xs), directions)]

    def forward_over(slope: Callable) -> np.ndarray:
        return np.asarray(jvp(slope, xs, directions)[1])

    want = backward_over(by_backward)
    _agree(case, "of the gradient", forward_over(by_backward), want, 1e-6)
    _agree(case, "of the forward derivative", forward_over(by_forward), want, 1e-6)
    got = np.asarray(sum(np.sum(part) for part in backward_over(by_forward)))
    _agree(case, "(its own gradient)", got, want, 1e-6)


def _of_moving(case: Any, args: tuple, places: list[int]) -> Callable:
    """The operation as a function of the arguments at `places`."""

    def f(*moving: Any) -> Any:
        given = dict(zip(places, moving))
        return case.f(*(given.get(i, a) for i, a in enumerate(args)))

    return f


def _along(case: Any, args: tuple, directions: dict[int, np.ndarray]) -> np.ndarray:
    """The forward derivative at `args` along directions, by number of argument."""
    places = list(directions)
    xs = tuple(args[i] for i in places)
    _, tangent = jvp(_of_moving(case, args, places), xs, tuple(directions.values()))
    return tangent.data if isinstance(tangent, Tensor) else np.asarray(tangent)


def _agree(case: Any, what: str, got: np.ndarray, want: list, tolerance: float) -> None:
    """Fail unless the sum of `got` is that of all `want`, to a share of what is summed."""
    sums = float(np.sum(got)), float(sum(np.sum(part) for part in want))
    size = np.sum(np.abs(got)) + sum(np.sum(np.abs(part)) for part in want)
    if not np.isfinite(size):
        return  # of infinities and NaN nothing can be said by a sum
    if abs(sums[0] - sums[1]) > tolerance * (1 + size):
        case.fail(
            f"wrong forward derivative {what}: ⟨u, J v⟩ is {sums[0]:.9g}, and backward says "
            f"⟨uᵀJ, v⟩ = {sums[1]:.9g}"
        )


def _like(rng: np.random.Generator, array: Any) -> np.ndarray:
    return np.asarray(rng.standard_normal(array.shape)).astype(array.dtype)
