"""The table's machinery: a `Primitive` is an operation with a kernel and a derivative rule for each
operand.

`ops` fills the table with lines such as

    multiply = Primitive("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x,
    broadcasts=True)

and this file reads them: it finds the kernel, records a node, keeps what the rules' parameters
name, calls the rules.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from .. import first_guesses
from ..kernels import _backends, find, looked_up
from .promotion import agree, describe
from .tape import Node, Value, clock, recording, state, walk

_new = object.__new__


class Primitive:
    """An operation: a kernel's name, its declared arguments, and one derivative rule for each
    differentiable operand.

    `arguments` names the operands, which are arrays, and after a `*` the static arguments, with
    their defaults: `"x w * stride padding=(0,0)"`. A lone operand `*xs` takes any number of arrays.

    **The names of a rule's parameters say what is kept for it**: `g` is the gradient of the output,
    `out` the output, `in_shape` the operand's shape, `aux` what the kernel handed on beside its
    output; any other name is an argument. A `**how` stands for all static arguments that the rule
    does not name. Nothing else is kept alive. An operation without rules has no gradient: a
    comparison, say.

    `joint` is one rule for all operands; it gives one gradient (or None) for each, and may ask for
    `needs`, which says whose are wanted. If it uses kernels without derivatives of their own,
    `reference` must be the same operation in plain primitives: that is differentiated where a
    derivative of the derivative is wanted.

    Where an operation `broadcasts`, gradients are summed to their operands' shapes. Integers beside
    floats take their dtype, unless it `takes_integers`: labels, say, or places in a table.

    The kernel is found by the name, unless a function is given as `kernel`.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        *,
        kernel=None,
        broadcasts=False,
        takes_integers=False,
        joint=None,
        reference=None,
        **rules: Callable,
    ):
        operands, _, statics = f" {arguments} ".partition(" * ")
        self.name, self.kernel, self.reference = name, kernel, reference
        self.broadcasts, self.takes_integers = broadcasts, takes_integers
        # operands that agree with any
        self.without_dtype = (int, float) if broadcasts else (type(None),)
        self.variadic = operands.strip().startswith("*")
        self.operands = [operand.lstrip("*") for operand in operands.split()]
        self.arity = len(self.operands)
        declared = [static.partition("=") for static in statics.split()]
        self.statics = [static for static, _, _ in declared]
        self.defaults = {
            static: ast.literal_eval(default) for static, equals, default in declared if equals
        }
        read = {
            of: _spread(rule, self.statics)
            for of, rule in ({"joint": joint} if joint else rules).items()
        }
        self.rules = {of: rule for of, (rule, _) in read.items()}
        self.asks = {of: names for of, (_, names) in read.items()}
        self.joint = self.rules.get("joint")
        self.has_aux = any("aux" in names for names in self.asks.values())
        self._plans: dict[int, tuple] = {}
        self.found = looked_up[name]
        # a wrong name fails now, not when the gradient is first wanted
        for of, names in self.asks.items():
            if of not in (*self.operands, "joint"):
                raise TypeError(
                    f"{name}: there is a rule for {of!r}, but the operands are {self.operands}"
                )
            offered = [
                *self.operands,
                *self.statics,
                "out",
                "aux",
                "needs" if of == "joint" else "in_shape",
            ]
            if names[:1] != ("g",) or not set(names[1:]) <= set(offered):
                wrong = [a for a in names[1:] if a not in offered] or list(names[:1])
                raise TypeError(
                    f"{name}: the rule for {of!r} asks for {wrong}; it takes g first, then any of "
                    f"{offered}"
                )

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.operands + self.statics)})>"

    def __call__(self, *operands, **statics) -> Any:
        """Run the kernel. Bare arrays in, bare array out; any Value in, Value out, recorded if a gradient is wanted."""
        if len(operands) != self.arity and not self.variadic:
            operands, statics = self._bind(operands, statics)
        if self.defaults:
            statics = self.defaults | statics if statics else self.defaults
        # NumPy's kernels take more than the rules know of
        if statics and len(statics) != len(self.statics):
            self._bind(operands, statics)

        # The operands: their arrays, the nodes they come from, whether all are alike.
        cls: Any = None
        kind: Any = None
        dtype: Any = None
        arrays: list[Any] = []
        parents: list[Any] = []
        # in binary: a 1, then a 1 for each operand that wants a gradient, and a 0 for the others
        wanted = 1
        differ = False  # whether operands are of more than one type or dtype: mostly they are not
        for operand in operands:
            if isinstance(operand, Value):
                cls, array, needed = type(operand), operand._data, operand.requires_grad
            else:
                array, needed = operand, False
            arrays.append(array)
            parents.append((operand.node or operand) if needed else None)
            wanted += wanted + needed
            if type(array) is kind:
                if array.dtype is not dtype and not (
                    self.takes_integers and array.dtype.kind in "iu"
                ):
                    differ = True
            elif kind is None and type(array) in _backends:
                kind, dtype = type(array), array.dtype
            elif type(array) not in self.without_dtype:
                differ = True
        if differ or kind is None:
            kind = agree(self.name, arrays, self.broadcasts, self.takes_integers)

        # The kernel.
        kernel = self.kernel or self.found.get(kind) or find(self.name, kind)
        observer = state.observer
        try:
            if observer:
                out = observer.run(self, kernel, arrays, statics)
            else:
                out = kernel(*arrays, **statics) if statics else kernel(*arrays)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}; given {describe(arrays)}") from error
        aux = None
        if self.has_aux:
            out, aux = out
        if cls is None:
            return out

        # The result, as a value.
        if type(out) is not kind:  # NumPy gives scalars for 0-d results
            out = _backends[kind].namespace.asarray(out)
        value = _new(cls)  # without the checks of the constructor that users call
        value._data, value.requires_grad, value.node, value.grad = out, False, None, None
        value.version = (
            [0] if out.base is None and out is not arrays[0] else _version_of_view(out, operands)
        )

        # Its node, which keeps what the rules will ask for.
        if wanted & (wanted - 1) and self.rules and state.recording:
            pull, keep, keep_out, keep_rest = self._plans.get(wanted) or self._plan(wanted, parents)
            kept, versions, writes = [], [], 0
            for k in keep:
                array, operand = arrays[k], operands[k]
                # else it was cast: nobody can write to it
                ours = isinstance(operand, Value) and operand._data is array
                version = operand.version if ours else [0]
                kept.append(array)
                versions.append(version)
                writes += version[0]
            if keep_out:
                kept.append(out)
                versions.append(value.version)
                writes += value.version[0]
            for name in keep_rest:
                kept.append(
                    statics[name]
                    if name in statics
                    else aux
                    if name == "aux"
                    else arrays[name].shape
                )
            value.requires_grad = True
            node = value.node = _new(Node)  # in less time than the constructor takes
            node.order, node.name, node.parents, node.pull = next(clock), self.name, parents, pull
            node.shape, node.saved = out.shape, (kept, versions, writes)
            node.where = observer.place() if observer else None
        return value

    def _bind(self, given: tuple, named: dict) -> tuple[Any, dict]:
        """The slow way to call: operands by name, static arguments by position."""
        order = [*self.operands, *self.statics]
        bound = dict(zip(order, given)) | named
        if len(bound) != len(given) + len(named) or (self.defaults | bound).keys() != set(order):
            twice, unknown = (
                sorted(set(order[: len(given)]) & named.keys()),
                sorted(named.keys() - set(order)),
            )
            missing = [name for name in order if name not in self.defaults | bound]
            sentence = first_guesses.misnamed(self.name, unknown)
            if sentence:
                raise TypeError(sentence)
            raise TypeError(
                f"{self.name}({', '.join(order)}): {len(given)} arguments by position; "
                f"given twice {twice}, unknown {unknown}, missing {missing}"
            )
        return [bound.pop(name) for name in self.operands], bound

    def _plan(self, key: int, parents: list) -> tuple:
        """What to keep and how to call the rules when just these operands need a gradient; worked out once."""
        needs = tuple(parent is not None for parent in parents)
        wanted = (
            ["joint"] if self.joint else [of for of, needed in zip(self.operands, needs) if needed]
        )
        if not self.rules.keys() >= set(wanted):
            raise TypeError(
                f"{self.name} has no derivative for {sorted(set(wanted) - self.rules.keys())}"
            )
        asked = {name for of in wanted for name in self.asks[of]}
        if self.reference:
            asked |= {*self.operands, *self.statics}
        operands = [k for k, name in enumerate(self.operands) if name in asked]
        shapes = [k for k, needed in enumerate(needs) if needed and "in_shape" in asked]
        rest = [*[name for name in ("aux", *self.statics) if name in asked], *shapes]
        names = [*[self.operands[k] for k in operands], *["out"] * ("out" in asked), *rest, "needs"]
        calls = []
        for i, of in enumerate(["joint"] if self.joint else self.operands):
            if of in wanted:
                places = [names.index(i if ask == "in_shape" else ask) for ask in self.asks[of][1:]]
                calls.append((i, _caller(self.rules[of], places)))
        plan = _Plan(self, needs, operands, "out" in asked, names, calls)
        return self._plans.setdefault(key, (plan.pull, operands, plan.out, rest))


