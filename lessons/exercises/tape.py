"""Exercises of lesson 1, a tape in forty lines.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises tape
"""

import numpy as np


def sine_rule(g, out, x):
    """The gradient of x, where out = np.sin(x) and `g` is the gradient of out.

    All three are arrays of one shape, and so is what you give.

    >>> g = np.array([1.0, 1.0, 10.0])
    >>> x = np.array([0.0, np.pi, np.pi])
    >>> sine_rule(g, np.sin(x), x)
    array([  1.,  -1., -10.])
    """
    raise NotImplementedError


def spread_rule(g, out, a):
    """The gradient of a, where out = np.full(40, a): the same number 40 times.

    `a` has the shape (), and so has its gradient; `g` and `out` have the shape (40,).

    >>> float(spread_rule(np.ones(40), np.full(40, 3.0), np.array(3.0)))
    40.0
    """
    raise NotImplementedError


def backward(root):
    """The gradients of all inputs of a program whose result is `root`: a dict by node.

    `root.data` is an array and `root.node` the node that made it. A node has

        node.order      a number; what was made later has a larger one
        node.parents    a list of nodes
        node.vjp        a function: the node's gradient -> a list of shares, one for each parent;
                        None for an input

    The gradient of the root is 1 in every place. No vjp may be called twice.

    For the lesson's program, with its `Tensor` and `operation`:

        X = Tensor(np.array([1.0, 2.0]))
        backward(multiply(X, X))[X.node]  # array([2., 4.])
    """
    raise NotImplementedError
