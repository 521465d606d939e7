"""`gradcheck`: derivatives held against finite differences, along random directions."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .tensor import Tensor, as_tensor
from .transforms import trace, vjp

SMALL = 12  # an array of so few elements is checked along each axis
MOST_ELEMENTS = 1000  # of a larger one, that are looked at one by one if a random direction fails
MOST_OUTPUTS = 100  # that are looked at one by one to name the one whose derivative is wrong


def gradcheck(
    f: Callable,
    *args: Any,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    seed: int = 0,
) -> bool:
    """True if backward's derivative of f at `args` agrees with central differences.

    f gives a Tensor of any shape. Every float64 array or Tensor among `args` is differentiated: for
    a random upstream gradient u and a direction d, ⟨∇⟨f, u⟩, d⟩ must be
    ⟨f(x + eps·d) − f(x − eps·d), u⟩ / 2eps. Directions are the axes if the array is small, else
    random ones. At a kink any slope between those of its two sides will do; across a jump nothing
    is compared. Besides, the same call must give the same bits twice, an upstream gradient of zeros
    must give zeros, and the layout of u in memory must not matter.

    Raises AssertionError that names the argument, its worst element, and the output whose slope
    there is wrong, with that slope; TypeError if no argument is float64.
    """
    case = _Case(f, *_copied(args), eps, rtol, atol)
    if not case.argnums:
        raise TypeError(
            "gradcheck: given no argument in float64, wanted one (float32 has too few digits)"
        )
    u = np.random.default_rng(seed).standard_normal(case.shape)
    value, gradients = case.backward(u)
    for i, complaint in case.broken_promises(u, value, gradients):
        raise AssertionError(f"argument {i}: {complaint}")
    rng = np.random.default_rng(seed)
    for i in case.argnums:
        failures = case.failures(i, gradients[i], u, rng)
        if failures:
            raise AssertionError(case.report(i, failures))
    return True


def gradgradcheck(f: Callable, *args: Any, seed: int = 0, **tolerances: float) -> bool:
    """`gradcheck` of the derivative itself: the second order.

    The function that is checked is (g, *args) → the gradient of one argument, for an upstream
    gradient g that is drawn at random, or 1 where f gives one element. Raises as `gradcheck` does.
    """
    arrays, argnums = _copied(args)
    shape = np.shape(f(*arrays))
    g = np.random.default_rng(seed).standard_normal(shape)
    if g.size == 1:
        g = np.ones(shape)

    for k, argnum in enumerate(argnums):

        def derivative(g: Any, *values: Any, k: int = k) -> Any:
            out, inputs, _ = trace(f, values, {}, tuple(argnums))
            return vjp(out, inputs, as_tensor(g), create_graph=True)[k]

        try:
            gradcheck(derivative, g, *arrays, seed=seed, **tolerances)
        except AssertionError as error:
            error.add_note(
                f"in the second derivative: the function is the gradient for argument {argnum}; "
                f"its own argument 0 is the upstream gradient, and the others follow"
            )
            raise
    return True


class Slope(NamedTuple):
    """A derivative in one direction, by backward and by differences; error: 0 where they agree."""

    error: float
    backward: float
    differences: float


class Failure(NamedTuple):
    """A direction in which the derivative is wrong; `element` is None for a random direction."""

    slope: Slope
    element: tuple[int, ...] | None
    tried: int


@dataclass
class _Case:
    """A function at its arguments, of which those at `argnums` are differentiated."""

    f: Callable
    arrays: list
    argnums: list[int]
    eps: float
    rtol: float
    atol: float

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """That of f's result."""
        return np.shape(self.f(*self.arrays))

    def backward(self, u: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """f's value, and the gradients of ⟨f, u⟩ by number of argument."""
        out, inputs, _ = trace(self.f, tuple(self.arrays), {}, tuple(self.argnums))
        gradients = vjp(out, inputs, Tensor(u))
        return out.data, {i: gradient.data for i, gradient in zip(self.argnums, gradients)}

    def broken_promises(
        self, u: np.ndarray, value: np.ndarray, gradients: dict[int, np.ndarray]
    ) -> Iterator[tuple[int, str]]:
        """What must hold of gradients beside their values: (argument, what does not hold)."""
        value_again, gradients_again = self.backward(u)
        _, of_strided = self.backward(np.repeat(u[..., None], 2, -1)[..., 0])
        _, of_zeros = self.backward(np.zeros_like(u))
        for i, gradient in gradients.items():
            shape = self.arrays[i].shape
            if gradient.shape != shape or gradient.dtype != np.float64:
                yield i, f"gradient is {gradient.dtype} {gradient.shape}; wanted float64 {shape}"
            if value.tobytes() != value_again.tobytes():
                yield i, "the same call twice gives different values"
            if gradient.tobytes() != gradients_again[i].tobytes():
                yield i, "the same call twice gives different gradients"
            if np.any(of_zeros[i]):
                yield i, "an upstream gradient of zeros gives a gradient that is not zero"
            if not np.allclose(gradient, of_strided[i], self.rtol, self.atol, equal_nan=True):
                yield i, "an upstream gradient that is not contiguous gives another gradient"

    def failures(
        self, i: int, gradient: np.ndarray, u: np.ndarray, rng: np.random.Generator
    ) -> list[Failure]:
        """The directions of argument i in which its gradient is wrong."""
        x = self.arrays[i]
        rough = []
        if x.size > SMALL:
            directions = [rng.standard_normal(x.shape) for _ in range(6)]
            slopes = [self.slope(i, gradient, u, direction) for direction in directions]
            rough = [Failure(slope, None, 6) for slope in slopes if slope.error]
            if not rough:
                return []
        places = rng.permutation(x.size)[:MOST_ELEMENTS]
        fine = []
        for place in places:
            element = tuple(int(k) for k in np.unravel_index(place, x.shape))
            slope = self.slope(i, gradient, u, _unit(x.shape, element))
            if slope.error:
                fine.append(Failure(slope, element, len(places)))
        return fine or rough

    def slope(self, i: int, gradient: np.ndarray, u: np.ndarray, direction: np.ndarray) -> Slope:
        """The derivative of ⟨f, u⟩ when argument i moves in a direction."""

        def line(t: float) -> float:
            out = as_tensor(self.f(*self._moved(i, t * direction))).numpy()
            return float(np.sum(out * u))

        backward = float(np.sum(gradient * direction))
        return _compared(line, backward, self.eps, self.rtol, self.atol)

    def report(self, i: int, failures: list[Failure]) -> str:
        """What is said of the worst of them, with a slope of f itself where one can be found."""
        slope, element, tried = max(failures, key=lambda failure: failure.slope.error)
        place = "random directions" if element is None else [*element]
        of = " for the sum of all outputs, each times a random number"
        outputs = self.wrong_outputs(i, element) if element is not None else {}
        if outputs:
            output, slope = max(outputs.items(), key=lambda item: item[1].error)
            of = f" for output {[*output]}" if output else ""
        return (
            f"argument {i} {self.arrays[i].shape}, worst at {place}: backward gives "
            f"{slope.backward:.9g}, finite differences {slope.differences:.9g}{of}; "
            f"{len(failures)} of {tried} differ"
        )

    def wrong_outputs(self, i: int, element: tuple[int, ...]) -> dict[tuple[int, ...], Slope]:
        """The elements of f whose own slope is wrong when this element of argument i moves."""
        direction = _unit(self.arrays[i].shape, element)
        moved = [np.asarray(self.f(*self._moved(i, t * direction))) for t in (self.eps, -self.eps)]
        steepest_first = np.argsort(-np.abs(moved[0] - moved[1]), axis=None, kind="stable")
        wrong = {}
        for place in steepest_first[:MOST_OUTPUTS]:
            output = tuple(int(k) for k in np.unravel_index(place, self.shape))
            u = _unit(self.shape, output)
            _, gradients = self.backward(u)
            slope = self.slope(i, gradients[i], u, direction)
            if slope.error:
                wrong[output] = slope
        return wrong

    def _moved(self, i: int, step: np.ndarray) -> list:
        """The arguments, with a step added to argument i."""
        return [*self.arrays[:i], self.arrays[i] + step, *self.arrays[i + 1 :]]


def _copied(args: tuple) -> tuple[list, list[int]]:
    """The arguments, arrays and Tensors copied into arrays, and the numbers of those in float64."""
    arrays = [np.array(a) if isinstance(a, np.ndarray | Tensor) else a for a in args]
    floats = [
        i for i, a in enumerate(arrays) if isinstance(a, np.ndarray) and a.dtype == np.float64
    ]
    return arrays, floats


def _unit(shape: tuple[int, ...], element: tuple[int, ...]) -> np.ndarray:
    """Zeros, but 1 for one element."""
    unit = np.zeros(shape)
    unit[element] = 1
    return unit


def _compared(line: Callable, backward: float, eps: float, rtol: float, atol: float) -> Slope:
    """Backward's slope against that of `line` at 0.

    At a kink the slopes on the two sides stay apart, however near they are taken; at a jump they
    grow.
    """
    central = (line(eps) - line(-eps)) / (2 * eps)
    error = abs(backward - central)
    if error <= atol + rtol * abs(central):
        return Slope(0.0, backward, central)
    here = line(0)
    near = eps / 8
    left = (here - line(-eps)) / eps
    right = (line(eps) - here) / eps
    left_near = (here - line(-near)) / near
    right_near = (line(near) - here) / near

    size = abs(left_near) + abs(right_near)
    is_jump = size * near > 1e-10 * max(1, abs(here)) and size > 4 * (abs(left) + abs(right))
    is_kink = abs(right_near - left_near) > abs(right - left) / 2
    slack = atol + rtol * size
    low = min(left_near, right_near) - slack
    high = max(left_near, right_near) + slack
    if is_jump or (is_kink and low <= backward <= high):
        error = 0.0
    return Slope(math.inf if math.isnan(error) else error, backward, central)
