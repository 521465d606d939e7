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
from .tape import Node, Value, origin, recording, state, walk


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
        declared = [static.partition("=") for static in statics.split()]
        self.statics = [static for static, _, _ in declared]
        self.defaults = {static: ast.literal_eval(default) for static, equals, default in declared if equals}
        read = {of: _spread(rule, self.statics) for of, rule in ({"joint": joint} if joint else rules).items()}
        self.rules = {of: rule for of, (rule, _) in read.items()}
        self.asks = {of: names for of, (_, names) in read.items()}
        self.joint = self.rules.get("joint")
        self.has_aux = any("aux" in names for names in self.asks.values())
        self._plans: dict[tuple[bool, ...], _Plan] = {}
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
        if len(operands) != len(self.operands) and not self.variadic:
            operands, statics = self._bind(operands, statics)
        if self.defaults:
            statics = self.defaults | statics
        cls, tracked, arrays = None, False, []
        for operand in operands:
            if isinstance(operand, Value):
                cls, tracked = type(operand), tracked or operand.requires_grad
                operand = operand._data
            arrays.append(operand)
        kind = agree(self.name, arrays, self.broadcasts)
        kernel, observer = self.kernel or find(self.name, kind), state.observer
        out = observer.run(self, kernel, arrays, statics) if observer else kernel(*arrays, **statics)
        out, aux = out if self.has_aux else (out, None)
        if cls is None:
            return out
        if type(out) is not kind:  # NumPy gives scalars for 0-d results
            out = backend_of(next(a for a in arrays if type(a) is kind)).namespace.asarray(out)
        value = cls.__new__(cls)  # without the checks of the constructor that users call
        value._data, value.requires_grad, value.node, value.grad = out, False, None, None
        value.version = [0] if out.base is None and out is not arrays[0] else _version_of_view(out, operands)
        if tracked and state.recording and self.rules:
            parents = [origin(operand) for operand in operands]
            needs = tuple([parent is not None for parent in parents])
            plan = self._plans.get(needs) or self._plan(needs)
            kept = [keep(operands, statics, arrays, value, aux) for keep in plan.keepers]  # and nothing else
            versions = [item.version[0] if isinstance(item, Value) else None for item in kept]
            pull = partial(self._pull, plan, kept, versions)
            value.requires_grad, value.node = True, Node(self.name, parents, pull)
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

    def _plan(self, needs: tuple[bool, ...]) -> "_Plan":
        """What to keep and how to call the rules when just these operands need a gradient; worked out once."""
        wanted = ["joint"] if self.joint else [of for of, needed in zip(self.operands, needs) if needed]
        if not self.rules.keys() >= set(wanted):
            raise TypeError(f"{self.name} has no derivative for {sorted(set(wanted) - self.rules.keys())}")
        calls, names = [], []  # a name is a pair with the operand that asks, since each has an in_shape of its own
        for of in wanted:
            i = 0 if of == "joint" else self.operands.index(of)
            asks = [(name, i if name == "in_shape" else 0) for name in self.asks[of][1:]]
            also = [("in_shape", i)] if self.broadcasts else []
            names += [name for name in asks + also if name not in names]
            calls.append((i, self.rules[of], [names.index(name) for name in asks], *map(names.index, also)))
        if self.reference:
            names += [(name, 0) for name in (*self.operands, *self.statics) if (name, 0) not in names]
        plan = _Plan([name for name, _ in names], [self._keeper(name, i) for name, i in names], calls)
        return self._plans.setdefault(needs, plan)

    def _keeper(self, name: str, i: int) -> Callable:
        """The function that takes what `name` means for operand i of (operands, statics, arrays, value, aux)."""
        if name in self.statics:
            return lambda operands, statics, arrays, value, aux: statics[name]
        if name in self.operands and not self.variadic:
            k = self.operands.index(name)  # a Tensor for its version; else what `agree` made of it for the kernel
            return lambda operands, statics, arrays, value, aux: (
                operands[k] if getattr(operands[k], "_data", None) is arrays[k] else arrays[k]
            )
        return {
            "out": lambda operands, statics, arrays, value, aux: Value(value._data, version=value.version),
            "aux": lambda operands, statics, arrays, value, aux: aux,
            "in_shape": lambda operands, statics, arrays, value, aux: getattr(arrays[i], "shape", ()),
            "in_shapes": lambda operands, statics, arrays, value, aux: [array.shape for array in arrays],
            "needs": lambda operands, statics, arrays, value, aux: [
                origin(operand) is not None for operand in operands
            ],
        }.get(name, lambda operands, statics, arrays, value, aux: operands)

    def _pull(self, plan: "_Plan", kept: list, versions: list, node: Node, g: Any, needs: list | None) -> Sequence:
        """The gradient of each operand, None where it needs none. A Value `g` asks for gradients that are recorded."""
        again, values = isinstance(g, Value), []
        for name, item, version in zip(plan.names, kept, versions):
            if version is not None:
                if item.version[0] != version:
                    raise RuntimeError(f"{name!r} of {self.name} was written in place after it was recorded, and its "
                                       f"derivative needs the old content; write to a copy instead")  # fmt: skip
                if not again:
                    item = item._data
                elif name == "out":  # kept without its node, which would have been a cycle
                    item = type(g)(item._data, True, node, item.version)
            values.append(item)
        if again and self.reference:
            return self._pull_reference(dict(zip(plan.names, values)), g, node.parents, needs)
        if self.joint:
            if needs is not None and "needs" in plan.names:
                values[plan.names.index("needs")] = needs
            return self.joint(g, *[values[k] for k in plan.calls[0][2]])
        gradients = [None] * len(self.operands)
        for i, rule, asks, *in_shape in plan.calls:
            if needs is None or needs[i]:
                gradient = rule(g, *[values[k] for k in asks])
                if in_shape and gradient is not None and gradient.shape != values[in_shape[0]]:
                    gradient = sum_to(gradient, shape=values[in_shape[0]])
                gradients[i] = gradient
        return gradients

    def _pull_reference(self, kept: dict, g: Value, parents: Sequence, needs: Sequence | None) -> list:
        """Differentiate the operation's plain form, so that its gradient has a gradient."""
        needs = needs or [parent is not None for parent in parents]
        operands = [fresh(kept[of]) if needed else kept[of] for of, needed in zip(self.operands, needs)]
        out = self.reference(*operands, **{static: kept[static] for static in self.statics})
        targets = [operand.node for operand, needed in zip(operands, needs) if needed]
        found = {id(target): gradient for target, gradient in walk(out, g, targets=targets)}
        return [found.get(id(operand.node)) if needed else None for operand, needed in zip(operands, needs)]


class _Plan(NamedTuple):
    """For one pattern of operands that need gradients: what is kept, what fetches it, and who gets which of it."""

    names: list[str]
    keepers: list[Callable]
    calls: list[tuple]  # (operand, its rule, positions of what the rule asks for[, position of the operand's shape])


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
