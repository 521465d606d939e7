"""`Emitter`: the steps of a vector body as LLVM IR (see `vector`)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def _operator(on_integers: str, on_vectors: str) -> Callable[["Value", Any], "Value"]:
    """The operator that is this LLVM instruction; a number beside a Value becomes a constant of its kind."""

    def method(self: "Value", other: Any) -> "Value":
        integer = self.ir.type == I64
        if not isinstance(other, Value):
            other = Value(self.e, I64(other)) if integer else self.e.constant(other)
        return Value(
            self.e, getattr(self.e.ir, on_integers if integer else on_vectors)(self.ir, other.ir)
        )

    return method


class Value:
    """An LLVM integer, place (pointer to float32) or vector, with Python's operators."""

    __slots__ = ("e", "ir")

    def __init__(self, e: "Emitter", value: Any):
        self.e, self.ir = e, value

    def __add__(self, other: Any) -> "Value":
        if isinstance(self.ir.type, ir.PointerType):
            return Value(self.e, self.e.ir.gep(self.ir, [_integer(other)]))
        return _add(self, other)

    def __neg__(self) -> "Value":
        return Value(self.e, self.e.ir.fneg(self.ir))

    __sub__, __mul__ = _operator("sub", "fsub"), _operator("mul", "fmul")
    __truediv__, __floordiv__, __mod__ = (
        _operator("", "fdiv"),
        _operator("sdiv", ""),
        _operator("srem", ""),
    )
    __radd__, __rmul__ = __add__, __mul__


_add = _operator("add", "fadd")


def _integer(n: Value | int) -> ir.Value:
    return n.ir if isinstance(n, Value) else I64(n)


