"""Layers one after another, and a skip around them, with a condition for those that take one."""

from collections.abc import Callable
from typing import Any

from .. import ops
from .module import Module


class Sequential(Module):
    """Each layer's output is the next one's input.

    A layer is a module, or any function of one array. Conditions (the embedded time, say) are
    handed on to those layers that are `conditional`. Without layers it gives back what it gets.

    Raises TypeError for what cannot be called.
    """

    def __init__(self, *layers: Callable):
        self.layers: list[Any] = [_checked("layers", layer) for layer in layers]

    def __call__(self, x: Any, *conditions: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *conditions) if getattr(layer, "conditional", False) else layer(x)
        return x


class ConditionalChain(Sequential):
    """A `Sequential` that is conditional itself: inside another one it gets the conditions, too."""

    conditional = True


class ConditionalSkipConnection(Module):
    """connection(layer(x, *conditions), x): what went around a layer meets what went through it.

    `connection` defaults to joining the channels, the skip's first.
    """

    conditional = True

    def __init__(self, layer: Callable, connection: Callable | None = None):
        self.layer = _checked("layer", layer)
        self.connection = _join_channels
        if connection is not None:
            self.connection = _checked("connection", connection)

    def __call__(self, x: Any, *conditions: Any) -> Any:
        return self.connection(self.layer(x, *conditions), x)


def _checked(name: str, layer: Any) -> Callable:
    """The layer; TypeError unless it is a module or a function."""
    if isinstance(layer, type) or not callable(layer):
        given = layer.__name__ if isinstance(layer, type) else type(layer).__name__
        raise TypeError(
            f"{name}: given {given}, wanted modules or functions, as in "
            f"Sequential(nn.Dense(2, 3, rng), ops.relu); for a list, Sequential(*layers)"
        )
    return layer


def _join_channels(h: Any, skip: Any) -> Any:
    return ops.concatenate([skip, h], axis=-1)
