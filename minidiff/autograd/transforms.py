"""Functions of functions: `grad` and `value_and_grad` turn a function into its derivative."""

from collections.abc import Callable
from typing import Any

from .. import kernels
from .primitive import fresh
from .tape import origin, recording, state, walk
from .tensor import Tensor, seed_for


def value_and_grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function (…) → (f(…), ∂f/∂argument `argnums`), for an f that gives one element.

    Arguments are arrays or Tensors; bare arrays give bare arrays. Where an argument is on the tape, or inside a function
    that is being differentiated, the results are on the tape too: `grad(grad(f))` is the second derivative, and an inner
    function may use the outer one's variables. Records also inside `no_grad`.

    Raises RuntimeError if f gives more than one element, TypeError for an argument that is not of float dtype.
    """
    wanted = argnums if isinstance(argnums, tuple) else (argnums,)

    def derivative(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        inputs = list(args)
        for i in wanted:
            value = args[i] if isinstance(args[i], Tensor) else Tensor(args[i])
            if value.dtype.kind != "f":
                raise TypeError(f"argument {i} of dtype {value.dtype} has no derivative; wanted float32 or float64")
            inputs[i] = fresh(value)
        outer = state.nesting > 0 or any(origin(arg) is not None for arg in args)
        state.nesting += 1
        try:
            with recording(True):
                out = f(*inputs, **kwargs)
        finally:
            state.nesting -= 1
        if not isinstance(out, Tensor):
            raise TypeError(f"the function must give a Tensor computed from its arguments; got {type(out).__name__}")
        gradients = pullback(out, [inputs[i] for i in wanted], create_graph=outer)
        bare = not outer and not any(isinstance(arg, Tensor) for arg in args)
        result = out if outer else out.data if bare else out.detach()
        found = [g.data if bare else g for g in gradients]
        return result, found[0] if isinstance(argnums, int) else tuple(found)

    return derivative


def grad(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """The function (…) → ∂f/∂argument `argnums`; see `value_and_grad`."""
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def pullback(out: Tensor, inputs: list[Tensor], gradient: Any = None, create_graph: bool = False) -> list[Tensor]:
    """The derivative of sum(out · gradient) for each of `inputs` (made by `fresh`), zeros where `out` does not depend."""
    found: dict[int, Any] = {}
    if origin(out) is not None:
        seed = gradient if isinstance(gradient, Tensor) else Tensor(seed_for(out, gradient))
        targets = [tensor.node for tensor in inputs]
        found = {id(at): total for at, total in walk(out, seed if create_graph else seed.data, targets=targets)}
    results = []
    for tensor in inputs:
        total, xp = found.get(id(tensor.node)), kernels.namespace(tensor.data)
        total = xp.zeros_like(tensor.data) if total is None else total
        results.append(total if isinstance(total, Tensor) else Tensor(xp.asarray(total)))
    return results
