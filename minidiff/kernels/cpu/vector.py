"""Vector code, written once: it is compiled by Numba, or runs step by step in NumPy.

Numba's language has no vector registers. So kernels are *vector bodies*: Python functions of `e`,
whose steps are listed in `interpreter`, and of the kernel's arguments:

    def axpy(e, a, x, y, n):                    a, x, y: places in arrays of float32; n: an integer
        factor = e.load_broadcast(a)            one number, in all lanes

        @e.loop(n)
        def vector(i):                          a loop at run time
            place = y + i * e.lanes
            e.store(e.fma(factor, e.load(x + i * e.lanes), e.load(place)), place)

`vector(axpy, lanes=16)` is a function for compiled code. It takes one tuple, with an array for each
place: `axpy((a, x, y, n))`. The body has run by then, once: each step has emitted its instruction,
Python's own loops have been unrolled, and variables have become registers.

Whole kernels are bodies, not only their inner loops: when the outer loops were Numba's, three
quarters of the instructions that LLVM had to compile came from those, a hundred for each slice.
"""

import os
import platform
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.core import config

from .emitter import Emitted, Emitter
from .interpreter import Interpreter, Place

JIT = not config.DISABLE_JIT  # type: ignore[attr-defined]
_WIDTHS = (4, 8, 16)


def _host_lanes() -> int:
    """float32 lanes of this machine's vector registers: 16 with AVX-512, 8 with AVX2, else 4."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


_lanes = 0


def lanes() -> int:
    """The lanes that kernels are compiled for: `MINIDIFF_LANES`, else the host's."""
    return _lanes


def set_lanes(count: int) -> None:
    """Compile and run kernels with `count` lanes from now on: 4, 8 or 16."""
    global _lanes
    if count not in _WIDTHS:
        raise ValueError(f"lanes: given {count!r}, wanted one of {_WIDTHS}")
    _lanes = count


set_lanes(int(os.environ.get("MINIDIFF_LANES", _host_lanes())))


def registers(lanes: int) -> int:
    """How many vector registers of that width the processor has."""
    return 32 if lanes == 16 or platform.machine() in ("aarch64", "arm64") else 16


def vector(body: Callable, lanes: int) -> Callable[[tuple], None]:
    """The body as a function of one tuple of arrays and numbers.

    An array stands for the place of its first number.
    Whole numbers reach the body as integers, others as vectors of float32 with that number in every
    lane.
    """
    return _intrinsic(body, lanes) if JIT else _twin(body, lanes)


def _twin(body: Callable, lanes: int) -> Callable:
    """The body, interpreted."""

    def argument(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return Place(value.reshape(-1), 0)
        return np.full(lanes, value, np.float32) if isinstance(value, float) else value

    def twin(arguments: tuple) -> None:
        # as in compiled code, lanes that nobody looks at may overflow
        with np.errstate(over="ignore", invalid="ignore"):
            body(Interpreter(lanes), *map(argument, arguments))

    return twin


def _intrinsic(body: Callable, lanes: int) -> Callable:
    """The body, as instructions that Numba puts where the function is called."""

    def typed(_context: Any, arguments: Any) -> tuple:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            e = Emitter(builder, lanes)
            kinds = signature.args[0].types
            parts = [builder.extract_value(values[0], k) for k in range(len(kinds))]
            e.call(body, *(_emitted(e, context, *pair) for pair in zip(kinds, parts, strict=True)))
            return context.get_dummy_value()

        return numba.types.void(arguments), emit

    intrinsic: Any = numba.extending.intrinsic(typed)
    return intrinsic


def _emitted(e: Emitter, context: Any, kind: Any, value: ir.Value) -> Emitted:
    """An argument of compiled code, as a body takes it."""
    if isinstance(kind, numba.types.Array):
        return Emitted(e, context.make_array(kind)(context, e.ir, value).data)
    if isinstance(kind, numba.types.Float):
        return e.broadcast(context.cast(e.ir, value, kind, numba.float32))
    return Emitted(e, context.cast(e.ir, value, kind, numba.intp))