class Emitter:
    """Emits LLVM IR. Vectors have `lanes` float32 lanes; `where` is a mask: the lanes that take part."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        lanes: int,
        functions: dict[Callable, ir.Function] | None = None,
    ):
        self.ir, self.lanes, self.vector = builder, lanes, ir.VectorType(F32, lanes)
        self.functions = {} if functions is None else functions  # what `call` has made

    def call(self, body: Callable, *arguments: Value | int) -> None:
        """Run a body that is a function of its own: LLVM optimises it once, however often it is called."""
        values = [_integer(argument) for argument in arguments]
        if body not in self.functions:
            kind, name = ir.FunctionType(ir.VoidType(), [v.type for v in values]), body.__qualname__
            function = ir.Function(self.ir.module, kind, self.ir.module.get_unique_name(name))
            function.linkage, self.functions[body] = "internal", function
            function.attributes.add("noinline")
            inside = Emitter(
                ir.IRBuilder(function.append_basic_block()), self.lanes, self.functions
            )
            body(inside, *(Value(inside, argument) for argument in function.args))
            inside.ir.ret_void()
        self.ir.call(self.functions[body], values)

    def _call(self, name: str, result: ir.Type, *arguments: ir.Value) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return self.ir.call(cgutils.get_or_insert_function(self.ir.module, kind, name), arguments)

    def _map(self, name: str, *vectors: Value) -> Value:
        return Value(
            self, self._call(f"llvm.{name}.v{self.lanes}f32", self.vector, *(v.ir for v in vectors))
        )

    def every(self, scalar: ir.Value) -> Value:
        """That number in every lane."""
        kind = ir.VectorType(scalar.type, self.lanes)
        one = self.ir.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return Value(self, self.ir.shuffle_vector(one, one, zeros))

    def half(self) -> "Emitter":
        """An emitter of vectors of half as many lanes."""
        return Emitter(self.ir, self.lanes // 2)

    def constant(self, number: float) -> Value:
        return Value(self, ir.Constant(self.vector, [float(np.float32(number))] * self.lanes))

    def load(self, place: Value, where: Value | None = None) -> Value:
        pointer = self.ir.bitcast(place.ir, self.vector.as_pointer())
        if where is None:
            value = self.ir.load(pointer)
            value.align = 4
            return Value(self, value)
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        return Value(
            self, self._call(name, self.vector, pointer, I32(4), where.ir, self.constant(0).ir)
        )

    def store(self, value: Value, place: Value, where: Value | None = None) -> None:
        pointer = self.ir.bitcast(place.ir, self.vector.as_pointer())
        if where is None:
            self.ir.store(value.ir, pointer).align = 4
        else:
            name = f"llvm.masked.store.v{self.lanes}f32.p0"
            self._call(name, ir.VoidType(), value.ir, pointer, I32(4), where.ir)

    def stream(self, value: Value, place: Value) -> None:
        """Store past the caches; the place must be a multiple of the vector's size.

        Such stores are ordered before locked instructions only: with one of these, threads hand
        over results.
        """
        store = self.ir.store(value.ir, self.ir.bitcast(place.ir, self.vector.as_pointer()))
        store.align = 4 * self.lanes
        store.set_metadata("nontemporal", self.ir.module.add_metadata([I32(1)]))

    def integer(self, place: Value) -> Value:
        """The one integer at `place`, in an array of integers."""
        return Value(self, self.ir.load(place.ir))

    def splat(self, place: Value) -> Value:
        """The one number at `place`, in every lane."""
        scalar = self.ir.load(place.ir)
        scalar.align = 4
        return self.every(scalar)

    def first(self, count: Value | int) -> Value:
        """The mask of the first `count` lanes (all of them if count ≥ lanes)."""
        steps = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return Value(self, self.ir.icmp_signed("<", steps, self.every(_integer(count)).ir))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        return self._map("fma", a, b, c)

    def round(self, a: Value) -> Value:
        return self._map("nearbyint", a)

    def sqrt(self, a: Value) -> Value:
        return self._map("sqrt", a)

    def two_to(self, n: Value) -> Value:
        """2ⁿ for whole n in -126 … 127: n goes straight into the bits of the exponent."""
        whole = ir.VectorType(I32, self.lanes)
        bits = self.ir.add(self.ir.fptosi(n.ir, whole), ir.Constant(whole, [127] * self.lanes))
        return Value(
            self,
            self.ir.bitcast(self.ir.shl(bits, ir.Constant(whole, [23] * self.lanes)), self.vector),
        )

    def below(self, a: Value, b: Value) -> Value:
        """The mask of the lanes where a < b (false for NaN)."""
        return Value(self, self.ir.fcmp_ordered("<", a.ir, b.ir))

    def fewer(self, index: Value | int, size: Value | int) -> Value:
        """Whether index < size."""
        return Value(self, self.ir.icmp_signed("<", _integer(index), _integer(size)))

    def smaller(self, a: Value, b: Value | int) -> Value:
        return self.choose(self.fewer(a, b), a, b)

    def spread(self, vectors: dict[int, Value], k: int, inputs: int, outputs: int) -> Value:
        """In each run of `outputs` lanes, the k-th of the next `inputs` numbers, of which vectors[n] is the n-th."""
        result, indices = vectors[0].ir, ir.VectorType(I32, self.lanes)
        for n, vector in vectors.items():  # each gives the lanes whose numbers it holds
            at = [lane // outputs * inputs + k - n * self.lanes for lane in range(self.lanes)]
            source = [self.lanes + i if 0 <= i < self.lanes else lane for lane, i in enumerate(at)]
            result = self.ir.shuffle_vector(result, vector.ir, ir.Constant(indices, source))
        return Value(self, result)

    def inside(self, index: Value, size: Value) -> Value:
        """Whether 0 ≤ index < size."""
        return Value(self, self.ir.icmp_unsigned("<", index.ir, size.ir))

    def choose(self, condition: Value, yes: Value | int, no: Value | int) -> Value:
        return Value(self, self.ir.select(condition.ir, _integer(yes), _integer(no)))

    def variable(self, value: Value) -> "Variable":
        return Variable(self, value)

    def when(
        self, condition: Value, yes: Callable[[], None], no: Callable[[], None] = lambda: None
    ) -> None:
        with self.ir.if_else(condition.ir) as (then, otherwise):
            with then:
                yes()
            with otherwise:
                no()

    def loop(self, count: Value | int) -> Callable[[Callable[[Value], None]], None]:
        """A loop over 0 … count − 1 that LLVM is told not to unroll (unrolled, the tiles spill)."""

        def run(body: Callable[[Value], None]) -> None:
            before, end = self.ir.block, _integer(count)
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
            tag = module.add_metadata(
                [ir.MetaDataString(module, f"loop{len(module.metadata)}"), off]
            )
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
