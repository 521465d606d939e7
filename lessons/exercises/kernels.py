"""Exercises of lesson 4, from seven loops to Winograd.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises kernels

Images are (n, height, width, inputs), weights (taps down, taps across, inputs, outputs). There is
no padding: the result has height − taps down + 1 rows.
"""

import numpy as np


def convolve(x, w):
    """y[n, i, j] = Σ over taps (u, v) of x[n, i + u, j + v] @ w[u, v], tap by tap with NumPy.

    Any number of taps, at least five times as fast as seven loops in Python.

    >>> x = np.arange(12.0).reshape(1, 3, 4, 1)
    >>> convolve(x, np.ones((3, 3, 1, 1))).ravel()
    array([45., 54.])
    """
    raise NotImplementedError


def convolve_dx(g, w):
    """The gradient of x, from `g`, that of y = convolve(x, w): tap by tap.

    g (n, rows, columns, outputs); what you give has taps down − 1 more rows, and so on.

    >>> convolve_dx(np.ones((1, 1, 2, 1)), np.ones((1, 2, 1, 1))).ravel()
    array([1., 2., 1.])
    """
    raise NotImplementedError


def convolve_dw(x, g):
    """The gradient of w, from `g`, that of y = convolve(x, w): tap by tap.

    The shapes of x and g tell how many taps there are.

    >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
    >>> convolve_dw(x, np.ones((1, 2, 1, 1))).ravel()
    array([2., 4.])
    """
    raise NotImplementedError


def convolution_loop(x, w, y):
    """Write the convolution of x and w into y (n, rows, columns, outputs), in plain loops.

    It is tried in Python first, then compiled by numba.njit. So use loops, indices and arithmetic
    only. y is memory that nobody has cleared: anything may be in it. Give nothing back. The
    innermost loop should go along what lies side by side in memory.

    >>> y = np.empty((1, 1, 1, 1))
    >>> convolution_loop(np.ones((1, 3, 3, 2)), np.ones((3, 3, 2, 1)), y)
    >>> float(y[0, 0, 0, 0])
    18.0
    """
    raise NotImplementedError


def winograd(d, g):
    """Two neighbouring outputs of three taps, with four products in place of six.

    From d (4 numbers) and g (3 numbers) the pair

        d[0] g[0] + d[1] g[1] + d[2] g[2],    d[1] g[0] + d[2] g[1] + d[3] g[2]

    Additions are free, and so are products with constants: sum numbers before you multiply.

    >>> winograd([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0])
    (6.0, 9.0)
    """
    raise NotImplementedError