@dataclass(slots=True)
class _Plan:
    """For one pattern of operands that need gradients: what a node keeps, in which order, and who gets which of it."""

    of: Primitive
    needs: tuple[bool, ...]
    operands: list[int]  # the operands that are kept, then
    out: bool  # whether the output is, then "aux", static arguments, and shapes of operands
    names: list[Any]  # of all that; a shape has its operand's number
    calls: list[tuple]  # (operand, its rule as a function of g and of all that)

    def pull(self, node: Node, g: Any, needs: Sequence | None) -> Sequence:
        """The gradient of each operand, None where it needs none.

        A Value `g` asks for gradients that are recorded.
        """
        primitive, (kept, versions, writes) = self.of, node.saved
        for version in versions:
            writes -= version[0]
        if writes:
            written = " or ".join(
                repr(name) for name, version in zip(self.names, versions) if version[0]
            )
            raise RuntimeError(
                f"{written} of {primitive.name} was written in place after it was recorded, and its "
                f"derivative needs what it was; write to a copy instead"
            )
        if isinstance(g, Value):
            kept = self.on_tape(node, type(g))
            if primitive.reference:
                return self.pull_reference(dict(zip(self.names, kept)), g, needs or self.needs)
        if primitive.joint:
            return self.calls[0][1](g, [*kept, needs or self.needs])
        gradients: list = [None] * len(self.needs)
        # operands, which may differ in shape from the output
        several = primitive.broadcasts and primitive.arity > 1
        for i, rule in self.calls:
            if needs is None or needs[i]:
                gradient = rule(g, kept)
                if several and gradient is not None and gradient.shape != node.parents[i].shape:
                    gradient = sum_to(gradient, shape=node.parents[i].shape)
                gradients[i] = gradient
        return gradients

    def on_tape(self, node: Node, cls: type) -> list:
        """What `node` has kept, with Tensors for arrays: they are its operands and its result again."""
        kept, versions, _ = node.saved
        values, origins = kept.copy(), [node.parents[k] for k in self.operands] + [node] * self.out
        for k, (at, version) in enumerate(zip(origins, versions)):
            if isinstance(at, Value):
                values[k] = at
            elif hasattr(kept[k], "shape"):
                values[k] = cls(kept[k], at is not None, at, version)
        return values

    def pull_reference(self, kept: dict, g: Value, needs: Sequence) -> list:
        """Differentiate the operation's plain form, so that its gradient has a gradient."""
        of, reference = self.of, self.of.reference
        operands = [
            fresh(kept[name]) if needed else kept[name] for name, needed in zip(of.operands, needs)
        ]
        out = reference(*operands, **{static: kept[static] for static in of.statics})  # type: ignore[misc]
        targets = [operand.node for operand, needed in zip(operands, needs) if needed]
        found = walk(out, g, targets=targets)
        return [
            found.get(operand.node) if needed else None for operand, needed in zip(operands, needs)
        ]


