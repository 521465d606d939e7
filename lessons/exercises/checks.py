"""Exercises of lesson 3, when gradients lie.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises checks
"""

import numpy as np


def finite_differences(f, x):
    """The gradient of f at x by central differences: move each number of x alone.

    f takes an array like x (float64, any shape) and gives one number. The gradient has the shape of
    x. x itself is not to be changed. (np.ndindex(x.shape) gives the places of x one by one.)

    >>> finite_differences(lambda x: x[0] * x[1], np.array([2.0, 5.0])).round(6)
    array([5., 2.])
    """
    raise NotImplementedError


def complex_step(f, x):
    """The slope of f at each number of x, from f at a complex number: no difference cancels.

    f is made of np.exp, np.sin, * and the like, works on each number alone, and takes complex
    numbers, too. For small h, f(x + ih) = f(x) + ih f'(x) + O(h²).

    >>> complex_step(np.exp, np.array([0.0]))
    array([1.])
    """
    raise NotImplementedError


def is_gradient(f, x, gradient):
    """True if `gradient` is that of f at x, False if it is wrong: a bug hunter of your own.

    f takes an array like x (float64) and gives one number. It is costly: call it twice, not twice
    for each of the thousand numbers of x. One wrong sign among them is to be seen; so is one
    per cent too much. The numbers may be large or small altogether: 10,000 or 0.0001.

    >>> x = np.array([1.0, 2.0])
    >>> f = lambda x: np.sum(x**2)
    >>> is_gradient(f, x, 2 * x), is_gradient(f, x, 3 * x)
    (True, False)
    """
    raise NotImplementedError
