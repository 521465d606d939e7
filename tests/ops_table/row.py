"""What a row of the table is."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import minidiff.tape
from minidiff import Primitive, ops
from minidiff.testing import check_op


@dataclass
class Op:
    """An operation as `check_op` takes it.

    `f` takes its arguments by position, arrays or Tensors; `reference` takes the same arrays and is
    plain NumPy. `samples` is a strategy that draws the only argument, or a tuple of all. `errors`
    are (arguments, exception, pattern that the message matches), or (…) of a call that must be
    refused. `how` goes to `check_op`: order=0 where nothing is differentiable, single=… where
    float32 is less exact, and so on.
    """

    name: str
    f: Callable
    reference: Callable
    samples: st.SearchStrategy
    errors: list[tuple[tuple, type[Exception], str]] = field(default_factory=list)
    how: dict[str, Any] = field(default_factory=dict)

    def check(self, *arguments: Any, **how: Any) -> None:
        """`check_op` on these arguments, or on the row's samples."""
        check_op(
            self.f, *(arguments or [self.samples]), reference=self.reference, **self.how, **how
        )

    @cached_property
    def drawn(self) -> list[tuple]:
        """A few fixed draws of the arguments, large and small, none of them without elements."""
        kept: list[tuple] = []

        @settings(
            max_examples=30,
            phases=[Phase.generate],
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(self.samples)
        def draw(sample: Any) -> None:
            sample = sample if isinstance(sample, tuple) else (sample,)
            if all(np.size(a) for a in sample if isinstance(a, np.ndarray)):
                kept.append(sample)

        draw()
        kept.sort(key=lambda sample: -sum(np.size(a) for a in sample if isinstance(a, np.ndarray)))
        return kept[:: max(1, len(kept) // 8)]

    def differentiable(self, k: int) -> bool:
        """Whether the k-th array among the arguments has a gradient."""
        given = [a for a in self.drawn[0] if isinstance(a, np.ndarray) or a is None]
        return k < len(given) and given[k] is not None and given[k].dtype.kind == "f"


def primitives() -> dict[str, Primitive]:
    """Every primitive of the engine, by name, wherever it stands."""
    found = {}
    walk = pkgutil.walk_packages
    for module in [
        *walk(minidiff.tape.__path__, "minidiff.tape."),
        *walk(ops.__path__, "minidiff.ops."),
    ]:
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Primitive):
                found[value.name] = value
    return found


def covered() -> set[str]:
    """The names that need a row: those of primitives and of the public functions of `minidiff.ops`."""
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
