"""A stand-in for a device array: NumPy inside, but it does only what a real device's array does.

It refuses every implicit conversion: `np.asarray(array)` raises, and so does any function or
operator that is given host arrays beside it. Code that runs on it calls the functions of the
array's own namespace, moves data with `from_host` and `to_host` only, and meets 0-d arrays where
NumPy would give scalars.

It runs everywhere and at once. CuPy itself runs in `standins/gpu`, which takes g++ and longer; it
takes some host arrays that this one refuses, with a copy of each.
"""

from contextlib import contextmanager
from types import ModuleType

import numpy as np

from minidiff import kernels


class StrictArray:
    """An array of the device "strict"."""

    __slots__ = ("_array", "base")
    __array_ufunc__ = None  # NumPy's operators step back, and the reflected ones below refuse
    __hash__ = None

    def __init__(self, array, base=None):
        self._array = array
        self.base = base

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    flags = property(lambda self: self._array.flags)
    nbytes = property(lambda self: self._array.nbytes)
    mT = property(lambda self: _wrap(self._array.mT, [self]))  # noqa: N815

    def __array__(self, *args, **kwargs):
        raise TypeError("a device array is not converted implicitly: say to_host")

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(f"np.{function.__name__} was called on a device array: use its namespace")

    def __repr__(self):
        return f"StrictArray({self._array!r})"

    def __len__(self):
        return len(self._array)

    def __getitem__(self, index):
        return _wrap(self._array[_unwrap(index)], [self])

    def __setitem__(self, index, value):
        """Of several values for one place another one stays than NumPy's: a device may choose."""
        index = _unwrap(index)
        parts = index if isinstance(index, tuple) else (index,)
        if not any(isinstance(part, np.ndarray) for part in parts):
            self._array[index] = _unwrap(value)
            return
        places = np.arange(self.size).reshape(self.shape)[index]
        values = np.broadcast_to(_unwrap(value), places.shape)
        backwards = np.unravel_index(places.ravel()[::-1], self.shape)
        self._array[backwards] = values.ravel()[::-1]

    @property
    def data(self):
        """The memory, as NumPy's and CuPy's arrays have it: no array."""
        return memoryview(self._array)

    # what is asked for by name may go to the host
    def item(self):
        return self._array.item()

    def __bool__(self):
        return bool(self._array)

    def __float__(self):
        return float(self._array)

    def __int__(self):
        return int(self._array)

    def reshape(self, shape):
        return _wrap(self._array.reshape(shape), [self])

    def view(self, dtype):
        return _wrap(self._array.view(dtype), [self])

    def copy(self):
        return StrictArray(self._array.copy())

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else StrictArray(self._array.astype(dtype))


def _operator(name):
    def method(self, *others):
        result = getattr(self._array, name)(*map(_unwrap, others))
        if name.startswith("__i") and name != "__invert__":
            return self
        return result if result is NotImplemented else _wrap(result, [])

    return method


for _name in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
]:
    for _kind in "", "r", "i":
        setattr(StrictArray, f"__{_kind}{_name}__", _operator(f"__{_kind}{_name}__"))
for _name in ["neg", "pos", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


def _unwrap(value):
    """What NumPy may work on; host arrays are refused, numbers and slices are not."""
    if isinstance(value, StrictArray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(
            f"a host array {value.dtype} {value.shape} beside device arrays: move it with from_host"
        )
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    return value


def _wrap(value, operands):
    """Arrays and NumPy's scalars become device arrays; a view knows its base, as NumPy's do."""
    if isinstance(value, tuple | list):
        items = [_wrap(item, operands) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, np.ndarray):
        for operand in operands:
            if isinstance(operand, StrictArray):
                if value is operand._array:
                    return operand
                if value.base is not None and np.may_share_memory(value, operand._array):
                    return StrictArray(value, operand if operand.base is None else operand.base)
        return StrictArray(value)
    return StrictArray(np.asarray(value)) if isinstance(value, np.generic) else value


class _Function:
    """A NumPy function that takes and gives device arrays; `add.at` and the like hang on it."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **kwargs):
        result = self._function(
            *map(_unwrap, args), **{name: _unwrap(value) for name, value in kwargs.items()}
        )
        return _wrap(result, args)

    def __getattr__(self, name):
        return _Function(getattr(self._function, name))


class _Namespace:
    """NumPy's names, for device arrays."""

    def __init__(self, module):
        self._module = module

    # the one function that may be given host arrays: it says what it does
    def asarray(self, value, dtype=None):
        if isinstance(value, StrictArray):
            return value.astype(dtype or value.dtype, copy=False)
        return StrictArray(np.asarray(value, dtype))

    def where(self, condition, x, y):
        if not isinstance(condition, StrictArray):
            raise TypeError("the condition of a device's where is a device array")
        return _wrap(self._module.where(*map(_unwrap, (condition, x, y))), [])

    def __getattr__(self, name):
        member = getattr(self._module, name)
        if isinstance(member, ModuleType):
            return _Namespace(member)
        is_function = callable(member) and not isinstance(member, type)
        return _Function(member) if is_function else member


def from_host(array):
    return StrictArray(np.array(array))


@contextmanager
def registered():
    """In the block, `minidiff` knows the device "strict"."""
    backend = kernels.Backend(
        StrictArray,
        "strict",
        _Namespace(np),
        from_host=from_host,
        to_host=lambda a: a._array.copy(),
    )
    kernels.register(backend)
    try:
        yield backend
    finally:
        del kernels._backends[StrictArray]
        kernels.forget()
