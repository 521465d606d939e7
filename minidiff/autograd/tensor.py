"""`Tensor`: the array that users hold.

It behaves like a NumPy array, and every operation goes through the table.
"""

from operator import attrgetter
from typing import Any

import numpy as np

from .. import kernels, ops
from ..kernels import Array
from ..tape.tape import Value, recording, walk
from . import numpy_protocol
from .array_methods import ArrayMethods
from .array_methods import as_method as _method
from .array_methods import as_operator as _operator
from .array_methods import as_reflected as _reflected


class Tensor(ArrayMethods):
    """An array whose gradients can be asked for.

    `data` is an array of any registered backend, kept as it is and not copied, or a nested list or
    number, which becomes float32 (integers and booleans keep NumPy's type). With
    `requires_grad=True` it is a leaf: `backward` on something computed from it leaves the gradient,
    a bare array, in `grad`.

    Raises TypeError for a dtype that is neither real nor boolean, or for `requires_grad` on
    integers.
    """

    __slots__ = ()
    __array_priority__ = 100.0

    def __init__(
        self, data: Any, requires_grad: bool = False, node: Any = None, version: list | None = None
    ):
        if type(data) not in kernels._backends:
            data = _as_array(data)
        Value.__init__(self, data, requires_grad, node, version)
        if (
            data.dtype.kind != "f"
            and node is None
            and (requires_grad or data.dtype.kind not in "iub")
        ):
            raise TypeError(
                f"data of dtype {data.dtype} {'cannot have a gradient' if requires_grad else 'is no use'}; "
                f"wanted float32 or float64"
            )

    # --- what it is ---

    shape, dtype = property(attrgetter("_data.shape")), property(attrgetter("_data.dtype"))
    ndim, size = property(attrgetter("_data.ndim")), property(attrgetter("_data.size"))

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
        text = np.array2string(
            self.numpy(), separator=", ", prefix="Tensor(", threshold=100, edgeitems=3
        )
        grad = (
            f", from {self.node.name}"
            if self.node
            else ", requires_grad=True"
            if self.requires_grad
            else ""
        )
        grad += f" at {self.node.where}" if self.node and self.node.where else ""
        place = "" if self.device == "cpu" else f", device={self.device!r}"
        return f"Tensor({text}, shape={tuple(self.shape)}, {self.dtype}{place}{grad})"

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
        return self._data.__index__()

    def item(self) -> float:
        """The only element, as a Python number."""
        return self._data.item()

    # --- leaving the tape ---

    def numpy(self) -> np.ndarray:
        """The array on the host; no copy if it is there already, and no gradient through it."""
        return kernels.to_host(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> "Tensor":
        """The same memory as a leaf of its own, through which no gradient passes."""
        return type(self)(self._data, False, None, self.version)

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
        """Add to `grad` of every leaf that this was computed from the derivative of sum(self ·
        gradient).

        `gradient` may be left out for one element (it is 1 then). The graph is freed on the way
        unless `retain_graph`. With `create_graph`, `grad` is a Tensor that can be differentiated
        again.

        Raises RuntimeError if nothing here wants a gradient or the graph was freed, ValueError for
        a wrong shape.
        """
        seed = seed_for(self, gradient)
        for leaf, total in walk(
            self, Tensor(seed) if create_graph else seed, retain=retain_graph
        ).items():
            if leaf.grad is not None:
                leaf.grad = leaf.grad + total
            elif create_graph or type(total) is type(leaf._data):
                leaf.grad = total
            else:  # NumPy gives scalars for 0-d results
                leaf.grad = kernels.namespace(leaf._data).asarray(total)

    # --- operators and methods: NumPy's names, from the table ---

    __hash__ = object.__hash__  # equality is per element, so identity is what is hashed
    __add__, __radd__ = _operator(ops.add), _reflected(ops.add)
    __sub__, __rsub__ = _operator(ops.subtract), _reflected(ops.subtract)
    __mul__, __rmul__ = _operator(ops.multiply), _reflected(ops.multiply)
    __truediv__, __rtruediv__ = _operator(ops.divide), _reflected(ops.divide)
    __pow__, __rpow__ = _operator(ops.power), _reflected(ops.power)
    __matmul__, __rmatmul__ = _operator(ops.matmul), _reflected(ops.matmul)
    __neg__, __abs__ = _method(ops.negative), _method(ops.absolute)
    __eq__, __ne__ = _operator(ops.equal), _operator(ops.not_equal)
    __lt__, __le__ = _operator(ops.less), _operator(ops.less_equal)
    __gt__, __ge__ = _operator(ops.greater), _operator(ops.greater_equal)
    __getitem__ = _operator(ops.getitem)
    sum, mean, prod, cumsum = (
        _method(ops.sum),
        _method(ops.mean),
        _method(ops.prod),
        _method(ops.cumsum),
    )
    max, min, argmax, argmin = (
        _method(ops.max),
        _method(ops.min),
        _method(ops.argmax),
        _method(ops.argmin),
    )
    var, std, argsort, clip = (
        _method(ops.var),
        _method(ops.std),
        _method(ops.argsort),
        _method(ops.clip),
    )
    exp, log, sqrt, tanh = _method(ops.exp), _method(ops.log), _method(ops.sqrt), _method(ops.tanh)
    squeeze, swapaxes, ravel = _method(ops.squeeze), _method(ops.swapaxes), _method(ops.ravel)
    repeat, take, round = _method(ops.repeat), _method(ops.take), _method(ops.round)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor's elements cannot be assigned, since the tape may need them; t.at[index].set(value) "
            "gives a changed copy, and t.data can be written to outside the tape"
        )

    @property
    def at(self) -> "At":
        """Assignment to a copy, with gradients: `t.at[index].set(values)` and `t.at[index].add(values)`."""
        return At(self)

    def astype(self, dtype: Any) -> "Tensor":
        return ops.astype(self, dtype=np.dtype(dtype))

    def reshape(self, *shape: Any) -> "Tensor":
        return ops.reshape(
            self, shape=shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        )

    def transpose(self, *axes: Any) -> "Tensor":
        """With the axes in a new order, reversed if none is given; also a single tuple, as in NumPy."""
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
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
        self.tensor, self.index = tensor, index

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
    return Tensor(np.array(_as_array(data), dtype), requires_grad)


