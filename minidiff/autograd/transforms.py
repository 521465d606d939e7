"""Functions of functions: derivatives of any order, Jacobians, recomputation.

Where an argument holds several arrays, they are in dicts, lists and tuples; gradients come back in
the same form.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import kernels, ops
from ..checks import same_shape_and_dtype
from ..tape.forward import push_forward
from ..tape.primitive import new_variable
from ..tape.tape import (
    Node,
    backpropagate,
    clock,
    copy_shared,
    gradient_edge,
    postponing,
    recording,
    state,
)
from .blas import on_the_way_back
from .contents import initial_gradient
from .recomputation import Draws, check_same, check_same_inputs, generators_in, sample_of
from .tensor import Tensor, as_tensor


def value_and_grad(
    f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable:
    """The function (…) → (f(…), ∂f/∂argument `argnums`), for an f that gives one element.

    Arguments are arrays or Tensors, or dicts, lists and tuples of them; bare arrays give bare
    arrays. Where an argument is on the tape, or inside a function that is being differentiated, the
    results are on the tape too: `grad(grad(f))` is the second derivative, and an inner function may
    use the outer one's variables. Records also inside `no_grad`.

    With `has_aux`, f gives (value, aux), where aux is anything else that it has computed, and the
    function gives ((value, aux), gradient).

    Raises RuntimeError if f gives more than one element, TypeError for an argument that is not of
    float dtype.
    """
    several = argnums if isinstance(argnums, tuple) else (argnums,)

    def derivative(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        aux = None

        def value_alone(*inputs: Any, **options: Any) -> Any:
            nonlocal aux
            result = f(*inputs, **options)
            if not has_aux:
                return result
            if not (isinstance(result, tuple) and len(result) == 2):
                raise TypeError(
                    f"f: given {type(result).__name__}, wanted (value, aux), as has_aux=True says"
                )
            value, aux = result
            return value

        out, variables, nested = trace(value_alone, args, kwargs, several)
        gradients = vjp(out, variables, create_graph=nested)
        is_bare = not nested and not has_tensor(args)

        def outside(result: Any) -> Any:
            """A result as the caller gets it."""
            if nested or not isinstance(result, Tensor):
                return result
            return result.data if is_bare else result.detach()

        in_order = iter(gradients)
        trees = [tree_map(lambda _: outside(next(in_order)), args[i]) for i in several]
        value = outside(out)
        if has_aux:
            value = value, tree_map(outside, aux)
        return value, trees[0] if isinstance(argnums, int) else tuple(trees)

    return derivative


def grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function (…) → ∂f/∂argument `argnums`; see `value_and_grad`.

    With `has_aux` it gives (gradient, aux).
    """
    both = value_and_grad(f, argnums, has_aux)

    def derivative(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return derivative


def jacobian(f: Callable, argnum: int = 0) -> Callable:
    """The function (…) → ∂f/∂argument, of f's shape followed by the argument's.

    It goes along the tape once for each element of the argument, or back once for each of f's
    elements, if they are fewer. For an argument that is a dict, list or tuple, it gives one
    Jacobian for each array, in the same form.
    """

    def derivative(*args: Any, **kwargs: Any) -> Any:
        out, variables, nested = trace(f, args, kwargs, (argnum,))
        is_wide = out.size < sum(x.size for x in variables)
        parts = _rows(out, variables, nested) if is_wide else _columns(out, variables, nested)
        matrices = []
        for x, (slices, axis) in zip(variables, parts):
            shape = out.shape + x.shape
            if slices:
                matrix = ops.reshape(ops.stack(slices, axis), shape=shape)
            else:
                matrix = Tensor(kernels.namespace(x.data).zeros(shape, x.dtype))
            matrices.append(matrix if nested or has_tensor(args) else matrix.data)
        in_order = iter(matrices)
        return tree_map(lambda _: next(in_order), args[argnum])

    return derivative


def _units(x: Tensor) -> list[Tensor]:
    """For each element of x, zeros like x with 1 there."""
    units = np.eye(x.size, dtype=x.dtype).reshape((x.size, *x.shape))
    return [Tensor(kernels.from_host(unit, x.data)) for unit in units]


def _rows(out: Tensor, variables: list[Tensor], nested: bool) -> list[tuple[list, int]]:
    """For each variable the rows of its Jacobian, and the axis that they are stacked along."""
    rows = [vjp(out, variables, u, create_graph=nested, retain_graph=True) for u in _units(out)]
    return [([row[k] for row in rows], 0) for k in range(len(variables))]


def _columns(out: Tensor, variables: list[Tensor], nested: bool) -> list[tuple[list, int]]:
    """For each variable the columns of its Jacobian, and the axis that they are stacked along."""
    zeros = Tensor(kernels.namespace(out.data).zeros_like(out.data))
    parts = []
    for x in variables:
        columns = []
        for v in _units(x):
            (column,) = push_forward([out], {x.node: v if nested else v.data})
            columns.append(zeros if column is None else as_tensor(column))
        parts.append((columns, -1))
    return parts


def hessian(f: Callable, argnum: int = 0) -> Callable:
    """The function (…) → ∂²f/∂argument², of the argument's shape twice, for one element of f.

    For an argument that is a dict, list or tuple: its form twice, `hessian["w"]["b"]` is ∂²f/∂w∂b.
    """
    slopes = grad(f, argnum)

    def derivative(*args: Any, **kwargs: Any) -> Any:
        blocks = []
        for k in range(len(tree_leaves(args[argnum]))):
            slope = partial(lambda k, *args, **kwargs: tree_leaves(slopes(*args, **kwargs))[k], k)
            blocks.append(jacobian(slope, argnum)(*args, **kwargs))
        in_order = iter(blocks)
        return tree_map(lambda _: next(in_order), args[argnum])

    return derivative


def stop_gradient(x: Any) -> Any:
    """x, as a constant."""
    return x.detach() if isinstance(x, Tensor) else x


def gradient_hook(x: Tensor, hook: Callable) -> Tensor:
    """x, with a hook on the way back: `hook(gradient)` looks at it (gives None) or replaces it.

    What it gives must have the gradient's shape and dtype; backward raises ValueError or TypeError
    otherwise.
    """
    if not x.requires_grad:
        return x

    def hooked(node: Node, g: Any, needs: Any) -> list:
        replaced = hook(g)
        if replaced is None:
            return [g]
        if isinstance(replaced, Tensor) and not isinstance(g, Tensor):
            replaced = replaced.data
        if not hasattr(replaced, "dtype"):
            raise TypeError(
                f"hook: given {type(replaced).__name__}, wanted None or the gradient in its place"
            )
        same_shape_and_dtype("hook", replaced, "the gradient that it was given", g)
        return [replaced]

    node = Node(
        "gradient_hook", [gradient_edge(x)], hooked, x.shape, jvp=lambda _, tangents: tangents[0]
    )
    return Tensor(x.data, True, node, x.version)


def checkpoint(f: Callable) -> Callable:
    """f without its intermediate results: they are computed again when the derivative needs them.

    So a chain of n checkpointed functions holds n results, and all of one function's inside at a
    time (Chen et al. 2016). NumPy Generators draw the same again, if they are among the arguments
    or f holds them: by its closure, its defaults, its globals, in its modules. f gives one Tensor.

    The derivative raises RuntimeError if an argument, or a leaf that f uses, was written to since,
    and if f reads other Tensors the second time or gives another result: a name in it was bound
    anew, say.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        leaves = tree_leaves((args, kwargs))
        # inside a piece of `sharded`, layers draw from the piece's own Generators
        draws = Draws(generators_in(f, args, kwargs, of_layers=state.piece is None))
        since = next(clock)
        nesting = state.nesting
        out = f(*args, **kwargs)
        if not isinstance(out, Tensor) or gradient_edge(out) is None:
            return out
        inputs = _graph_inputs(out, since)
        read = [x for x in [*inputs, *leaves] if isinstance(x, Tensor)]
        versions = [(x.version, x.version[0]) for x in read]
        sample = sample_of(out.data)

        def recomputed() -> Tensor:
            if any(counter[0] != then for counter, then in versions):
                raise RuntimeError(
                    "checkpoint: an argument or a leaf was written in place since, so the function "
                    "would compute something else now"
                )
            with draws.again(), recording(True, nesting), postponing():
                out = f(*args, **kwargs)
            check_same_inputs("checkpoint", _graph_inputs(out, since), inputs)
            check_same("checkpoint", out.data, sample)
            return out

        def vjp(node: Node, g: Any, needs: Any) -> list:
            gradients = backpropagate(recomputed(), g, since=since)
            return [gradients.get(x) for x in inputs]

        def jvp(node: Node, tangents: Any) -> Any:
            return push_forward([recomputed()], dict(zip(inputs, tangents)))[0]

        return Tensor(out.data, True, Node("checkpoint", inputs, vjp, out.shape, jvp=jvp))

    return run


def _graph_inputs(out: Tensor, since: int) -> list:
    """The leaves, and the nodes not newer than `since`, that `out` was computed from."""
    stack = [gradient_edge(out)]
    visited = set()
    inputs = []
    while stack:
        edge = stack.pop()
        if edge is None or edge in visited:
            continue
        visited.add(edge)
        if isinstance(edge, Node) and edge.order > since:
            stack.extend(edge.parents)
        else:
            inputs.append(edge)
    return inputs


def trace(
    f: Callable, args: tuple, kwargs: dict, argnums: tuple[int, ...]
) -> tuple[Tensor, list[Tensor], bool]:
    """Run f with the arguments `argnums` as new variables: (its result, the variables, nested).

    `nested` says whether the arguments are on somebody else's tape, so that derivatives must be
    recorded too. Raises TypeError for an argument of no float dtype, or if f gives no Tensor.
    """
    out, variables = record(one_tensor(f), args, kwargs, argnums)
    return out, variables, is_nested(args)


def record(
    f: Callable, args: tuple, kwargs: dict, argnums: tuple[int, ...]
) -> tuple[Any, list[Tensor]]:
    """What f gives, with the arguments `argnums` as new variables; and these."""
    variables = []

    def as_variable(leaf: Any) -> Tensor:
        value = as_tensor(leaf)
        if value.dtype.kind != "f":
            raise TypeError(
                f"an argument of dtype {value.dtype} has no derivative; wanted float32 or float64"
            )
        variables.append(new_variable(value))
        return variables[-1]

    inputs = list(args)
    for i in argnums:
        inputs[i] = tree_map(as_variable, args[i])
    with recording(True, state.nesting + 1):
        return f(*inputs, **kwargs), variables


def one_tensor(f: Callable) -> Callable:
    """f, but TypeError if it gives no Tensor."""

    def checked(*args: Any, **kwargs: Any) -> Tensor:
        out = f(*args, **kwargs)
        if not isinstance(out, Tensor):
            raise TypeError(
                f"the function must give a Tensor computed from its arguments; got "
                f"{type(out).__name__}"
            )
        return out

    return checked


def vjp(
    out: Tensor,
    variables: list[Tensor],
    gradient: Any = None,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> list[Tensor]:
    """The derivative of sum(out · gradient) for each of `variables`, zeros where `out` has none.

    The variables are those of `trace`, or made by `new_variable`. `gradient` is 1 for one element
    if it is not given.
    """
    gradients: dict[Any, Any] = {}
    if gradient_edge(out) is not None:
        if not isinstance(gradient, Tensor):
            gradient = Tensor(initial_gradient(out, gradient))
        with on_the_way_back():
            gradients = backpropagate(
                out,
                gradient if create_graph else gradient.data,
                targets=[x.node for x in variables],
                retain_graph=retain_graph,
            )
        if not create_graph:
            copy_shared(gradients)
    results = []
    for x in variables:
        total = gradients.get(x.node)
        xp = kernels.namespace(x.data)
        if total is None:
            total = xp.zeros_like(x.data)
        if not isinstance(total, Tensor):
            total = Tensor(xp.asarray(total))
        results.append(total)
    return results


def tree_map(f: Callable, tree: Any) -> Any:
    """f of every leaf of dicts, lists and tuples, in the same form; None stays None."""
    if isinstance(tree, dict):
        return {key: tree_map(f, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [tree_map(f, value) for value in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree if tree is None else f(tree)


def tree_leaves(tree: Any) -> list:
    """The leaves that `tree_map` visits, in its order."""
    leaves: list = []
    tree_map(leaves.append, tree)
    return leaves


def has_tensor(args: tuple) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(args))


def is_nested(args: tuple) -> bool:
    """Whether the arguments are on somebody else's tape, or inside a differentiated function.

    Not so inside `no_grad`, which ends what is recorded around it.
    """
    if not state.recording:
        return False
    return state.nesting > 0 or any(gradient_edge(leaf) is not None for leaf in tree_leaves(args))
