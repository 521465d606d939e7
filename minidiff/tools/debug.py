"""Looking on while operations run: where a tensor was made, and which operation gave the first NaN.

An `Observer` sees every kernel run, every derivative taken and every node made, in all threads of
`sharded`. Where there is none, the tape only asks for one attribute, so a program that is not
watched pays nothing.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from ..kernels import _backends, namespace, to_host
from ..ops.indices import check_places
from ..ops.layers import checked_ids
from ..tape.forward import jvp_of
from ..tape.primitive import Primitive
from ..tape.tape import Node, Value, state

FLOATS = (np.dtype("float32"), np.dtype("float64"))
ENGINE = tuple(
    str(Path(__file__).parents[1] / room)
    for room in ("autograd", "kernels", "messages", "ops", "tape", "tools")
)


class Place(NamedTuple):
    """Where an operation was called: a line outside the engine, and the path of its layer or ""."""

    file: str
    line: int
    function: str
    layer: str

    def __str__(self) -> str:
        layer = f", layer {self.layer}" if self.layer else ""
        return f"{self.file}:{self.line} in {self.function}{layer}"


def here() -> Place:
    """The place that is being executed now, seen from outside the engine."""
    frames = []
    frame = inspect.currentframe()
    while frame is not None:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return _place(frames)


def _place(frames: list[tuple[FrameType, int]]) -> Place:
    """What frames, the innermost first, and the line numbers in them say."""
    line = None
    modules: list = []  # those that are being called
    for frame, number in frames:
        code = frame.f_code
        if line is None and not code.co_filename.startswith(ENGINE):
            line = code.co_filename, number, code.co_name
        owner = frame.f_locals.get("self") if code.co_name == "__call__" else None
        if hasattr(owner, "named_parameters") and (not modules or modules[-1] is not owner):
            modules.append(owner)
    path = [type(root).__name__ for root in modules[-1:]]
    path += reversed([_name_in(parent, child) for child, parent in pairwise(modules)])
    return Place(*(line or ("", 0, "")), ".".join(path))


def _name_in(parent: Any, child: Any) -> str:
    """The attribute of one module that another is, or the element of such an attribute."""
    for name, value in vars(parent).items():
        if value is child:
            return name
        if isinstance(value, list | tuple):
            for i, part in enumerate(value):
                if part is child:
                    return f"{name}.{i}"
    return type(child).__name__


class Observer:
    """The base of the tools: a context manager. Those entered before it see what it sees."""

    outer: "Observer | None" = None

    def __enter__(self):
        self.outer = state.observer
        state.observer = self
        return self

    def __exit__(self, *error: Any) -> None:
        state.observer = self.outer

    def place(self) -> Place:
        """What a node made now keeps as its `where`."""
        return self.outer.place() if self.outer else here()

    def watched(self, saved: dict) -> list[tuple]:
        """(name, counter, count) of what a node has saved, beside the tape's own counters."""
        return self.outer.watched(saved) if self.outer else []

    def run(self, primitive: Primitive, kernel: Callable, arrays: list, statics: dict) -> Any:
        """Run a kernel."""
        if self.outer:
            return self.outer.run(primitive, kernel, arrays, statics)
        return kernel(*arrays, **statics)

    def vjp(self, node: Node, g: Any, needs: Any) -> Any:
        """Take a derivative."""
        return self.outer.vjp(node, g, needs) if self.outer else node.vjp(node, g, needs)  # type: ignore[misc]

    def forward(self, node: Node, tangents: Sequence, kind: type[Value]) -> Any:
        """Push tangents through a node."""
        if self.outer:
            return self.outer.forward(node, tangents, kind)
        return jvp_of(node, tangents, kind)


class _Contents:
    """An array as a counter of writes: its count is a checksum, so that no write is overlooked."""

    def __init__(self, array: Any):
        self.array = array

    def __getitem__(self, _: int) -> int:
        return crc32(to_host(self.array).tobytes())


class debug_mode(Observer):  # noqa: N801
    """In this block operations keep their line and layer, and errors in backward name them.

    An error in forward names its layer; its line is in the traceback anyway. Every array that is
    saved gets a checksum, so that backward notices all writes, also those that NumPy does by itself
    and those to bare arrays and indices. Places and labels on a device are looked at, though that
    waits for it: IndexError for those that are outside.
    """

    def run(self, primitive: Primitive, kernel: Callable, arrays: list, statics: dict) -> Any:
        _check_places(primitive, arrays, statics)
        return super().run(primitive, kernel, arrays, statics)

    def watched(self, saved: dict) -> list[tuple]:
        contents = [(name, _Contents(array)) for name, array in _arrays_in(saved)]
        return [(name, counter, counter[0]) for name, counter in contents]

    def __exit__(self, *error: Any) -> None:
        super().__exit__()
        _, exception, traceback = error
        if exception is not None:
            frames = list(walk_tb(traceback))
            layer = _place(frames[::-1]).layer
            if layer:
                exception.add_note(f"in layer {layer}")


