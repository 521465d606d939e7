"""`check_op`: one checker for every operation. A promise is a short function that fails where it is broken."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from .. import ops
from ..autograd.check import gradcheck, gradgradcheck
from ..autograd.tensor import Tensor
from .strategies import LAYOUTS


def check_op(
    f: Callable,
    *arguments: Any,
    reference: Callable | None = None,
    order: int = 2,
    examples: int = 20,
    single: float = 1e-4,
    **tolerances: Any,
) -> None:
    """Hold the operation f to every promise that an operation of minidiff makes.

    An argument is an array, a hypothesis strategy, or a plain value that f takes as it is; one strategy of tuples may
    draw all of them. float64 arrays are differentiated, and everything is done again with them in float32. With
    strategies, `examples` draws are made.

    - bare arrays in, bare array out, Tensor in, Tensor out; values are `reference`'s (plain NumPy, same arguments)
    - derivatives up to `order` agree with finite differences (`tolerances` are `gradcheck`'s rtol, atol, eps)
    - float32 in, float32 out, for values and gradients, which are the float64 ones but for `single` of the largest
    - operands that are broadcast get gradients of their own shape; each alone gets what it gets beside the others
    - any memory layout of operands and upstream gradients gives the same; twice the same gives the same bits
    - operands and upstream gradients are not written to; no gradient shares memory with another, or an operand, or the
      upstream gradient; a second call does not disturb a first one

    Raises AssertionError that names the operation, the broken promise and the arguments.
    """
    if not any(isinstance(argument, st.SearchStrategy) for argument in arguments):
        case = Case(f, arguments, reference, order, single, tolerances)
        for promise in PROMISES:
            try:
                promise(case)
            except AssertionError:
                raise
            except Exception as error:
                error.add_note(f"while checking {promise.__name__} of {case}")
                raise
        return

    @settings(max_examples=examples, deadline=None, report_multiple_bugs=False)
    @given(st.tuples(*(a if isinstance(a, st.SearchStrategy) else st.just(a) for a in arguments)))
    def every(drawn: tuple) -> None:
        lone = drawn[0] if len(drawn) == 1 and isinstance(drawn[0], tuple) else drawn
        check_op(f, *lone, reference=reference, order=order, single=single, **tolerances)

    every()


@dataclass
class Case:
    """One operation with concrete arguments: what every promise is checked on."""

    f: Callable
    args: tuple
    reference: Callable | None
    order: int
    single: float
    tolerances: dict

    def __str__(self) -> str:
        name = getattr(self.f, "__name__", None) or getattr(self.f, "name", None) or repr(self.f)
        return f"{name}({', '.join(map(_described, self.args))})"

    def fail(self, text: str) -> NoReturn:
        raise AssertionError(f"{text}\n  in {self}") from None

    def reflected(self, *args: Any) -> Any:
        """2c − f, with c the constant f: the values of f, and the gradients of −f."""
        out: Any = self.f(*args)
        return 2 * (out.detach() if isinstance(out, Tensor) else out) - out

    @property
    def operands(self) -> list[int]:
        """Which arguments are differentiated."""
        return [i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]

    def arranged(self, change: Callable[[np.ndarray], np.ndarray]) -> tuple:
        """The arguments with every float array changed."""
        return tuple(change(a) if i in self.operands else a for i, a in enumerate(self.args))

    def forward(self, args: tuple, wanted: list[int]) -> tuple[Tensor, list[Tensor]]:
        """f at `args`, where those in `wanted` are leaves; (result, leaves)."""
        inputs = [Tensor(a, requires_grad=i in wanted) if isinstance(a, np.ndarray) else a for i, a in enumerate(args)]
        out = self.f(*inputs)
        if not isinstance(out, Tensor):
            self.fail(f"Tensors in, Tensor out: Tensors gave a {type(out).__name__}")
        return out, [inputs[i] for i in wanted]

    def gradients(self, args: tuple, wanted: list[int], upstream: Any = None) -> tuple[np.ndarray, list]:
        """(value, gradient of each wanted argument, zeros where there is none) for an upstream gradient."""
        out, leaves = self.forward(args, wanted)
        if out.requires_grad:
            out.backward(_random(out) if upstream is None else upstream)
        for i, leaf in zip(wanted, leaves):
            if leaf.grad is not None and leaf.grad.shape != leaf.shape:
                what = "missing broadcast" if leaf.grad.shape == out.shape else "wrong gradient"
                self.fail(f"{what}: argument {i} of shape {leaf.shape} got a gradient of shape {leaf.grad.shape}")
        return out.data, [np.zeros_like(t.data) if t.grad is None else t.grad for t in leaves]


def values(case: Case) -> None:
    bare = case.f(*case.args)
    if isinstance(bare, Tensor):
        case.fail("bare arrays in, bare array out: arrays gave a Tensor")
    out, _ = case.forward(case.args, case.operands)
    if out.shape != np.shape(bare) or not _close(out.data, bare, 1e-12):
        case.fail(f"wrong value: Tensors give {out.data}, bare arrays {bare}")
    if case.reference is not None:
        want = np.asarray(case.reference(*case.args))
        if out.shape != want.shape:
            case.fail(f"wrong value: the shape is {out.shape}, the reference's {want.shape}")
        if not _close(out.data, want, 1e-9):
            case.fail(f"wrong value: {_worst(out.data, want)}")


def inputs_unchanged(case: Case) -> None:
    args = case.arranged(np.array)
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]

    def compare(when: str) -> None:
        for i, (a, b) in enumerate(zip(args, before)):
            if isinstance(a, np.ndarray) and a.tobytes() != b.tobytes():
                case.fail(f"mutated input: argument {i} was written to by {when}")

    out, _ = case.forward(args, case.operands)
    compare("the operation")
    if out.requires_grad:
        upstream = _random(out)
        kept = upstream.copy()
        out.backward(upstream)
        compare("its derivative")
        if upstream.tobytes() != kept.tobytes():
            case.fail("mutated input: the upstream gradient was written to by the derivative")


def dtypes(case: Case) -> None:
    out, gradients = case.gradients(case.args, case.operands)
    narrow = case.arranged(lambda a: a.astype(np.float32))
    upstream = _random(out, np.float32 if out.dtype == np.float64 else out.dtype)
    value, found = case.forward(narrow, case.operands)
    if value.dtype != upstream.dtype:
        case.fail(f"wrong dtype: float32 arguments gave {value.dtype}, wanted {upstream.dtype}")
    if not _close(value.data, out, case.single):
        case.fail(f"float32 gives another value than float64: {_worst(value.data, out)}")
    for create_graph in (False, True) if value.requires_grad else ():
        value, found = case.forward(narrow, case.operands)
        value.backward(upstream, create_graph=create_graph)
        for i, leaf, want in zip(case.operands, found, gradients):
            got = leaf.grad.data if isinstance(leaf.grad, Tensor) else leaf.grad
            if got is not None and got.dtype != np.float32:
                case.fail(f"wrong dtype: for float32 arguments the gradient of argument {i} is {got.dtype}")
            if got is not None and not _close(got, want, case.single):
                case.fail(f"float32 gives another gradient of argument {i} than float64: {_worst(got, want)}")


def broadcasts(case: Case) -> None:
    """Wherever a shorter operand is taken too, and gives the same shape, its gradient has the operand's shape."""
    full = case.forward(case.args, [])[0].shape
    for i in case.operands if len(case.operands) > 1 else []:
        short = case.args[i][..., :1] if case.args[i].ndim else case.args[i]
        args = tuple(short if j == i else a for j, a in enumerate(case.args))
        try:
            accepted = case.forward(args, [])[0].shape == full
        except (TypeError, ValueError, IndexError):
            continue  # the operation says that it does not broadcast this one
        if accepted:
            try:
                case.gradients(args, [i])
            except AssertionError:
                raise
            except Exception as error:
                case.fail(f"missing broadcast: argument {i} of shape {short.shape} has no gradient: {error}")


def first_derivative(case: Case) -> None:
    def checked(i: int, f: Callable) -> None:
        gradcheck(lambda x: f(*case.args[:i], x, *case.args[i + 1 :]), case.args[i], **case.tolerances)

    out, _ = case.forward(case.args, case.operands)
    for i in case.operands if case.order else ():
        if case.args[i].dtype != np.float64 or out.dtype != np.float64:
            continue
        try:
            checked(i, case.f)
        except AssertionError as error:
            try:
                checked(i, case.reflected)
            except AssertionError:
                case.fail(f"wrong first derivative of argument {i}: {error}")
            case.fail(f"wrong sign: the gradient of argument {i} is minus what it should be: {error}")


def second_derivative(case: Case) -> None:
    out, _ = case.forward(case.args, case.operands)
    if case.order < 2 or not out.requires_grad or out.dtype != np.float64:
        return
    try:
        gradgradcheck(case.f, *case.args, **case.tolerances)
    except AssertionError as error:
        case.fail(f"wrong second derivative: {error}")


def each_alone(case: Case) -> None:
    """A gradient does not depend on which others are wanted, nor on whether it is recorded itself."""
    out, together = case.gradients(case.args, case.operands)
    for i, want in zip(case.operands, together):
        if not _close(case.gradients(case.args, [i])[1][0], want, 1e-9):
            case.fail(f"wrong gradient: that of argument {i} is another one when no other is wanted")
    result, leaves = case.forward(case.args, case.operands)
    if case.order and result.requires_grad:
        result.backward(_random(out), create_graph=True)
        for i, leaf, want in zip(case.operands, leaves, together):
            if leaf.grad is not None and not _close(leaf.grad.data, want, 1e-8):
                case.fail(f"wrong gradient: that of argument {i} is another one with create_graph=True")


def memory_layouts(case: Case) -> None:
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, case.single)):
        args = case.arranged(partial(np.array, dtype=dtype, order="C"))
        out, want = case.gradients(args, case.operands)
        upstream = _random(out)
        for name, arrange in LAYOUTS.items():
            given = tuple(arrange(a) if isinstance(a, np.ndarray) else a for a in args)
            value, got = case.gradients(given, case.operands, arrange(upstream))
            for what, a, b in _named(case, (value, got), (out, want)):
                if not _close(a, b, tolerance):
                    case.fail(f"{name} {np.dtype(dtype)} memory gives another {what}: {_worst(a, b)}")
        ones = np.ones(out.shape, out.dtype)
        flat = np.broadcast_to(np.ones((), out.dtype), out.shape)  # what the gradient of a sum is: every stride 0
        want, got = (case.gradients(args, case.operands, upstream)[1] for upstream in (ones, flat))
        if not all(_close(a, b, tolerance) for a, b in zip(got, want)):
            case.fail(f"an upstream gradient that is broadcast gives another gradient in {np.dtype(dtype)}")


