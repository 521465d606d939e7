"""Computing a function once more: with the same draws, and a look whether it gives the same."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from gc import get_referents
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from .. import kernels
from ..kernels import Array
from ..tape.tape import Value, state

PACKAGE = __name__.split(".")[0]
# They hold no Generators, or too many other things to look through.
CLOSED = (Value, np.ndarray, np.generic, str, bytes, int, float, ModuleType, type(None))
MOST_COMPARED = 4096  # elements of a result


class Draws:
    """The state of Generators now, to be returned to: those given, and those of the piece.

    The piece is that of `sharded` which runs in this thread, if there is one.
    """

    def __init__(self, generators: Iterable[np.random.Generator]):
        self.piece: Any = state.piece
        self.of_piece = dict(self.piece.generators) if self.piece else {}
        self.states = _states([*generators, *self.of_piece.values()])

    @contextmanager
    def again(self) -> Iterator[None]:
        """A block in which the same numbers are drawn once more; then all goes on from now."""
        piece_now = state.piece
        of_piece_now = self.piece.generators if self.piece else {}
        states_now = _states([rng for rng, _ in self.states])
        state.piece = self.piece
        if self.piece:
            self.piece.generators = dict(self.of_piece)
        _restore(self.states)
        try:
            yield
        finally:
            _restore(states_now)
            if self.piece:
                self.piece.generators = of_piece_now
            state.piece = piece_now


def _states(generators: list[np.random.Generator]) -> list[tuple[np.random.Generator, Any]]:
    return [(rng, rng.bit_generator.state) for rng in generators]


def _restore(states: list[tuple[np.random.Generator, Any]]) -> None:
    for rng, drawn in states:
        rng.bit_generator.state = drawn


def generators_in(*things: Any, of_layers: bool = True) -> list[np.random.Generator]:
    """The Generators that these functions, objects and containers hold, at any depth.

    A function holds what it closes over, its defaults, and the globals that its code names; all
    else holds what the garbage collector finds in it: attributes, slots, items, its class and the
    methods there. The code of libraries is left out, but not what their objects hold. Without
    `of_layers`, what objects of this package hold themselves is left out: they draw by
    `piece_generator`.
    """
    found = {}
    seen = set()
    stack = [things]
    while stack:
        holder = stack.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        layer = _is_ours(type(holder).__module__)
        for part in _held_by(holder, layer):
            kind: Any = type(part)
            role = _role(kind)
            if role == "holder":
                stack.append(part)
            elif role == "generator" and (of_layers or not layer):
                found[id(part)] = part
    return list(found.values())


@cache
def _role(kind: type) -> str:
    """Whether it is a Generator, may hold some, or holds none."""
    if issubclass(kind, np.random.Generator):
        return "generator"
    return "closed" if issubclass(kind, CLOSED) else "holder"


@cache
def _is_ours(module: str) -> bool:
    return module.split(".")[0] == PACKAGE


@cache
def _is_library(module: str) -> bool:
    """Whether the module is ours, of the standard library, or of an installed package."""
    if _is_ours(module) or module.split(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return "site-packages" in str(file)


def _held_by(thing: Any, is_ours: bool) -> Iterable:
    """What one function, class, object or container holds itself."""
    if is_ours:
        return vars(thing).values() if hasattr(thing, "__dict__") else ()
    if isinstance(thing, FunctionType):
        return _held_by_function(thing)
    if isinstance(thing, type) and _is_library(thing.__module__):
        return ()
    return get_referents(thing)


def _held_by_function(f: FunctionType) -> list:
    held = [*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()]
    for cell in f.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # the name is not bound yet
            continue
    if _is_library(str(f.__module__)):
        return held
    names = set(_names_in(f.__code__))
    for name in names & f.__globals__.keys():
        value = f.__globals__[name]
        if isinstance(value, ModuleType):  # rng of `settings.rng`
            held += [vars(value)[part] for part in names & vars(value).keys()]
        else:
            held.append(value)
    return held


def _names_in(code: CodeType) -> Iterator[str]:
    """The globals and attributes that code names, with the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def sample_of(array: Array) -> np.ndarray:
    """Some of its elements, on the host, to know it by: all of a small one."""
    flat = array.reshape(-1)
    step = max(1, flat.size // MOST_COMPARED)
    return np.array(kernels.to_host(flat[::step]))


def check_same(name: str, now: Array, sample: np.ndarray) -> None:
    """RuntimeError unless a result is the one of which there is a sample, up to rounding."""
    now = sample_of(now)
    then = sample.reshape(-1)
    tolerance = np.sqrt(np.finfo(then.dtype).eps)
    largest = np.abs(then[np.isfinite(then)]).max(initial=0)
    same = now.shape == then.shape and np.allclose(
        now, then, rtol=tolerance, atol=tolerance * largest, equal_nan=True
    )
    if not same:
        raise RuntimeError(
            f"{name}: given another result when the function was computed again, wanted the same: "
            f"something that it reads has changed since, or it draws from a Generator that it does "
            f"not hold; hand over as arguments what changes and what draws"
        )


def check_same_inputs(name: str, now: Iterable, then: Iterable) -> None:
    """RuntimeError unless a function has read the same leaves and nodes as it did."""
    if set(now) != set(then):
        raise RuntimeError(
            f"{name}: given other Tensors when the function was computed again, wanted those that "
            f"it read first: a name in it was bound anew, as in a loop; hand its Tensors over as "
            f"arguments, {name}(f)(h, w), or as defaults, lambda h, w=w: …"
        )
