"""Operands must agree before a kernel sees them: one type of array, one device, one float dtype."""

from typing import Any

import numpy as np

from .. import checks
from ..kernels import _backends, _is_known, backend_of

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
REAL = "fiub"  # the kinds of dtypes: floats, integers, booleans


def common_type(
    arrays: list, broadcasts: bool, takes_integers: list[int], wants_floats: bool
) -> type | None:
    """The type of the arrays if they agree as they are, as they nearly always do; else None.

    `takes_integers` has the places of the operands that may be integers beside floats.
    """
    # What agrees with anything: numbers, where they are broadcast; else operands that are left out.
    neutral = (int, float) if broadcasts else (type(None),)
    array_type = None
    dtype = None
    for place, array in enumerate(arrays):
        if type(array) is array_type:
            if array.dtype is dtype:
                continue
            if place not in takes_integers or array.dtype.kind not in "iu":
                return None
        elif array_type is None and type(array) in _backends:
            array_type = type(array)
            dtype = array.dtype
        elif type(array) not in neutral:
            return None
    if dtype is FLOAT32 or dtype is FLOAT64:
        return array_type
    if dtype is None or wants_floats or dtype.kind not in REAL or not dtype.isnative:
        return None
    return array_type


def promote(
    name: str, arrays: list, broadcasts: bool, takes_integers: list[int], wants_floats: bool
) -> type:
    """Bring the operands of operation `name` to one array type, in place, and return that type.

    Python and NumPy scalars stay scalars where the operation broadcasts, so they never widen
    float32; lists become arrays, and integer arrays beside float ones take their dtype, but for
    the places in `takes_integers`; those are host values, which are moved to where the others are.
    Where the operation `wants_floats`, integers and booleans alone become float64, as for NumPy's
    mean and division.

    Raises TypeError for two devices, two float dtypes, something that is no number, or an array
    that is more than its numbers.
    """
    for i, a in enumerate(arrays):
        refuse_subclass(name, a)
        if isinstance(a, np.ndarray) and not a.dtype.isnative:  # as files of another machine are
            arrays[i] = a.astype(a.dtype.newbyteorder("="))
    real = [a for a in arrays if _is_known(type(a))]
    for i in takes_integers:
        others = [a for a in real if not isinstance(a, np.ndarray)]
        if others and isinstance(arrays[i], np.ndarray):
            arrays[i] = backend_of(others[0]).from_host(arrays[i])
            real = [a for a in arrays if type(a) in _backends]
    if not real:  # NumPy scalars and lists are arrays where nothing else is
        only_numbers = all(_is_number(a) for a in arrays)
        for i, a in enumerate(arrays):
            if only_numbers or not _is_number(a):
                arrays[i] = np.asarray(a)
        real = [a for a in arrays if isinstance(a, np.ndarray)]
    if not all(a.dtype.kind in REAL for a in real):
        raise TypeError(f"{name}: given {describe(arrays)}, wanted arrays of real numbers")
    devices = {backend_of(a).device for a in real}
    if len(devices) > 1:
        raise TypeError(
            f"{name}: given operands on different devices {sorted(devices)}: {describe(arrays)}; "
            f"wanted one device: type x.to(device) for one of them"
        )
    dtypes = {a.dtype for a in real if a.dtype.kind == "f"}
    scalars_count = not dtypes  # then a NumPy scalar, which is what 0-d arrays become, is an array
    if scalars_count:
        dtypes = {a.dtype for a in arrays if isinstance(a, np.floating)}
    if len(dtypes) > 1:
        raise TypeError(
            f"{name}: given operands of different float dtypes: {describe(arrays)}; wanted one "
            f"dtype: type x.astype(dtype) for one of them"
        )
    dtype = next(iter(dtypes), FLOAT64 if wants_floats else None)

    cast = "iub" if wants_floats else "iu"
    backend = backend_of(real[0])
    for i, a in enumerate(arrays):
        if type(a) in _backends:
            if dtype is not None and a.dtype.kind in cast and i not in takes_integers:
                arrays[i] = a.astype(dtype)
            continue
        if a is None and not broadcasts:
            continue
        if isinstance(a, np.generic):
            a = np.asarray(a) if scalars_count and a.dtype.kind == "f" else a.item()
            arrays[i] = a
        if not (_is_number(a) or isinstance(a, list | tuple | np.ndarray)):
            raise TypeError(
                f"{name}: given {type(a).__name__} among {describe(arrays)}, wanted arrays or "
                f"numbers"
            )
        if not (broadcasts and _is_number(a)):
            arrays[i] = backend.namespace.asarray(a, dtype=dtype)
            if np.asarray(a).dtype.kind not in REAL:  # "2" has become 2, and None NaN
                raise TypeError(f"{name}: given {a!r}, wanted arrays of real numbers")
    return backend.array


def refuse_subclass(name: str, array: Any) -> None:
    """TypeError for NumPy arrays that mean more than their numbers: a mask, or always a matrix."""
    if type(array) is np.ndarray or not isinstance(array, np.ndarray):
        return
    checks.plain(name, array)
    if isinstance(array, np.matrix):
        raise TypeError(
            f"{name}: given an np.matrix, wanted a plain array: type np.asarray(a), and @ for the "
            f"product of matrices"
        )


def describe(arrays: list) -> str:
    """Shapes and dtypes of operands, for error messages: "float32 (2, 3), float64 (3,), 2.0"."""
    return ", ".join(
        f"{a.dtype} {tuple(a.shape)}" if hasattr(a, "shape") else repr(a) for a in arrays
    )


def _is_number(a: Any) -> bool:
    return isinstance(a, bool | int | float)
