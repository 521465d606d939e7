"""What a row of the table is."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import steady_draws  # noqa: F401
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import minidiff.tape
from minidiff import Primitive, ops
from minidiff.testing import check_op
from minidiff.testing.promises import Case


@dataclass
class Op:
    """An operation as `check_op` takes it.

    `f` takes its arguments by position, arrays or Tensors; `reference` takes the same arrays and is
    plain NumPy. `samples` is a strategy that draws the only argument, or a tuple of all. `errors`
    are (arguments, exception, pattern that the message matches), or (…) of a call that must be
    refused. `options` go to `check_op`: order=0 where nothing is differentiable, single=… where
    float32 is less exact, and so on.
    """

    name: str
    f: Callable
    reference: Callable
    samples: st.SearchStrategy
    errors: list[tuple[tuple, type[Exception], str]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def check(self, *arguments: Any, **options: Any) -> None:
        """`check_op` on these arguments, or on the row's samples."""
        arguments = arguments or (self.samples,)
        check_op(self.f, *arguments, reference=self.reference, **self.options, **options)

    def case(self, *arguments: Any) -> Case:
        """What one promise is checked on."""
        options = {"order": 2, "single": 1e-4} | self.options
        return Case(
            self.f, arguments, self.reference, options.pop("order"), options.pop("single"), options
        )

    @cached_property
    def drawn(self) -> list[tuple]:
        """A few fixed draws of the arguments, large and small, none of them without elements."""
        samples: list[tuple] = []

        @settings(
            max_examples=100,
            phases=[Phase.generate],
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.samples)
        def draw(sample: Any) -> None:
            sample = sample if isinstance(sample, tuple) else (sample,)
            if all(sizes(sample)):
                samples.append(sample)

        draw()
        samples.sort(key=lambda sample: -sum(sizes(sample)))
        return samples[:: max(1, len(samples) // 16)]

    def differentiable(self, k: int) -> bool:
        """Whether the k-th array among the arguments has a gradient."""
        for sample in self.drawn:
            operands = [a for a in sample if isinstance(a, np.ndarray) or a is None]
            operand = operands[k] if k < len(operands) else None
            if operand is not None and operand.dtype.kind == "f":
                return True
        return False


def sizes(sample: tuple) -> list[int]:
    """How many numbers each array among the arguments has."""
    return [a.size for a in sample if isinstance(a, np.ndarray)]


def primitives() -> dict[str, Primitive]:
    """Every primitive of the engine, by name, wherever it stands."""
    by_name = {}
    for package in (minidiff.tape, ops):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, Primitive):
                    by_name[value.name] = value
    return by_name


def covered() -> set[str]:
    """The names that need a row: primitives, and the public functions of `minidiff.ops`."""
    public = {value.__name__ for value in vars(ops).values() if inspect.isfunction(value)}
    linear_algebra = {
        f"linalg.{name}"
        for name, value in vars(ops.linalg).items()
        if inspect.isfunction(value)
        and value.__module__ == ops.linalg.__name__
        and not name.startswith("_")
    }
    return primitives().keys() | public - {"__getattr__"} | linear_algebra


def axes(ndim: int) -> st.SearchStrategy:
    """None, an axis or several of them, from either end; only None for no axes."""
    if not ndim:
        return st.none()
    several = st.lists(st.integers(0, ndim - 1), unique=True, min_size=1).map(tuple)
    return st.none() | st.integers(-ndim, ndim - 1) | several


def mixed(*shapes: tuple[int, ...]) -> tuple:
    """float32 beside float64 arrays of these shapes."""
    return tuple(np.ones(shape, np.float64 if i else np.float32) for i, shape in enumerate(shapes))


MIXED = "float32.*float64"
