"""Lesson 2, the table of derivatives: eight rules, and forward from two backward."""

from collections.abc import Callable

import numpy as np

from .. import ops
from ..autograd.tensor import Tensor
from ..autograd.transforms import jacobian
from ..tape.primitive import Primitive
from .declared import exercise
from .evidence import PromiseError, agree, array_of, ask, differences
from .rules import keeps_all_promises, rule_is_right


@exercise(hint="The derivative is 1 − tanh², and out is tanh(x): no need to compute it again.")
def tanh_rule(rule: Callable) -> None:
    x = np.array([0.5, -1.0, 2.0])
    g = np.array([1.0, -2.0, 3.0])
    out = np.tanh(x)
    suspects = {
        "You took 1 − x²: it is out that is squared.": g * (1 - x**2),
        "You took 1 − out: out is to be squared.": g * (1 - out),
    }
    rule_is_right(rule, {"g": g, "x": x, "out": out}, differences(np.tanh, x, g), suspects)
    keeps_all_promises(Primitive("tanh", "x", kernel=np.tanh, x=rule), x)


@exercise(hint="Move y in x / y: the derivative is −x / y², and x / y is out.")
def divide_rule(rule: Callable) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4))
    y = rng.uniform(0.5, 2.0, (3, 4))
    g = rng.standard_normal((3, 4))
    suspects = {
        "That is what x gets: y is below the line.": g / y,
        "You divided by y once: x / y² has it twice.": -g * x / y,
        "That is −x / y times g: divide by y once more.": -g * (x / y),
    }
    want = differences(lambda y: x / y, y, g)
    rule_is_right(rule, {"g": g, "x": x, "y": y, "out": x / y}, want, suspects)
    of_x = lambda g, y: g / y
    operation = Primitive("divide", "x y", kernel=np.divide, broadcasts=True, x=of_x, y=rule)
    keeps_all_promises(operation, x, y)


@exercise(hint="Each w[j, k] meets x[i, j] in row i of the result. So sum over i: which transpose?")
def matmul_rule(rule: Callable) -> None:
    rng = np.random.default_rng(0)
    # Three threes first: there every wrong product fits, and can be named.
    for rows, inputs, outputs in ((3, 3, 3), (5, 2, 3)):
        x = rng.standard_normal((rows, inputs))
        w = rng.standard_normal((inputs, outputs))
        g = rng.standard_normal((rows, outputs))
        suspects = {
            "You took the mean over the rows of x: their shares are summed.": x.T @ g / rows,
            "That is what x gets, g @ w.T.": g @ w.T,
        }
        if rows == outputs:
            suspects["You multiplied from the other side."] = g @ x.T
            suspects["x is to be transposed."] = x @ g
        known = {"g": g, "x": x, "w": w, "out": x @ w}
        rule_is_right(rule, known, differences(lambda w, x=x: x @ w, w, g), suspects)
    writable = [np.array(x), np.array(w)]
    of_x = lambda g, w: ops.matmul(g, w.T)
    keeps_all_promises(Primitive("matmul", "x w", kernel=np.matmul, x=of_x, w=rule), *writable)


@exercise(
    hint="Every number of the axis had a share in the sum, so each gets the whole g. Give g the "
    "axis back with expand_dims, then repeat along it with broadcast_to."
)
def sum_rule(rule: Callable) -> None:
    rng = np.random.default_rng(0)
    for shape, axis in (((3, 3), 0), ((3, 3), 1), ((3, 2), 1), ((2, 4, 3), 1)):
        x = rng.standard_normal(shape)
        g = rng.standard_normal(x.sum(axis).shape)
        want = differences(lambda x, axis=axis: x.sum(axis), x, g)
        repeated = np.broadcast_to(np.expand_dims(g, axis), shape)
        suspects = {
            "That is g / n, the rule of the mean: in a sum each gets the whole of g.": (
                repeated / shape[axis]
            ),
            "g has lost an axis, and is to be repeated along it: give it back first.": g,
        }
        if shape == (3, 3):
            other = np.broadcast_to(np.expand_dims(g, 1 - axis), shape)
            suspects["It is repeated along the wrong axis."] = other
        known = {"g": g, "x": x, "in_shape": shape, "axis": axis, "out": x.sum(axis)}
        rule_is_right(rule, known, want, suspects)
    operation = Primitive("sum", "x * axis", kernel=lambda x, axis: x.sum(axis), x=rule)
    keeps_all_promises(lambda x: operation(x, axis=1), rng.standard_normal((2, 4, 3)))


@exercise(
    hint="Sum over the axes that x did not have (they came in front), then, with keepdims, over "
    "those where x has 1 and g has more."
)
def broadcast_rule(rule: Callable) -> None:
    rng = np.random.default_rng(0)
    cases = [
        ((3, 4), (3, 4)),
        ((3, 1), (3, 4)),
        ((1, 4), (3, 4)),
        ((4,), (3, 4)),
        ((2, 1), (2, 2)),
        ((3, 1), (2, 3, 4)),
        ((), (2, 3)),
    ]
    for shape, wide in cases:
        x = rng.standard_normal(shape)
        g = rng.standard_normal(wide)
        want = differences(lambda x, wide=wide: np.broadcast_to(x, wide), x, g)
        suspects = {
            "That is the mean: what was repeated is summed.": want * x.size / g.size,
            "The sum is right, and an axis of length 1 is lost: keepdims=True.": want.squeeze(),
            "All of g is summed: sum only over what was repeated.": np.full(shape, g.sum()),
            "That is g as it came: what was repeated is summed.": g,
        }
        known = {"g": g, "x": x, "in_shape": shape, "shape": wide, "out": np.broadcast_to(x, wide)}
        promise = f"{shape} was repeated to {wide}."
        agree(ask(rule, known), want, promise, suspects if shape != wide else None, 1e-6)
        rule_is_right(rule, known, want, {})
    operation = Primitive("repeat", "x * shape", kernel=_repeated, x=rule)
    keeps_all_promises(lambda x: operation(x, shape=(2, 3, 4)), rng.standard_normal((3, 1)))


