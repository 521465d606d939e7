"""`check_op`: one checker for every operation.

A promise is a short function that fails where it is broken.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from .. import ops
from ..autograd.finite_differences import gradcheck, gradgradcheck
from ..autograd.tensor import Tensor
from .forward_mode import forward_derivative
from .strategies import LAYOUTS, wide_arrays, widest


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

    An argument is an array, a hypothesis strategy, or a plain value that f takes as it is; one
    strategy of tuples may draw all of them. float64 arrays are differentiated, and everything is
    done again with them in float32. With strategies, `examples` draws are made; the memory layouts
    are also tried on a draw whose arrays have two axes longer than 1, where there is one.

    - bare arrays in, bare array out; Tensor in, Tensor out
    - values are those of `reference` (plain NumPy, same arguments)
    - derivatives up to `order` agree with finite differences; `tolerances` are `gradcheck`'s rtol,
      atol, eps
    - forward mode gives the same derivatives, of both orders
    - float32 in, float32 out, for values and gradients; they differ from the float64 ones by at
      most `single` of the largest
    - operands that are broadcast get gradients of their own shape
    - an operand's gradient is the same, whether other gradients are asked for or not
    - any memory layout of operands and upstream gradients gives the same
    - the same call gives the same bits
    - operands and upstream gradients are not written to
    - no gradient shares memory with another, with an operand or with the upstream gradient, and a
      second call does not disturb a first one

    Raises AssertionError that names the operation, the broken promise and the arguments; ValueError
    or TypeError, with the arguments in a note, for a rule whose gradient has another shape or dtype
    than its operand: the tape refuses that itself.
    """
    if not any(isinstance(argument, st.SearchStrategy) for argument in arguments):
        _hold(PROMISES, Case(f, arguments, reference, order, single, tolerances))
        return

    samples = st.tuples(
        *(a if isinstance(a, st.SearchStrategy) else st.just(a) for a in arguments)
    ).map(lambda drawn: drawn[0] if len(drawn) == 1 and isinstance(drawn[0], tuple) else drawn)

    @settings(max_examples=examples, deadline=None, report_multiple_bugs=False)
    @given(samples)
    def check(args: tuple) -> None:
        _hold(PROMISES, Case(f, args, reference, order, single, tolerances))

    check()
    sample = widest(samples)
    if wide_arrays(sample):
        _hold((memory_layouts,), Case(f, sample, reference, order, single, tolerances))


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
        return [
            i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        ]

    def arranged(self, change: Callable[[np.ndarray], np.ndarray]) -> tuple:
        """The arguments with every float array changed."""
        return tuple(change(a) if i in self.operands else a for i, a in enumerate(self.args))

    def forward(self, args: tuple, argnums: list[int]) -> tuple[Tensor, list[Tensor]]:
        """(f of `args`, its leaves); the leaves are the arguments at `argnums`."""
        inputs = [
            Tensor(a, requires_grad=i in argnums) if isinstance(a, np.ndarray) else a
            for i, a in enumerate(args)
        ]
        out = self.f(*inputs)
        if not isinstance(out, Tensor):
            self.fail(f"Tensors in, Tensor out: Tensors gave a {type(out).__name__}")
        return out, [inputs[i] for i in argnums]

    def gradients(
        self, out: Tensor, leaves: list[Tensor], argnums: list[int]
    ) -> dict[str, np.ndarray]:
        """The gradients of the leaves by name, zeros where there is none."""
        gradients = {}
        for i, leaf in zip(argnums, leaves):
            gradient = np.zeros_like(leaf.data) if leaf.grad is None else leaf.grad
            if gradient.shape != leaf.shape:
                fault = "missing broadcast" if gradient.shape == out.shape else "wrong gradient"
                self.fail(
                    f"{fault}: argument {i} of shape {leaf.shape} got a gradient of shape "
                    f"{gradient.shape}"
                )
            bare = gradient.data if isinstance(gradient, Tensor) else gradient
            gradients[f"gradient of argument {i}"] = bare
        return gradients

    def results(
        self, args: tuple, argnums=None, upstream=None, create_graph=False
    ) -> dict[str, np.ndarray]:
        """The value, and the gradients of the arguments at `argnums` (all operands), by name."""
        argnums = self.operands if argnums is None else argnums
        out, leaves = self.forward(args, argnums)
        if out.requires_grad:
            out.backward(_random(out) if upstream is None else upstream, create_graph=create_graph)
        return {"value": out.data, **self.gradients(out, leaves, argnums)}

    def compare(
        self, got: dict[str, Any], want: dict[str, Any], tolerance: float, text: str
    ) -> None:
        """Fail unless shapes, NaNs and infinities are the same, and elements to `tolerance`.

        The tolerance is a share of the element, or of the largest element. `text` says what is
        wrong, and has {what} for the name of the value or gradient.
        """
        for what in got:
            a = np.asarray(got[what])
            b = np.asarray(want[what])
            fault = text.format(what=what)
            if a.shape != b.shape:
                self.fail(f"{fault}: shape {a.shape}, wanted {b.shape}")
            largest = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0))
            if not np.allclose(a, b, rtol=tolerance, atol=tolerance * largest, equal_nan=True):
                difference = np.abs(a.astype(np.float64) - b)
                badness = np.where(np.isnan(difference), np.inf, difference)
                worst = np.unravel_index(np.argmax(badness), a.shape)
                place = [int(i) for i in worst]
                self.fail(f"{fault}: at {place} it is {a[worst]:.9g}, wanted {b[worst]:.9g}")


