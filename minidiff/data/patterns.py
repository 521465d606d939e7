"""Three patterns in the plane: (n, 2) float32 points; `Scaling` brings them into [-1, 1].

`rng` is a seed or a Generator. s-curve and moons follow scikit-learn's generators of the same
names, without noise.
"""

import numpy as np

from .. import checks

MOST_POINTS = checks.MOST_NUMBERS // 2  # each has two numbers


def spiral(n: int, rng: np.random.Generator | int) -> np.ndarray:
    """Points (t cos t, t sin t) with t uniform in [1.5 pi, 4.5 pi)."""
    t = _uniform(n, rng, 1.5 * np.pi, 4.5 * np.pi)
    return _points(t * np.cos(t), t * np.sin(t))


def s_curve(n: int, rng: np.random.Generator | int) -> np.ndarray:
    """Points (sin t, sign(t) (cos t - 1)) with t uniform in [-1.5 pi, 1.5 pi)."""
    t = _uniform(n, rng, -1.5 * np.pi, 1.5 * np.pi)
    return _points(np.sin(t), np.sign(t) * (np.cos(t) - 1))


def moons(n: int, rng: np.random.Generator | int) -> np.ndarray:
    """Two half circles that reach into each other, t uniform in [0, pi).

    n // 2 points are on the outer one, (cos t, sin t), the rest on the inner one, (1 - cos t, 1/2 -
    sin t).
    """
    t = _uniform(n, rng, 0, np.pi)
    is_outer = np.arange(n) < n // 2
    x = np.where(is_outer, np.cos(t), 1 - np.cos(t))
    y = np.where(is_outer, np.sin(t), 0.5 - np.sin(t))
    return _points(x, y)


def _uniform(n: int, rng: np.random.Generator | int, low: float, high: float) -> np.ndarray:
    return checks.generator("rng", rng).uniform(low, high, checks.whole("n", n, 0, MOST_POINTS))


def _points(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=-1).astype(np.float32)
