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

    An argument is an array, a hypothesis strategy, or a plain value that f takes as it is; one
    strategy of tuples may draw all of them. float64 arrays are differentiated, and everything is
    done again with them in float32. With strategies, `examples` draws are made.

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
        return [
            i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        ]

    def arranged(self, change: Callable[[np.ndarray], np.ndarray]) -> tuple:
        """The arguments with every float array changed."""
        return tuple(change(a) if i in self.operands else a for i, a in enumerate(self.args))

    def forward(self, args: tuple, wanted: list[int]) -> tuple[Tensor, list[Tensor]]:
        """f at `args`, where those in `wanted` are leaves; (result, leaves)."""
        inputs = [
            Tensor(a, requires_grad=i in wanted) if isinstance(a, np.ndarray) else a
            for i, a in enumerate(args)
        ]
        out = self.f(*inputs)
        if not isinstance(out, Tensor):
            self.fail(f"Tensors in, Tensor out: Tensors gave a {type(out).__name__}")
        return out, [inputs[i] for i in wanted]

    def gradients(
        self, out: Tensor, leaves: list[Tensor], wanted: list[int]
    ) -> dict[str, np.ndarray]:
        """The gradient of each wanted argument by name, zeros where there is none."""
        found = {}
        for i, leaf in zip(wanted, leaves):
            gradient = np.zeros_like(leaf.data) if leaf.grad is None else leaf.grad
            if gradient.shape != leaf.shape:
                what = "missing broadcast" if gradient.shape == out.shape else "wrong gradient"
                self.fail(
                    f"{what}: argument {i} of shape {leaf.shape} got a gradient of shape {gradient.shape}"
                )
            found[f"gradient of argument {i}"] = (
                gradient.data if isinstance(gradient, Tensor) else gradient
            )
        return found

    def results(
        self, args: tuple, wanted=None, upstream=None, create_graph=False
    ) -> dict[str, np.ndarray]:
        """The value and the gradient of each wanted argument (all operands' unless given), by name."""
        wanted = self.operands if wanted is None else wanted
        out, leaves = self.forward(args, wanted)
        if out.requires_grad:
            out.backward(_random(out) if upstream is None else upstream, create_graph=create_graph)
        return {"value": out.data, **self.gradients(out, leaves, wanted)}

    def compare(
        self, found: dict[str, Any], want: dict[str, Any], tolerance: float, text: str
    ) -> None:
        """Fail where a shape differs, a NaN or infinity, or an element by more than a part of the
        largest.

        `text` says what is wrong, and has {what} for the name of the value or gradient.
        """
        for what, one in found.items():
            got, wanted, says = np.asarray(one), np.asarray(want[what]), text.format(what=what)
            if got.shape != wanted.shape:
                self.fail(f"{says}: shape {got.shape}, wanted {wanted.shape}")
            largest = max(1.0, np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
            if not np.allclose(
                got, wanted, rtol=tolerance, atol=tolerance * largest, equal_nan=True
            ):
                difference = np.abs(got.astype(np.float64) - wanted)
                at = np.unravel_index(
                    np.argmax(np.where(np.isnan(difference), np.inf, difference)), got.shape
                )
                self.fail(
                    f"{says}: at {[int(i) for i in at]} it is {got[at]:.9g}, wanted {wanted[at]:.9g}"
                )


def values(case: Case) -> None:
    bare = case.f(*case.args)
    if isinstance(bare, Tensor):
        case.fail("bare arrays in, bare array out: arrays gave a Tensor")
    found = {"value": case.forward(case.args, case.operands)[0].data}
    case.compare(
        found, {"value": bare}, 1e-12, "wrong {what}: Tensors give another one than bare arrays"
    )
    if case.reference is not None:
        case.compare(found, {"value": case.reference(*case.args)}, 1e-9, "wrong {what}")


def inputs_unchanged(case: Case) -> None:
    args = deepcopy(case.args)

    def look(when: str) -> None:
        for i, (now, before) in enumerate(zip(args, case.args)):
            if isinstance(now, np.ndarray) and now.tobytes() != before.tobytes():
                case.fail(f"mutated input: argument {i} was written to by {when}")

    out, _ = case.forward(args, case.operands)
    look("the operation")
    if out.requires_grad:
        upstream = _random(out)
        out.backward(upstream)
        look("its derivative")
        if upstream.tobytes() != _random(out).tobytes():
            case.fail("mutated input: the upstream gradient was written to by the derivative")


def dtypes(case: Case) -> None:
    wide = case.results(case.args)
    narrow = case.arranged(lambda a: a.astype(np.float32))
    for create_graph in (False, True):
        results = case.results(narrow, create_graph=create_graph)
        for what, got in results.items():
            wanted = np.float32 if wide[what].dtype == np.float64 else wide[what].dtype
            if got.dtype != wanted:
                case.fail(
                    f"wrong dtype: float32 arguments, and the {what} is {got.dtype}, wanted {np.dtype(wanted)}"
                )
        case.compare(results, wide, case.single, "float32 gives another {what} than float64")


REFUSALS = TypeError, ValueError, IndexError


def broadcasts(case: Case) -> None:
    """Wherever a shorter operand is taken too, and gives the same shape, its gradient has the operand's shape."""
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
    def wrong(i: int, f: Callable) -> AssertionError | None:
        try:
            gradcheck(
                lambda x: f(*case.args[:i], x, *case.args[i + 1 :]), case.args[i], **case.tolerances
            )
        except AssertionError as error:
            return error
        return None

    out, _ = case.forward(case.args, case.operands)
    for i in case.operands if case.order and out.dtype == np.float64 else ():
        if case.args[i].dtype == np.float64 and (error := wrong(i, case.f)):
            if wrong(i, case.reflected):
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
    """A gradient does not depend on which others are wanted, nor on whether it is recorded itself."""
    together = case.results(case.args)
    for i in case.operands:
        alone = case.results(case.args, [i])
        case.compare(
            alone, together, 1e-9, "wrong {what}: it is another one when no other is wanted"
        )
    if case.order:
        recorded = case.results(case.args, create_graph=True)
        case.compare(
            recorded, together, 1e-8, "wrong {what}: it is another one with create_graph=True"
        )


def memory_layouts(case: Case) -> None:
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, case.single)):
        args = case.arranged(partial(np.array, dtype=dtype, order="C"))
        want = case.results(args)
        upstream = _random(want["value"])
        for name, arrange in LAYOUTS.items():
            given = tuple(arrange(a) if isinstance(a, np.ndarray) else a for a in args)
            found = case.results(given, upstream=arrange(upstream))
            case.compare(
                found, want, tolerance, f"{name} {np.dtype(dtype)} memory gives another {{what}}"
            )
        ones = np.ones_like(upstream)
        # what the gradient of a sum is: every stride 0
        flat = np.broadcast_to(np.ones((), ones.dtype), ones.shape)
        found, want = (case.results(args, upstream=u) for u in (flat, ones))
        case.compare(
            found, want, tolerance, "an upstream gradient that is broadcast gives another {what}"
        )


