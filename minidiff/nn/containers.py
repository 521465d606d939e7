"""Layers one after another, and a skip around them, with a condition for those that take one."""

from collections.abc import Callable
from typing import Any

from .. import ops
from .module import Module


class Sequential(Module):
    """Each layer's output is the next one's input.

    A layer is a module, or any function of one array. Conditions (the embedded time, say) are
    handed on to those layers that are `conditional`.
    """

    def __init__(self, *layers: Callable):
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
        self.connection = connection or (lambda h, skip: ops.concatenate([skip, h], axis=-1))

    def __call__(self, x: Any, *conditions: Any) -> Any:
        return self.connection(self.layer(x, *conditions), x)
