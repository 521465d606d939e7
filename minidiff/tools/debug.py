"""Looking on while operations run: where a tensor was made, and what first gave a number that is
none.

An `Observer` sees every kernel run, every derivative taken and every node made, in all threads of
`sharded`. The tape asks for one attribute where there is none, so nothing is paid for what is not
used.
"""

import inspect
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..kernels import namespace
from ..tape.primitive import Primitive
from ..tape.tape import Node, Value, state

FLOATS = (np.dtype("float32"), np.dtype("float64"))
ENGINE = tuple(
    str(Path(__file__).parents[1] / room)
    for room in ("autograd", "kernels", "ops", "tape", "tools")
)


class Place(NamedTuple):
    """Where an operation was called: a line of code outside the engine, and the path of the layer around it, or ""."""

    file: str
    line: int
    function: str
    layer: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}" + f", layer {self.layer}" * bool(
            self.layer
        )


def here() -> Place:
    """The place that is being executed now, seen from outside the engine."""
    found, frame = None, inspect.currentframe()
    modules: list = []
    while frame is not None:
        code = frame.f_code
        if found is None and not code.co_filename.startswith(ENGINE):
            found = code.co_filename, frame.f_lineno, code.co_name
        owner = frame.f_locals.get("self") if code.co_name == "__call__" else None
        if hasattr(owner, "named_parameters") and (not modules or modules[-1] is not owner):
            modules.append(owner)
        frame = frame.f_back
    names = [_name_in(parent, child) for child, parent in pairwise(modules)]
    layer = ".".join([*(type(root).__name__ for root in modules[-1:]), *reversed(names)])
    return Place(*(found or ("", 0, "")), layer)


def _name_in(parent: Any, child: Any) -> str:
    """The attribute (or its element) of one module that another is."""
    for name, value in vars(parent).items():
        if value is child:
            return name
        if isinstance(value, list | tuple) and any(part is child for part in value):
            return f"{name}.{[part is child for part in value].index(True)}"
    return type(child).__name__


class Observer:
    """The base of the tools, a context manager; those entered before it go on seeing what it sees."""

    outer: "Observer | None" = None

    def __enter__(self):
        self.outer, state.observer = state.observer, self
        return self

    def __exit__(self, *error: Any) -> None:
        state.observer = self.outer

    def place(self) -> Place:
        """What a node made now keeps as its `where`."""
        return self.outer.place() if self.outer else here()

    def run(self, primitive: Primitive, kernel: Any, arrays: list, statics: dict) -> Any:
        """Run a kernel."""
        return (
            self.outer.run(primitive, kernel, arrays, statics)
            if self.outer
            else kernel(*arrays, **statics)
        )

    def pull(self, node: Node, g: Any, needs: Any) -> Any:
        """Take a derivative."""
        return self.outer.pull(node, g, needs) if self.outer else node.pull(node, g, needs)  # type: ignore[misc]


class debug_mode(Observer):  # noqa: N801
    """In this block operations keep the line and the layer that they were called at, and errors in backward name it."""


class detect_anomaly(Observer):  # noqa: N801
    """In this block the first operation, or derivative, that gives NaN, or ±∞ from finite numbers,
    raises.

    The FloatingPointError names it, the ranges of what went in, and where it was called.
    """

    def run(self, primitive: Primitive, kernel: Any, arrays: list, statics: dict) -> Any:
        result = super().run(primitive, kernel, arrays, statics)
        operands = zip(primitive.operands * (len(arrays) if primitive.variadic else 1), arrays)
        self._check(
            primitive.name,
            result[0] if primitive.has_aux else result,
            dict(operands) | statics,
            here,
        )
        return result

    def pull(self, node: Node, g: Any, needs: Any) -> Any:
        pulled = super().pull(node, g, needs)
        for i, part in enumerate(pulled):
            if part is not None:
                self._check(
                    f"the derivative of {node.name} for operand {i}",
                    part,
                    {"g": g},
                    lambda: node.where,
                )
        return pulled

    def _check(self, name: str, out: Any, given: dict, place: Any) -> None:
        out, given = _bare(out), {key: _bare(value) for key, value in given.items()}
        kind = "NaN" if _any(out, "isnan") else "infinity" if _any(out, "isinf") else None
        if kind == "NaN" or (kind and not any(_any(value, "isinf") for value in given.values())):
            listed = "".join(
                f"\n  {key}: {_range(value)}" for key, value in given.items() if value is not None
            )
            raise FloatingPointError(f"{name} gave {kind}, at {place()}; from{listed}")


def _bare(value: Any) -> Any:
    return value.data if isinstance(value, Value) else value


def _any(value: Any, test: str) -> bool:
    if isinstance(value, float):
        return getattr(math, test)(value)
    return getattr(value, "dtype", value) in FLOATS and bool(
        getattr(namespace(value), test)(value).any()
    )


def _range(value: Any) -> str:
    """ "float32 (2, 3), 0.5 … 1.25, 1 NaN" """
    if getattr(value, "dtype", value) not in FLOATS:
        return repr(value)
    xp = namespace(value)
    finite = value[xp.isfinite(value)]
    parts = [
        f"{value.dtype} {tuple(value.shape)}",
        f"{finite.min():.6g} … {finite.max():.6g}" if finite.size else "",
    ]
    for test, name in (("isnan", "NaN"), ("isinf", "infinite")):
        n = int(getattr(xp, test)(value).sum())
        parts.append(f"{n} {name}" if n else "")
    return ", ".join(part for part in parts if part)
