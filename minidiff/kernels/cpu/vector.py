"""Vector code, written once: a body of vector steps that either emits LLVM IR for Numba or runs step by step in NumPy.

Numba has no vector registers in its language. So the inner loops are *bodies*: Python functions of an emitter `e` and
of the kernel's arguments. `e.load`, `e.fma`, `e.loop` … emit one LLVM instruction or loop each, Python's own loops
unroll at compile time, and accumulators stay in registers:

    def axpy(e, a, x, y, n):                    a, x, y: places in arrays of float32; n: an integer
        factor = e.splat(a)                     one number, in all lanes
        @e.loop(n)
        def _(i):                               a loop at run time
            e.store(e.fma(factor, e.load(x + i * e.lanes), e.load(y + i * e.lanes)), y + i * e.lanes)

`vector(axpy, lanes=16, places=3)` is a function for compiled code; it takes each place as an array and an index:
`axpy(a, 0, x, 16, y, 0, n)`. With NUMBA_DISABLE_JIT=1 the same body runs on `Interpreter`, NumPy's twin of
`Emitter`, and a debugger can walk through it.
"""

import inspect
import operator
import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import config

from .emitter import Emitter, Value
from .interpreter import Interpreter, Place

JIT = not config.DISABLE_JIT  # type: ignore[attr-defined]
_WIDTHS = (4, 8, 16)


def _host_lanes() -> int:
    """float32 lanes of this machine's vector registers: 16 with AVX-512, 8 with AVX2, else 4."""
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


_lanes = 0


def lanes() -> int:
    """The lanes that kernels are compiled for: the environment's `MINIDIFF_LANES`, else what the host has."""
    return _lanes


def set_lanes(count: int) -> None:
    """Compile and run kernels with `count` lanes from now on: 4, 8 or 16."""
    global _lanes
    if count not in _WIDTHS:
        raise ValueError(f"lanes={count!r}: wanted one of {_WIDTHS}")
    _lanes = count


set_lanes(int(os.environ.get("MINIDIFF_LANES", _host_lanes())))


def registers(lanes: int) -> int:
    """How many vector registers of that width there are."""
    return 32 if lanes == 16 or platform.machine() in ("aarch64", "arm64") else 16


def vector(body: Callable, lanes: int, places: int) -> Callable:
    """The body as a function for compiled code. Its first `places` arguments are passed as (array, index) each."""

    def paired(arguments: Sequence, place: Callable) -> list:
        pairs = [place(*arguments[2 * k : 2 * k + 2]) for k in range(places)]
        return [*pairs, *arguments[2 * places :]]

    if not JIT:

        def twin(*arguments: Any) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # in lanes that nobody looks at, as in compiled code
                body(Interpreter(lanes), *paired(arguments, lambda array, index: Place(array.reshape(-1), index)))

        return twin

    def typed(_context: Any, *kinds: Any) -> tuple:
        arrays = kinds[: 2 * places : 2]
        pairs = [kind for array in arrays for kind in (array, numba.types.intp)]
        signature = numba.types.void(*pairs, *[numba.types.intp] * (len(kinds) - len(pairs)))

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            e = Emitter(builder, lanes)
            values = [Value(e, argument) for argument in arguments]
            for k, kind in enumerate(arrays):
                values[2 * k] = Value(e, context.make_array(kind)(context, builder, arguments[2 * k]).data)
            body(e, *paired(values, operator.add))
            return context.get_dummy_value()

        return signature, emit

    # Numba asks for the parameters and does not take *args: a context, the body's own after `e`, every place twice.
    count = len(inspect.signature(body).parameters) + places
    parameters = [inspect.Parameter(f"p{k}", inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in range(count)]
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return numba.extending.intrinsic(typed)
