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
from numba.core import cgutils, config

F32, I32, I64, BIT = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(1)
JIT = not config.DISABLE_JIT  # type: ignore[attr-defined]


_WIDTHS = (4, 8, 16)


def _host_lanes() -> int:
    """float32 lanes of this machine's vector registers: 16 with AVX-512, 8 with AVX2, else 4."""
    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


_lanes = int(os.environ.get("MINIDIFF_LANES", 0)) or _host_lanes()


def lanes() -> int:
    """The lanes that kernels are compiled for: the environment's `MINIDIFF_LANES`, else what the host has."""
    return _lanes


def set_lanes(count: int) -> None:
    """Compile and run kernels with `count` lanes from now on: 4, 8 or 16."""
    global _lanes
    if count not in _WIDTHS:
        raise ValueError(f"lanes={count!r}: wanted one of {_WIDTHS}")
    _lanes = count


def registers(lanes: int) -> int:
    """How many vector registers of that width there are."""
    return 32 if lanes == 16 or platform.machine() in ("aarch64", "arm64") else 16


class Value:
    """An LLVM integer, place (pointer to float32) or vector, with Python's operators."""

    __slots__ = ("e", "ir")

    def __init__(self, e: "Emitter", value: Any):
        self.e, self.ir = e, value

    def _with(self, other: Any, on_integers: str, on_vectors: str) -> "Value":
        if not isinstance(other, Value):
            other = Value(self.e, ir.Constant(self.ir.type, other)) if self.ir.type == I64 else self.e.constant(other)
        return Value(self.e, getattr(self.e.ir, on_integers if self.ir.type == I64 else on_vectors)(self.ir, other.ir))

    def __add__(self, other: Any) -> "Value":
        if isinstance(self.ir.type, ir.PointerType):
            index = other.ir if isinstance(other, Value) else I64(other)
            return Value(self.e, self.e.ir.gep(self.ir, [index]))
        return self._with(other, "add", "fadd")

    def __sub__(self, other: Any) -> "Value":
        return self._with(other, "sub", "fsub")

    def __mul__(self, other: Any) -> "Value":
        return self._with(other, "mul", "fmul")

    def __truediv__(self, other: Any) -> "Value":
        return self._with(other, "", "fdiv")

    def __floordiv__(self, other: Any) -> "Value":
        return self._with(other, "sdiv", "")

    def __mod__(self, other: Any) -> "Value":
        return self._with(other, "srem", "")

    def __neg__(self) -> "Value":
        return Value(self.e, self.e.ir.fneg(self.ir))

    __radd__, __rmul__ = __add__, __mul__


