"""What may stand in a Tensor: its numbers and its gradient, checked where they come in."""

from typing import Any

import numpy as np

from .. import kernels
from ..kernels import Array
from ..tape.promotion import refuse_subclass
from ..tape.tape import Value, state


def refuse_to_lose_gradient(t: Value) -> None:
    """TypeError for a Tensor that becomes a bare array while its gradient is recorded."""
    if t.requires_grad and state.recording:
        raise TypeError(
            f"array: given a Tensor of shape {tuple(t.data.shape)} whose gradient would be lost, "
            f"wanted one that needs none: type t.detach() or t.numpy() for its numbers; to keep "
            f"the gradient join Tensors by ops.stack([t, u]), and call minidiff.ops, not NumPy"
        )


def checked(data: Any, requires_grad: bool) -> Array:
    """What a user gives, as an array; TypeError for a dtype or a flag that is of no use.

    A Tensor that is made a constant must have no gradient to lose.
    """
    if not isinstance(requires_grad, bool | np.bool_):
        raise TypeError(
            f"requires_grad: given {type(requires_grad).__name__}, wanted True or False; for a "
            "dtype type md.tensor(data, dtype)"
        )
    if isinstance(data, Value) and not requires_grad:
        refuse_to_lose_gradient(data)
    if not kernels._is_known(type(data)):
        data = _as_array(data)
    allowed = "f" if requires_grad else "fiub"
    if data.dtype.kind not in allowed:
        others = "to have a gradient" if requires_grad else "integers or booleans"
        raise TypeError(f"data: given dtype {data.dtype}, wanted float32 or float64, {others}")
    return data


def _as_array(data: Any) -> np.ndarray:
    if isinstance(data, Value):
        return data.data
    refuse_subclass("data", data)
    array = np.asarray(data)
    has_dtype = isinstance(data, np.ndarray | np.generic)
    return array if has_dtype or array.dtype.kind != "f" else array.astype(np.float32)


def numbers_for(tensor: Any, value: Any) -> Array:
    """What is assigned to `tensor.data`, as an array of its shape.

    Integers, and numbers without a dtype, take the dtype of a float Tensor.
    """
    has_dtype = hasattr(value, "dtype")
    array = checked(value.data if isinstance(value, Value) else value, False)
    if array.shape != tensor.shape:
        raise ValueError(
            f"data: given shape {array.shape}, wanted {tensor.shape}, the shape it has; type "
            f"md.Tensor(array) for another"
        )
    if tensor.dtype.kind == "f" and not (has_dtype and array.dtype.kind == "f"):
        array = array.astype(tensor.dtype)
    if has_dtype:
        return array
    return kernels.from_host(array, tensor._data)


def whole_array(gradient: Any) -> Any:
    """The gradient, never a NumPy scalar: that is what NumPy's arithmetic makes of 0-d arrays."""
    return np.asarray(gradient) if isinstance(gradient, np.generic) else gradient


def as_gradient(leaf: Value, gradient: Any) -> Any:
    """The gradient, if it has the leaf's dtype and shape; else raises TypeError or ValueError."""
    refuse_subclass("grad", gradient)
    data = leaf._data
    dtype = getattr(gradient, "dtype", None)
    if dtype is None:
        raise TypeError(
            f"grad: given {type(gradient).__name__}, wanted None, an array or a Tensor of "
            f"{data.dtype} {data.shape}"
        )
    if dtype == data.dtype and gradient.shape == data.shape:
        return whole_array(gradient)
    kind = TypeError if dtype != data.dtype else ValueError
    raise kind(
        f"grad: given {dtype} {tuple(gradient.shape)}, wanted {data.dtype} {data.shape}, as the "
        f"Tensor that it is for"
    )


def initial_gradient(out: Any, gradient: Any) -> Array:
    """The gradient that backpropagation starts from; 1 for one element if none is given.

    Raises RuntimeError if `out` has no gradient, or has several elements and none is given,
    ValueError for another shape or dtype.
    """
    if not out.requires_grad:
        raise RuntimeError(
            "nothing to differentiate: the tensor was computed from no Tensor with "
            "requires_grad=True, or inside no_grad()"
        )
    xp = kernels.namespace(out._data)
    if gradient is None:
        if out.size != 1:
            raise RuntimeError(
                f"a tensor of shape {out.shape} needs the gradient to start from: "
                f"backward(gradient), of the same shape; or reduce it first, with .sum() say"
            )
        one = xp.asarray(1, out.dtype)
        return xp.reshape(one, out.shape) if out.shape else one
    if isinstance(gradient, Value):
        gradient = gradient.data
    else:
        gradient = xp.asarray(gradient, getattr(gradient, "dtype", out.dtype))
    if gradient.shape != out.shape or gradient.dtype != out.dtype:
        raise ValueError(
            f"gradient: given {gradient.dtype} of shape {gradient.shape}, wanted {out.dtype} of "
            f"shape {out.shape}, as the tensor"
        )
    return gradient
