"""An operation as it is declared: its arguments, its rules, and what the rules ask for.

Nothing runs here; `primitive.py` calls what is declared.
"""

import ast
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from .. import first_guesses, messages
from .tape import Node, Value


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a call saves, and which rules it will want, if just these operands need gradients.

    It is worked out once for each pattern of `needs` and holds for every call with that pattern.
    Take `multiply` where only x needs a gradient. The rule for x, `lambda g, y: g * y`, asks for y.
    So `operands` is [("y", 1)], and `rules` is [(0, its rule)].
    """

    needs: tuple[bool, ...]
    # What is saved under a name, and its place among the operands:
    operands: list[tuple[str, int]]
    shapes: list[tuple[str, int]]
    # What else is saved:
    statics: list[str]
    out: bool
    aux: bool
    # The place of an operand, and its rule as a function of g and of the dict of all that is saved.
    rules: list[tuple[int, Callable]]
    # The forward rule, as a function of the operands' tangents and of that dict, if there is one.
    forward: Callable | None


class Declaration:
    """The names of an operation's arguments, and those that its rules ask for; see `Primitive`."""

    def __init__(
        self,
        name: str,
        arguments: str,
        rules: dict[str, Callable],
        reference: Any,
        forward: str | Callable | None,
    ):
        self.name = name
        self.rules = rules
        self.joint = "joint" in rules
        self.reference = reference
        operands, _, statics = f" {arguments} ".partition(" * ")
        self.variadic = operands.strip().startswith("*")
        self.operands = [operand.lstrip("*") for operand in operands.split()]
        self.statics: list[str] = []
        self.defaults: dict[str, Any] = {}
        for declared in statics.split():
            static, has_default, default = declared.partition("=")
            self.statics.append(static)
            if has_default:
                self.defaults[static] = ast.literal_eval(default)
        self.forward = forward
        self.asked = {of: self._asked_by(of) for of in rules}
        self.asked["forward"] = self._asked_forward()
        self.has_aux = any("aux" in names for names in self.asked.values())

    def __repr__(self) -> str:
        return f"<primitive {self.name}({', '.join(self.operands + self.statics)})>"

    def _asked_by(self, of: str) -> list[str]:
        """What the rule for an operand asks for beside g, in the order of its parameters.

        Raises TypeError if there is no such thing: now, not when the gradient is first wanted.
        """
        if of not in (*self.operands, "joint"):
            raise TypeError(
                f"{self.name}: there is a rule for {of!r}, but the operands are {self.operands}"
            )
        beside = "needs" if of == "joint" else "in_shape"
        return self._asked_names(f"rule for {of!r}", self.rules[of], "g", beside)

    def _asked_forward(self) -> list[str]:
        """What the forward rule asks for beside tangents; raises TypeError as `_asked_by`."""
        if callable(self.forward):
            return self._asked_names("forward rule", self.forward, "tangents", "out_shape")
        if self.forward not in (None, "linear", "symmetric"):
            raise TypeError(
                f"{self.name}: given forward={self.forward!r}, wanted 'linear', 'symmetric' or a "
                f"function of the operands' tangents"
            )
        return []

    def _asked_names(self, what: str, rule: Callable, start: str, beside: str) -> list[str]:
        first, *names = _parameters(rule)
        offered = [*self.operands, *self.statics, "out", "aux", beside]
        wrong = [name for name in names if name not in offered]
        if first != start:
            wrong = [first]
        if wrong:
            raise TypeError(
                f"{self.name}: the {what} asks for {wrong}; it takes {start} first, then any of "
                f"{offered}"
            )
        if _takes_any_keyword(rule):
            names += [static for static in self.statics if static not in names]
        return names

    def bind(self, operands: tuple, statics: dict) -> tuple[tuple, dict]:
        """Operands in their order and static arguments by name, however they were given.

        Raises TypeError for arguments that are missing, unknown or given twice.
        """
        if self.variadic:
            return operands, self.defaults | statics
        order = [*self.operands, *self.statics]
        by_position = dict(zip(order, operands))
        bound = self.defaults | statics | by_position
        twice = sorted(name for name in by_position if name in statics)
        unknown = sorted(bound.keys() - set(order))
        missing = [name for name in order if name not in bound]
        misnamed = first_guesses.misnamed(self.name, unknown)
        if misnamed:
            raise TypeError(misnamed)
        if len(operands) > len(order) or twice or unknown or missing:
            raise TypeError(
                f"{self.name}: {len(operands)} arguments by position, given twice {twice}, "
                f"unknown {unknown}, missing {missing}; wanted {self.name}({', '.join(order)})"
            )
        return tuple([bound.pop(name) for name in self.operands]), bound

    def explained(self, error: Exception, arrays: Sequence, statics: dict) -> Exception:
        """The error of a call in the form «operation: argument: given A, wanted B»."""
        operands = self.operands
        if self.variadic:
            operands = [f"{operands[0]}[{i}]" for i in range(len(arrays))]
        kinds = messages.operands_and_statics(operands, self.statics)
        return messages.explained(self.name, error, dict(zip(operands, arrays)) | statics, kinds)

    def check_gradients(self, node: Node, gradients: Sequence, on_tape: bool) -> None:
        """ValueError or TypeError unless each is None or has its operand's shape and dtype."""
        if len(gradients) != len(node.parents):
            raise ValueError(
                f"{self.name}: given {len(gradients)} gradients by its joint rule, wanted "
                f"{len(node.parents)}, one for each operand (or None)"
            )
        _, saved, _ = node.saved
        dtypes = saved["dtypes of operands"]
        for i, (parent, gradient, dtype) in enumerate(zip(node.parents, gradients, dtypes)):
            if parent is None or gradient is None:
                continue
            if isinstance(gradient, Value) and not on_tape:
                raise TypeError(
                    f"{self.name}: given a Tensor by the rule for operand {i}, wanted an array, as "
                    f"g is; type minidiff.ops, which gives arrays for arrays"
                )
            shape = getattr(gradient, "shape", type(gradient).__name__)
            given = getattr(gradient, "dtype", None)
            if shape != parent.shape or given != dtype:
                kind = ValueError if shape != parent.shape else TypeError
                was_repeated = shape == node.shape and _broadcasts_to(parent.shape, shape)
                raise kind(
                    f"{self.name}: given a gradient {given} {shape} by the rule for operand {i}, "
                    f"wanted {dtype} {tuple(parent.shape)}, as that operand"
                    + "; type broadcasts=True beside its rules"
                    * was_repeated
                )

    def recipe(self, needs: tuple[bool, ...]) -> Recipe:
        """What to save and to call where just these operands need gradients.

        Raises TypeError if one of them has no rule.
        """
        wanted = ["joint"]
        if not self.joint:
            wanted = [operand for operand, needed in zip(self.operands, needs) if needed]
        missing = sorted(set(wanted) - self.rules.keys())
        if missing:
            raise TypeError(f"{self.name} has no derivative for {missing}")

        places = {operand: i for i, operand in enumerate(self.operands)}
        shapes = {f"{operand}.shape": i for operand, i in places.items()}
        rules = []
        saved: set[str] = set()
        for of in wanted:
            names = {name: f"{of}.shape" if name == "in_shape" else name for name in self.asked[of]}
            rules.append((places.get(of, 0), _from_saved(self.rules[of], names)))
            saved.update(names.values())
        if self.reference:
            saved.update(self.operands, self.statics)
        forward = None
        if callable(self.forward):
            names = {name: name for name in self.asked["forward"]}
            forward = _from_saved(self.forward, names)
            saved.update(names)
        elif self.forward == "linear":
            saved.update(self.statics)  # the operands that it needs are those of the rules
        return Recipe(
            needs,
            operands=[(name, i) for name, i in places.items() if name in saved],
            shapes=[(name, i) for name, i in shapes.items() if name in saved],
            statics=[name for name in self.statics if name in saved],
            out="out" in saved,
            aux="aux" in saved,
            rules=rules,
            forward=forward,
        )


def _from_saved(rule: Callable, names: dict[str, str]) -> Callable:
    """The rule as a function of g and a dict, where its parameters have the given names."""
    if _takes_any_keyword(rule):
        return lambda g, saved: rule(g, **{p: saved[name] for p, name in names.items()})
    if not names:
        return lambda g, saved: rule(g)
    # By position, since that takes a third of the time.
    pick = itemgetter(*names.values())
    if len(names) == 1:
        return lambda g, saved: rule(g, pick(saved))
    return lambda g, saved: rule(g, *pick(saved))


def _parameters(rule: Callable) -> list[str]:
    parameters = inspect.signature(rule).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]


def _takes_any_keyword(rule: Callable) -> bool:
    """Whether it has a `**how`, which stands for all static arguments that it does not name."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(rule).parameters.values())


def _broadcasts_to(shape: tuple, larger: tuple) -> bool:
    """Whether it is another shape, and an array of it can be repeated to the larger one."""
    pairs = zip(reversed(shape), reversed(larger))
    return shape != larger and len(shape) <= len(larger) and all(n in (1, m) for n, m in pairs)
