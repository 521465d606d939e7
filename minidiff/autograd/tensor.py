"""`Tensor`: the array that users hold.

It behaves like a NumPy array, and every operation goes through the table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from operator import attrgetter
from typing import Any

import numpy as np

from .. import kernels, ops
from ..kernels import Array
from ..tape.tape import Value, backpropagate, copy_shared, recording
from . import numpy_protocol
from .array_methods import ArrayMethods
from .array_methods import as_method as _method
from .array_methods import as_operator as _operator
from .array_methods import as_reflected as _reflected
from .blas import on_the_way_back
from .contents import (
    as_gradient,
    checked,
    initial_gradient,
    numbers_for,
    refuse_to_lose_gradient,
    whole_array,
)


class Tensor(ArrayMethods):
    """An array whose gradients can be asked for.

    `data` is an array of any registered backend, kept as it is and not copied, or a nested list or
    number, which becomes float32 (integers and booleans keep NumPy's type). With
    `requires_grad=True` it is a leaf: `backward` on something computed from it leaves the gradient,
    a bare array, in `grad`.

    Raises TypeError for a dtype that is neither real nor boolean, or for `requires_grad` on
    integers.
    """

    __slots__ = ("_made_trainable",)
    __array_priority__ = 100.0

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        node: Any = None,
        version: list[int] | None = None,
    ):
        Value.__init__(self, data, requires_grad, node, version)
        if version is None:  # else it comes from an operation, and needs no checks
            self._data = checked(data, requires_grad)
            self._made_trainable = requires_grad
            if isinstance(data, Value):  # of one memory there is one count of writes
                self.version = data.version

    # --- what it holds ---

    @property
    def data(self) -> Array:
        """The array itself, without a copy."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        """Other numbers for the same shape: those of an array, a Tensor, a list or a number.

        Also what `t.data -= step` ends in: whoever has saved the array must know.
        """
        if value is not self._data:
            self._data = numbers_for(self, value)
        self.version[0] += 1

    @property
    def grad(self) -> Any:
        """None, or the gradient that `backward` has left here: an array, or a Tensor."""
        return self._grad

    @grad.setter
    def grad(self, gradient: Any) -> None:
        """None, or an array or Tensor of this Tensor's shape and dtype."""
        self._grad = None if gradient is None else as_gradient(self, gradient)

    # --- what it is ---

    shape = property(attrgetter("_data.shape"))
    dtype = property(attrgetter("_data.dtype"))
    ndim = property(attrgetter("_data.ndim"))
    size = property(attrgetter("_data.size"))

    @property
    def device(self) -> str:
        """The name of the device that the array lives on: "cpu" or "cuda"."""
        return kernels.backend_of(self._data).device

    @property
    def T(self) -> "Tensor":  # noqa: N802
        return ops.transpose(self)

    @property
    def mT(self) -> "Tensor":  # noqa: N802
        """With the last two axes swapped: each matrix transposed."""
        return ops.swapaxes(self, axis1=-1, axis2=-2)

    def __repr__(self) -> str:
        numbers = np.array2string(
            self.numpy(), separator=", ", prefix="Tensor(", threshold=100, edgeitems=3
        )
        parts = [numbers, f"shape={tuple(self.shape)}", str(self.dtype)]
        if self.device != "cpu":
            parts.append(f"device={self.device!r}")
        if self.node:
            place = f" at {self.node.where}" if self.node.where else ""
            parts.append(f"from {self.node.name}{place}")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return f"Tensor({', '.join(parts)})"

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __index__(self) -> int:
        return self.numpy().__index__()

    def item(self) -> float:
        """The only element, as a Python number."""
        return self._data.item()

    # --- leaving the tape ---

    def numpy(self) -> np.ndarray:
        """The array on the host; no copy if it is there already, and no gradient through it."""
        return kernels.to_host(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """What `np.asarray(t)`, plots and lists of Tensors ask for.

        Raises TypeError where a gradient would be lost.
        """
        refuse_to_lose_gradient(self)
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> "Tensor":
        """The same memory as a leaf of its own, through which no gradient passes."""
        return type(self)(self._data, False, None, self.version)

    def __deepcopy__(self, memo: dict) -> "Tensor":
        """A leaf of its own with the same numbers and gradient.

        Raises RuntimeError for the result of an operation: nobody would get its gradient.
        """
        if self.node:
            raise RuntimeError(
                f"deepcopy: given the result of {self.node.name}, wanted a leaf: the copy's "
                f"backward would fill no leaf's gradient; type t.detach() first"
            )
        twin = type(self)(self._data.copy(), is_parameter(self))
        twin.requires_grad = self.requires_grad
        memo[id(self)] = twin
        twin.grad = deepcopy(self.grad, memo)
        return twin

    def to(self, device: str) -> "Tensor":
        """A leaf on that device; itself if it is there already.

        Raises ValueError for a device that is not there.
        """
        if self.device == device:
            return self
        return type(self)(kernels.to_device(self._data, device), self.requires_grad)

    # --- gradients ---

    def backward(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the derivative of sum(self · gradient) to `grad` of every leaf that led here.

        `gradient` has this tensor's shape; for one element it may be left out, and is 1. The graph
        is freed on the way unless `retain_graph`. With `create_graph`, `grad` is a Tensor that can
        be differentiated again.

        Raises RuntimeError if nothing here wants a gradient or the graph was freed, ValueError for
        a gradient of another shape or dtype, `gradient` or one that a rule or a hook gave.
        """
        g = initial_gradient(self, gradient)
        if create_graph:
            g = Tensor(g)
        with on_the_way_back():
            gradients = backpropagate(self, g, retain_graph=retain_graph)
        if not create_graph:
            copy_shared(gradients)
        for leaf, total in gradients.items():
            if leaf._grad is not None:
                total = leaf._grad + total
            leaf._grad = total if total.shape else whole_array(total)

    # --- operators and methods: NumPy's names, from the table ---

    __hash__ = object.__hash__  # equality is per element, so identity is what is hashed
    __add__ = _operator(ops.add)
    __radd__ = _reflected(ops.add)
    __sub__ = _operator(ops.subtract)
    __rsub__ = _reflected(ops.subtract)
    __mul__ = _operator(ops.multiply)
    __rmul__ = _reflected(ops.multiply)
    __truediv__ = _operator(ops.divide)
    __rtruediv__ = _reflected(ops.divide)
    __pow__ = _operator(ops.power)
    __rpow__ = _reflected(ops.power)
    __matmul__ = _operator(ops.matmul)
    __rmatmul__ = _reflected(ops.matmul)
    __neg__ = _method(ops.negative)
    __abs__ = _method(ops.absolute)
    __eq__ = _operator(ops.equal)
    __ne__ = _operator(ops.not_equal)
    __lt__ = _operator(ops.less)
    __le__ = _operator(ops.less_equal)
    __gt__ = _operator(ops.greater)
    __ge__ = _operator(ops.greater_equal)
    __getitem__ = _operator(ops.getitem)

    sum = _method(ops.sum)
    mean = _method(ops.mean)
    prod = _method(ops.prod)
    cumsum = _method(ops.cumsum)
    max = _method(ops.max)
    min = _method(ops.min)
    argmax = _method(ops.argmax)
    argmin = _method(ops.argmin)
    var = _method(ops.var)
    std = _method(ops.std)
    argsort = _method(ops.argsort)
    clip = _method(ops.clip)
    exp = _method(ops.exp)
    log = _method(ops.log)
    sqrt = _method(ops.sqrt)
    tanh = _method(ops.tanh)
    squeeze = _method(ops.squeeze)
    swapaxes = _method(ops.swapaxes)
    ravel = _method(ops.ravel)
    repeat = _method(ops.repeat)
    take = _method(ops.take)
    round = _method(ops.round)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor's elements cannot be assigned, since the tape may need them; "
            "t.at[index].set(value) gives a changed copy, and t.data can be written to outside the "
            "tape"
        )

    @property
    def at(self) -> "At":
        """Assignment to a copy: `t.at[index].set(values)`, and `add`; gradients go through it."""
        return At(self)

    def astype(self, dtype: Any) -> "Tensor":
        return ops.astype(self, dtype=np.dtype(dtype))

    def reshape(self, *shape: Any) -> "Tensor":
        """With the same elements in another shape, given as one tuple or as several ints."""
        return ops.reshape(self, shape=_one_tuple(shape))

    def transpose(self, *axes: Any) -> "Tensor":
        """With the axes in a new order, given as one tuple or as several ints; reversed without."""
        axes = _one_tuple(axes)
        return ops.transpose(self, axes=tuple(axes) if axes else None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """np.exp(t), array * t: NumPy asks here, and gets the operation that means the same."""
        return numpy_protocol.call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        """np.sum(t), np.concatenate([t, u]): as `__array_ufunc__`.

        np.shape, np.ndim and np.size ask the array.
        """
        if function in numpy_protocol.ABOUT_ARRAYS:
            array, *others = args or [kwargs.pop("a")]
            return function(array.numpy(), *others, **kwargs)
        return numpy_protocol.call_function(function, args, kwargs)


class At:
    """A place in a tensor: what `t.at[index]` gives."""

    def __init__(self, tensor: Tensor, index: Any = ...):
        self.tensor = tensor
        self.index = index

    def __getitem__(self, index: Any) -> "At":
        return At(self.tensor, index)

    def set(self, values: Any) -> Tensor:
        """A copy of the tensor with these values there."""
        return ops.at_set(self.tensor, self.index, values)

    def add(self, values: Any) -> Tensor:
        """A copy of the tensor with these values added there."""
        return ops.at_add(self.tensor, self.index, values)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of a copy of the data, in that dtype if one is given: PyTorch's way to make one."""
    return Tensor(np.array(checked(data, requires_grad), dtype), requires_grad)


def _one_tuple(sizes: tuple) -> Any:
    """(2, 3) of f(2, 3) as of f((2, 3))."""
    return sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


def as_tensor(value: Any) -> Tensor:
    """The Tensor itself, or a constant of this content."""
    return value if isinstance(value, Tensor) else Tensor(value)


def is_parameter(value: Any) -> bool:
    """Whether it is a leaf that wants gradients, or was made as one and is frozen now."""
    if not isinstance(value, Tensor) or value.node is not None:
        return False
    return value.requires_grad or getattr(value, "_made_trainable", False)


@contextmanager
def no_grad() -> Iterator[None]:
    """A block in which nothing is recorded: `with no_grad(): …`.

    `grad` inside it records for itself.
    """
    with recording(False):
        yield
