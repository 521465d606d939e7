"""The table's machinery: a `Primitive` is an operation with a kernel and a derivative rule for each operand.

`ops` fills the table with lines such as

    multiply = Primitive("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x, broadcasts=True)

and this file reads them: it finds the kernel, records a node, keeps what the rules' parameters name, calls the rules.
"""

import ast
import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..kernels import backend_of, find
from .agreement import agree
from .tape import Node, Value, origin, recording, state, walk


class Primitive:
    """An operation: a kernel's name, its declared arguments, and one derivative rule for each differentiable operand.

    `arguments` names the operands, which are arrays, and after a `*` the static arguments, with their defaults:
    `"x w * stride padding=(0,0)"`. A lone operand `*xs` takes any number of arrays.

    **The names of a rule's parameters say what is kept for it**: `g` is the gradient of the output, `out` the output,
    `in_shape` the operand's shape, `aux` what the kernel handed on beside its output; any other name is an argument.
    Nothing else is kept alive.

    `joint` is one rule for all operands; it gives one gradient (or None) for each, may ask for `in_shapes`, and for
    `needs`, which says whose are wanted. If it uses kernels without derivatives of their own, `reference` must be the
    same operation in plain primitives: that is differentiated where a derivative of the derivative is wanted.
    """

    def __init__(self, name: str, arguments: str, *, broadcasts=False, joint=None, reference=None, **rules: Callable):
        operands, _, statics = f" {arguments} ".partition(" * ")
        self.name, self.broadcasts, self.joint, self.reference = name, broadcasts, joint, reference
        self.variadic = operands.strip().startswith("*")
        self.operands = [operand.lstrip("*") for operand in operands.split()]
        declared = [static.partition("=") for static in statics.split()]
        self.statics = [static for static, _, _ in declared]
        self.defaults = {static: ast.literal_eval(default) for static, equals, default in declared if equals}
        self.rules = {"joint": joint} if joint else rules
        self.names = {of: tuple(inspect.signature(rule).parameters) for of, rule in self.rules.items()}
        self.has_aux = any("aux" in names for names in self.names.values())
        for of, asked in self.names.items():  # a wrong name fails now, not when the gradient is first wanted
            if of not in (*self.operands, "joint"):
                raise TypeError(f"{name}: there is a rule for {of!r}, but the operands are {self.operands}")
            extra = ["in_shapes", "needs"] if of == "joint" else ["in_shape"]
            offered = [*self.operands, *self.statics, "out", "aux", *extra]
            if asked[:1] != ("g",) or not set(asked[1:]) <= set(offered):
                wrong = [a for a in asked[1:] if a not in offered] or list(asked[:1])
                raise TypeError(f"{name}: the rule for {of!r} asks for {wrong}; it takes g first, then any of {offered}")

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.operands + self.statics)})>"

    def __call__(self, *operands: Any, **statics: Any) -> Any:
        """Run the kernel. Bare arrays in, bare array out; any Value in, Value out, recorded if a gradient is wanted."""
        if len(operands) != len(self.operands) and not self.variadic:
            operands, statics = self._bind(operands, statics)
        statics = {**self.defaults, **statics}
        cls, tracked, arrays = None, False, []
        for value in operands:
            if isinstance(value, Value):
                cls, tracked, value = type(value), tracked or value.requires_grad, value._data
            arrays.append(value)
        kind = agree(self.name, arrays, self.broadcasts)
        kernel, observer = find(self.name, kind), state.observer
        out = observer.run(self, kernel, arrays, statics) if observer else kernel(*arrays, **statics)
        out, aux = out if self.has_aux else (out, None)
        if cls is None:
            return out
        if type(out) is not kind:  # NumPy gives scalars for 0-d results
            out = backend_of(next(a for a in arrays if type(a) is kind)).namespace.asarray(out)
        value = cls(out, version=_version_of_a_view(out, operands))
        if tracked and state.recording and self.rules:  # without rules it is a comparison or the like
            value.requires_grad, value.node = True, self._record(operands, statics, arrays, value, aux)
        return value

    def _bind(self, given: tuple, named: dict) -> tuple[list, dict]:
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

    def _record(self, operands, statics, arrays, value, aux) -> Node:
        """Keep what the rules of the operands that need a gradient will ask for."""
        parents = [origin(operand) for operand in operands]
        if self.joint:
            asked = {*self.names["joint"], *self.operands}
        else:
            wanted = [of for of, parent in zip(self.operands, parents) if parent is not None]
            if not self.names.keys() >= set(wanted):
                raise TypeError(f"{self.name} has no derivative for {sorted(set(wanted) - self.names.keys())}")
            asked = {name for of in wanted for name in self.names[of]}
        kept = dict(statics, aux=aux)
        for name, operand in [(self.operands[0], operands)] if self.variadic else zip(self.operands, operands):
            if name in asked:
                kept[name] = operand
        if "out" in asked:
            kept["out"] = value._data
        checks = [(v.version, v.version[0], k) for k, v in kept.items() if isinstance(v, Value)]
        checks += [(value.version, value.version[0], "out")] if "out" in asked else []
        shapes = [getattr(array, "shape", ()) for array in arrays]
        return Node(self.name, parents, partial(self._pull, kept, shapes, checks))

    def _pull(self, kept: dict, shapes: list, checks: list, node: Node, g: Any, needs: list) -> Iterable:
        """The gradient of each operand that needs one, else None. A Value `g` asks for gradients that are recorded."""
        for version, then, name in checks:
            if version[0] != then:
                raise RuntimeError(f"{name!r} of {self.name} was written in place after it was recorded, and its "
                                   f"gradient needs the old content; write to a copy instead")  # fmt: skip
        differentiable = isinstance(g, Value)
        if differentiable and self.reference:
            return self._pull_reference(kept, g, needs)
        if not differentiable:
            kept = {k: v._data if isinstance(v, Value) else v for k, v in kept.items()}
        elif "out" in kept:
            kept = {**kept, "out": type(g)(kept["out"], True, node)}
        if self.joint:
            kept = {**kept, "in_shapes": shapes, "needs": needs}
            return self.joint(g, *[kept[name] for name in self.names["joint"][1:]])
        gradients: list[Any] = []
        for of, shape, needed in zip(self.operands, shapes, needs):
            if not needed:
                gradients.append(None)
                continue
            kept["in_shape"] = shape
            gradient = self.rules[of](g, *[kept[name] for name in self.names[of][1:]])
            if self.broadcasts and gradient is not None and gradient.shape != shape:
                gradient = sum_to(gradient, shape=shape)
            gradients.append(gradient)
        return gradients

    def _pull_reference(self, kept: dict, g: Value, needs: list) -> list:
        operands = [fresh(kept[of]) if needed else kept[of] for of, needed in zip(self.operands, needs)]
        assert self.reference is not None
        out = self.reference(*operands, **{static: kept[static] for static in self.statics})
        targets = [operand.node for operand, needed in zip(operands, needs) if needed]
        found = {id(target): gradient for target, gradient in walk(out, g, targets=targets)}
        return [found.get(id(v.node)) if needed else None for v, needed in zip(operands, needs)]


def _version_of_a_view(out: Any, operands: Iterable) -> list | None:
    """The version counter of the operand whose memory `out` shares, so that a write through either is noticed."""
    base = out.base
    for operand in operands:
        if isinstance(operand, Value):
            data = operand._data
            if out is data or (base is not None and (base is data or base is data.base)):
                return operand.version
    return None


# The primitives that differentiation itself needs.

alias = Primitive("alias", "x", x=lambda g: g)
broadcast_to = Primitive("broadcast_to", "x * shape", x=lambda g, in_shape: sum_to(g, shape=in_shape))
sum_to = Primitive("sum_to", "x * shape", x=lambda g, in_shape: broadcast_to(g, shape=in_shape))


def fresh(value: Value) -> Value:
    """The same array as a new node, so that a derivative for it is not mixed up with that of other uses."""
    if not value.requires_grad:
        value = type(value)(value._data, True, None, value.version)
    with recording(True):
        return alias(value)
