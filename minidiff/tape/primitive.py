"""A `Primitive` is an operation with a kernel and a derivative rule for each operand.

`ops` is a table of them, with lines such as

    multiply = Primitive("multiply", "x y", x=lambda g, y: g * y, y=lambda g, x: g * x,
                         broadcasts=True)

and this file makes them run. A call brings the operands to one dtype, runs the kernel, and records
a node that saves what the rules' parameters name. On the way back the node's `vjp` calls the rules.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..kernels import _backends, find
from .declaration import Declaration, Recipe
from .promotion import common_type, promote
from .tape import Node, Value, backpropagate, recording, state


class Primitive(Declaration):
    """An operation: the name of its kernel, its arguments, and a rule for each operand.

    `arguments` names the operands, which are arrays, and after a `*` the static arguments, with
    their defaults: `"x w * stride padding=(0,0)"`. A lone operand `*xs` takes any number of arrays.

    **The names of a rule's parameters say what is saved for it**: `g` is the gradient of the
    output, `out` the output, `in_shape` the operand's shape, `aux` what the kernel handed on beside
    its output; any other name is an argument. A `**how` stands for all static arguments that the
    rule does not name. Nothing else is kept alive. An operation without rules has no gradient: a
    comparison, say; a user's that gives floats is refused where a gradient is wanted.

    `joint` is one rule for all operands; it gives one gradient (or None) for each, and may ask for
    `needs`, which says whose are wanted. If it uses kernels without derivatives of their own,
    `reference` must be the same operation in plain primitives: that is differentiated where a
    derivative of the derivative is wanted.

    Where an operation `broadcasts`, gradients are summed to their operands' shapes. Integers beside
    floats take their dtype, but for the operands that `takes_integers` names: labels, say, or
    places in a table. Integers alone stay what they are, unless the operation `wants_floats`: then
    they become float64.

    The kernel is found by the name, unless a function is given as `kernel`.

    Raises TypeError if a rule asks for something that is not there.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        *,
        kernel: Callable | None = None,
        broadcasts: bool = False,
        takes_integers: str = "",
        wants_floats: bool = False,
        joint: Callable | None = None,
        reference: Callable | None = None,
        **rules: Callable,
    ):
        super().__init__(name, arguments, {"joint": joint} if joint else rules, reference)
        self.__module__ = None  # type: ignore[assignment]  # see `__reduce__`
        self.kernel = kernel
        # With a kernel from outside come rules from outside: what they give is looked at.
        self.is_users = kernel is not None and not _is_ours(kernel)
        self.broadcasts = broadcasts
        self.takes_integers = [self.operands.index(name) for name in takes_integers.split()]
        self.wants_floats = wants_floats
        self.arity = None if self.variadic else len(self.operands)
        self.recipes: dict[tuple[bool, ...], Recipe] = {}

    def __call__(self, *operands, **statics) -> Any:
        """Run the kernel. Bare arrays in, bare array out; any Value in, Value out.

        The Value is recorded if one of the operands needs a gradient.
        """
        with_defaults = self.defaults | statics if self.defaults else statics
        if len(operands) == self.arity and len(with_defaults) == len(self.statics):
            statics = with_defaults
        else:
            operands, statics = self.bind(operands, statics)

        arrays, needs, value_type = _unwrap(operands)
        array_type = common_type(arrays, self.broadcasts, self.takes_integers, self.wants_floats)
        if array_type is None:
            array_type = self._promote(arrays)
        out = self._run_kernel(array_type, arrays, statics)
        aux = None
        if self.has_aux:
            out, aux = out
        if value_type is None:
            return out

        if type(out) is not array_type:  # NumPy gives scalars for 0-d results
            out = _backends[array_type].namespace.asarray(out)
        is_view = out.base is not None or out is arrays[0]
        version = _shared_version(out, operands) if is_view else [0]
        value = value_type(out, False, None, version)
        if True in needs and state.recording:
            if self.rules:
                self._record(value, operands, tuple(needs), arrays, statics, aux)
            elif self.is_users and out.dtype.kind == "f":
                raise TypeError(
                    f"{self.name}: given a Tensor that needs a gradient, wanted a rule for it, as "
                    f"in @md.primitive(x=lambda g, x: …); where it has none, call it on t.detach()"
                )
        return value

    def __reduce__(self) -> str:
        """Copies are the operation itself, and a pickle is its name, as of a function.

        The rules may be lambdas, which have no name to be found by. The module is looked for where
        `__module__` is None: the first one that has the operation under its name.
        """
        return self.name

    def _run_kernel(self, array_type: type, arrays: list, statics: dict) -> Any:
        kernel = self.kernel or find(self.name, array_type)
        try:
            if state.observer:
                return state.observer.run(self, kernel, arrays, statics)
            return kernel(*arrays, **statics)
        except Exception as error:
            failed = error
        raise self.explained(failed, arrays, statics) from failed

    def _promote(self, arrays: list) -> type:
        """`promote` the operands; its errors name the one that is meant."""
        given = arrays.copy()
        try:
            return promote(
                self.name, arrays, self.broadcasts, self.takes_integers, self.wants_floats
            )
        except Exception as error:
            failed = error
        raise self.explained(failed, given, {}) from failed

    def _record(
        self,
        value: Value,
        operands: Sequence,
        needs: tuple[bool, ...],
        arrays: list,
        statics: dict,
        aux: Any,
    ) -> None:
        """Give `value` its node, which saves what the rules will ask for."""
        recipe = self.recipes.get(needs)
        if recipe is None:
            recipe = self.recipes.setdefault(needs, self.recipe(needs))

        saved = {}
        versions = []
        for name, i in recipe.operands:
            operand = operands[i]
            array = arrays[i]
            saved[name] = array
            if isinstance(operand, Value) and operand._data is array:  # else it was cast
                versions.append((name, operand.version, operand.version[0]))
        if recipe.out:
            saved["out"] = value._data
            versions.append(("out", value.version, value.version[0]))
        for name, i in recipe.shapes:
            saved[name] = arrays[i].shape
        for name in recipe.statics:
            saved[name] = statics[name]
        if recipe.aux:
            saved["aux"] = aux
        if self.is_users:
            saved["dtypes of operands"] = [array.dtype for array in arrays]

        parents: list = [None] * len(needs)
        for i, needed in enumerate(needs):
            if needed:
                parents[i] = operands[i].node or operands[i]
        place = None
        if state.observer:
            place = state.observer.place()
            versions = [*state.observer.watched(saved), *versions]
        value.requires_grad = True
        value.node = Node(
            self.name, parents, self.vjp, value._data.shape, (recipe, saved, versions), place
        )

    def vjp(self, node: Node, g: Any, needs: Sequence[bool] | None) -> Sequence:
        """The gradient of each operand, None where it needs none.

        A Value `g` asks for gradients that are recorded.
        """
        recipe, saved, versions = node.saved
        for name, counter, then in versions:
            if counter[0] != then:
                raise RuntimeError(
                    f"{name!r} of {self.name} was written in place after it was recorded, and its "
                    f"derivative needs what it was; write to a copy instead"
                )
        needs = needs or recipe.needs
        if isinstance(g, Value):
            saved = self._saved_on_tape(node, type(g))
            if self.reference:
                return self._vjp_of_reference(saved, g, needs)
        gradients: Any = [None] * len(needs)
        if self.joint:
            _, rule = recipe.rules[0]
            saved["needs"] = needs
            gradients = rule(g, saved)
        else:
            for i, rule in recipe.rules:
                if needs[i]:
                    gradient = rule(g, saved)
                    if self.broadcasts and gradient is not None:
                        shape = node.parents[i].shape
                        if gradient.shape != shape:
                            gradient = sum_to(gradient, shape=shape)
                    gradients[i] = gradient
        if self.is_users:
            self._check_gradients(node, gradients, isinstance(g, Value))
        return gradients

    def _check_gradients(self, node: Node, gradients: Sequence, on_tape: bool) -> None:
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

    def _saved_on_tape(self, node: Node, cls: type) -> dict:
        """What `node` has saved, with Values for arrays: its operands and its result again."""
        recipe, saved, versions = node.saved
        edges = {name: node.parents[i] for name, i in recipe.operands}
        if recipe.out:
            edges["out"] = node
        counters = {name: counter for name, counter, _ in versions}
        saved = saved.copy()
        for name, edge in edges.items():
            if isinstance(edge, Value):
                saved[name] = edge
            elif hasattr(saved[name], "shape"):
                saved[name] = cls(saved[name], edge is not None, edge, counters.get(name))
        return saved

    def _vjp_of_reference(self, saved: dict, g: Value, needs: Sequence[bool]) -> list:
        """Differentiate the operation's plain form, so that its gradient has a gradient."""
        variables = [
            new_variable(saved[name]) if needed else saved[name]
            for name, needed in zip(self.operands, needs)
        ]
        out = self.reference(*variables, **{name: saved[name] for name in self.statics})
        targets = [variable.node for variable, needed in zip(variables, needs) if needed]
        gradients = backpropagate(out, g, targets=targets)
        return [
            gradients.get(variable.node) if needed else None
            for variable, needed in zip(variables, needs)
        ]


