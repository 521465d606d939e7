"""Solutions of lesson 8's exercises."""

import numpy as np


def frechet_distance(a, b):
    shift = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    C_a = np.atleast_2d(np.cov(a.T))
    C_b = np.atleast_2d(np.cov(b.T))
    eigenvalues = np.maximum(np.linalg.eigvals(C_a @ C_b).real, 0)
    return shift + np.trace(C_a) + np.trace(C_b) - 2 * np.sum(np.sqrt(eigenvalues))


def recognised(scores, labels):
    return np.mean(np.argmax(scores, axis=1) + 1 == labels)
