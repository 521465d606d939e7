"""Exercises of lesson 2, the table of derivatives.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises table

A rule gives the gradient of one operand. `g` is the gradient of the result. What a rule does not
need, it does not name: delete such parameters, and the tape will not keep them. Rules are held to
their second derivative, too, so compute with what the engine knows: + − * / ** @, .T, x[index], and
the functions of `ops`, which have NumPy's names.
"""

import numpy as np

import minidiff as md
from minidiff import ops


def tanh_rule(g, x, out):
    """The gradient of x, where out = tanh(x).

    >>> tanh_rule(np.array([2.0]), np.array([0.0]), np.array([0.0]))
    array([2.])
    """
    raise NotImplementedError


def divide_rule(g, x, y, out):
    """The gradient of y, where out = x / y. All have one shape.

    >>> divide_rule(np.array([1.0]), np.array([8.0]), np.array([2.0]), np.array([4.0]))
    array([-2.])
    """
    raise NotImplementedError


def matmul_rule(g, x, w, out):
    """The gradient of w, where out = x @ w; x (n, a), w (a, b), out and g (n, b).

    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> w = np.array([[5.0], [6.0]])
    >>> matmul_rule(np.array([[1.0], [10.0]]), x, w, x @ w)
    array([[31.],
           [42.]])
    """
    raise NotImplementedError


def sum_rule(g, in_shape, axis):
    """The gradient of x, where out = x.sum(axis): x has the shape `in_shape`, out lacks that axis.

    `axis` is a whole number of at least 0. See ops.expand_dims and ops.broadcast_to.

    >>> print(sum_rule(np.array([1.0, 2.0]), (2, 3), 1))
    [[1. 1. 1.]
     [2. 2. 2.]]
    """
    raise NotImplementedError


def broadcast_rule(g, in_shape):
    """The gradient of x, where x of shape `in_shape` was repeated to the shape of `g`.

    As NumPy does it: axes that x lacks are added in front, and an axis of length 1 is repeated.
    g.sum(axis=(0, 2)) sums over several axes, and over none if the tuple is empty.

    >>> broadcast_rule(np.ones((3, 4)), (3, 1))
    array([[4.],
           [4.],
           [4.]])
    """
    raise NotImplementedError


def where_rule(g, mask):
    """The gradient of x, where out = np.where(mask, x, y): x's number where mask is True, else y's.

    All have one shape.

    >>> where_rule(np.array([1.0, 2.0]), np.array([True, False]))
    array([1., 0.])
    """
    raise NotImplementedError


def sort_rule(g, x):
    """The gradient of x, where out = np.sort(x); x (n,), no two numbers of it are equal.

    >>> sort_rule(np.array([1.0, 2.0, 3.0]), np.array([30.0, 10.0, 20.0]))
    array([3., 1., 2.])
    """
    raise NotImplementedError


def softplus_rule(g, x):
    """The gradient of x, where out = log(1 + exp(x)); for any x, also 800 and −800.

    >>> softplus_rule(np.array([1.0]), np.array([0.0]))
    array([0.5])
    """
    raise NotImplementedError


def jvp(f, x, v):
    """How f(x) moves when x moves along v: J v, where J has the derivatives ∂f_i / ∂x_j.

    f takes an array (n,) or a Tensor of that shape, and gives one of shape (m,). `md.grad(f)(x)` is
    the gradient of a function whose result is one number, and goes back once.

    >>> jvp(lambda x: x * x, np.array([1.0, 2.0]), np.array([10.0, 1.0]))
    array([20.,  4.])
    """
    raise NotImplementedError
