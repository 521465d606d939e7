"""Exercises of lesson 8, digits, and how one measures them.

Write your lines in place of `raise NotImplementedError`. To have them marked, type

    minidiff exercises digits
"""

import numpy as np


def frechet_distance(a, b):
    """The squared Fréchet distance between Gaussians fitted to rows a (n, d) and b (m, d):

        |mean_a − mean_b|² + trace(C_a) + trace(C_b) − 2 trace((C_a C_b)^½)

    C are the covariances (d, d), with n − 1 in their denominator. The trace of the root of a matrix
    is the sum of the roots of its eigenvalues, np.linalg.eigvals; rounding may have made these a
    little negative or complex.

    >>> a = np.array([[0.0], [2.0]])
    >>> round(float(frechet_distance(a, a + 3)), 6)
    9.0
    """
    raise NotImplementedError


def recognised(scores, labels):
    """The share of drawn digits, 0 to 1, that a classifier sees as what was asked for.

    scores (n, 10) are a classifier's, the largest of a row is what it sees: scores[:, 0] is for the
    digit 0. labels (n,) are what was asked for, as networks take them: 1 for the digit 0, 10 for 9.

    >>> float(recognised(np.array([[0.0, 9.0], [9.0, 0.0]]), np.array([2, 2])))
    0.5
    """
    raise NotImplementedError
