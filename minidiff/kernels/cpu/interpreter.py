"""The interpreter: what each step of a vector body means, in NumPy. Read this file first.

A *vector body* is a Python function that is written on the steps below: `e.load`, `e.fma`, `e.loop`
and so on (`vector` has an example). Its first argument `e` runs them. Here every step runs at once,
on small NumPy arrays, so that a debugger can follow it: that is what NUMBA_DISABLE_JIT=1 does. The
`Emitter` has the same steps and writes LLVM instructions for them.

A body handles five kinds of things:

    place       where in an array of float32 or integers something lies; place + 3 is 3 numbers on
    vector      `e.lanes` float32 numbers side by side
    mask        one truth value for each lane
    integer     a whole number known at run time: a size, an index
    condition   a truth value known at run time
"""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Vector = np.ndarray
Mask = np.ndarray


class Place:
    """A place in a flat array: the number at `index`, and those after it."""

    def __init__(self, array: np.ndarray, index: int):
        self.array = array
        self.index = index

    def __add__(self, numbers: int) -> "Place":
        return Place(self.array, self.index + numbers)

    def numbers(self, count: int) -> np.ndarray:
        """The next `count` numbers; IndexError unless all of them lie in the array."""
        if count and not 0 <= self.index <= len(self.array) - count:
            raise IndexError(f"{count} numbers at {self.index} of {len(self.array)}")
        return self.array[self.index : self.index + count]


class Variable:
    """A vector that loops may change."""

    def __init__(self, value: Vector):
        self.value = value

    def get(self) -> Vector:
        return self.value

    def set(self, value: Vector) -> None:
        self.value = value


class Interpreter:
    """Runs each step of a vector body at once. Vectors also have Python's + − × ÷ and unary −."""

    variable = Variable

    def __init__(self, lanes: int):
        self.lanes = lanes

    # --- vectors from memory, and back ---

    def load(self, place: Place, mask: Mask | None = None) -> Vector:
        """The vector at `place`; with a mask of the first lanes, zeros in the others."""
        count = self.lanes if mask is None else int(mask.sum())
        return np.concatenate([place.numbers(count), np.zeros(self.lanes - count, np.float32)])

    def load_broadcast(self, place: Place) -> Vector:
        """The one number at `place`, in every lane."""
        return np.full(self.lanes, place.numbers(1))

    def store(self, value: Vector, place: Place, mask: Mask | None = None) -> None:
        """Write the vector to `place`; with a mask of the first lanes, only those."""
        count = self.lanes if mask is None else int(mask.sum())
        place.numbers(count)[:] = value[:count]

    def stream(self, value: Vector, place: Place) -> None:
        """Store past the caches, to a place that is a multiple of a vector's size in memory."""
        self.store(value, place)

    def to_aligned(self, place: Place) -> int:
        """How many numbers after `place` the next such place is: 0 … lanes − 1."""
        return -place.index % self.lanes

    def integer(self, place: Place) -> int:
        """The whole number at `place`, in an array of integers."""
        return int(place.numbers(1)[0])

    # --- vectors from vectors ---

    def constant(self, number: float) -> Vector:
        return np.full(self.lanes, number, np.float32)

    def fma(self, a: Vector, b: Vector, c: Vector) -> Vector:
        """a · b + c."""
        return a * b + c

    def round(self, a: Vector) -> Vector:
        """Each lane to the nearest whole number, halves to the even one."""
        return np.rint(a)

    def sqrt(self, a: Vector) -> Vector:
        return np.sqrt(a)

    def exp2i(self, n: Vector) -> Vector:
        """2ⁿ for whole n from −126 to 127."""
        return np.ldexp(np.float32(1), np.nan_to_num(n).astype(np.int32))

    def permute(self, vectors: dict[int, Vector], numbers: list[int]) -> Vector:
        """Lane l gets number `numbers[l]` of vectors 0, 1, 2, … laid end to end.

        `vectors` has those of them that are needed.
        """
        end_to_end = np.zeros((max(vectors) + 1, self.lanes), np.float32)
        for k, vector in vectors.items():
            end_to_end[k] = vector
        return end_to_end.reshape(-1).take(numbers, mode="clip")

    # --- masks and conditions ---

    def mask_first(self, count: int) -> Mask:
        """The mask of the first `count` lanes, which is all of them if there are no more."""
        return np.arange(self.lanes) < count

    def lt(self, a: Any, b: Any) -> Any:
        """a < b: the condition for two integers, the mask for two vectors (false for NaN)."""
        return operator.lt(a, b)

    def inside(self, index: int, size: int) -> bool:
        """The condition 0 ≤ index < size."""
        return 0 <= index < size

    def select(self, condition: Any, yes: Any, no: Any) -> Any:
        """`yes` or `no`: two vectors by a mask, or two integers or places by a condition."""
        if isinstance(yes, np.ndarray):
            return np.where(condition, yes, no)
        return yes if condition else no

    def min(self, a: int, b: int) -> int:
        """The smaller of two integers."""
        return min(a, b)

    def max(self, a: int, b: int) -> int:
        """The larger of two integers."""
        return max(a, b)

    # --- what runs when, and how often ---

    def loop(self, *counts: int) -> Callable[[Callable], None]:
        """A decorator: runs the function for each index below count; several counts are nested."""

        def run(body: Callable) -> None:
            for index in itertools.product(*map(range, counts)):
                body(*index)

        return run

    def when(
        self, condition: bool, yes: Callable[[], None], no: Callable[[], None] = lambda: None
    ) -> None:
        """yes() if the condition holds, else no()."""
        if condition:
            yes()
        else:
            no()

    def call(self, body: Callable, *arguments: Any) -> None:
        """body(e, *arguments); the emitter makes it a function of its own, compiled once."""
        body(self, *arguments)

    def half(self) -> "Interpreter":
        """An interpreter of vectors with half as many lanes."""
        return Interpreter(self.lanes // 2)
