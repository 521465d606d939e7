"""What all rooms ask of their arguments. Every error reads «name: given A, wanted B».

Each function takes the argument's name and its value. It gives the value back in the form that the
caller computes with, or raises: TypeError for another kind of thing, ValueError for a wrong value.
"""

import inspect
import math
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

_SURELY_SOME_DARK = 4  # so many images have a pixel below the middle grey
_NUMBER = int | float | np.number
_SCALAR = str | int | float | np.generic
_FAR_OUTSIDE = 10.0  # latents and standardised images stay within it

# --- single values ---


def whole(name: str, value: Any, low: int = 0, high: float = math.inf) -> int:
    """The value as an int; ValueError unless it is an integer from low to high."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or not low <= value <= high:
        limits = f"from {low} to {high}" if high < math.inf else f"of at least {low}"
        raise ValueError(f"{name}: given {value!r}, wanted an integer {limits}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """True or False; TypeError for anything else, however true it is."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: given {type(value).__name__}, wanted True or False")
    return bool(value)


# More numbers than that in one array are a slip: a place or a power too many.
MOST_NUMBERS = 2**28


def sizes(**sizes: Any) -> tuple[int, ...]:
    """The sizes of an array, by name; ValueError unless they are integers of at least 1.

    Also where the array would have too many numbers.
    """
    checked = tuple(whole(name, size, 1) for name, size in sizes.items())
    count = math.prod(checked)
    left = _left.get()
    most = min(MOST_NUMBERS, *left) if left else MOST_NUMBERS
    if count > most:
        names = ", ".join(sizes)
        product = " × ".join(map(str, checked))
        raise ValueError(f"{names}: given {product}, wanted at most {most:,} numbers")
    if left:
        left[0] -= count
    return checked


# How many numbers `sizes` still lets through, alone in a list; or no limit.
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """A block in which arrays of at most so many numbers, in all, have `sizes`.

    For who builds what a stranger's file describes.
    """
    before = _left.set([numbers])
    try:
        yield
    finally:
        _left.reset(before)


# An operation may make so many times as much of an array that is large already.
_MOST_TIMES = 16


def growth(name: str, value: Any, before: int, after: int) -> None:
    """ValueError where a count, such as a width or a number of copies, makes too much of little.

    `before` and `after` are how many numbers the operand and the result have.
    """
    most = max(MOST_NUMBERS, _MOST_TIMES * before)
    if after > most:
        raise ValueError(
            f"{name}: given {value!r}, which makes {after:,} numbers of {before:,}, "
            f"wanted at most {most:,}"
        )


@dataclass(frozen=True)
class Between:
    """The real numbers from low to high. `ends` says which of the two belong: "[]", "(]", …"""

    low: float
    high: float = math.inf
    ends: str = "[]"

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, _NUMBER):
            return False
        above = self.low <= value if self.ends[0] == "[" else self.low < value
        below = value <= self.high if self.ends[1] == "]" else value < self.high
        return bool(above and below)

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high == math.inf:
            return f"a number {'>=' if self.ends[0] == '[' else '>'} {self.low:g}"
        return f"a number in {self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


def among(name: str, value: Any, allowed: Between | Collection) -> Any:
    """The value; ValueError unless it is one of the names or numbers allowed."""
    if not isinstance(value, _SCALAR) or value not in allowed:
        if isinstance(allowed, Between):
            raise ValueError(f"{name}: given {value!r}, wanted {allowed}")
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{name}: given {value!r}, wanted one of {names}")
    return value


def generator(name: str, value: Any) -> np.random.Generator:
    """A Generator as it is, so that it goes on; a seed, an integer of at least 0, as a new one.

    TypeError for anything else: without either, a run could not be repeated.
    """
    if isinstance(value, np.random.Generator):
        return value
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        given = repr(value) if value is None or isinstance(value, bool) else type(value).__name__
        raise TypeError(
            f"{name}: given {given}, wanted a seed such as 0 or a numpy Generator; "
            f"type rng=np.random.default_rng(0)"
        )
    if value < 0:
        raise ValueError(f"{name}: given {value}, wanted a seed of at least 0")
    return np.random.default_rng(value)


