"""NumPy's operators and methods that engines seldom need, and what a Tensor says of all others."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import first_guesses, kernels, messages, ops
from ..tape.primitive import Primitive
from ..tape.promotion import refuse_subclass
from ..tape.tape import Value


def as_method(operation: Any) -> Any:
    """An operation as a method: the tensor is its first operand.

    A keyword that other libraries have is answered with the one that is meant.
    """

    operation = _bare(operation)

    def method(self, *args, **kwargs):
        try:
            return operation(self, *args, **kwargs)
        except Exception as error:
            failed = error
        raise _explained(operation, failed, (self, *args), kwargs) from failed

    method.is_door = True  # type: ignore[attr-defined]
    return method


def as_operator(operation: Callable) -> Any:
    """An operation as an operator between the tensor and something else."""

    operation = _bare(operation)

    def operator(self, other):
        try:
            return operation(self, other)
        except Exception as error:
            failed = error
        raise _explained(operation, failed, (self, other), {}) from failed

    return operator


def as_reflected(operation: Callable) -> Any:
    """An operation as an operator between something else and the tensor."""

    operation = _bare(operation)

    def operator(self, other):
        try:
            return operation(other, self)
        except Exception as error:
            failed = error
        raise _explained(operation, failed, (other, self), {}) from failed

    return operator


def _bare(operation: Any) -> Any:
    """An operation without its door: methods and operators are doors themselves."""
    return getattr(operation, "__wrapped__", operation)


def _explained(operation: Any, error: Exception, args: tuple, kwargs: dict) -> Exception:
    """The error with what is meant by a keyword of another library, or with what is wanted."""
    if isinstance(operation, Primitive):
        name = operation.name
    else:
        name = operation.__name__
        error = messages.of_call(operation, name, error, args, kwargs)
    sentence = first_guesses.misnamed(name, kwargs)
    return TypeError(sentence) if sentence and isinstance(error, TypeError) else error


class ArrayMethods(Value):
    """What `Tensor` has from NumPy's array beside arithmetic and the sums."""

    __slots__ = ()

    __pos__ = as_method(ops.positive)
    __invert__ = as_method(ops.invert)
    __mod__ = as_operator(ops.remainder)
    __rmod__ = as_reflected(ops.remainder)
    __floordiv__ = as_operator(ops.floor_divide)
    __rfloordiv__ = as_reflected(ops.floor_divide)
    __and__ = as_operator(ops.bitwise_and)
    __rand__ = as_reflected(ops.bitwise_and)
    __or__ = as_operator(ops.bitwise_or)
    __ror__ = as_reflected(ops.bitwise_or)
    __xor__ = as_operator(ops.bitwise_xor)
    __rxor__ = as_reflected(ops.bitwise_xor)
    __lshift__ = as_operator(ops.left_shift)
    __rlshift__ = as_reflected(ops.left_shift)
    __rshift__ = as_operator(ops.right_shift)
    __rrshift__ = as_reflected(ops.right_shift)

    def __divmod__(self, other: Any) -> tuple:
        return ops.floor_divide(self, other), ops.remainder(self, other)

    def __rdivmod__(self, other: Any) -> tuple:
        return ops.floor_divide(other, self), ops.remainder(other, self)

    def __format__(self, spec: str) -> str:
        """One element as the number it is: f"{loss:.3f}"; several only without a format."""
        if spec and self._data.size != 1:
            raise TypeError(
                f"format {spec!r}: given a Tensor of shape {tuple(self._data.shape)}, wanted one "
                f"element; type x.mean() or x[i] first"
            )
        return format(self._data.item(), spec) if spec else str(self)

    def __round__(self, ndigits: int | None = None) -> float:
        """One element as a Python number, rounded."""
        return round(self._data.item(), ndigits)

    @property
    def _mask(self) -> None:
        """Where a masked array meets a Tensor, NumPy asks both for this, and records nothing."""
        refuse_subclass("array", np.ma.masked_array(0))

    def __getattr__(self, name: str) -> Any:
        raise first_guesses.unknown("Tensor", name, vars(ops))

    any = as_method(ops.any)
    all = as_method(ops.all)
    dot = as_method(ops.dot)
    cumprod = as_method(ops.cumprod)
    diagonal = as_method(ops.diagonal)
    trace = as_method(ops.trace)
    argpartition = as_method(ops.argpartition)
    nonzero = as_method(ops.nonzero)
    copy = as_method(ops.copy)

    def flatten(self) -> Any:
        """All elements along one axis."""
        return ops.ravel(self)

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return kernels.to_host(self._data).tolist()

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self._data.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._data.size * self.itemsize
