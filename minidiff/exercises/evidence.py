"""What an exercise is held to: a comparison that says in plain words how two arrays differ.

A wrong answer is seldom wrong in a new way. So whoever compares hands over *suspects*: what typical
mistakes would have given, each under a sentence that names the mistake. Where the answer is that of
a suspect, the sentence is the message.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor


class PromiseError(Exception):
    """A promise that is broken, in plain words."""


def agree(
    got: Any,
    want: Any,
    promise: str,
    suspects: Mapping[str, Any] | None = None,
    tolerance: float = 1e-8,
) -> None:
    """PromiseError unless `got` is the array `want`, up to `tolerance` of its largest element.

    `promise` is a sentence that says what should be there; `suspects` are what typical mistakes
    would have given, by the sentence that names the mistake.
    """
    answer = array_of(got, promise)
    wanted = np.asarray(want)
    if _same(answer, wanted, tolerance):
        return
    for sentence, suspect in (suspects or {}).items():
        if _same(answer, np.asarray(suspect), tolerance):
            raise PromiseError(f"{promise} {sentence}")
    raise PromiseError(f"{promise} {_difference(answer, wanted, tolerance)}")


def array_of(got: Any, promise: str) -> np.ndarray:
    """The answer as an array; PromiseError if it is none."""
    if got is None:
        raise PromiseError(f"{promise} It gives None: is a `return` missing?")
    answer = np.asarray(got.data if isinstance(got, Tensor) else got)
    if answer.dtype.kind not in "biufc":
        raise PromiseError(
            f"{promise} It gives a {type(got).__name__}, wanted an array of numbers."
        )
    return answer.astype(np.float64) if answer.dtype.kind == "b" else answer


def _same(answer: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    if answer.shape != wanted.shape:
        return False
    largest = max(np.abs(wanted).max(initial=0), 1e-12)
    return np.allclose(answer, wanted, rtol=0, atol=tolerance * largest)


def _difference(answer: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    """How two arrays differ, in a sentence."""
    if answer.ndim == 2 and _same(answer.T, wanted, tolerance):
        return "It is transposed: rows and columns are exchanged."
    if answer.shape != wanted.shape:
        return f"It has the shape {answer.shape}, wanted {wanted.shape}."
    if not np.isfinite(answer).all():
        return "There is NaN or infinity in it."
    if not answer.any():
        return "It is 0 everywhere."
    if _same(-answer, wanted, tolerance):
        return "The sign is turned: it is minus what it should be."
    largest = np.unravel_index(np.argmax(np.abs(wanted)), wanted.shape)
    if answer[largest] and _same(answer * (wanted[largest] / answer[largest]), wanted, tolerance):
        return f"All of it is {answer[largest] / wanted[largest]:.4g} times what it should be."
    worst = np.unravel_index(np.argmax(np.abs(answer - wanted)), wanted.shape)
    place = f"At {[int(i) for i in worst]} it" if worst else "It"
    return f"{place} is {answer[worst]:.6g}, wanted {wanted[worst]:.6g}."


def unchanged(f: Callable, *arguments: Any) -> Any:
    """What f gives; PromiseError if it writes to an array that it was given."""
    given = [np.array(a) if isinstance(a, np.ndarray) else a for a in arguments]
    result = f(*given)
    for name, after, before in zip(inspect.signature(f).parameters, given, arguments):
        if isinstance(before, np.ndarray) and not np.array_equal(after, before):
            raise PromiseError(
                f"It writes to {name}, which belongs to the caller: make a new array."
            )
    return result


def ask(rule: Callable, known: Mapping[str, Any]) -> Any:
    """What a rule gives, which is handed only what it names, as on the tape."""
    names = list(inspect.signature(rule).parameters)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise PromiseError(f"It asks for {unknown[0]!r}, and there is {', '.join(known)}.")
    return rule(**{name: known[name] for name in names})


def differences(f: Callable, x: np.ndarray, g: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The gradient of sum(f(x) · g) for x, by central differences: no rule is needed for it."""
    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        move = np.zeros(x.shape)
        move[place] = step
        gradient[place] = np.sum((f(x + move) - f(x - move)) * g) / (2 * step)
    return gradient
