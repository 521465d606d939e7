"""CuPy's sorts in place of those of Thrust, which are machine code: NumPy sorts the same memory."""

import ctypes
import math

import numpy as np

from . import count_launch, wrote


def device_array(dtype, pointer, shape):
    """The device's memory as a NumPy array, which is about to be written."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    wrote(pointer, size)
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(shape)


def sort(dtype, data, keys, shape):
    """Sorts along the last axis. `keys` is Thrust's work space."""
    count_launch()
    device_array(dtype, data, shape).sort(-1, kind="stable")


def argsort(dtype, order, data, keys, shape):
    """Writes the order into `order` and, as Thrust does, sorts `data` itself."""
    count_launch()
    data = device_array(dtype, data, shape)
    order = device_array(np.int64, order, shape)
    order[...] = np.argsort(data, -1, kind="stable")
    data[...] = np.take_along_axis(data, order, -1)


def lexsort(dtype, order, keys, k, n):
    """The order of n columns by k keys, the last key first."""
    count_launch()
    keys = device_array(dtype, keys, (k, n))
    device_array(np.int64, order, (n,))[...] = np.lexsort(keys)


def install():
    """Replaces the functions of CuPy's module for Thrust."""
    from cupy.cuda import thrust

    thrust.sort = sort
    thrust.argsort = argsort
    thrust.lexsort = lexsort
