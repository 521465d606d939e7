"""Products of matrices and tensors."""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

from string import ascii_letters
from typing import Any

import numpy as np

from ..tape.primitive import Primitive, sum_to
from .elementwise import multiply
from .shapes import array_namespace, reshape

_matmul = Primitive(
    "matmul", "x y", broadcasts=True, x=lambda g, y: g @ y.mT, y=lambda g, x: x.mT @ g
)
_einsum = Primitive(
    "einsum", "x y * terms",
    x=lambda g, y, in_shape, terms: _einsum_rule(g, y, in_shape, *terms),
    y=lambda g, x, in_shape, terms: _einsum_rule(g, x, in_shape, terms[1], terms[0], terms[2]),
)  # fmt: skip


def matmul(x: Any, y: Any) -> Any:
    """x @ y with NumPy's rules: (…, n, k) @ (…, k, m), leading axes broadcast; a 1-D operand is a
    row or a column.

    Raises ValueError if the inner sizes differ.
    """
    a, b = x.shape, y.shape
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise ValueError(f"matmul: cannot multiply {a} by {b}: the inner sizes must be equal")
    if len(a) > 1 and len(b) > 1:
        return _matmul(x, y)
    out = _matmul(
        reshape(x, shape=(1, *a)) if len(a) == 1 else x,
        reshape(y, shape=(*b, 1)) if len(b) == 1 else y,
    )
    lead = out.shape[:-2]
    return reshape(
        out, shape=lead + out.shape[-2:-1] * (len(a) > 1) + out.shape[-1:] * (len(b) > 1)
    )


def dot(x: Any, y: Any) -> Any:
    """The sum over the last axis of x and the last but one of y (its only one, if it is a vector).

    A number times anything, if one is a number.
    """
    if not getattr(x, "shape", ()) or not getattr(y, "shape", ()):
        return multiply(x, y)
    return matmul(x, y) if len(y.shape) < 3 else tensordot(x, y, ([-1], [-2]))


def outer(x: Any, y: Any) -> Any:
    """Every element of x times every element of y: a matrix."""
    return multiply(reshape(x, shape=(-1, 1)), reshape(y, shape=(1, -1)))


def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """The sum over the last `axes` axes of x and the first of y, or over pairs of axes (of x, of
    y).

    Raises ValueError unless the axes of each pair have one size.
    """
    n, m = len(x.shape), len(y.shape)
    of_x, of_y = (
        (range(n - axes, n), range(axes)) if isinstance(axes, int) else map(np.atleast_1d, axes)
    )
    left, right = list(ascii_letters[:n]), list(ascii_letters[n : n + m])
    for i, j in zip(of_x, of_y, strict=True):
        if x.shape[i] != y.shape[j]:
            raise ValueError(
                f"tensordot: axis {i} of {x.shape} and axis {j} of {y.shape} must have one size"
            )
        right[j] = left[i]
    rest = [letter for letter in left + right if (letter in left) != (letter in right)]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(rest)}", x, y)


def einsum(subscripts: Any, *operands: Any) -> Any:
    """Einstein's sum with NumPy's rules: "bij,bjk->bik"; repeated letters, "..." and a missing "->"
    are understood.

    Several operands are multiplied from left to right. Axes may be numbers too, each operand's
    after it: einsum(x, [0, 1], y, [1, 2], [0, 2]). Raises ValueError if subscripts and operands do
    not fit.
    """
    if not isinstance(subscripts, str):
        subscripts, *operands = _in_letters(subscripts, *operands)
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms, spare = (
        inputs.split(","),
        [letter for letter in ascii_letters if letter not in subscripts],
    )
    axes = [len(t.replace("...", "")) for t in terms]
    fits = [
        len(x.shape) == n or (len(x.shape) > n and "..." in t)
        for x, n, t in zip(operands, axes, terms)
    ]
    if len(operands) != len(terms) or not all(fits):
        raise ValueError(
            f"einsum: {subscripts!r} does not fit operands of shapes {[tuple(x.shape) for x in operands]}"
        )
    unnamed = ["".join(spare[: len(x.shape) - n])[::-1] for x, n in zip(operands, axes)]
    output = (
        output
        if arrow
        else "..." + "".join(sorted(c for c in set(inputs) - set(".,") if inputs.count(c) == 1))
    )
    output = output.replace("...", max(unnamed, key=len))
    done, result = terms[0].replace("...", unnamed[0]), operands[0]
    if len(operands) == 1:
        return _einsum(
            result, array_namespace(result).ones((), result.dtype), terms=(done, "", output)
        )
    todo = [term.replace("...", letters) for term, letters in zip(terms, unnamed)]
    for i, (term, operand) in enumerate(zip(todo[1:], operands[1:]), start=2):
        last = i == len(todo)
        after = (
            output
            if last
            else "".join(sorted(set(done + term) & set("".join([output, *todo[i:]]))))
        )
        result, done = _einsum(result, operand, terms=(done, term, after)), after
    return result


def _in_letters(*parts):
    """(subscripts, *operands) of x, [0, 1], y, [1, 2], [0, 2]; the last list may be missing."""

    def term(axes):
        return "".join("..." if axis is Ellipsis else ascii_letters[axis] for axis in axes)

    paired = len(parts) // 2 * 2
    subscripts = ",".join(map(term, parts[1:paired:2]))
    if len(parts) > paired:
        subscripts += "->" + term(parts[-1])
    return subscripts, *parts[:paired:2]


def _einsum_rule(g, other, shape, wanted, term, output):
    """g times the other operand, brought to the letters `wanted`.

    Along a letter that only the wanted operand has, the gradient is constant: times ones. A letter
    that it has twice takes a diagonal: the gradient is zero off it, times an identity matrix.
    """
    terms, factors, target, xp = [output, term], [g, other], "", array_namespace(other)
    for letter, n in zip(wanted, shape):
        sizes = [x.shape[t.index(letter)] for t, x in zip(terms, factors) if letter in t]
        spare = next(c for c in ascii_letters if c not in output + term + wanted + target)
        if letter in target:
            terms, factors, letter = (
                [*terms, letter + spare],
                [*factors, xp.eye(n, dtype=other.dtype)],
                spare,
            )
        elif n not in sizes:
            terms, factors = [*terms, letter], [*factors, xp.ones(n, other.dtype)]
        target += letter
    return sum_to(einsum(f"{','.join(terms)}->{target}", *factors), shape=shape)
