"""Lesson 3, when gradients lie: finite_differences, complex_step, is_gradient."""

from collections.abc import Callable

import numpy as np

from .declared import exercise
from .evidence import PromiseError, agree, array_of, unchanged


def _parabola(x: np.ndarray) -> float:
    return float(np.sum(np.arange(1, x.size + 1).reshape(x.shape) * x**2))


def _waves(x: np.ndarray) -> float:
    return float(np.sum(np.sin(3 * x)) + np.exp(x).prod())


def _slope_of_waves(x: np.ndarray) -> np.ndarray:
    return 3 * np.cos(3 * x) + np.exp(x).prod()


@exercise(
    hint="For each place: a copy of x with that one number moved by h, another moved by −h. The "
    "difference of the two values is divided by 2h. h = 1e-5 is a good choice in float64."
)
def finite_differences(finite_differences: Callable) -> None:
    x = np.array([[0.5, -1.0, 0.3], [0.2, 0.1, -0.4]])
    slope = 2 * np.arange(1, 7).reshape(x.shape) * x
    got = array_of(unchanged(finite_differences, _parabola, x), "A gradient has the shape of x.")
    promise = "The gradient of Σ k x_k² is 2 k x_k."
    if got.shape == x.shape and np.allclose(got, slope, rtol=0.05, atol=0.05):
        error = np.abs(got - slope).max()
        if error > 1e-7:
            raise PromiseError(
                f"On a parabola central differences have no error but rounding, and yours are off "
                f"by {error:.0e}: take f(x + h) − f(x − h), and h near 1e-5."
            )
    suspects = {
        "It is twice that: x + h and x − h are 2h apart.": 2 * slope,
        "The sign is turned: f(x + h) comes first.": -slope,
        "That is what all numbers moved together give: move one at a time.": (
            np.full(x.shape, slope.sum())
        ),
    }
    agree(got, slope, promise, suspects, 1e-7)
    got = unchanged(finite_differences, _waves, x)
    promise = "Sines and an exponential, to seven digits: h neither too large nor too small."
    agree(got, _slope_of_waves(x), promise, tolerance=1e-7)


@exercise(hint="f(x + ih) = f(x) + ih f'(x) + …: look at the imaginary part. h may be 1e-30.")
def complex_step(complex_step: Callable) -> None:
    x = np.array([0.5, 1.0, -2.0])
    promise = "The slope of the sine is the cosine, to the last digit or two."
    slope = array_of(unchanged(complex_step, np.sin, x), promise)
    if np.iscomplexobj(slope):
        raise PromiseError(f"{promise} It gives complex numbers: take .imag, and divide by h.")
    largest = np.abs(slope).max(initial=0)
    if 0 < largest < 1e-2:
        raise PromiseError(f"{promise} It is {largest:.0e} at most: divide by h.")
    if slope.shape == x.shape and np.allclose(slope, np.cos(x), rtol=1e-2):
        error = np.abs(slope - np.cos(x)).max()
        if error > 1e-15:
            raise PromiseError(
                f"{promise} It is off by {error:.0e}. Nothing cancels here, so that h may be as "
                f"small as 1e-30, and no digit is lost."
            )
    suspects = {"That is the value: the slope is in the imaginary part.": np.sin(x)}
    agree(slope, np.cos(x), promise, suspects)


@exercise(
    hint="Draw v, compare (f(x + h v) − f(x − h v)) / 2h with sum(gradient · v), and allow for an "
    "error of 1e-5 of their size."
)
def is_gradient(is_gradient: Callable) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(1000)

    def f(x: np.ndarray) -> float:
        return float(np.sum(np.sin(x)))

    def scaled(scale: float) -> Callable:
        return lambda x: scale * f(x)

    right = np.cos(x)
    for scale in (1.0, 1e4, 1e-4):
        _says(is_gradient, scaled(scale), x, scale * right, True, f"{scale:g} · sin")
    one_sign = right.copy()
    one_sign[17] *= -1
    exchanged = right.copy()
    exchanged[[3, 4]] = right[[4, 3]]
    planted = {
        "zeros": 0 * right,
        "the sign of all": -right,
        "twice the gradient": 2 * right,
        "a gradient that is 1 % too large": 1.01 * right,
        "the sign of one number in a thousand": one_sign,
        "two numbers exchanged (v = ones does not see it: draw v)": exchanged,
    }
    for name, wrong in planted.items():
        _says(is_gradient, f, x, wrong, False, name)
    for scale in (1e4, 1e-4):
        name = f"1 % too large, for {scale:g} · sin (errors are to be seen beside their size)"
        _says(is_gradient, scaled(scale), x, 1.01 * scale * right, False, name)


def _says(
    is_gradient: Callable, f: Callable, x: np.ndarray, gradient: np.ndarray, wanted: bool, name: str
) -> None:
    said = unchanged(is_gradient, f, x, gradient)
    if said is None or not isinstance(said, bool | np.bool_):
        raise PromiseError(f"It gives {said!r}, wanted True or False.")
    if wanted and not said:
        raise PromiseError(f"It refuses a gradient that is right: {name}.")
    if said and not wanted:
        raise PromiseError(f"It does not see this bug: {name}.")