def path(name: str, value: Any) -> Path:
    """The path of a file or folder, in which ~ is the user's home."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(
            f"{name}: given {type(value).__name__}, wanted a path such as 'runs/digits'"
        )
    return Path(value).expanduser()


def function_of(name: str, value: Any, arguments: str, **options: Any) -> Any:
    """The value; TypeError unless it is a function that takes these, as "x, t", and the options."""
    reason = ""
    if callable(value):
        try:
            inspect.signature(value).bind(*arguments.split(", "), **options)
        except TypeError as error:
            reason = f": {error}"
        except ValueError:  # compiled functions may keep their signature to themselves
            return value
        else:
            return value
    given = getattr(value, "__name__", type(value).__name__)
    wanted = ", ".join([arguments, *options])
    raise TypeError(f"{name}: given {given}, wanted a function of ({wanted}){reason}")


def gives(name: str, value: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """What the function of this name gave; TypeError unless it is an array of this shape.

    And of this dtype, if there is one. Otherwise broadcasting would hide what is wrong.
    """
    is_array = hasattr(value, "dtype")
    if is_array and value.shape == shape and dtype in (None, value.dtype):
        return value
    given = f"{value.dtype} {tuple(value.shape)}" if is_array else type(value).__name__
    wanted = f"{'an array' if dtype is None else dtype} {tuple(shape)}"
    raise TypeError(f"{name}: given one that gives {given}, wanted one that gives {wanted}")


# --- arrays ---


def plain(name: str, array: Any) -> None:
    """TypeError for a masked array: NumPy's functions drop the mask, and nobody would notice."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: given a masked array, wanted a plain one: type a.filled(value), or "
            f"ops.where(a.mask, value, a.data) with what is to stand where it is masked"
        )


def on_host(name: str, values: Any, dtype: Any = None) -> np.ndarray:
    """The values as a NumPy array; TypeError for those on a device.

    Whoever asks for host values looks at them, and for a device's that would wait for its work.
    """
    if hasattr(values, "__cuda_array_interface__"):
        raise TypeError(
            f"{name}: given values on a CUDA device, wanted them on the host, where they are "
            f"looked at: type md.Tensor({name}).numpy()"
        )
    return np.asarray(values, dtype)


def same_shape_and_dtype(name: str, array: Any, other_name: str, other: Any) -> None:
    """ValueError for another shape than the other array's, TypeError for another dtype."""
    for given, value in {name: array, other_name: other}.items():
        if not hasattr(value, "dtype"):
            raise TypeError(f"{given}: given {type(value).__name__}, wanted an array")
    if array.shape != other.shape:
        raise ValueError(
            f"{name}: given shape {array.shape}, wanted {other.shape}, the shape of {other_name}"
        )
    if array.dtype != other.dtype:
        raise TypeError(
            f"{name}: given {array.dtype}, wanted {other.dtype}, the dtype of {other_name}"
        )


def samples(name: str, array: Any, namespace: ModuleType | Any = np) -> Any:
    """A finite array of floats with the batch first. `namespace` has the functions for its kind."""
    plain(name, array)
    dtype = getattr(array, "dtype", None)
    if dtype not in (np.float32, np.float64):
        kind = type(array).__name__ if dtype is None else dtype
        hint = f": type {name}.astype('float32') / 127.5 - 1" if dtype == np.uint8 else ""
        raise TypeError(f"{name}: given {kind}, wanted a float32 or float64 array{hint}")
    if array.ndim < 1:
        raise ValueError(f"{name}: given shape {array.shape}, wanted (batch, ...)")
    finite = namespace.isfinite(array)
    if not bool(namespace.all(finite)):
        count = array.size - int(namespace.sum(finite))
        first = np.unravel_index(int(namespace.argmin(finite)), array.shape)
        raise ValueError(
            f"{name}: given NaN or infinity in {count} of {array.size} values, the first at "
            f"{tuple(map(int, first))}, wanted finite values"
        )
    return array


