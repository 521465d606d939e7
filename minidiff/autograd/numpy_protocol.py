"""What NumPy's own functions do to a Tensor: `np.sum(t)` is `ops.sum(t)`.

The operation is found by the function itself, not by its name: `np.linalg.norm` is
`ops.linalg.norm`, and no other norm. Arguments go by NumPy's names, so that one which the operation
does not have is refused and never taken for another.
"""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from .. import ops
from ..tape.primitive import Primitive


def _pairs(theirs: ModuleType, here: ModuleType) -> dict:
    """NumPy's functions, each with the operation of its name in the namespace like theirs."""
    names = [name for name in vars(here) if not name.startswith("_") and hasattr(theirs, name)]
    pairs = [(getattr(theirs, name), getattr(here, name)) for name in names]
    return {function: operation for function, operation in pairs if callable(operation)}


OPERATIONS: dict[Callable, Callable] = _pairs(np, ops) | _pairs(np.linalg, ops.linalg)
"""NumPy's function -> the operation that means the same."""

# They ask about the array, and nothing is recorded.
ABOUT_ARRAYS = {np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.array2string}


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, options: dict) -> Any:
    """The operation that a ufunc of NumPy means.

    Raises TypeError for a ufunc that has none, for `out` and other options, and for ufunc.reduce
    and the like.
    """
    called = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if method != "__call__" or options or ufunc not in OPERATIONS:
        raise TypeError(f"{called} cannot be recorded on the tape; {_alternative(ufunc)}")
    return OPERATIONS[ufunc](*inputs)


def call_function(function: Callable, args: tuple, kwargs: dict) -> Any:
    """The operation that a function of NumPy means.

    Raises TypeError for a function that has none, and for an argument that the operation does not
    have.
    """
    name = f"np.{function.__name__}"
    if function not in OPERATIONS:
        raise TypeError(f"{name} cannot be recorded on the tape; {_alternative(function)}")
    operation = OPERATIONS[function]
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C, without one
        return operation(*args, **kwargs)
    allowed = _parameters(operation)
    positional = []
    named = {}
    for parameter, value in signature.bind(*args, **kwargs).arguments.items():
        declared = signature.parameters[parameter]
        if declared.kind is declared.VAR_POSITIONAL:
            positional.extend(value)
        elif declared.kind is declared.VAR_KEYWORD:
            named.update(value)
        elif declared.default is declared.empty:
            positional.append(value)
        elif parameter in allowed:
            named[parameter] = value
        elif value is not declared.default:
            raise TypeError(
                f"{name}: given {parameter}={value!r}, wanted the arguments of "
                f"{_name(function)} alone: {', '.join(allowed)}"
            )
    return operation(*positional, **named)


def _parameters(operation: Callable) -> list[str]:
    """The names of an operation's arguments."""
    if isinstance(operation, Primitive):
        return [*operation.operands, *operation.statics]
    return list(inspect.signature(operation).parameters)


def _alternative(function: Callable) -> str:
    """What to use instead."""
    if function in OPERATIONS:
        return f"use {_name(function)}"
    return "use operations of minidiff.ops, or t.numpy() where no gradient is wanted"


def _name(function: Callable) -> str:
    """The operation's name in full."""
    is_linear_algebra = function in vars(np.linalg).values() and function not in vars(np).values()
    return f"minidiff.ops.{'linalg.' * is_linear_algebra}{function.__name__}"
