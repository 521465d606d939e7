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
from .forward import added, push_forward
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

    `forward` says how the tangents of the operands become that of the output, where that can be
    had from what stands here: "linear", if the operation is linear in each operand that has a rule,
    is the operation itself, done to each tangent; "symmetric", if the matrix of derivatives for
    each operand is symmetric, as that of every pointwise operation, are the rules, which serve in
    both directions. For others it may be a rule: `tangents` are one (or None) for each operand, and
    its further parameters say what is saved for it, or are `out_shape`. Without `forward`, the
    rules for the way back do, at twice the cost (see `forward.py`).

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
        forward: str | Callable | None = None,
        **rules: Callable,
    ):
        super().__init__(name, arguments, {"joint": joint} if joint else rules, reference, forward)
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
        jvp = self.jvp if self.forward else None
        value.node = Node(
            self.name, parents, self.vjp, value._data.shape, (recipe, saved, versions), place, jvp
        )

    def vjp(self, node: Node, g: Any, needs: Sequence[bool] | None) -> Sequence:
        """The gradient of each operand, None where it needs none.

        A Value `g` asks for gradients that are recorded.
        """
        recipe, saved, versions = node.saved
        for name, counter, then in versions:
            if counter[0] != then:
                raise self._written(name)
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
            self.check_gradients(node, gradients, isinstance(g, Value))
        return gradients

    def jvp(self, node: Node, tangents: Sequence) -> Any:
        """The tangent of the result, from those of the operands; None stands for zeros.

        Values among them ask for a tangent that is recorded.
        """
        recipe, saved, versions = node.saved
        for name, counter, then in versions:
            if counter[0] != then:
                raise self._written(name)
        kinds = [type(v) for v in tangents if isinstance(v, Value)]
        if kinds:
            saved = self._saved_on_tape(node, kinds[0])
            if self.reference:
                return self._jvp_of_reference(saved, tangents)
        total: Any = None
        if recipe.forward:
            saved["out_shape"] = node.shape
            total = recipe.forward(tangents, saved)
        elif self.forward == "linear":
            statics = {name: saved[name] for name in self.statics}
            for i, v in enumerate(tangents):
                if v is not None:
                    operands = [saved.get(name) for name in self.operands]
                    operands[i] = v
                    total = added(total, self(*operands, **statics))
        else:
            saved["needs"] = recipe.needs
            for i, rule in recipe.rules:
                if tangents[i] is not None:
                    part = rule(tangents[i], saved)
                    total = added(total, part[0] if self.joint else part)
        if total is not None and total.shape != node.shape:
            total = broadcast_to(total, shape=node.shape)
        return total

    def _written(self, name: str) -> RuntimeError:
        return RuntimeError(
            f"{name!r} of {self.name} was written in place after it was recorded, and its "
            f"derivative needs what it was; write to a copy instead"
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

    def _run_reference(self, saved: dict, needs: Sequence[bool]) -> tuple[list, Any]:
        """The operation's plain form: its operands, as new variables where needed; its result."""
        variables = [
            new_variable(saved[name]) if needed else saved[name]
            for name, needed in zip(self.operands, needs)
        ]
        return variables, self.reference(*variables, **{name: saved[name] for name in self.statics})

    def _jvp_of_reference(self, saved: dict, tangents: Sequence) -> Any:
        """Push the tangents through the operation's plain form, to have a gradient of them."""
        variables, out = self._run_reference(saved, [v is not None for v in tangents])
        pushed = {x.node: v for x, v in zip(variables, tangents) if v is not None}
        return push_forward([out], pushed)[0]

    def _vjp_of_reference(self, saved: dict, g: Value, needs: Sequence[bool]) -> list:
        """Differentiate the operation's plain form, so that its gradient has a gradient."""
        variables, out = self._run_reference(saved, needs)
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


def primitive(
    broadcasts: bool = False, forward: str | Callable | None = None, **rules: Callable
) -> Callable:
    """Decorator: an array function as an operation with these rules; see `Primitive`.

        @minidiff.primitive(x=lambda g, x: 3 * g * x * x)
        def cube(x): return x * x * x

    Positional parameters are operands, keyword-only ones static arguments. Where they are broadcast
    against each other, say `broadcasts=True`: then each gradient is summed to its operand's shape.
    A `forward` of "linear" or "symmetric" halves the cost of `jvp`; cube's would be "symmetric".
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
            forward=forward,
            **rules,  # type: ignore[arg-type]
        )

    return make


# The primitives that differentiation itself needs.

alias = Primitive("alias", "x", kernel=lambda x: x, x=lambda g: g, forward="symmetric")
broadcast_to = Primitive(
    "broadcast_to", "x * shape", x=lambda g, in_shape: sum_to(g, shape=in_shape), forward="linear"
)
sum_to: Primitive = Primitive(
    "sum_to", "x * shape", x=lambda g, in_shape: broadcast_to(g, shape=in_shape), forward="linear"
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
