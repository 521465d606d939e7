"""Typical wrong answers to lesson 8's exercises, each with words of the message that it gets."""

import numpy as np


def distance(a, b, shift=True, squared=True, ddof=1, root=None, final=lambda d: d):
    moved = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    moved = moved if squared else np.sqrt(moved)
    moved = moved if shift else 0.0
    C_a = np.cov(a.T, ddof=ddof)
    C_b = np.cov(b.T, ddof=ddof)
    if root is None:
        shared = np.sum(np.sqrt(np.maximum(np.linalg.eigvals(C_a @ C_b).real, 0)))
    else:
        shared = np.trace(root(C_a @ C_b))
    return final(moved + np.trace(C_a) + np.trace(C_b) - 2 * shared)


WRONG = {
    "frechet_distance": [
        (lambda a, b: distance(a, b, shift=False), "distance of the means is missing"),
        (lambda a, b: distance(a, b, squared=False), "is to be squared"),
        (lambda a, b: distance(a, b, ddof=0), "wanted n − 1"),
        (lambda a, b: distance(a, b, root=lambda C: C), "root of the product C_a C_b is missing"),
        (lambda a, b: distance(a, b, root=lambda C: np.sqrt(abs(C))), "not of its elements"),
        (lambda a, b: distance(a, b, final=np.sqrt), "given squared"),
    ],
    "recognised": [
        (lambda scores, labels: np.mean(np.argmax(scores, axis=1) == labels), "labels from 1"),
        (lambda scores, labels: np.mean(np.argmax(scores, axis=0) + 1 == labels), "axis=1"),
        (lambda scores, labels: np.sum(np.argmax(scores, axis=1) + 1 == labels), "divide by all"),
        (lambda scores, labels: np.mean(np.argmax(scores, axis=1) + 1 != labels), "are wrong"),
    ],
}
