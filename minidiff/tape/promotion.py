"""Operands must agree before a kernel sees them: one kind of array, one device, one float dtype."""

from typing import Any

import numpy as np

from ..kernels import _backends, backend_of


def describe(arrays: list) -> str:
    """Shapes and dtypes of operands, for error messages: "float32 (2, 3), float64 (3,), 2.0"."""
    return ", ".join(
        f"{a.dtype} {tuple(a.shape)}" if hasattr(a, "shape") else repr(a) for a in arrays
    )


def agree(name: str, arrays: list, broadcasts: bool, takes_integers: bool) -> type:
    """Bring the operands of operation `name` to one array type, in place, and return that type.

    Python and NumPy scalars stay scalars where the operation broadcasts, so they never widen
    float32; lists become arrays, and integer arrays beside float ones take their dtype, unless the
    operation `takes_integers`.

    Raises TypeError for two devices, two float dtypes, or something that is no number.
    """
    real = [a for a in arrays if type(a) in _backends]
    if not real:  # NumPy scalars and lists are arrays where nothing else is
        numbers = all(isinstance(a, bool | int | float) for a in arrays)
        arrays[:] = [
            np.asarray(a) if numbers or not isinstance(a, bool | int | float) else a for a in arrays
        ]
        real = [a for a in arrays if isinstance(a, np.ndarray)]
    if not all(a.dtype.kind in "fiub" for a in real):
        raise TypeError(f"{name}: expected arrays or numbers; got {describe(arrays)}")
    backend = backend_of(real[0])
    devices = {backend_of(a).device for a in real}
    if len(devices) > 1:
        raise TypeError(
            f"{name}: operands on different devices {sorted(devices)}: {describe(arrays)}; move one with "
            f".to(device)"
        )
    floats = {a.dtype for a in real if _is_float(a)}
    alone = not floats  # then a NumPy scalar, which is what 0-d arrays become, counts as an array
    floats = floats or {a.dtype for a in arrays if isinstance(a, np.floating)}
    if len(floats) > 1:
        raise TypeError(
            f"{name}: operands of different float dtypes: {describe(arrays)}; cast one with .astype(dtype)"
        )
    for i, a in enumerate(arrays):
        if type(a) in _backends:
            if floats and a.dtype.kind in "iu" and not takes_integers:
                arrays[i] = a.astype(next(iter(floats)))
        elif a is not None or broadcasts:
            if isinstance(a, np.generic):
                a = arrays[i] = np.asarray(a) if alone and a.dtype.kind == "f" else a.item()
            if not isinstance(a, bool | int | float | list | tuple | np.ndarray):
                raise TypeError(
                    f"{name}: expected arrays or numbers; got {type(a).__name__} among {describe(arrays)}"
                )
            if not (broadcasts and isinstance(a, bool | int | float)):
                arrays[i] = backend.namespace.asarray(a, dtype=next(iter(floats), None))
    return backend.array


def _is_float(a: Any) -> bool:
    return type(a) in _backends and a.dtype.kind == "f"
