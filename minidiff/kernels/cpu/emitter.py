"""The emitter: the steps of a vector body as LLVM instructions.

`Emitter` has the methods of `Interpreter`, which says what each one means; what is said here is
only how LLVM is told.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from .views import View

F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)


class Emitted:
    """What an instruction gives: an integer, a condition, a place (a pointer), a vector or a mask.

    It has Python's operators, which emit one more instruction.
    """

    __slots__ = ("e", "ir")

    def __init__(self, e: "Emitter", value: Any):
        self.e = e
        self.ir = value

    def _operation(self, other: Any, on_integers: str, on_vectors: str) -> "Emitted":
        """That LLVM instruction; a plain number becomes a constant of this value's type."""
        if self.ir.type == I64:
            name = on_integers
            operand = _integer(other)
        else:
            name = on_vectors
            operand = other.ir if isinstance(other, Emitted) else self.e.constant(other).ir
        return Emitted(self.e, getattr(self.e.ir, name)(self.ir, operand))

    def __add__(self, other: Any) -> "Emitted":
        if isinstance(self.ir.type, ir.PointerType):
            return Emitted(self.e, self.e.ir.gep(self.ir, [_integer(other)]))
        return self._operation(other, "add", "fadd")

    def __sub__(self, other: Any) -> "Emitted":
        return self._operation(other, "sub", "fsub")

    def __mul__(self, other: Any) -> "Emitted":
        return self._operation(other, "mul", "fmul")

    def __truediv__(self, other: Any) -> "Emitted":
        return self._operation(other, "", "fdiv")

    def __floordiv__(self, other: Any) -> "Emitted":
        return self._operation(other, "sdiv", "")

    def __mod__(self, other: Any) -> "Emitted":
        return self._operation(other, "srem", "")

    def __neg__(self) -> "Emitted":
        return Emitted(self.e, self.e.ir.fneg(self.ir))

    __radd__ = __add__
    __rmul__ = __mul__


def _integer(n: Emitted | int) -> ir.Value:
    return n.ir if isinstance(n, Emitted) else I64(n)


def _parts(argument: Any) -> tuple:
    """What an argument of a body is made of: a view's place and steps, a plan's fields."""
    if isinstance(argument, View):
        return argument.place, *argument.steps
    return argument if isinstance(argument, tuple) else (argument,)


def _rebuilt(argument: Any, parts: list) -> Any:
    """An argument like that one, made of other parts."""
    return type(argument)(*parts) if isinstance(argument, View | tuple) else parts[0]


class Variable:
    """A vector in memory, which LLVM turns into a register."""

    def __init__(self, e: "Emitter", value: Emitted):
        self.e = e
        self.slot = cgutils.alloca_once(e.ir, e.vector)
        self.set(value)

    def get(self) -> Emitted:
        return Emitted(self.e, self.e.ir.load(self.slot))

    def set(self, value: Emitted) -> None:
        self.e.ir.store(value.ir, self.slot)


