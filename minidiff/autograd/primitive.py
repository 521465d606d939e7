"""The table's machinery: a `Primitive` is an operation with a kernel and a derivative rule for each operand.

`ops` fills the table with lines such as

    multiply = Primitive("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x, broadcasts=True)

and this file reads them: it finds the kernel, records a node, keeps what the rules' parameters name, calls the rules.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..kernels import backend_of, find
from .agreement import agree
from .tape import Node, Value, recording, state, walk


class Primitive:
    """An operation: a kernel's name, its declared arguments, and one derivative rule for each differentiable operand.

    `arguments` names the operands, which are arrays, and after a `*` the static arguments, with their defaults:
    `"x w * stride padding=(0,0)"`. A lone operand `*xs` takes any number of arrays.

    **The names of a rule's parameters say what is kept for it**: `g` is the gradient of the output, `out` the output,
    `in_shape` the operand's shape, `aux` what the kernel handed on beside its output; any other name is an argument.
    A `**how` stands for all static arguments that the rule does not name.
    Nothing else is kept alive. An operation without rules has no gradient: a comparison, say.

    `joint` is one rule for all operands; it gives one gradient (or None) for each, may ask for `in_shapes`, and for
    `needs`, which says whose are wanted. If it uses kernels without derivatives of their own, `reference` must be the
    same operation in plain primitives: that is differentiated where a derivative of the derivative is wanted.

    The kernel is found by the name, unless a function is given as `kernel`.
    """

    def __init__(
        self, name: str, arguments: str, *, kernel=None, broadcasts=False, joint=None, reference=None, **rules: Callable
    ):
        operands, _, statics = f" {arguments} ".partition(" * ")
        self.name, self.kernel, self.broadcasts, self.reference = name, kernel, broadcasts, reference
        self.variadic = operands.strip().startswith("*")
        self.operands = [operand.lstrip("*") for operand in operands.split()]
        self.arity = len(self.operands)
        declared = [static.partition("=") for static in statics.split()]
        self.statics = [static for static, _, _ in declared]
        self.defaults = {static: ast.literal_eval(default) for static, equals, default in declared if equals}
        read = {of: _spread(rule, self.statics) for of, rule in ({"joint": joint} if joint else rules).items()}
        self.rules = {of: rule for of, (rule, _) in read.items()}
        self.asks = {of: names for of, (_, names) in read.items()}
        self.joint = self.rules.get("joint")
        self.has_aux = any("aux" in names for names in self.asks.values())
        self._plans: dict[int, _Plan] = {}
        for of, names in self.asks.items():  # a wrong name fails now, not when the gradient is first wanted
            if of not in (*self.operands, "joint"):
                raise TypeError(f"{name}: there is a rule for {of!r}, but the operands are {self.operands}")
            extra = ["in_shapes", "needs"] if of == "joint" else ["in_shape"]
            offered = [*self.operands, *self.statics, "out", "aux", *extra]
            if names[:1] != ("g",) or not set(names[1:]) <= set(offered):
                wrong = [a for a in names[1:] if a not in offered] or list(names[:1])
                raise TypeError(
                    f"{name}: the rule for {of!r} asks for {wrong}; it takes g first, then any of {offered}"
                )

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.operands + self.statics)})>"

    def __call__(self, *operands, **statics) -> Any:
        """Run the kernel. Bare arrays in, bare array out; any Value in, Value out, recorded if a gradient is wanted."""
        if len(operands) != self.arity and not self.variadic:
            operands, statics = self._bind(operands, statics)
        if self.defaults:
            statics = self.defaults | statics
        cls, wanted, arrays, parents = None, 1, [], []  # wanted: in binary a 1, then a 1 for each that wants a gradient
        for operand in operands:
            wanted *= 2
            if isinstance(operand, Value):
                cls = type(operand)
                wanted += operand.requires_grad
                arrays.append(operand._data)
                parents.append(operand.node or (operand if operand.requires_grad else None))
            else:
                arrays.append(operand)
                parents.append(None)
        kind = agree(self.name, arrays, self.broadcasts)
        kernel, observer = self.kernel or find(self.name, kind), state.observer
        out = observer.run(self, kernel, arrays, statics) if observer else kernel(*arrays, **statics)
        aux = None
        if self.has_aux:
            out, aux = out
        if cls is None:
            return out
        if type(out) is not kind:  # NumPy gives scalars for 0-d results
            out = backend_of(next(a for a in arrays if type(a) is kind)).namespace.asarray(out)
        value = cls.__new__(cls)  # without the checks of the constructor that users call
        value._data, value.requires_grad, value.node, value.grad = out, False, None, None
        value.version = [0] if out.base is None and out is not arrays[0] else _version_of_view(out, operands)
        if wanted & (wanted - 1) and self.rules and state.recording:
            plan = self._plans.get(wanted) or self._plan(wanted, parents)
            kept, versions, mixed = [], [], plan.rest
            for k in plan.operands:
                operand, array = operands[k], arrays[k]  # not the operand, if the kernel got something made of it
                same = isinstance(operand, Value) and operand._data is array
                kept.append(operand if same else array)
                versions.append(operand.version[0] if same else None)
            if plan.out:
                kept.append(Value(out, version=value.version))  # without its node, which would be a cycle
                versions.append(value.version[0])
            if self.broadcasts:
                for array in arrays:
                    mixed = mixed or getattr(array, "shape", ()) != out.shape
            if mixed:
                kept += aux, *[statics[name] for name in self.statics], *[getattr(a, "shape", ()) for a in arrays]
            pull = partial(self._pull, plan, kept, versions)
            value.requires_grad = True
            value.node = Node(self.name, parents, pull, observer.place() if observer else None)
        return value

    def _bind(self, given: tuple, named: dict) -> tuple[Any, dict]:
        """The slow way to call: operands by name, static arguments by position."""
        order = [*self.operands, *self.statics]
        bound = dict(zip(order, given))
        twice, unknown = sorted(bound.keys() & named), sorted(set(named) - set(order))
        missing = [name for name in order if name not in {**bound, **named, **self.defaults}]
        if len(given) > len(order) or twice or unknown or missing:
            raise TypeError(f"{self.name}({', '.join(order)}): {len(given)} arguments by position; "
                            f"given twice {twice}, unknown {unknown}, missing {missing}")  # fmt: skip
        bound |= named
        return [bound.pop(name) for name in self.operands], bound

    def _plan(self, key: int, parents: list) -> "_Plan":
        """What to keep and how to call the rules when just these operands need a gradient; worked out once."""
        needs = tuple(parent is not None for parent in parents)
        wanted = ["joint"] if self.joint else [of for of, needed in zip(self.operands, needs) if needed]
        if not self.rules.keys() >= set(wanted):
            raise TypeError(f"{self.name} has no derivative for {sorted(set(wanted) - self.rules.keys())}")
        asked = {name for of in wanted for name in self.asks[of]} | set(self.operands if self.reference else ())
        every = [f"{self.operands[0]}[{k}]" for k in range(len(needs))] if self.variadic else self.operands
        operands = [k for k, name in enumerate(every) if name.partition("[")[0] in asked]
        kept = [every[k] for k in operands] + ["out"] * ("out" in asked)
        names: list = [*kept, "aux", *self.statics, *range(len(needs)), "in_shapes", "needs", *self.operands]
        calls = []
        for of in wanted:
            i = 0 if of == "joint" else self.operands.index(of)
            asks = [names.index(i if name == "in_shape" else name) for name in self.asks[of][1:]]
            calls.append((i, self.rules[of], asks, names.index(i)))
        rest = bool(self.joint) or not asked <= {"g", *kept}
        return self._plans.setdefault(key, _Plan(needs, operands, "out" in asked, rest, names, calls))

    def _pull(self, plan: "_Plan", kept: list, versions: list, node: Node, g: Any, needs: Sequence | None) -> Sequence:
        """The gradient of each operand, None where it needs none. A Value `g` asks for gradients that are recorded."""
        again, values = isinstance(g, Value), kept.copy()
        for k, version in enumerate(versions):
            if version is not None:
                item = kept[k]
                if item.version[0] != version:
                    raise RuntimeError(f"{plan.names[k]!r} of {self.name} was written in place after it was recorded, "
                                       f"and its derivative needs what it was; write to a copy instead")  # fmt: skip
                if not again:
                    values[k] = item._data
                elif plan.names[k] == "out":
                    values[k] = type(g)(item._data, True, node, item.version)
        if again and self.reference:
            return self._pull_reference(dict(zip(plan.names, values)), g, needs or plan.needs)
        if self.joint:
            values += values[-len(plan.needs) :], needs or plan.needs, values[: len(plan.operands)]
            return self.joint(g, *[values[k] for k in plan.calls[0][2]])
        gradients, mixed = [None] * len(plan.needs), len(values) > len(versions)
        for i, rule, asks, in_shape in plan.calls:
            if needs is None or needs[i]:
                gradient = rule(g, *[values[k] for k in asks])
                if self.broadcasts and mixed and gradient is not None and gradient.shape != values[in_shape]:
                    gradient = sum_to(gradient, shape=values[in_shape])
                gradients[i] = gradient
        return gradients

    def _pull_reference(self, kept: dict, g: Value, needs: Sequence) -> list:
        """Differentiate the operation's plain form, so that its gradient has a gradient."""
        operands = [fresh(kept[of]) if needed else kept[of] for of, needed in zip(self.operands, needs)]
        out = self.reference(*operands, **{static: kept[static] for static in self.statics})
        targets = [operand.node for operand, needed in zip(operands, needs) if needed]
        found = {id(target): gradient for target, gradient in walk(out, g, targets=targets)}
        return [found.get(id(operand.node)) if needed else None for operand, needed in zip(operands, needs)]