class Emitter:
    """Emits LLVM IR. Vectors have `lanes` float32 lanes; `where` is a mask: the lanes that take part."""

    def __init__(self, builder: ir.IRBuilder, lanes: int):
        self.ir, self.lanes, self.vector = builder, lanes, ir.VectorType(F32, lanes)

    def _call(self, name: str, result: ir.Type, *arguments: ir.Value) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return self.ir.call(cgutils.get_or_insert_function(self.ir.module, kind, name), arguments)

    def _map(self, name: str, *vectors: Value) -> Value:
        return Value(self, self._call(f"llvm.{name}.v{self.lanes}f32", self.vector, *(v.ir for v in vectors)))

    def _all(self, scalar: ir.Value) -> ir.Value:
        kind = ir.VectorType(scalar.type, self.lanes)
        one = self.ir.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
        return self.ir.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes))

    def _integer(self, n: "Value | int") -> ir.Value:
        return n.ir if isinstance(n, Value) else I64(n)

    def constant(self, number: float) -> Value:
        return Value(self, ir.Constant(self.vector, [float(np.float32(number))] * self.lanes))

    def load(self, place: Value, where: Value | None = None) -> Value:
        pointer = self.ir.bitcast(place.ir, self.vector.as_pointer())
        if where is None:
            value = self.ir.load(pointer)
            value.align = 4
            return Value(self, value)
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        return Value(self, self._call(name, self.vector, pointer, I32(4), where.ir, self.constant(0).ir))

    def store(self, value: Value, place: Value, where: Value | None = None) -> None:
        pointer = self.ir.bitcast(place.ir, self.vector.as_pointer())
        if where is None:
            self.ir.store(value.ir, pointer).align = 4
        else:
            name = f"llvm.masked.store.v{self.lanes}f32.p0"
            self._call(name, ir.VoidType(), value.ir, pointer, I32(4), where.ir)

    def splat(self, place: Value) -> Value:
        """The one number at `place`, in every lane."""
        scalar = self.ir.load(place.ir)
        scalar.align = 4
        return Value(self, self._all(scalar))

    def first(self, count: Value | int) -> Value:
        """The mask of the first `count` lanes (all of them if count ≥ lanes)."""
        steps = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return Value(self, self.ir.icmp_signed("<", steps, self._all(self._integer(count))))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        return self._map("fma", a, b, c)

    def sqrt(self, a: Value) -> Value:
        return self._map("sqrt", a)

    def round(self, a: Value) -> Value:
        return self._map("nearbyint", a)

    def two_to(self, n: Value) -> Value:
        """2ⁿ for whole n in -126 … 127: n goes straight into the bits of the exponent."""
        whole = ir.VectorType(I32, self.lanes)
        bits = self.ir.add(self.ir.fptosi(n.ir, whole), ir.Constant(whole, [127] * self.lanes))
        return Value(self, self.ir.bitcast(self.ir.shl(bits, ir.Constant(whole, [23] * self.lanes)), self.vector))

    def below(self, a: Value, b: Value) -> Value:
        """The mask of the lanes where a < b (false for NaN)."""
        return Value(self, self.ir.fcmp_ordered("<", a.ir, b.ir))

    def across(self, join: Callable[[Value, Value], Value], a: Value) -> Value:
        """All lanes joined, two halves at a time; the result is in every lane."""
        step = self.lanes // 2
        while step:
            turned = [(k + step) % self.lanes for k in range(self.lanes)]
            indices = ir.Constant(ir.VectorType(I32, self.lanes), turned)
            a, step = join(a, Value(self, self.ir.shuffle_vector(a.ir, a.ir, indices))), step // 2
        return a

    def fewer(self, index: Value | int, size: Value | int) -> Value:
        """Whether index < size."""
        return Value(self, self.ir.icmp_signed("<", self._integer(index), self._integer(size)))

    def smaller(self, a: Value, b: Value) -> Value:
        return Value(self, self.ir.select(self.ir.icmp_signed("<", a.ir, b.ir), a.ir, b.ir))

    def transposed(self, rows: list[Value]) -> list[Value]:
        """lanes × lanes numbers with rows and columns swapped: ever smaller off-diagonal blocks change places."""
        rows, step, lanes = list(rows), self.lanes // 2, range(self.lanes)
        indices = ir.VectorType(I32, self.lanes)
        while step:
            upper = ir.Constant(indices, [k + self.lanes - step if k & step else k for k in lanes])
            lower = ir.Constant(indices, [k + self.lanes if k & step else k + step for k in lanes])
            for k in lanes:
                if not k & step:
                    a, b = rows[k].ir, rows[k + step].ir
                    rows[k] = Value(self, self.ir.shuffle_vector(a, b, upper))
                    rows[k + step] = Value(self, self.ir.shuffle_vector(a, b, lower))
            step //= 2
        return rows

    def inside(self, index: Value, size: Value) -> Value:
        """Whether 0 ≤ index < size."""
        return Value(self, self.ir.icmp_unsigned("<", index.ir, size.ir))

    def both(self, a: Value, b: Value) -> Value:
        return Value(self, self.ir.and_(a.ir, b.ir))

    def choose(self, condition: Value, yes: Value, no: Value) -> Value:
        return Value(self, self.ir.select(condition.ir, yes.ir, no.ir))

    def variable(self, value: Value) -> "Variable":
        return Variable(self, value)

    def when(self, condition: Value, yes: Callable[[], None], no: Callable[[], None]) -> None:
        with self.ir.if_else(condition.ir) as (then, otherwise):
            with then:
                yes()
            with otherwise:
                no()

    def loop(self, count: Value | int) -> Callable[[Callable[[Value], None]], None]:
        """A loop over 0 … count − 1 that LLVM is told not to unroll (unrolled, the tiles spill)."""

        def run(body: Callable[[Value], None]) -> None:
            before, end = self.ir.block, self._integer(count)
            inside, after = (self.ir.append_basic_block(name) for name in ("body", "end"))
            self.ir.cbranch(self.ir.icmp_signed(">", end, I64(0)), inside, after)
            self.ir.position_at_end(inside)
            index = self.ir.phi(I64)
            index.add_incoming(I64(0), before)
            body(Value(self, index))
            following = self.ir.add(index, I64(1))
            index.add_incoming(following, self.ir.block)
            jump = self.ir.cbranch(self.ir.icmp_signed("<", following, end), inside, after)
            module = self.ir.module
            off = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
            tag = module.add_metadata([ir.MetaDataString(module, f"loop{len(module.metadata)}"), off])
            tag.operands = (tag, off)
            jump.set_metadata("llvm.loop", tag)
            self.ir.position_at_end(after)

        return run


