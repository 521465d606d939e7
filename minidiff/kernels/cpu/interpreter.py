"""`Interpreter`: the steps of a vector body run at once by NumPy, for NUMBA_DISABLE_JIT=1 (see `vector`)."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np


class Place:
    """A place in an array, for the interpreter."""

    def __init__(self, array: np.ndarray, index: int):
        self.array, self.index = array, index

    def __add__(self, steps: int) -> "Place":
        return Place(self.array, self.index + steps)

    def numbers(self, count: int) -> np.ndarray:
        """So many numbers from there on, all of which must lie in the array."""
        if count and not 0 <= self.index <= len(self.array) - count:
            raise IndexError(f"{count} numbers at {self.index} of {len(self.array)}")
        return self.array[self.index : self.index + count]


class Box:
    """The interpreter's `Variable`."""

    def __init__(self, value: np.ndarray):
        self.value = value

    def get(self) -> np.ndarray:
        return self.value

    def set(self, value: np.ndarray) -> None:
        self.value = value


class Interpreter:
    """NumPy's twin of `Emitter`: the same steps, run at once."""

    def __init__(self, lanes: int):
        self.lanes = lanes

    def half(self) -> "Interpreter":
        return Interpreter(self.lanes // 2)

    def call(self, body: Callable, *arguments: Any) -> None:
        body(self, *arguments)

    def constant(self, number: float) -> np.ndarray:
        return np.full(self.lanes, number, np.float32)

    def load(self, place: Place, where: np.ndarray | None = None) -> np.ndarray:
        count = self.lanes if where is None else int(where.sum())
        return np.concatenate([place.numbers(count), np.zeros(self.lanes - count, np.float32)])

    def store(self, value: np.ndarray, place: Place, where: np.ndarray | None = None) -> None:
        count = self.lanes if where is None else int(where.sum())
        place.numbers(count)[:] = value[:count]

    stream = store

    def integer(self, place: Place) -> int:
        return int(place.numbers(1)[0])

    def splat(self, place: Place) -> np.ndarray:
        return np.full(self.lanes, place.numbers(1))

    def first(self, count: int) -> np.ndarray:
        return np.arange(self.lanes) < count

    def fma(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return a * b + c

    round, sqrt, smaller = staticmethod(np.rint), staticmethod(np.sqrt), staticmethod(min)
    below = fewer = staticmethod(operator.lt)
    variable = Box

    def two_to(self, n: np.ndarray) -> np.ndarray:
        return np.ldexp(np.float32(1), np.nan_to_num(n).astype(np.int32))

    def spread(
        self, vectors: dict[int, np.ndarray], k: int, inputs: int, outputs: int
    ) -> np.ndarray:
        places = np.arange(self.lanes) // outputs * inputs + k
        several = np.zeros((max(vectors) + 1, self.lanes), np.float32)
        several[list(vectors)] = list(vectors.values())
        return several.reshape(-1).take(places, mode="clip")

    def inside(self, index: int, size: int) -> bool:
        return 0 <= index < size

    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        if isinstance(yes, np.ndarray):
            return np.where(condition, yes, no)
        return yes if condition else no

    def when(
        self, condition: bool, yes: Callable[[], None], no: Callable[[], None] = lambda: None
    ) -> None:
        (yes if condition else no)()

    def loop(self, count: int) -> Callable[[Callable[[int], None]], None]:
        def run(body: Callable[[int], None]) -> None:
            for index in range(count):
                body(index)

        return run