def as_tensor(value: Any) -> Tensor:
    """The Tensor itself, or a constant of this content."""
    return value if isinstance(value, Tensor) else Tensor(value)


def _as_array(data: Any) -> np.ndarray:
    if isinstance(data, Value):
        return data.data
    array = np.asarray(data)
    keep = isinstance(data, np.ndarray | np.generic) or array.dtype.kind != "f"
    return array if keep else array.astype(np.float32)


def seed_for(out: Tensor, gradient: Any) -> Array:
    """The gradient that a backward walk starts from, checked; 1 for a single element if none is given."""
    if not out.requires_grad:
        raise RuntimeError(
            "nothing to differentiate: the tensor was computed from no Tensor with requires_grad=True, "
            "or inside no_grad()"
        )
    like = out._data
    xp, dtype = kernels.namespace(like), like.dtype
    if gradient is None:
        if like.size != 1:
            raise RuntimeError(
                f"a tensor of shape {out.shape} needs the gradient to start from: backward(gradient), "
                f"of the same shape; or reduce it first, with .sum() say"
            )
        one = xp.asarray(1, dtype)
        return xp.reshape(one, like.shape) if like.shape else one
    seed = (
        gradient.data
        if isinstance(gradient, Value)
        else xp.asarray(gradient, getattr(gradient, "dtype", dtype))
    )
    if seed.shape != out.shape or seed.dtype != dtype:
        raise ValueError(
            f"gradient must be {dtype} of shape {out.shape}, as the tensor; "
            f"got {seed.dtype} of shape {seed.shape}"
        )
    return seed


def no_grad():
    """A block in which nothing is recorded: `with no_grad(): …`.

    `grad` inside it records for itself.
    """
    return recording(False)