def clean_samples(name: str, array: Any, namespace: ModuleType | Any = np) -> Any:
    """Samples without noise: images (batch, height, width, channels) in [-1, 1], or nearly.

    Only a plain mistake is refused. Bright images may have no pixel below 0; but then they are few,
    or all of their pixels are among the 256 levels from −1 to 1, as from files; and they have none
    at 0, which lies between two of these. Other shapes may have any scale.
    """
    samples(name, array, namespace)
    if array.ndim != 4 or array.size == 0:
        return array
    low = float(namespace.min(array))
    high = float(namespace.max(array))
    from_zero = 0 <= low < high and (low == 0 or len(array) >= _SURELY_SOME_DARK)
    if from_zero and high <= 1 and _are_levels(array, namespace):
        return array
    if from_zero or max(-low, high) > _FAR_OUTSIDE:
        if high <= 2:
            mend = f"type {name} * 2 - 1"
        elif from_zero and high <= 255:
            mend = f"type {name} / 127.5 - 1"
        else:
            mend = f"type md.data.Scaling.fit({name}).apply({name})"
        raise ValueError(f"{name}: given {low:g} … {high:g}, wanted images in [-1, 1]: {mend}")
    return array


def _are_levels(array: Any, namespace: ModuleType | Any) -> bool:
    """Whether all values are among the 256 levels from −1 to 1."""
    levels = (array + 1) * 127.5
    off = namespace.abs(levels - namespace.rint(levels))
    return float(namespace.max(off)) < 1e-3


def data_set(name: str, array: Any) -> np.ndarray:
    """Samples to train on or to measure, (n, ..., channels), with at least one value."""
    samples(name, array)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"{name}: given shape {array.shape}, wanted (n, ..., channels) with at least one value"
        )
    return array


def labels(name: str, values: Any, n: int, low: int = 0, high: float = math.inf) -> np.ndarray:
    """Integer labels from low to high, (n,), on the host; 0 is the null label."""
    plain(name, values)
    array = on_host(name, values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: given {array.dtype}, wanted integer labels")
    if array.shape != (n,):
        raise ValueError(f"{name}: given shape {array.shape}, wanted ({n},): one label per sample")
    if n and (_smallest(array) < low or (high < math.inf and _largest(array) > high)):
        lowest = "0 (null)" if low == 0 else f"{low} (0 is the null label)"
        limits = f"in {lowest} … {high}" if high < math.inf else f"from {lowest} up"
        if low == 1 and _smallest(array) == 0:
            limits += f": type {name} + 1"
        raise ValueError(f"{name}: given {_range_of(array)}, wanted labels {limits}")
    return array


def times(name: str, values: Any, last: int, n: int | None = None, first: int = 0) -> np.ndarray:
    """Times in first … last, whole or real, on the host.

    They may have any shape, or, for n samples, () or (n,).
    """
    plain(name, values)
    array = on_host(name, values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}: given {array.dtype}, wanted integers or floats on the host")
    if n is not None and array.shape not in ((), (n,)):
        raise ValueError(
            f"{name}: given shape {array.shape}, wanted one time, or ({n},): one per sample"
        )
    # written so that NaN fails too
    if array.size and not (_smallest(array) >= first and _largest(array) <= last):
        raise ValueError(f"{name}: given {_range_of(array)}, wanted times in {first} … {last}")
    return array


def _smallest(array: np.ndarray) -> Any:
    """The least number, or NaN if there is one: in a third of the time that `min` takes for few."""
    return array.item(array.argmin())


def _largest(array: np.ndarray) -> Any:
    return array.item(array.argmax())


def _range_of(array: np.ndarray) -> str:
    """The smallest and the largest value, or the only one."""
    low = _smallest(array)
    high = _largest(array)
    return f"{low}" if low == high or array.ndim == 0 else f"{low} … {high}"