def primitive(**rules: Callable) -> Callable:
    """Decorator: an array function as an operation with these rules; see `Primitive`, which checks
    their names.

        @minidiff.primitive(x=lambda g, x: 3 * g * x * x)
        def cube(x): return x * x * x

    Positional parameters are operands, keyword-only ones static arguments.
    """

    def make(f: Callable) -> Primitive:
        parameters = inspect.signature(f).parameters.values()
        operands = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        statics = [(p.name, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY]
        declared = [
            name if default is inspect.Parameter.empty else f"{name}={default!r}"
            for name, default in statics
        ]
        arguments = f"{' '.join(operands)} * {' '.join(declared)}"
        return Primitive(f.__name__, arguments, kernel=f, takes_integers=True, **rules)

    return make


def _spread(rule: Callable, statics: list[str]) -> tuple[Callable, tuple[str, ...]]:
    """The rule and what it asks for, by position; its `**how` becomes the static arguments that it does not name."""
    parameters = inspect.signature(rule).parameters.values()
    names = tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
    if len(names) == len(parameters):
        return rule, names
    rest, n = tuple(static for static in statics if static not in names), len(names)
    return lambda *values: rule(*values[:n], **dict(zip(rest, values[n:]))), names + rest


def _caller(rule: Callable, places: list[int]) -> Callable:
    """The rule as a function of g and of the list of what was kept, in which what it asks for has these places."""
    if not places:
        return lambda g, kept: rule(g)
    if len(places) == 1:
        place = places[0]
        return lambda g, kept: rule(g, kept[place])
    pick = itemgetter(*places)
    return lambda g, kept: rule(g, *pick(kept))


def _version_of_view(out: Any, operands: Iterable) -> list:
    """The version counter of the operand whose memory `out` shares, so that a write through either is noticed."""
    for operand in operands:
        if isinstance(operand, Value):
            data = operand._data
            if out is data or (
                out.base is not None and (out.base is data or out.base is data.base)
            ):
                return operand.version
    return [0]


# The primitives that differentiation itself needs.

alias = Primitive("alias", "x", kernel=lambda x: x, x=lambda g: g)
broadcast_to = Primitive(
    "broadcast_to", "x * shape", x=lambda g, in_shape: sum_to(g, shape=in_shape)
)
sum_to: Primitive = Primitive(
    "sum_to", "x * shape", x=lambda g, in_shape: broadcast_to(g, shape=in_shape)
)


def fresh(value: Value) -> Any:
    """The same array as a new node, so that a derivative for it is not mixed up with that of other uses."""
    if not value.requires_grad:
        value = type(value)(value._data, True, None, value.version)
    with recording(True):
        return alias(value)
