"""What an index is made of: places as plain arrays where the indexed array lives, and checked."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import plain
from ..kernels import namespace
from ..tape.tape import Value


def array_namespace(x: Any) -> Any:
    """The module of array functions for an array or Tensor."""
    return namespace(x.data if isinstance(x, Value) else x)


def plain_index(index: Any, xp: Any) -> Any:
    """An index, or a part of one, with Tensors and lists made arrays of the namespace xp."""
    if isinstance(index, tuple):
        return tuple(plain_index(part, xp) for part in index)
    if isinstance(index, list):
        for part in index:
            plain("index", part)
        return xp.asarray(index)
    plain("index", index)
    index = index.data if isinstance(index, Value) else index
    return xp.asarray(index) if isinstance(index, np.ndarray) else index


def index_of(x: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """An index into `shape` as plain arrays where x lives; IndexError for a host place outside."""
    xp = array_namespace(x)
    if xp is not np:
        check_places(index, shape)
    return plain_index(index, xp)


def check_places(index: Any, shape: tuple[int, ...], to_host: Callable | None = None) -> None:
    """IndexError, NumPy's own, for places that are not in an array of this shape.

    Those on a device are looked at if `to_host` gives them.
    """
    parts = index if isinstance(index, tuple) else (index,)
    places = []
    for part in parts:
        part = part.data if isinstance(part, Value) else part
        if hasattr(part, "dtype") and not isinstance(part, np.ndarray | np.generic):
            if to_host:
                part = to_host(part)
            elif part.dtype.kind == "b":  # how many places it has nobody knows
                return
            else:
                part = np.zeros(part.shape, int)
        places.append(part)
    np.broadcast_to(np.int8(0), shape)[tuple(places)]
