"""Floor 1: kernels. A kernel takes arrays and gives arrays; its name and their type lead to it.

A backend is one line of a table: an array type, the device's name, the namespace of array
functions, and the kernels that are faster than `generic`'s. There is no current device: the arrays
themselves say where the work is done.

NumPy's arrays have three sets of kernels. The environment's `MINIDIFF_KERNELS` chooses one of them:

    generic    generic.py alone: every kernel in plain array code; Numba is never imported
    loops      loops.py: convolution, dense, embedding as plain Numba loops; generic.py for the rest
    vector     cpu/: the heavy kernels on vectors; generic.py for the rest. The default.

`find("conv2d", np.ndarray).__module__` says which one runs.
"""

import importlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Annotated, Any

import numpy as np

Array = Annotated[Any, "an array"]  # np.ndarray, or the array of another backend
ALIGNMENT = 16  # bytes, of each array among several that move together
SETS = {"generic": None, "loops": "minidiff.kernels.loops", "vector": "minidiff.kernels.cpu"}


@dataclass(frozen=True)
class Backend:
    """Where arrays of one type live and what computes on them.

    `kernels()` is the table of its own kernels, name → function. It is called when a kernel is
    looked up, so that nothing is imported before. `from_host` and `to_host` move a NumPy array
    there and back.
    """

    array: type
    device: str
    namespace: ModuleType | Any
    kernels: Callable[[], Mapping[str, Callable]] = dict
    from_host: Callable[[np.ndarray], Array] = np.asarray
    to_host: Callable[[Array], np.ndarray] = np.asarray


_backends: dict[type, Backend] = {}
# The kernels that `find` has looked up: name → type of array → kernel.
looked_up: defaultdict[str, dict[type, Callable]] = defaultdict(dict)


def register(backend: Backend) -> None:
    """Make a backend known; its arrays are dispatched to it from now on."""
    _backends[backend.array] = backend
    forget()


def forget() -> None:
    """Have every kernel looked up again, in the set that MINIDIFF_KERNELS names by then."""
    for kernels in looked_up.values():
        kernels.clear()
    _numpy_kernels.cache_clear()


def backend_of(array: Array) -> Backend:
    """The backend of an array.

    Raises TypeError for anything that is not an array of a registered backend.
    """
    return _backends.get(type(array)) or _backend_of_type(type(array))


def _is_known(kind: type) -> bool:
    """Whether arrays of this very type are computed on.

    CuPy's are known from the first one that comes, which may be before anyone asked for `devices`.
    """
    if kind not in _backends and kind.__module__.partition(".")[0] == "cupy":
        _load_gpu()
    return kind in _backends


def _backend_of_type(kind: type) -> Backend:
    if issubclass(kind, np.generic):  # what NumPy's arithmetic makes of 0-d arrays
        return _backends[np.ndarray]
    nearest = [_backends[array] for array in kind.__mro__ if _is_known(array)]
    if not nearest:
        known = ", ".join(f"{array.__module__}.{array.__name__}" for array in _backends)
        raise TypeError(f"array: given {kind.__name__}, wanted one of the types {known}")
    return nearest[0]


def on_a_device(value: Any) -> bool:
    """Whether it is an array that lives elsewhere than on the host."""
    return type(value) in _backends and _backends[type(value)].device != "cpu"


def namespace(array: Array) -> Any:
    """The module of array functions for this array: `numpy`, `cupy`, …"""
    return backend_of(array).namespace


def find(name: str, kind: type) -> Callable[..., Any]:
    """The kernel `name` for arrays of type `kind`.

    That is the backend's own, else the generic one, else a function of the backend's namespace.
    Raises NotImplementedError if there is none, ValueError if MINIDIFF_KERNELS names no set.
    """
    try:
        return looked_up[name][kind]
    except KeyError:
        pass
    backend = _backend_of_type(kind)
    kernel = backend.kernels().get(name)
    if kernel is None:
        generic = importlib.import_module("minidiff.kernels.generic")
        kernel = getattr(generic, name, None) or getattr(backend.namespace, name, None)
    if kernel is None:
        raise NotImplementedError(
            f"kernel: given {name!r}, wanted one that {backend.device} arrays have"
        )
    return looked_up[name].setdefault(kind, kernel)


def call(name: str, *arrays: Array, **statics: Any) -> Any:
    """Run the kernel of that name for the arrays' type.

    A gradient without axes may be a NumPy scalar: the others say the type.
    """
    kind: type = type(arrays[0])
    if kind not in _backends:
        kind = next((type(a) for a in arrays if type(a) in _backends), kind)
    return find(name, kind)(*arrays, **statics)


class _Devices(list):
    """Names of devices; printed, it also says what "cuda" is, or why it is not there."""

    def __init__(self, names: list[str], about_cuda: str) -> None:
        super().__init__(names)
        self.about_cuda = about_cuda

    def __repr__(self) -> str:
        return f"{list(self)}; {'' if 'cuda' in self else 'no '}cuda: {self.about_cuda}"


def devices() -> _Devices:
    """The names that `.to(device)` accepts here: "cpu", and "cuda" where CuPy finds a device.

    `print(minidiff.devices())` says what the device is, or what is missing.
    """
    gpu = importlib.import_module("minidiff.kernels.gpu")
    about_cuda = gpu.load() or gpu.description()
    return _Devices([backend.device for backend in _backends.values()], about_cuda)


def to_device(array: Array, device: str) -> Array:
    """The array on the device of that name; the same array if it is there already.

    Raises ValueError for a device that is not there, saying what is missing.
    """
    here = backend_of(array)
    if here.device == device:
        return array
    _load_gpu()
    for backend in _backends.values():
        if backend.device == device:
            return backend.from_host(here.to_host(array))
    raise ValueError(f"device: given {device!r}, wanted one of {devices()}")


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array (the same one, if it is one already)."""
    return backend_of(array).to_host(array)


def from_host(array: np.ndarray, like: Array) -> Array:
    """A NumPy array moved to where `like` lives."""
    return backend_of(like).from_host(array)


def from_host_together(arrays: Sequence, like: Array) -> list:
    """NumPy arrays moved to where `like` lives, by one copy of all; what is no NumPy array stays.

    On the host they stay too.
    """
    moved = list(arrays)
    if not on_a_device(like):
        return moved
    places = [i for i, array in enumerate(arrays) if isinstance(array, np.ndarray)]
    ends = [0]
    for i in places:
        ends.append(ends[-1] + -(-arrays[i].nbytes // ALIGNMENT) * ALIGNMENT)
    packed = np.zeros(ends[-1], np.uint8)
    for i, start in zip(places, ends):
        own = packed[start : start + arrays[i].nbytes].view(arrays[i].dtype)
        own[...] = arrays[i].reshape(-1)
    on_device = from_host(packed, like)
    for i, start in zip(places, ends):
        own = on_device[start : start + arrays[i].nbytes].view(arrays[i].dtype)
        moved[i] = own.reshape(arrays[i].shape)
    return moved


def _load_gpu() -> None:
    """Register CuPy's arrays if that can be done."""
    importlib.import_module("minidiff.kernels.gpu").load()


@cache
def _numpy_kernels() -> Mapping[str, Callable]:
    """The table of the set that MINIDIFF_KERNELS names."""
    chosen = os.environ.get("MINIDIFF_KERNELS", "vector")
    if chosen not in SETS:
        raise ValueError(f"MINIDIFF_KERNELS: given {chosen!r}, wanted one of {list(SETS)}")
    module = SETS[chosen]
    return importlib.import_module(module).KERNELS if module else {}


register(Backend(np.ndarray, "cpu", np, _numpy_kernels))
