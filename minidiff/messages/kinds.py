"""What an argument may be, from its annotation, or from its name where the annotation says `Any`.

A name means the same everywhere in minidiff: `axis` is an axis, `x` an array. So one table of names
serves all operations and functions. Nothing here runs unless a call has failed.
"""

import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kind:
    """What is wanted, in words, and whether a value is that; a guess if only a name says so."""

    text: str
    fits: Callable[[Any], bool]
    is_guess: bool = False


def one_of(kinds: Sequence[Kind]) -> Kind:
    """What is of one of these kinds."""
    if len(kinds) == 1:
        return kinds[0]
    texts = list(dict.fromkeys(kind.text for kind in kinds))
    text = " or ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]
    return Kind(text, lambda value: any(kind.fits(value) for kind in kinds))


# --- tests ---


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, int | float | np.integer | np.floating)
    return is_real and not isinstance(value, bool) and value == value


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_array(value: Any) -> bool:
    """Numbers in any form: one, an array of any library, or nested lists."""
    if isinstance(value, bool | int | float):
        return True
    if isinstance(value, list | tuple):
        try:
            return all(map(_is_array, value)) and len(set(map(_shape, value))) <= 1
        except ValueError:
            return False
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return kind in ("f", "i", "u", "b") and isinstance(getattr(value, "shape", None), tuple)


def _shape(value: Any) -> tuple:
    return value.shape if hasattr(value, "shape") else np.shape(value)


def _is_array_of(kinds: str) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        if not _is_array(value):
            return False
        array = value if hasattr(value, "dtype") else np.asarray(value)
        return array.dtype.kind in kinds or 0 in array.shape

    return fits


def _are_whole(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(map(_is_whole, value))


def _is_pair_of_axes(value: Any) -> bool:
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(_is_whole(part) or _are_whole(part) for part in value)


def _are_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) > 0 and all(map(_is_array, value))
    return _is_array(value) and _shape(value) != ()


def _is_dtype(value: Any) -> bool:
    try:
        return value is not None and np.dtype(value).kind in "fiub"
    except TypeError:
        return False


def _is_index(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(
        part is None or part is ... or isinstance(part, slice) or _is_array_of("iub")(part)
        for part in parts
    )


def _is_rng(value: Any) -> bool:
    return (_is_whole(value) and value >= 0) or hasattr(value, "standard_normal")


def _is_function(value: Any) -> bool:
    return callable(value)


ANYTHING = Kind("", lambda value: True)
NONE = Kind("None", lambda value: value is None)
WHOLE = Kind("an integer", _is_whole)
NUMBER = Kind("a number", _is_number)
FLAG = Kind("True or False", _is_flag)
TEXT = Kind("a string", lambda value: isinstance(value, str))
ARRAY = Kind("an array of numbers", _is_array)
INTEGERS = Kind("an array of integers", _is_array_of("iub"))
ARRAYS = Kind("a sequence of arrays", _are_arrays)
DTYPE = Kind("a real dtype, such as np.float32", _is_dtype)
WHOLES = Kind("a tuple of integers", _are_whole)
INDEX = Kind("an index: integers, slices, ..., None or arrays of integers or booleans", _is_index)
RNG = Kind("a seed or a NumPy Generator", _is_rng)
FUNCTION = Kind("a function", _is_function)
PATH = Kind("a path", lambda value: isinstance(value, str | os.PathLike))
ITERABLE = Kind("a sequence", lambda value: isinstance(value, Iterable) and not _is_text(value))
SEQUENCE = Kind("a sequence", lambda value: hasattr(value, "__len__") and not _is_text(value))
MAPPING = Kind("a dict", lambda value: isinstance(value, Mapping))


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes | dict | set)


def _or_none(kind: Kind) -> Kind:
    return one_of([kind, NONE])


PAIR = one_of([WHOLE, Kind("a pair of integers", lambda v: _are_whole(v) and len(v) == 2)])
AXES = one_of([WHOLE, WHOLES])
TWO_AXES = one_of([WHOLE, Kind("a pair of axes or of tuples of them", _is_pair_of_axes)])
NUMBERS = one_of([NUMBER, ARRAY])