def values(case: Case) -> None:
    bare = case.f(*case.args)
    if isinstance(bare, Tensor):
        case.fail("bare arrays in, bare array out: arrays gave a Tensor")
    of_tensors = {"value": case.forward(case.args, case.operands)[0].data}
    text = "wrong {what}: Tensors give another one than bare arrays"
    case.compare(of_tensors, {"value": bare}, 1e-12, text)
    if case.reference is not None:
        case.compare(of_tensors, {"value": case.reference(*case.args)}, 1e-9, "wrong {what}")


def inputs_unchanged(case: Case) -> None:
    args = deepcopy(case.args)

    def compare_after(culprit: str) -> None:
        for i, (now, before) in enumerate(zip(args, case.args)):
            if isinstance(now, np.ndarray) and now.tobytes() != before.tobytes():
                case.fail(f"mutated input: argument {i} was written to by {culprit}")

    out, _ = case.forward(args, case.operands)
    compare_after("the operation")
    if out.requires_grad:
        upstream = _random(out)
        out.backward(upstream)
        compare_after("its derivative")
        if upstream.tobytes() != _random(out).tobytes():
            case.fail("mutated input: the upstream gradient was written to by the derivative")


def dtypes(case: Case) -> None:
    wide = case.results(case.args)
    narrow = case.arranged(lambda a: a.astype(np.float32))
    for create_graph in (False, True):
        results = case.results(narrow, create_graph=create_graph)
        for what, got in results.items():
            dtype = wide[what].dtype
            if dtype == np.float64:
                dtype = np.dtype(np.float32)
            if got.dtype != dtype:
                case.fail(
                    f"wrong dtype: float32 arguments, and the {what} is {got.dtype}, wanted {dtype}"
                )
        case.compare(results, wide, case.single, "float32 gives another {what} than float64")


REFUSALS = TypeError, ValueError, IndexError


def broadcasts(case: Case) -> None:
    """An operand whose last axis is 1 and is broadcast has a gradient of its own shape."""
    full = case.forward(case.args, [])[0].shape
    for i in case.operands if len(case.operands) > 1 else []:
        short = case.args[i][..., :1] if case.args[i].ndim else case.args[i]
        args = tuple(short if j == i else a for j, a in enumerate(case.args))
        try:
            accepted = case.forward(args, [])[0].shape == full
        except REFUSALS:
            continue  # the operation says that it does not broadcast this one
        try:
            if accepted:
                case.results(args, [i])
        except REFUSALS as error:
            case.fail(
                f"missing broadcast: argument {i} of shape {short.shape} has no gradient: {error}"
            )


def first_derivative(case: Case) -> None:
    def fault(i: int, f: Callable) -> AssertionError | None:
        try:
            gradcheck(
                lambda x: f(*case.args[:i], x, *case.args[i + 1 :]), case.args[i], **case.tolerances
            )
        except AssertionError as error:
            return error
        return None

    out, _ = case.forward(case.args, case.operands)
    if not case.order or out.dtype != np.float64:
        return
    for i in case.operands:
        if case.args[i].dtype == np.float64 and (error := fault(i, case.f)):
            if fault(i, case.reflected):
                case.fail(f"wrong first derivative of argument {i}: {error}")
            case.fail(
                f"wrong sign: the gradient of argument {i} is minus what it should be: {error}"
            )


def second_derivative(case: Case) -> None:
    out, _ = case.forward(case.args, case.operands)
    if case.order < 2 or not out.requires_grad or out.dtype != np.float64:
        return
    try:
        gradgradcheck(case.f, *case.args, **case.tolerances)
    except AssertionError as error:
        case.fail(f"wrong second derivative: {error}")


