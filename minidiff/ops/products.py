"""Products of matrices and tensors.

The derivatives of a product are products: for y = x @ w they are dx = dy @ wᵀ and dw = xᵀ @ dy.
All products here are sums over shared letters, as Einstein wrote them, and their derivatives too:

    y[i, k]  = Σⱼ x[i, j] · w[j, k]       "ij,jk->ik"
    dx[i, j] = Σₖ dy[i, k] · w[j, k]      "ik,jk->ij"

The output and the operand have changed places: that is the whole rule of `einsum`. Forward, a
product is linear in each factor: the tangent of y is ẋ @ w + x @ ẇ.
"""

# Rules name operations that are defined further down.
# mypy: disable-error-code="has-type"

from string import ascii_letters
from typing import Any

import numpy as np

from ..checks import whole
from ..tape.primitive import sum_to
from .elementwise import linear, multiply
from .shapes import array_namespace, reshape

# fmt: off
_matmul = linear("matmul", "x y", broadcasts=True,
                 x=lambda g, y: g @ y.mT,
                 y=lambda g, x: x.mT @ g)
_einsum = linear("einsum", "x y * terms",
                 x=lambda g, y, in_shape, terms:
                 _einsum_rule(g, y, in_shape, terms[0], terms[1], terms[2]),
                 y=lambda g, x, in_shape, terms:
                 _einsum_rule(g, x, in_shape, terms[1], terms[0], terms[2]))
# fmt: on


def _einsum_rule(g, other, shape, term, other_term, output):
    """The gradient of the operand with the letters `term`: g times the other operand.

    Along a letter that neither of them has, the gradient is constant: a factor of ones. A letter
    that the operand has twice takes a diagonal. Off it the gradient is zero: a factor that is an
    identity matrix, whose second axis gets a letter of its own.
    """
    xp = array_namespace(other)
    factors = [g, other]
    terms = [output, other_term]
    target = ""
    for letter, n in zip(term, shape):
        if letter in target:
            second = next(c for c in ascii_letters if c not in output + other_term + term + target)
            factors.append(xp.eye(n, dtype=other.dtype))
            terms.append(letter + second)
            target += second
            continue
        # An axis of length 1 may have been broadcast, so the letter alone does not tell the size.
        sizes = [x.shape[t.index(letter)] for x, t in zip(factors, terms) if letter in t]
        if n not in sizes:
            factors.append(xp.ones(n, other.dtype))
            terms.append(letter)
        target += letter
    return sum_to(einsum(f"{','.join(terms)}->{target}", *factors), shape=shape)


def matmul(x: Any, y: Any) -> Any:
    """x @ y with NumPy's rules: (…, n, k) @ (…, k, m), where leading axes are broadcast.

    A vector is a row on the left and a column on the right. Raises ValueError if the inner sizes
    differ.
    """
    left = x.shape
    right = y.shape
    if not left or not right or left[-1] != right[-2 if len(right) > 1 else 0]:
        raise ValueError(f"matmul: given shapes {left} and {right}, wanted equal inner sizes")
    if len(left) > 1 and len(right) > 1:
        return _matmul(x, y)
    rows = x if len(left) > 1 else reshape(x, shape=(1, *left))
    columns = y if len(right) > 1 else reshape(y, shape=(*right, 1))
    out = _matmul(rows, columns)
    # The axes of length 1 that the vectors were given go again.
    shape = out.shape[:-2]
    if len(left) > 1:
        shape += out.shape[-2:-1]
    if len(right) > 1:
        shape += out.shape[-1:]
    return reshape(out, shape=shape)


def dot(x: Any, y: Any) -> Any:
    """The sum over the last axis of x and the last but one of y (of a vector y, its only one).

    A number times anything, if one is a number.
    """
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return multiply(x, y)
    return matmul(x, y) if np.ndim(y) < 3 else tensordot(x, y, ([-1], [-2]))


def outer(x: Any, y: Any) -> Any:
    """Every element of x times every element of y: a matrix."""
    return multiply(reshape(x, shape=(-1, 1)), reshape(y, shape=(1, -1)))


def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """The sum of products over axes of x and y.

    `axes` is (axes of x, axes of y), or an int: so many of the last axes of x and of the first of
    y. Raises ValueError unless the axes of each pair have one size.
    """
    n = len(x.shape)
    m = len(y.shape)
    if isinstance(axes, int):
        axes = whole("axes", axes, 0, min(n, m))
        axes = (range(n - axes, n), range(axes))
    axes_of_x, axes_of_y = map(np.atleast_1d, axes)
    left = list(ascii_letters[:n])
    right = list(ascii_letters[n : n + m])
    for i, j in zip(axes_of_x, axes_of_y, strict=True):
        if x.shape[i] != y.shape[j]:
            raise ValueError(
                f"tensordot: given axis {i} of {x.shape} and axis {j} of {y.shape}, "
                f"wanted two of one size"
            )
        right[j] = left[i]
    rest = [letter for letter in left + right if (letter in left) != (letter in right)]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(rest)}", x, y)


def einsum(subscripts: Any, *operands: Any) -> Any:
    """Einstein's sum with NumPy's rules: "bij,bjk->bik".

    Repeated letters, "..." and a missing "->" are understood. Several operands are multiplied from
    left to right. Axes may be numbers too, each operand's after it:
    `einsum(x, [0, 1], y, [1, 2], [0, 2])`. Raises ValueError if subscripts and operands do not fit.
    """
    if not isinstance(subscripts, str):
        subscripts, *operands = _in_letters(subscripts, *operands)
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    named = [len(term.replace("...", "")) for term in terms]
    fits = [
        len(x.shape) == n or (len(x.shape) > n and "..." in term)
        for x, n, term in zip(operands, named, terms)
    ]
    if len(operands) != len(terms) or not all(fits):
        shapes = [tuple(x.shape) for x in operands]
        raise ValueError(
            f"einsum: given {subscripts!r} and operands of shapes {shapes}, "
            f"wanted a term for each operand, with a letter for each axis"
        )
    if not arrow:
        once = [letter for letter in set(inputs) - set(".,") if inputs.count(letter) == 1]
        output = "..." + "".join(sorted(once))

    # The axes of "..." get letters too, counted from the right, as broadcasting does.
    spare = [letter for letter in ascii_letters if letter not in subscripts]
    ellipses = ["".join(spare[: len(x.shape) - n])[::-1] for x, n in zip(operands, named)]
    terms = [term.replace("...", letters) for term, letters in zip(terms, ellipses)]
    output = output.replace("...", max(ellipses, key=len))

    if len(operands) == 1:
        one = array_namespace(operands[0]).ones((), operands[0].dtype)
        return _einsum(operands[0], one, terms=(terms[0], "", output))
    result = operands[0]
    term = terms[0]
    for i in range(1, len(operands) - 1):
        # What no later operand and not the output has is summed away at once.
        needed = set("".join([output, *terms[i + 1 :]]))
        product = "".join(sorted(set(term + terms[i]) & needed))
        result = _einsum(result, operands[i], terms=(term, terms[i], product))
        term = product
    return _einsum(result, operands[-1], terms=(term, terms[-1], output))


def _in_letters(*parts):
    """(subscripts, *operands) of x, [0, 1], y, [1, 2], [0, 2]; the last list may be missing."""

    def term(axes):
        return "".join("..." if axis is Ellipsis else ascii_letters[axis] for axis in axes)

    paired = len(parts) // 2 * 2
    subscripts = ",".join(map(term, parts[1:paired:2]))
    if len(parts) > paired:
        subscripts += "->" + term(parts[-1])
    return subscripts, *parts[:paired:2]