# By name, where the annotation says nothing. The last line that has a name counts.
_KINDS_OF_NAMES = [
    (
        ARRAY,
        "x y w q k v c e a g x0 x_t qkv noise known mask table logits output condlist start stop "
        "primals tangents means points mean log_variance mean1 log_variance1 mean2 log_variance2 "
        "scaled data fill_value default pad_width labels",
    ),
    (
        _or_none(ARRAY),
        "shift skip b weight bias running_mean running_var a_min a_max condition gradient",
    ),
    (NUMBERS, "values log_snr t s alpha sigma scale weights stds"),
    (INTEGERS, "ids indices kth indices_or_sections"),
    (ARRAYS, "arrays tup xs choicelist xi"),
    (AXES, "reps repeats source destination shape"),
    (_or_none(AXES), "axis"),
    (_or_none(one_of([AXES, TWO_AXES])), "axes"),
    (PAIR, "padding dilation output_padding output_size kernel x_size"),
    (_or_none(PAIR), "stride size"),
    (WHOLE, "axis1 axis2 offset groups rows heads num_classes n"),
    (FLAG, "keepdims equal_nan full_matrices compute_uv"),
    (_or_none(DTYPE), "dtype"),
    (INDEX, "index obj"),
    (RNG, "rng"),
    (FUNCTION, "f"),
]
NAMES = {name: kind for kind, names in _KINDS_OF_NAMES for name in names.split()}
# Of operations: what is no array there, though it is elsewhere.
STATICS = NAMES | {"k": WHOLE, "shift": AXES, "scale": WHOLE, "size": PAIR}


def operands_and_statics(operands: Sequence[str], statics: Sequence[str]) -> dict[str, Kind]:
    """What the arguments of an operation may be."""
    kinds = {name: NAMES.get(name, ARRAY) for name in operands}
    return kinds | {name: STATICS.get(name, ANYTHING) for name in statics}


_ANNOTATED: dict[Any, Kind] = {
    int: WHOLE,
    float: NUMBER,
    bool: FLAG,
    str: TEXT,
    type(None): NONE,
    np.ndarray: ARRAY,
    np.random.Generator: RNG,
    os.PathLike: PATH,
    dict: MAPPING,
    Mapping: MAPPING,
    Iterable: ITERABLE,
    Sequence: SEQUENCE,
    list: SEQUENCE,
    tuple: SEQUENCE,
    Callable: FUNCTION,
    type: Kind("a class", lambda value: isinstance(value, type)),
    types.ModuleType: Kind("a module", lambda value: hasattr(value, "__name__")),
}


def kind_of(name: str, annotation: Any, default: Any = ...) -> Kind:
    """The kind of an argument; its default is always one."""
    is_guess = annotation is Any
    kind = NAMES.get(name, ANYTHING) if is_guess else _of_annotation(annotation)
    is_named = default is None or isinstance(default, str)
    if not kind.fits(default) and default not in (..., inspect.Parameter.empty):
        text = repr(default) if is_named else "the default"
        kind = one_of([kind, Kind(text, lambda value: value is default)])
    return replace(kind, is_guess=is_guess)


def _of_annotation(annotation: Any) -> Kind:
    if annotation is Any:
        return ANYTHING
    origin = typing.get_origin(annotation)
    parts = typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return one_of([_of_annotation(part) for part in parts])
    if origin is typing.Annotated:
        return ARRAY
    if origin is tuple and set(parts) <= {int, ...}:
        return WHOLES
    if annotation in _ANNOTATED or origin in _ANNOTATED:
        return _ANNOTATED[annotation if annotation in _ANNOTATED else origin]
    if getattr(annotation, "_is_protocol", False):  # what draws noise
        return RNG
    if isinstance(annotation, type):
        article = "an" if annotation.__name__[0] in "AEIOU" else "a"
        return Kind(f"{article} {annotation.__name__}", lambda value: isinstance(value, annotation))
    return ANYTHING
