"""Floor 1: kernels. A kernel takes arrays and gives arrays; it is found by its name and by the type
of its arrays.

A backend is one line of a table: an array type, the device's name, the namespace of array
functions, and the kernels that are faster than `generic`. There is no current device: the arrays
themselves say where the work is done.
"""

import importlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # np.ndarray, or the array of another backend


@dataclass(frozen=True)
class Backend:
    """Where arrays of one type live and what computes on them.

    `kernels` is the name of a module with a table `KERNELS: dict[str, Callable]`, imported when
    first asked, or None. `from_host` and `to_host` move a NumPy array there and back.
    """

    array: type
    device: str
    namespace: ModuleType | Any
    kernels: str | None = None
    from_host: Callable[[np.ndarray], Array] = np.asarray
    to_host: Callable[[Array], np.ndarray] = np.asarray


_backends: dict[type, Backend] = {}
# by name and type of array, what `find` has found
found: defaultdict[str, dict[type, Callable]] = defaultdict(dict)


def register(backend: Backend) -> None:
    """Make a backend known; its arrays are dispatched to it from now on."""
    _backends[backend.array] = backend
    forget()


def forget() -> None:
    """Have every kernel looked up again."""
    for kernels in found.values():
        kernels.clear()


def backend_of(array: Array) -> Backend:
    """The backend of an array.

    Raises TypeError for anything that is not an array of a registered backend.
    """
    return _backends.get(type(array)) or _backend_of_type(type(array))


def _backend_of_type(kind: type) -> Backend:
    if issubclass(kind, np.generic):  # what NumPy's arithmetic makes of 0-d arrays
        return _backends[np.ndarray]
    nearest = [_backends[array] for array in kind.__mro__ if array in _backends]
    if not nearest:
        known = ", ".join(f"{array.__module__}.{array.__name__}" for array in _backends)
        raise TypeError(f"expected an array of one of the types {known}; got {kind.__name__}")
    return nearest[0]


def namespace(array: Array) -> Any:
    """The module of array functions for this array: `numpy`, `cupy`, …"""
    return backend_of(array).namespace


def find(name: str, kind: type) -> Callable[..., Any]:
    """The kernel `name` for arrays of type `kind`: the backend's own, else the generic one, else the namespace's."""
    if kind in found[name]:
        return found[name][kind]
    backend = _backend_of_type(kind)
    own = importlib.import_module(backend.kernels).KERNELS if backend.kernels else {}
    generic = importlib.import_module("minidiff.kernels.generic")
    kernel = (
        own[name]
        if name in own
        else getattr(generic, name, None) or getattr(backend.namespace, name, None)
    )
    if kernel is None:
        raise NotImplementedError(
            f"no kernel {name!r} for {backend.device} arrays ({kind.__name__})"
        )
    return found[name].setdefault(kind, kernel)


def call(name: str, *arrays: Array, **statics: Any) -> Any:
    """Run the kernel of that name for the arrays' type (a 0-d gradient may be a NumPy scalar: it does not count)."""
    kind: type = type(arrays[0])
    if kind not in _backends:
        kind = next(type(a) for a in arrays if type(a) in _backends)
    return find(name, kind)(*arrays, **statics)


def devices() -> list[str]:
    """The names that `.to(device)` accepts here: "cpu", and "cuda" where CuPy finds a device."""
    _load_gpu()
    return [backend.device for backend in _backends.values()]


def to_device(array: Array, device: str) -> Array:
    """The array on the device of that name; the same array if it is there already.

    Raises ValueError for a device that is not there, saying what is missing.
    """
    here = backend_of(array)
    if here.device == device:
        return array
    missing = _load_gpu()
    for backend in _backends.values():
        if backend.device == device:
            return backend.from_host(here.to_host(array))
    reason = missing if device == "cuda" else f"the devices here are {devices()}"
    raise ValueError(f"device={device!r} cannot be used: {reason}")


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array (the same one, if it is one already)."""
    return backend_of(array).to_host(array)


def from_host(array: np.ndarray, like: Array) -> Array:
    """A NumPy array moved to where `like` lives."""
    return backend_of(like).from_host(array)


def _load_gpu() -> str:
    """Register CuPy's arrays if that can be done; the reason why not, otherwise."""
    return importlib.import_module("minidiff.kernels.gpu").load()


register(Backend(np.ndarray, "cpu", np, "minidiff.kernels.cpu"))