def repeatable(case: Case) -> None:
    first, second = (case.results(case.args) for _ in range(2))
    case.compare(
        second, first, 0.0, "not repeatable: the {what} differs when everything is done again"
    )


def nothing_shared(case: Case) -> None:
    uses = case.arranged(np.array), case.arranged(lambda a: np.array(np.flip(a)))
    out, leaves = case.forward(uses[0], case.operands)
    before = out.data.tobytes()
    other, other_leaves = case.forward(uses[1], case.operands)
    if before != out.data.tobytes():
        case.fail("aliasing: a second call overwrote the first one's result")
    if not out.requires_grad:
        return
    upstreams = _random(out), 2 * _random(other)
    apart = [case.results(args, upstream=u) for args, u in zip(uses, upstreams)]
    ops.add(ops.sum(out * upstreams[0]), ops.sum(other * upstreams[1])).backward()
    for value, inputs, want in zip((out, other), (leaves, other_leaves), apart):
        together = case.gradients(value, inputs, case.operands)
        case.compare(
            together, want, 1e-9, "aliasing: two uses in one graph disturb each other's {what}"
        )
    taken = {f"argument {i}": uses[0][i] for i in case.operands} | {
        "upstream gradient": upstreams[0]
    }
    apart[0].pop("value")
    for what, gradient in apart[0].items():
        for name, array in taken.items():
            if np.shares_memory(gradient, array):
                case.fail(f"aliasing: the {what} shares memory with the {name}")
        taken[what] = gradient


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


def _random(out: Any) -> np.ndarray:
    """An upstream gradient for a result: the same numbers each time."""
    return np.asarray(np.random.default_rng(1).standard_normal(out.shape)).astype(out.dtype)


def _described(argument: Any) -> str:
    return (
        f"{argument.dtype} {argument.shape}" if isinstance(argument, np.ndarray) else repr(argument)
    )
