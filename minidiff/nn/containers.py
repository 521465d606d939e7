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
        for layer in layers:
            if isinstance(layer, type) or not callable(layer):
                given = layer.__name__ if isinstance(layer, type) else type(layer).__name__
                raise TypeError(
                    f"layers: given {given}, wanted modules and functions, as in "
                    f"Sequential(nn.Dense(2, 3, rng), ops.relu); for a list, Sequential(*layers)"
                )
        self.layers: list[Any] = list(layers)

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
        self.layer = layer
        self.connection = connection or _join_channels

    def __call__(self, x: Any, *conditions: Any) -> Any:
        return self.connection(self.layer(x, *conditions), x)


def _join_channels(h: Any, skip: Any) -> Any:
    return ops.concatenate([skip, h], axis=-1)