def _is_ours(kernel: Callable) -> bool:
    """Whether it is a function of this package, which has tests for every rule."""
    return str(getattr(kernel, "__module__", None)).split(".")[0] == __name__.split(".")[0]


def _unwrap(operands: Sequence) -> tuple[list, list[bool], Any]:
    """The operands' arrays, whether each needs a gradient, and the type of Value among them."""
    arrays = list(operands)
    needs = [False] * len(arrays)
    value_type = None
    for i, operand in enumerate(operands):
        if isinstance(operand, Value):
            arrays[i] = operand._data
            needs[i] = operand.requires_grad
            value_type = type(operand)
    return arrays, needs, value_type


def _shared_version(view: Any, operands: Sequence) -> list[int]:
    """The counter of writes of the operand whose memory this is; a new one if it is nobody's."""
    for operand in operands:
        if isinstance(operand, Value):
            data = operand._data
            if view is data or view.base is data:
                return operand.version
            if view.base is not None and view.base is data.base:
                return operand.version
    return [0]


def primitive(broadcasts: bool = False, **rules: Callable) -> Callable:
    """Decorator: an array function as an operation with these rules; see `Primitive`.

        @minidiff.primitive(x=lambda g, x: 3 * g * x * x)
        def cube(x): return x * x * x

    Positional parameters are operands, keyword-only ones static arguments. Where they are broadcast
    against each other, say `broadcasts=True`: then each gradient is summed to its operand's shape.
    """

    def make(f: Callable) -> Primitive:
        operands = []
        statics = []
        for p in inspect.signature(f).parameters.values():
            if p.kind is not p.KEYWORD_ONLY:
                operands.append(p.name)
            elif p.default is p.empty:
                statics.append(p.name)
            else:
                statics.append(f"{p.name}={p.default!r}")
        arguments = f"{' '.join(operands)} * {' '.join(statics)}"
        every = " ".join(operands)
        return Primitive(
            f.__name__,
            arguments,
            kernel=f,
            broadcasts=broadcasts,
            takes_integers=every,
            **rules,  # type: ignore[arg-type]
        )

    return make


def _broadcasts_to(shape: tuple, larger: tuple) -> bool:
    """Whether it is another shape, and an array of it can be repeated to the larger one."""
    pairs = zip(reversed(shape), reversed(larger))
    return shape != larger and len(shape) <= len(larger) and all(n in (1, m) for n, m in pairs)


# The primitives that differentiation itself needs.

alias = Primitive("alias", "x", kernel=lambda x: x, x=lambda g: g)
broadcast_to = Primitive(
    "broadcast_to", "x * shape", x=lambda g, in_shape: sum_to(g, shape=in_shape)
)
sum_to: Primitive = Primitive(
    "sum_to", "x * shape", x=lambda g, in_shape: broadcast_to(g, shape=in_shape)
)


def new_variable(value: Value) -> Any:
    """The same array as a node of its own: a derivative for it leaves out its other uses."""
    is_constant = not value.requires_grad
    if is_constant:
        value = type(value)(value._data, True, None, value.version)
    with recording(True):
        variable = alias(value)
    if is_constant:
        variable.node.parents = [None]  # nobody would see the gradient
    return variable