class Variable:
    """A vector that changes inside a loop; LLVM keeps it in a register."""

    def __init__(self, e: Emitter, value: Value):
        self.e, self.slot = e, cgutils.alloca_once(e.ir, e.vector)
        self.set(value)

    def get(self) -> Value:
        return Value(self.e, self.e.ir.load(self.slot))

    def set(self, value: Value) -> None:
        self.e.ir.store(value.ir, self.slot)


class Place:
    """A place in an array, for the interpreter."""

    def __init__(self, array: np.ndarray, index: int):
        self.array, self.index = array, index

    def __add__(self, steps: int) -> "Place":
        return Place(self.array, self.index + steps)


class Box:
    """The interpreter's `Variable`."""

    def __init__(self, value: np.ndarray):
        self.value = value

    def get(self) -> np.ndarray:
        return self.value

    def set(self, value: np.ndarray) -> None:
        self.value = value


class Interpreter:
    """NumPy's twin of `Emitter`: the same steps, run at once."""

    def __init__(self, lanes: int):
        self.lanes = lanes

    def constant(self, number: float) -> np.ndarray:
        return np.full(self.lanes, number, np.float32)

    def load(self, place: Place, where: np.ndarray | None = None) -> np.ndarray:
        count = self.lanes if where is None else int(where.sum())
        loaded = place.array[place.index : place.index + count]
        if count and not 0 <= place.index <= len(place.array) - count:
            raise IndexError(f"load of {count} numbers at {place.index} of {len(place.array)}")
        return np.concatenate([loaded, np.zeros(self.lanes - count, np.float32)])

    def store(self, value: np.ndarray, place: Place, where: np.ndarray | None = None) -> None:
        count = self.lanes if where is None else int(where.sum())
        if count and not 0 <= place.index <= len(place.array) - count:
            raise IndexError(f"store of {count} numbers at {place.index} of {len(place.array)}")
        place.array[place.index : place.index + count] = value[:count]

    def splat(self, place: Place) -> np.ndarray:
        return np.full(self.lanes, place.array[place.index])

    def first(self, count: int) -> np.ndarray:
        return np.arange(self.lanes) < count

    def fma(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return a * b + c

    sqrt = staticmethod(np.sqrt)

    round = staticmethod(np.rint)

    def two_to(self, n: np.ndarray) -> np.ndarray:
        return np.ldexp(np.float32(1), np.nan_to_num(n).astype(np.int32))

    def below(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a < b

    def across(self, join: Callable, a: np.ndarray) -> np.ndarray:
        step = self.lanes // 2
        while step:
            a, step = join(a, np.roll(a, -step)), step // 2
        return a

    def transposed(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return list(np.stack(rows).T)

    smaller = staticmethod(min)

    def fewer(self, index: int, size: int) -> bool:
        return index < size

    def inside(self, index: int, size: int) -> bool:
        return 0 <= index < size

    both = staticmethod(operator.and_)

    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        if isinstance(yes, np.ndarray):
            return np.where(condition, yes, no)
        return yes if condition else no

    def variable(self, value: np.ndarray) -> Box:
        return Box(value)

    def when(self, condition: bool, yes: Callable[[], None], no: Callable[[], None]) -> None:
        (yes if condition else no)()

    def loop(self, count: int) -> Callable[[Callable[[int], None]], None]:
        def run(body: Callable[[int], None]) -> None:
            for index in range(count):
                body(index)

        return run


def vector(body: Callable, lanes: int, places: int, names: Sequence[str] = ()) -> Callable:
    """The body as a function for compiled code. Its first `places` arguments are passed as (array, index) each.

    `names` are the body's arguments where it is declared with *arguments.
    """

    def paired(arguments: Sequence, place: Callable) -> list:
        pairs = [place(*arguments[2 * k : 2 * k + 2]) for k in range(places)]
        return [*pairs, *arguments[2 * places :]]

    if not JIT:

        def twin(*arguments: Any) -> None:
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

    # Numba reads the parameters' names and does not take *args: every place becomes two parameters.
    names = names or list(inspect.signature(body).parameters)[1:]
    names = ["context", *(name + k for name in names[:places] for k in ("", "_index")), *names[places:]]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return numba.extending.intrinsic(typed)