def _repeated(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.array(np.broadcast_to(x, shape))


@exercise(hint="x was taken where mask is True: there its gradient is g. And elsewhere?")
def where_rule(rule: Callable) -> None:
    rng = np.random.default_rng(0)
    mask = np.array([[True, False, True], [False, False, True]])
    x = rng.standard_normal(mask.shape)
    y = rng.standard_normal(mask.shape)
    g = rng.standard_normal(mask.shape)
    suspects = {
        "That is what y gets: x was taken where mask is True.": np.where(mask, 0.0, g),
        "x gets g also where y was taken: there x had no part in the result.": g,
        "Where y was taken x gets 0, and not what y was.": np.where(mask, g, y),
    }
    want = differences(lambda x: np.where(mask, x, y), x, g)
    known = {"g": g, "mask": mask, "x": x, "y": y, "out": np.where(mask, x, y)}
    rule_is_right(rule, known, want, suspects)
    kernel = lambda x, y, mask: np.where(mask, x, y)
    of_y = lambda g, mask: ops.where(mask, 0.0, g)
    operation = Primitive("where", "x y * mask", kernel=kernel, broadcasts=True, x=rule, y=of_y)
    keeps_all_promises(lambda x, y: operation(x, y, mask=mask), x, y)


@exercise(
    hint="With order = argsort(x), out[i] is x[order[i]]. So x[order[i]] gets g[i]: the "
    "permutation is to be undone. argsort(order) is the one that undoes it."
)
def sort_rule(rule: Callable) -> None:
    x = np.array([0.3, -1.0, 2.0, 0.9, -0.2])
    g = np.array([3.0, 1.0, 5.0, 2.0, 4.0])
    order = np.argsort(x)
    suspects = {
        "You sorted g as x was sorted; that is the wrong way round: undo it.": g[order],
        "That is g as it came: it lies in the order of out.": g,
        "You sorted g itself; it is to go back to where x was.": np.sort(g),
    }
    rule_is_right(rule, {"g": g, "x": x, "out": np.sort(x)}, differences(np.sort, x, g), suspects)
    keeps_all_promises(Primitive("sort", "x", kernel=np.sort, x=rule), x)


@exercise(
    hint="The derivative of softplus is the sigmoid, 1 / (1 + exp(−x)). ops.sigmoid neither "
    "overflows nor hides from the tape."
)
def softplus_rule(rule: Callable) -> None:
    x = np.array([0.5, -1.0, 3.0])
    g = np.array([1.0, -2.0, 3.0])
    softplus = lambda x: np.logaddexp(0.0, x)
    suspects = {
        "You took the tanh: softplus has the slope of the sigmoid.": g * np.tanh(x),
        "That is 1 / (1 + exp(x)): the slope grows from 0 to 1.": g / (1 + np.exp(x)),
    }
    known = {"g": g, "x": x, "out": softplus(x)}
    rule_is_right(rule, known, differences(softplus, x, g), suspects)
    far = np.array([800.0, -800.0])
    promise = "At x = 800 and −800 the slope is 1 and 0."
    known = {"g": np.ones(2), "x": far, "out": softplus(far)}
    slope = array_of(ask(rule, known), promise)
    if np.isnan(slope).any():
        raise PromiseError(f"{promise} There is NaN: exp(800) is too large for a float64.")
    agree(slope, np.array([1.0, 0.0]), promise)
    keeps_all_promises(Primitive("softplus", "x", kernel=softplus, x=rule), x)


@exercise(
    hint="back(g) = grad of sum(f(x) · g) is Jᵀ g, and linear in g. What is the gradient of "
    "sum(back(g) · v) for g?"
)
def jvp(jvp: Callable) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((3, 3))

    def f(x):
        return ops.sin(ops.matmul(matrix, x)) * x[0]

    x = rng.standard_normal(3)
    v = rng.standard_normal(3)
    J = jacobian(f)(x)
    suspects = {
        "That is Jᵀ v, one walk back: go back twice.": J.T @ v,
        "That is J times ones: v is missing.": J.sum(axis=1),
        "That is J times x: v is the direction.": J @ x,
        "That is J times the value of f.": J @ _bare(f(x)),
    }
    agree(jvp(f, x, v), J @ v, "J v is a column of derivatives, or a mix of columns.", suspects)
    wide = lambda x: ops.stack([x[0] * x[1], ops.exp(x[0]), x[1] ** 3, x[0]])
    x = np.array([0.5, -2.0])
    v = np.array([1.0, 3.0])
    promise = "For a function of 2 numbers that gives 4, J v has 4 numbers."
    agree(jvp(wide, x, v), jacobian(wide)(x) @ v, promise)


def _bare(value: Tensor | np.ndarray) -> np.ndarray:
    return value.data if isinstance(value, Tensor) else value
