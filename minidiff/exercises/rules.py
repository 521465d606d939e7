"""What every rule of the table of derivatives is held to."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..tape.primitive import Primitive
from ..testing import check_op
from .evidence import PromiseError, agree, array_of, ask

PROMISE = "A rule gives what finite differences give."


def linear_in_g(rule: Callable, known: Mapping[str, Any]) -> None:
    """Twice the gradient must give twice the result: the chain rule multiplies by it."""
    once = array_of(ask(rule, known), PROMISE)
    twice = array_of(ask(rule, {**known, "g": 2 * known["g"]}), PROMISE)
    if once.any() and once.shape == twice.shape and np.allclose(once, twice):
        raise PromiseError(
            "Twice the g must give twice the result, and it gives the same: g is missing. The "
            "chain rule multiplies by it."
        )


def rule_is_right(
    rule: Callable, known: Mapping[str, Any], want: np.ndarray, suspects: Mapping[str, Any]
) -> None:
    """One call of a rule with what it may ask for, against the gradient `want`."""
    for array in known.values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)  # a rule that writes to its operands is stopped by NumPy
    linear_in_g(rule, known)
    agree(ask(rule, known), want, PROMISE, suspects, tolerance=1e-6)


def keeps_all_promises(operation: Primitive | Callable, *arguments: Any, order: int = 2) -> None:
    """All that `check_op` asks: dtypes, memory layouts, derivatives of derivatives …"""
    try:
        check_op(operation, *arguments, order=order)
    except AssertionError as error:
        sentence = str(error).partition("\n")[0]
        if sentence.startswith("wrong second derivative"):
            sentence = (
                "The second derivative is wrong: the engine does not see all that the rule "
                f"computes. Write it with minidiff's operations ({sentence})"
            )
        raise PromiseError(sentence) from None