def each_alone(case: Case) -> None:
    """A gradient does not depend on which others are wanted, nor on whether it is recorded."""
    together = case.results(case.args)
    for i in case.operands:
        alone = case.results(case.args, [i])
        text = "wrong {what}: it is another one when no other is wanted"
        case.compare(alone, together, 1e-9, text)
    if case.order:
        recorded = case.results(case.args, create_graph=True)
        text = "wrong {what}: it is another one with create_graph=True"
        case.compare(recorded, together, 1e-8, text)


def memory_layouts(case: Case) -> None:
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, case.single)):
        args = case.arranged(partial(np.array, dtype=dtype, order="C"))
        want = case.results(args)
        upstream = _random(want["value"])
        for name, arrange in LAYOUTS.items():
            arranged = tuple(arrange(a) if isinstance(a, np.ndarray) else a for a in args)
            got = case.results(arranged, upstream=arrange(upstream))
            text = f"{name} {np.dtype(dtype)} memory gives another {{what}}"
            case.compare(got, want, tolerance, text)
        views = tuple(_repeated(a) if i in case.operands else a for i, a in enumerate(args))
        copies = deepcopy(views)  # NumPy's copies have no stride of 0
        try:
            want_of_copies = case.results(copies)
        except REFUSALS:
            pass  # the operation takes no repeated elements: a singular matrix, say
        else:
            text = f"{np.dtype(dtype)} memory that is broadcast gives another {{what}}"
            case.compare(case.results(views), want_of_copies, tolerance, text)
        ones = np.ones_like(upstream)
        # the upstream gradient that a sum gives: every stride 0
        broadcast_ones = np.broadcast_to(np.ones((), ones.dtype), ones.shape)
        got = case.results(args, upstream=broadcast_ones)
        want = case.results(args, upstream=ones)
        text = "an upstream gradient that is broadcast gives another {what}"
        case.compare(got, want, tolerance, text)


def repeatable(case: Case) -> None:
    first, second = (case.results(case.args) for _ in range(2))
    text = "not repeatable: the {what} differs when everything is done again"
    case.compare(second, first, 0.0, text)


def nothing_shared(case: Case) -> None:
    args = case.arranged(np.array)
    other_args = case.arranged(lambda a: np.array(np.flip(a)))
    out, leaves = case.forward(args, case.operands)
    before = out.data.tobytes()
    other, other_leaves = case.forward(other_args, case.operands)
    if before != out.data.tobytes():
        case.fail("aliasing: a second call overwrote the first one's result")
    if not out.requires_grad:
        return
    upstream = _random(out)
    other_upstream = 2 * _random(other)
    apart = case.results(args, upstream=upstream)
    other_apart = case.results(other_args, upstream=other_upstream)
    ops.add(ops.sum(out * upstream), ops.sum(other * other_upstream)).backward()
    text = "aliasing: two uses in one graph disturb each other's {what}"
    case.compare(case.gradients(out, leaves, case.operands), apart, 1e-9, text)
    case.compare(case.gradients(other, other_leaves, case.operands), other_apart, 1e-9, text)
    owners = {f"argument {i}": args[i] for i in case.operands}
    owners["upstream gradient"] = upstream
    apart.pop("value")
    for what, gradient in apart.items():
        for name, array in owners.items():
            if np.shares_memory(gradient, array):
                case.fail(f"aliasing: the {what} shares memory with the {name}")
        owners[what] = gradient


PROMISES = (  # what explains most comes first
    inputs_unchanged,
    values,
    dtypes,
    repeatable,
    nothing_shared,
    memory_layouts,
    each_alone,
    first_derivative,
    forward_derivative,
    broadcasts,
    second_derivative,
)


def _hold(promises: tuple[Callable[[Case], None], ...], case: Case) -> None:
    """Check the promises one by one; what fails gets a note of what was being checked."""
    for promise in promises:
        try:
            promise(case)
        except Exception as error:
            error.add_note(f"while checking {promise.__name__} of {case}")
            raise


def _repeated(array: np.ndarray) -> np.ndarray:
    """The first element along the first axis, again and again: a view whose stride there is 0."""
    return np.broadcast_to(array[:1], array.shape) if array.ndim else array


def _random(out: Any) -> np.ndarray:
    """An upstream gradient for a result: the same numbers each time."""
    return np.asarray(np.random.default_rng(1).standard_normal(out.shape)).astype(out.dtype)


def _described(argument: Any) -> str:
    if isinstance(argument, np.ndarray):
        return f"{argument.dtype} {argument.shape}"
    return repr(argument)
