"""What a maker hands out can be pickled: a pickle of it is the maker's call, with its arguments.

A maker is a function such as `rescaled(0.7)` or `denoiser(model)`: it hands out a function, or an
object that holds one, and Python has no name to find such a function by. The doors note the call.
"""

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any


class Made:
    """What is copied and pickled by the call that made it, or by its name where it has one."""

    _call: tuple | None = None

    def _made_by(self, maker: Callable, args: tuple, kwargs: dict) -> None:
        """Note the call that handed this out."""
        object.__setattr__(self, "_call", (maker, args, kwargs))  # also of what is frozen

    def _name(self) -> tuple[str, str]:
        """The module and the name under which it may stand."""
        return "", ""

    def __reduce_ex__(self, protocol: Any) -> Any:
        module, name = self._name()
        if name and vars(sys.modules.get(module, types)).get(name) is self:
            return name
        if self._call is None:
            return super().__reduce_ex__(protocol)
        return _made_again, self._call


class MadeFunction(Made):
    """A function that a maker handed out."""

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)  # type: ignore[attr-defined]

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        """As a method it is bound, as functions are."""
        return self if owner is None else types.MethodType(self, owner)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)  # type: ignore[attr-defined]

    def _name(self) -> tuple[str, str]:
        return self.__module__, self.__name__  # type: ignore[attr-defined]


def refuse_maker(name: str, value: Any) -> None:
    """TypeError, saying what to type, for a maker or a class of minidiff that was not called."""
    is_class = isinstance(value, type)
    function = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else None
    if not is_class and not (isinstance(function, types.FunctionType) and makes_function(function)):
        return
    if not (value.__module__ or "").startswith(__name__.partition(".")[0]):
        return
    parameters = inspect.signature(value).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind < p.VAR_POSITIONAL]
    kind = "class" if is_class else "function"
    raise TypeError(
        f"{name}: given the {kind} {value.__name__}, wanted what it gives: "
        f"type {value.__name__}({', '.join(needed)})"
    )


def makes_function(function: Callable) -> bool:
    """Whether it hands out a function, or an object that is called like one."""
    gives = function.__annotations__.get("return")
    is_called = isinstance(gives, type) and any("__call__" in vars(c) for c in gives.__mro__[:-1])
    return is_called or (typing.get_origin(gives) or gives) in _FUNCTIONS


_FUNCTIONS = (Callable, typing.get_origin(Callable[[], Any]))


def _made_again(maker: Callable, args: tuple, kwargs: dict) -> Any:
    return maker(*args, **kwargs)