class detect_anomaly(Observer):  # noqa: N801
    """In this block the first NaN raises, and the first ±∞ that comes from finite numbers.

    The FloatingPointError names the operation, or derivative, that gave it, the ranges of what went
    in, and where it was called.
    """

    def run(self, primitive: Primitive, kernel: Callable, arrays: list, statics: dict) -> Any:
        result = super().run(primitive, kernel, arrays, statics)
        out = result[0] if primitive.has_aux else result
        names = primitive.operands
        if primitive.variadic:
            names = [f"{names[0]}[{i}]" for i in range(len(arrays))]
        self._check(primitive.name, out, dict(zip(names, arrays)) | statics, here)
        return result

    def vjp(self, node: Node, g: Any, needs: Any) -> Any:
        gradients = super().vjp(node, g, needs)
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                name = f"the derivative of {node.name} for operand {i}"
                self._check(name, gradient, {"g": g}, lambda: node.where)
        return gradients

    def forward(self, node: Node, tangents: Sequence, kind: type[Value]) -> Any:
        tangent = super().forward(node, tangents, kind)
        if tangent is not None:
            name = f"the forward derivative of {node.name}"
            self._check(name, tangent, {"tangents": list(tangents)}, lambda: node.where)
        return tangent

    def _check(self, name: str, out: Any, inputs: dict, place: Callable) -> None:
        inputs = {key: _bare(value) for key, value in inputs.items()}
        is_nan = _any(_bare(out), "isnan")
        is_new_infinity = _any(_bare(out), "isinf") and not any(
            _any(value, "isinf") for value in inputs.values()
        )
        if is_nan or is_new_infinity:
            ranges = "".join(
                f"\n  {key}: {_range(value)}" for key, value in inputs.items() if value is not None
            )
            raise FloatingPointError(
                f"{name} gave {'NaN' if is_nan else 'infinity'}, at {place()}; from{ranges}"
            )


def _check_places(primitive: Primitive, arrays: list, statics: dict) -> None:
    """IndexError for an index, ids or labels that are not in what they are to be read from."""
    operands = dict(zip(primitive.operands, arrays))
    if primitive.name in ("getitem", "scatter_add"):
        check_places(statics["index"], statics.get("shape", arrays[0].shape), to_host)
    elif primitive.name in ("embedding", "conditioned_dense"):
        checked_ids("ids", to_host(operands["ids"]), len(operands["table"]))
    elif primitive.name == "cross_entropy":
        checked_ids("labels", to_host(operands["labels"]), operands["logits"].shape[-1])


def _arrays_in(saved: dict) -> Iterator[tuple[str, Any]]:
    """(name, array) of what stands in a dict, in tuples and lists too."""
    stack = list(saved.items())
    while stack:
        name, value = stack.pop()
        if isinstance(value, tuple | list):
            stack += [(name, part) for part in value]
        elif isinstance(value, np.ndarray) or type(value) in _backends:
            yield name, value


def _bare(value: Any) -> Any:
    return value.data if isinstance(value, Value) else value


def _is_float_array(value: Any) -> bool:
    return hasattr(value, "dtype") and value.dtype in FLOATS


def _any(value: Any, test: str) -> bool:
    """Whether a number, or any element of an array, is NaN or infinite: "isnan", "isinf"."""
    if isinstance(value, float):
        return getattr(math, test)(value)
    return _is_float_array(value) and bool(getattr(namespace(value), test)(value).any())


def _range(value: Any) -> str:
    """An array as "float32 (2, 3), 0.5 … 1.25, 1 NaN"."""
    if not _is_float_array(value):
        return repr(value)
    xp = namespace(value)
    parts = [f"{value.dtype} {tuple(value.shape)}"]
    finite = value[xp.isfinite(value)]
    if finite.size:
        parts.append(f"{finite.min():.6g} … {finite.max():.6g}")
    for test, name in (("isnan", "NaN"), ("isinf", "infinite")):
        count = int(getattr(xp, test)(value).sum())
        if count:
            parts.append(f"{count} {name}")
    return ", ".join(parts)