def repeatable(case: Case) -> None:
    first, second = (case.gradients(case.args, case.operands) for _ in range(2))
    for what, a, b in _named(case, first, second):
        if a.tobytes() != b.tobytes():
            case.fail(f"not repeatable: the {what} differs when everything is done again")


def nothing_shared(case: Case) -> None:
    args = case.arranged(np.array)
    out, leaves = case.forward(args, case.operands)
    mirrored = case.arranged(lambda a: np.array(np.flip(a)))
    value = out.data.copy()
    other, other_leaves = case.forward(mirrored, case.operands)
    if value.tobytes() != out.data.tobytes():
        case.fail("aliasing: a second call overwrote the first one's result")
    if not out.requires_grad:
        return
    upstreams = _random(out), _random(other)[::-1].copy() if other.ndim else _random(other)
    apart = [case.gradients(a, case.operands, u)[1] for a, u in zip((args, mirrored), upstreams)]
    ops.add(ops.sum(out * upstreams[0]), ops.sum(other * upstreams[1])).backward()
    for found, want in zip((leaves, other_leaves), apart):
        for i, leaf, gradient in zip(case.operands, found, want):
            if leaf.grad is not None and not _close(leaf.grad, gradient, 1e-9):
                case.fail(f"aliasing: two uses in one graph disturb each other's gradient of argument {i}")
    _, gradients = case.gradients(args, case.operands, upstreams[0])
    taken = [(f"argument {i}", args[i]) for i in case.operands] + [("the upstream gradient", upstreams[0])]
    for i, gradient in zip(case.operands, gradients):
        for name, array in taken:
            if np.shares_memory(gradient, array):
                case.fail(f"aliasing: the gradient of argument {i} shares memory with {name}")
        taken.append((f"the gradient of argument {i}", gradient))