class _Plan(NamedTuple):
    """For one pattern of operands that need gradients: what a node keeps, in which order, and who gets which of it."""

    needs: tuple[bool, ...]
    operands: list[int]  # the operands to keep, then
    out: bool  # whether the output is kept, then
    rest: bool  # whether all else is: aux, the static arguments, the operands' shapes (always if those are mixed)
    names: list[Any]
    calls: list[tuple]  # (operand, its rule, places of what the rule asks for, place of the operand's shape)


def _spread(rule: Callable, statics: list[str]) -> tuple[Callable, tuple[str, ...]]:
    """The rule and what it asks for, by position; its `**how` becomes the static arguments that it does not name."""
    parameters = inspect.signature(rule).parameters.values()
    names = tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
    if len(names) == len(parameters):
        return rule, names
    rest, n = tuple(static for static in statics if static not in names), len(names)
    return lambda *values: rule(*values[:n], **dict(zip(rest, values[n:]))), names + rest


def _version_of_view(out: Any, operands: Iterable) -> list:
    """The version counter of the operand whose memory `out` shares, so that a write through either is noticed."""
    for operand in operands:
        if isinstance(operand, Value):
            data = operand._data
            if out is data or (out.base is not None and (out.base is data or out.base is data.base)):
                return operand.version
    return [0]


# The primitives that differentiation itself needs.

alias = Primitive("alias", "x", x=lambda g: g)
broadcast_to = Primitive("broadcast_to", "x * shape", x=lambda g, in_shape: sum_to(g, shape=in_shape))
sum_to: Primitive = Primitive("sum_to", "x * shape", x=lambda g, in_shape: broadcast_to(g, shape=in_shape))


def fresh(value: Value) -> Any:
    """The same array as a new node, so that a derivative for it is not mixed up with that of other uses."""
    if not value.requires_grad:
        value = type(value)(value._data, True, None, value.version)
    with recording(True):
        return alias(value)
