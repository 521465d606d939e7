"""Functions of functions: derivatives of any order, Jacobians, recomputation, and operations of
one's own.

Where arguments hold several arrays, they are in dicts, lists and tuples; gradients come back in the
same form.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels, ops
from ..tape.primitive import fresh
from ..tape.tape import Node, clock, origin, recording, state, walk
from .tensor import Tensor, as_tensor, seed_for


def value_and_grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function (…) → (f(…), ∂f/∂argument `argnums`), for an f that gives one element.

    Arguments are arrays or Tensors, or dicts, lists and tuples of them; bare arrays give bare
    arrays. Where an argument is on the tape, or inside a function that is being differentiated, the
    results are on the tape too: `grad(grad(f))` is the second derivative, and an inner function may
    use the outer one's variables. Records also inside `no_grad`.

    Raises RuntimeError if f gives more than one element, TypeError for an argument that is not of
    float dtype.
    """
    wanted = argnums if isinstance(argnums, tuple) else (argnums,)

    def derivative(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        out, inputs, outer = recorded(f, args, kwargs, wanted)
        found = iter(pullback(out, inputs, create_graph=outer))
        bare = not outer and not any(isinstance(leaf, Tensor) for leaf in leaves(args))
        result = out if outer else out.data if bare else out.detach()
        trees = [
            tree_map(lambda _: next(found).data if bare else next(found), args[i]) for i in wanted
        ]
        return result, trees[0] if isinstance(argnums, int) else tuple(trees)

    return derivative


def grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function (…) → ∂f/∂argument `argnums`; see `value_and_grad`."""
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def jacobian(f: Callable, argnum: int = 0) -> Callable:
    """The function (…) → ∂f/∂argument, of shape f's shape + the argument's: one walk back for each element of f."""

    def derivative(*args: Any, **kwargs: Any) -> Any:
        out, (x,), outer = recorded(f, args, kwargs, (argnum,))
        units = np.eye(out.size, dtype=out.dtype).reshape(out.size, *out.shape)
        seeds = [kernels.from_host(unit, out.data) for unit in units]
        rows = [
            pullback(out, [x], Tensor(seed), create_graph=outer, retain=True)[0] for seed in seeds
        ]
        none = Tensor(kernels.namespace(x.data).zeros(out.shape + x.shape, x.dtype))
        whole = ops.reshape(ops.stack(rows), shape=none.shape) if rows else none
        return (
            whole if outer or any(isinstance(leaf, Tensor) for leaf in leaves(args)) else whole.data
        )

    return derivative


def hessian(f: Callable, argnum: int = 0) -> Callable:
    """The function (…) → ∂²f/∂argument², of the argument's shape twice, for an f that gives one element."""
    return jacobian(grad(f, argnum), argnum)


def jvp(f: Callable, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """(f(x), the derivative of f at x along v): for an array x and v, or for tuples of arguments
    and of directions.

    The vector-Jacobian product uᵀJ is linear in u, so its own derivative for u, times v, is Jv
    (Townsend 2017).

    Raises ValueError unless each direction has its argument's shape, TypeError as `value_and_grad`
    does.
    """
    xs, vs = (value if isinstance(value, tuple) else (value,) for value in (primals, tangents))
    if [np.shape(x) for x in xs] != [np.shape(v) for v in vs]:
        raise ValueError(
            f"tangents must have the primals' shapes {[*map(np.shape, xs)]}; got {[*map(np.shape, vs)]}"
        )
    out, inputs, outer = recorded(f, tuple(map(as_tensor, xs)), {}, tuple(range(len(xs))))
    outer = outer or _outer(vs)
    with recording(True):
        u = fresh(Tensor(kernels.namespace(out.data).zeros_like(out.data)))
        rows = pullback(out, inputs, u, create_graph=True)
        total: Any = sum((ops.sum(row * v) for row, v in zip(rows, vs)), start=ops.sum(u * 0.0))
        tangent = pullback(total, [u], create_graph=outer)[0]
    if outer:
        return out, tangent
    return (
        (out.detach(), tangent)
        if any(isinstance(x, Tensor) for x in xs)
        else (out.data, tangent.data)
    )


def hvp(f: Callable, x: Any, v: Any) -> Any:
    """The Hessian of f at x times v, for an f that gives one element: the derivative of ⟨∇f, v⟩."""
    return grad(lambda x: ops.sum(grad(f)(x) * v))(x)


def stop_gradient(x: Any) -> Any:
    """x, as a constant."""
    return x.detach() if isinstance(x, Tensor) else x


def gradient_hook(x: Tensor, hook: Callable) -> Tensor:
    """x, but its gradient goes through `hook` first, which may look at it (and give None) or replace it."""

    def pull(node: Node, g: Any, needs: Any) -> list:
        seen = hook(g)
        return [g if seen is None else seen]

    return (
        Tensor(x.data, True, Node("gradient_hook", [origin(x)], pull, x.shape), x.version)
        if x.requires_grad
        else x
    )


def checkpoint(f: Callable) -> Callable:
    """The function f, of which nothing is kept for the derivative but its result: it is computed
    again then.

    So a chain of n checkpointed functions holds n results, and all of one function's inside at a
    time (Chen et al. 2016). NumPy Generators among the arguments draw the same again. f gives one
    Tensor.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        generators = [
            leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, np.random.Generator)
        ]
        drawn = [(rng, rng.bit_generator.state) for rng in generators]
        since, nesting = next(clock), state.nesting
        out = f(*args, **kwargs)
        if not isinstance(out, Tensor) or origin(out) is None:
            return out
        edges = _edges(out, since)
        versions = [(leaf.version, leaf.version[0]) for leaf in edges if not isinstance(leaf, Node)]

        def pull(node: Node, g: Any, needs: Any) -> list:
            if any(version[0] != then for version, then in versions):
                raise RuntimeError(
                    "a leaf was written in place after checkpoint: it would compute something else now"
                )
            now = [rng.bit_generator.state for rng, _ in drawn]
            for rng, before in drawn:
                rng.bit_generator.state = before
            with recording(True, nesting):
                again = f(*args, **kwargs)
            for (rng, _), after in zip(drawn, now):
                rng.bit_generator.state = after
            found = walk(again, g, since=since)
            return [found.get(edge) for edge in edges]

        return Tensor(out.data, True, Node("checkpoint", edges, pull, out.shape))

    return run


def pullback(
    out: Tensor,
    inputs: list[Tensor],
    gradient: Any = None,
    create_graph: bool = False,
    retain: bool = False,
) -> list[Tensor]:
    """The derivative of sum(out · gradient) for each of `inputs` (made by `fresh`), zeros where `out` has none."""
    found: dict[Any, Any] = {}
    if origin(out) is not None:
        seed = gradient if isinstance(gradient, Tensor) else Tensor(seed_for(out, gradient))
        found = walk(
            out,
            seed if create_graph else seed.data,
            targets=[x.node for x in inputs],
            retain=retain,
        )
    results = []
    for x in inputs:
        total, xp = found.get(x.node), kernels.namespace(x.data)
        total = xp.zeros_like(x.data) if total is None else total
        results.append(total if isinstance(total, Tensor) else Tensor(xp.asarray(total)))
    return results


def tree_map(f: Callable, tree: Any) -> Any:
    """f of every leaf of dicts, lists and tuples, in the same form; None stays None."""
    if isinstance(tree, dict):
        return {key: tree_map(f, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [tree_map(f, value) for value in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree if tree is None else f(tree)


def leaves(tree: Any) -> list:
    """The leaves that `tree_map` visits, in its order."""
    found: list = []
    tree_map(found.append, tree)
    return found


def _outer(args: Any) -> bool:
    """Whether the arguments are on somebody else's tape, so that derivatives must be recorded too."""
    return state.nesting > 0 or any(origin(leaf) is not None for leaf in leaves(args))


def recorded(
    f: Callable, args: tuple, kwargs: dict, wanted: tuple
) -> tuple[Tensor, list[Tensor], bool]:
    """(f's result on a tape that starts at the wanted arguments, those arguments' leaves there, `_outer`)."""
    inputs, started = list(args), []

    def start(leaf: Any) -> Tensor:
        value = as_tensor(leaf)
        if value.dtype.kind != "f":
            raise TypeError(
                f"an argument of dtype {value.dtype} has no derivative; wanted float32 or float64"
            )
        started.append(fresh(value))
        return started[-1]

    for i in wanted:
        inputs[i] = tree_map(start, args[i])
    outer = _outer(args)
    with recording(True, state.nesting + 1):
        out = f(*inputs, **kwargs)
    if not isinstance(out, Tensor):
        raise TypeError(
            f"the function must give a Tensor computed from its arguments; got {type(out).__name__}"
        )
    return out, started, outer


def _edges(out: Tensor, since: int) -> list:
    """Leaves, and nodes not newer than `since`, that `out` was computed from."""
    stack, seen, edges = [origin(out)], set(), []
    while stack:
        at = stack.pop()
        if at is not None and at not in seen:
            seen.add(at)
            if isinstance(at, Node) and at.order > since:
                stack.extend(at.parents)
            else:
                edges.append(at)
    return edges