PROMISES = (  # what explains most comes first
    inputs_unchanged,
    values,
    dtypes,
    repeatable,
    nothing_shared,
    memory_layouts,
    each_alone,
    first_derivative,
    broadcasts,
    second_derivative,
)


def _random(out: Any, dtype: Any = None) -> np.ndarray:
    """An upstream gradient for a result: the same numbers each time."""
    return np.asarray(np.random.default_rng(1).standard_normal(out.shape)).astype(dtype or out.dtype)


def _named(case: Case, *results: tuple[np.ndarray, list]) -> Iterator[tuple]:
    """(name, one, other) for the value and each gradient of two results of `Case.gradients`."""
    names = ["value", *(f"gradient of argument {i}" for i in case.operands)]
    return zip(names, *([value, *gradients] for value, gradients in results))


def _close(got: Any, want: Any, tolerance: float) -> bool:
    """Equal shapes, NaN and infinities in the same places, and no element off by more than a part of the largest."""
    got, want = np.asarray(got), np.asarray(want)
    finite = np.abs(want[np.isfinite(want)])
    return got.shape == want.shape and np.allclose(
        got, want, rtol=tolerance, atol=tolerance * max(1.0, finite.max(initial=0)), equal_nan=True
    )


def _worst(got: Any, want: Any) -> str:
    """The element that is furthest off, in words."""
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return f"shape {got.shape}, wanted {want.shape}"
    difference = np.abs(got.astype(np.float64) - want)
    at = np.unravel_index(np.argmax(np.where(np.isnan(difference), np.inf, difference)), got.shape)
    return f"at {[int(i) for i in at]} it is {got[at]:.9g}, wanted {want[at]:.9g}"


def _described(argument: Any) -> str:
    return f"{argument.dtype} {argument.shape}" if isinstance(argument, np.ndarray) else repr(argument)
