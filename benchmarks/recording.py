"""A step written down as a list of calls, which can be run again without tape and derivatives.

    Traced arrays ── a kernel, an operator, a copy ──> Call(function, arguments, results)

`Traced` is the array of a backend of its own, which has every kernel and notes each call as it
runs. An array that a call makes gets a numbered cell; arguments and results are numbers of cells. A
slice or a transpose is no call, but a View of its array's cell.
"""

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minidiff import kernels

base_of = np.ndarray.base.__get__  # where `Traced.base` says something else


class View(NamedTuple):
    """A part of the array in a cell."""

    cell: int
    shape: tuple
    dtype: np.dtype
    offset: int
    strides: tuple


@dataclass
class Call:
    """A noted call.

    `arguments` are numbers of cells, and Views; `results` numbers of cells, None for a result that
    is no new array.
    """

    name: str
    function: Callable
    arguments: tuple
    statics: dict
    results: list
    dead: list = field(default_factory=list)  # cells that nobody reads after this call

    def uses(self) -> set[int]:
        read = {place.cell if type(place) is View else place for place in flat(self.arguments)}
        return read | {cell for cell in self.results if cell is not None}


def mapped(f: Callable, tree: Any) -> Any:
    """f of each leaf of a tree of tuples and lists."""
    return type(tree)(mapped(f, part) for part in tree) if type(tree) in (tuple, list) else f(tree)


def flat(tree: Any) -> list:
    return [leaf for part in tree for leaf in flat(part)] if type(tree) in (tuple, list) else [tree]


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory this one shares."""
    while isinstance(base_of(array), np.ndarray):
        array = base_of(array)
    return array


class Recording:
    """The calls so far, and the cells: each holds what a call made, or a constant."""

    def __init__(self):
        self.calls: list[Call] = []
        self.cells: list[Any] = []
        # id of an array that owns memory -> the array, and its cell: None if no call made it
        self.owners: dict[int, tuple] = {}

    def give(self, array: np.ndarray) -> "Traced":
        """The array as one whose computations are noted."""
        self.owners[id(owner(array))] = owner(array), None
        return array.view(Traced)

    def place(self, value: Any) -> int | View:
        """Where the value will be when the calls are run again."""
        cell = None
        if isinstance(value, np.ndarray):
            _, cell = self.owners.get(id(owner(value)), (None, None))
        if cell is None:
            if isinstance(value, Traced) and id(owner(value)) not in self.owners:
                raise RuntimeError("an array came from a call that was not noted")
            self.cells.append(bare(value))
            return len(self.cells) - 1
        whole = self.cells[cell]
        offset = value.ctypes.data - whole.ctypes.data
        same = (value.shape, value.strides, offset) == (whole.shape, whole.strides, 0)
        return cell if same else View(cell, value.shape, value.dtype, offset, value.strides)

    def note(self, name: str, function: Callable, arguments: tuple, statics: dict) -> Any:
        """The function's result; the call is written down."""
        out = mapped(scalars_as_arrays, function(*mapped(bare, arguments), **statics))
        places = mapped(self.place, arguments)
        results = []
        for part in flat(out):
            new = isinstance(part, np.ndarray) and id(owner(part)) not in self.owners
            results.append(len(self.cells) if new else None)
            if new:
                self.owners[id(owner(part))] = owner(part), len(self.cells)
                self.cells.append(part)
        if name == "+=" or any(cell is not None for cell in results):
            self.calls.append(Call(name, function, places, statics, results))
        return mapped(lambda part: part.view(Traced) if isinstance(part, np.ndarray) else part, out)


class Traced(np.ndarray):
    """An array whose computations are noted in `recording`."""

    recording = Recording()

    @property
    def base(self):
        """None where an ordinary array would own its memory.

        The backward pass adds to such gradients in place.
        """
        below = base_of(self)
        return None if type(below) is np.ndarray and base_of(below) is None else below

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **statics):
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return self.recording.note("+=" if out else "operator", function, inputs + out, statics)

    def copy(self, order="C"):
        return self.recording.note("copy", np.copy, (self,), {})


def bare(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Traced) else value


def scalars_as_arrays(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.generic) else value


def noted(name: str, function: Callable) -> Callable:
    return lambda *arguments, **statics: Traced.recording.note(name, function, arguments, statics)


class Table(UserDict):
    """Every kernel there is."""

    __contains__ = lambda self, name: True
    __missing__ = lambda self, name: noted(name, kernels.find(name, np.ndarray))


class Namespace:
    """NumPy's functions."""

    __getattr__ = lambda self, name: noted(name, getattr(np, name))


KERNELS = Table()
to_traced = lambda array: Traced.recording.give(array)
kernels.register(kernels.Backend(Traced, "traced", Namespace(), lambda: KERNELS, to_traced, bare))


def play(calls: list[Call], cells: list) -> None:
    """Run the calls. A cell is emptied after its last use: its memory serves later calls."""

    def fetch(place: Any) -> Any:
        if type(place) is View:
            return np.ndarray(
                place.shape, place.dtype, cells[place.cell], place.offset, place.strides
            )
        return cells[place] if type(place) is int else type(place)(map(fetch, place))

    for call in calls:
        out = call.function(
            *[cells[a] if type(a) is int else fetch(a) for a in call.arguments], **call.statics
        )
        for cell, part in zip(call.results, flat(out)):
            if cell is not None:
                cells[cell] = part
        del out
        for cell in call.dead:
            cells[cell] = None
