"""What a loss keeps from step to step: a checkpoint must have it, though nobody handed it over.

    sampler = ImportanceSampler(100)
    loss = lambda x, labels, rng: diffusion.loss(…, draw=sampler.draw, callback=sampler.update)

The next step depends on what `sampler` has seen. It is found by looking through the variables that
the function uses, for what can give and take its state.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from ..nn import Module

_OWN_PACKAGE = __name__.partition(".")[0]
_SHORT = 100  # longer ones are data


def kept_by(loss: Callable, but: Collection[Any]) -> dict[str, Any]:
    """What has `state_dict` and `load_state_dict`, by the names under which the code knows it.

    Modules are none of it, nor is what is in `but`. Functions that the loss calls are looked
    through as well, and short dicts, lists and tuples; what is inside other objects is not found.
    """
    kept: dict[str, Any] = {}
    known = {id(thing) for thing in but}
    unseen = deque([("loss", loss)])
    while unseen:
        name, thing = unseen.popleft()
        if id(thing) in known:
            continue
        known.add(id(thing))
        if _has_state(thing):
            kept[_free(name, kept)] = thing
        else:
            unseen.extend(_variables(thing))
    return kept


def _has_state(thing: Any) -> bool:
    """Whether it is an object, not a class, that can give and take its state."""
    is_stateful = hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")
    return is_stateful and not isinstance(thing, type | Module)


def _free(name: str, taken: Collection[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)


def _variables(thing: Any) -> Iterator[tuple[str, Any]]:
    """What a callable uses, or a container holds: names and values, always in the same order."""
    if isinstance(thing, FunctionType):
        yield from _variables_of_code(thing)
    elif isinstance(thing, MethodType):
        yield "self", thing.__self__
        yield "method", thing.__func__
        yield from _attributes(thing.__self__)
    elif isinstance(thing, partial):
        yield "function", thing.func
        yield from ((f"argument_{i}", value) for i, value in enumerate(thing.args))
        yield from thing.keywords.items()
    elif isinstance(thing, dict | list | tuple) and len(thing) <= _SHORT:
        entries = thing.items() if isinstance(thing, dict) else enumerate(thing)
        yield from ((f"entry_{key}", value) for key, value in entries)
    elif callable(thing):
        yield from _attributes(thing)


def _variables_of_code(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield name, cell.cell_contents
        except ValueError:  # nothing was assigned yet
            continue
    if not function.__module__.startswith(_OWN_PACKAGE):
        everywhere = function.__globals__
        used = (name for name in function.__code__.co_names if name in everywhere)
        yield from ((name, everywhere[name]) for name in used)
    if hasattr(function, "__wrapped__"):
        yield "function", function.__wrapped__


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(thing, type | Module):
        yield from getattr(thing, "__dict__", {}).items()