class Emitter:
    """Emits LLVM instructions where `builder` stands; vectors have `lanes` float32 lanes."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        lanes: int,
        functions: dict[tuple, ir.Function] | None = None,
    ):
        self.ir = builder
        self.lanes = lanes
        self.vector = ir.VectorType(F32, lanes)
        self.functions = {} if functions is None else functions  # what `call` has made

    # --- how LLVM is told ---

    def _call(self, name: str, result: ir.Type, *arguments: ir.Value) -> Any:
        """A call of one of LLVM's own functions."""
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return self.ir.call(cgutils.get_or_insert_function(self.ir.module, kind, name), arguments)

    def _map(self, name: str, *vectors: Emitted) -> Emitted:
        """LLVM's function of that name, lane by lane."""
        arguments = [vector.ir for vector in vectors]
        return Emitted(self, self._call(f"llvm.{name}.v{self.lanes}f32", self.vector, *arguments))

    def _whole(self, number: int) -> ir.Constant:
        """A whole number in every lane."""
        return ir.Constant(ir.VectorType(I32, self.lanes), [number] * self.lanes)

    def broadcast(self, scalar: ir.Value) -> Emitted:
        """That number in every lane."""
        kind = ir.VectorType(scalar.type, self.lanes)
        one = self.ir.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
        return Emitted(self, self.ir.shuffle_vector(one, one, self._whole(0)))

    # --- vectors from memory, and back ---

    def load(self, place: Emitted, mask: Emitted | None = None) -> Emitted:
        pointer = self.ir.bitcast(place.ir, self.vector.as_pointer())
        if mask is None:
            value = self.ir.load(pointer)
            value.align = 4
            return Emitted(self, value)
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        zeros = self.constant(0).ir
        return Emitted(self, self._call(name, self.vector, pointer, I32(4), mask.ir, zeros))

    def load_broadcast(self, place: Emitted) -> Emitted:
        scalar = self.ir.load(place.ir)
        scalar.align = 4
        return self.broadcast(scalar)

    def store(self, value: Emitted, place: Emitted, mask: Emitted | None = None) -> None:
        pointer = self.ir.bitcast(place.ir, self.vector.as_pointer())
        if mask is None:
            self.ir.store(value.ir, pointer).align = 4
        else:
            name = f"llvm.masked.store.v{self.lanes}f32.p0"
            self._call(name, ir.VoidType(), value.ir, pointer, I32(4), mask.ir)

    def stream(self, value: Emitted, place: Emitted) -> None:
        """Store past the caches; the place must be a multiple of a vector's size.

        The processor may delay such a store beyond ordinary ones, but not beyond a locked
        instruction. Threads hand over their results with one of those.
        """
        store = self.ir.store(value.ir, self.ir.bitcast(place.ir, self.vector.as_pointer()))
        store.align = 4 * self.lanes
        store.set_metadata("nontemporal", self.ir.module.add_metadata([I32(1)]))

    def integer(self, place: Emitted) -> Emitted:
        return Emitted(self, self.ir.load(place.ir))

    def to_aligned(self, place: Emitted) -> Emitted:
        address = self.ir.ptrtoint(place.ir, I64)
        bytes_on = self.ir.and_(self.ir.neg(address), I64(4 * self.lanes - 1))
        return Emitted(self, self.ir.udiv(bytes_on, I64(4)))

    # --- vectors from vectors ---

    def constant(self, number: float) -> Emitted:
        return Emitted(self, ir.Constant(self.vector, [float(np.float32(number))] * self.lanes))

    def fma(self, a: Emitted, b: Emitted, c: Emitted) -> Emitted:
        return self._map("fma", a, b, c)

    def round(self, a: Emitted) -> Emitted:
        return self._map("nearbyint", a)

    def sqrt(self, a: Emitted) -> Emitted:
        return self._map("sqrt", a)

    def exp2i(self, n: Emitted) -> Emitted:
        """A float32 has its exponent, plus 127, in bits 23 to 30: n goes straight in there."""
        whole = self.ir.fptosi(n.ir, ir.VectorType(I32, self.lanes))
        bits = self.ir.shl(self.ir.add(whole, self._whole(127)), self._whole(23))
        return Emitted(self, self.ir.bitcast(bits, self.vector))

    def permute(self, vectors: dict[int, Emitted], numbers: list[int]) -> Emitted:
        """One shuffle for each vector: it replaces the lanes whose numbers this vector holds."""
        result = vectors[0].ir
        for k, vector in vectors.items():
            lanes = []
            for lane, number in enumerate(numbers):
                own = number - k * self.lanes
                lanes.append(self.lanes + own if 0 <= own < self.lanes else lane)
            chosen = ir.Constant(ir.VectorType(I32, self.lanes), lanes)
            result = self.ir.shuffle_vector(result, vector.ir, chosen)
        return Emitted(self, result)

    # --- masks and conditions ---

    def mask_first(self, count: Emitted | int) -> Emitted:
        lane_numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        counts = self.broadcast(_integer(count)).ir
        return Emitted(self, self.ir.icmp_signed("<", lane_numbers, counts))

    def lt(self, a: Emitted | int, b: Emitted | int) -> Emitted:
        if isinstance(a, Emitted) and isinstance(a.ir.type, ir.VectorType):
            return Emitted(self, self.ir.fcmp_ordered("<", a.ir, b.ir))  # type: ignore[union-attr]
        return Emitted(self, self.ir.icmp_signed("<", _integer(a), _integer(b)))

    def inside(self, index: Emitted, size: Emitted) -> Emitted:
        """As unsigned numbers, negative ones are larger than any size."""
        return Emitted(self, self.ir.icmp_unsigned("<", index.ir, size.ir))

    def select(self, condition: Emitted, yes: Emitted | int, no: Emitted | int) -> Emitted:
        return Emitted(self, self.ir.select(condition.ir, _integer(yes), _integer(no)))

    def min(self, a: Emitted | int, b: Emitted | int) -> Emitted:
        return self.select(self.lt(a, b), a, b)

    def max(self, a: Emitted | int, b: Emitted | int) -> Emitted:
        return self.select(self.lt(a, b), b, a)

    # --- what runs when, and how often ---

    def variable(self, value: Emitted) -> Variable:
        return Variable(self, value)

    def loop(self, *counts: Emitted | int) -> Callable[[Callable], None]:
        count, *inner = counts

        def run(body: Callable) -> None:
            if inner:
                outer = body
                body = lambda index: self.loop(*inner)(lambda *more: outer(index, *more))
            self._one_loop(_integer(count), body)

        return run

    def _one_loop(self, count: ir.Value, body: Callable[[Emitted], None]) -> None:
        before = self.ir.block
        inside = self.ir.append_basic_block("body")
        after = self.ir.append_basic_block("end")
        self.ir.cbranch(self.ir.icmp_signed(">", count, I64(0)), inside, after)
        self.ir.position_at_end(inside)
        index = self.ir.phi(I64)
        index.add_incoming(I64(0), before)
        body(Emitted(self, index))
        following = self.ir.add(index, I64(1))
        index.add_incoming(following, self.ir.block)
        jump = self.ir.cbranch(self.ir.icmp_signed("<", following, count), inside, after)
        jump.set_metadata("llvm.loop", self._not_unrolled())
        self.ir.position_at_end(after)

    def _not_unrolled(self) -> ir.Value:
        """Tells LLVM not to unroll a loop, or a tile's sums no longer fit in the registers."""
        module = self.ir.module
        off = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
        name = ir.MetaDataString(module, f"loop{len(module.metadata)}")
        tag = module.add_metadata([name, off])
        tag.operands = (tag, off)
        return tag

    def when(
        self, condition: Emitted, yes: Callable[[], None], no: Callable[[], None] = lambda: None
    ) -> None:
        with self.ir.if_else(condition.ir) as (then, otherwise):
            with then:
                yes()
            with otherwise:
                no()

    def call(self, body: Callable, *arguments: Any) -> None:
        """LLVM optimises the function once, however often it is called.

        Python's own numbers among the arguments, the steps of views and the fields of plans are
        constants of the function: it is made once for each set of them.
        """
        parts = [part for argument in arguments for part in _parts(argument)]
        passed = [part.ir for part in parts if isinstance(part, Emitted)]
        constants = tuple(None if isinstance(part, Emitted) else part for part in parts)
        if (body, constants) not in self.functions:
            function = self._function(body, [value.type for value in passed])
            self.functions[body, constants] = function
            self._define(function, body, arguments)
        self.ir.call(self.functions[body, constants], passed)

    def _function(self, body: Callable, types: list[ir.Type]) -> ir.Function:
        name = self.ir.module.get_unique_name(body.__qualname__)
        function = ir.Function(self.ir.module, ir.FunctionType(ir.VoidType(), types), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        return function

    def _define(self, function: ir.Function, body: Callable, arguments: tuple) -> None:
        """Emit the body into the function, whose parameters stand for what is known at run time."""
        inside = Emitter(ir.IRBuilder(function.append_basic_block()), self.lanes, self.functions)
        parameters = iter(function.args)

        def renewed(argument: Any) -> Any:
            parts = [
                Emitted(inside, next(parameters)) if isinstance(part, Emitted) else part
                for part in _parts(argument)
            ]
            return _rebuilt(argument, parts)

        body(inside, *map(renewed, arguments))
        inside.ir.ret_void()

    def half(self) -> "Emitter":
        return Emitter(self.ir, self.lanes // 2)
