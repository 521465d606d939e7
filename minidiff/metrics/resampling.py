"""How far off a figure may be that was measured on so many samples."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from .inputs import MOST_REPEATS


def standard_error(
    statistic: Callable, *rows: np.ndarray, rng: int | np.random.Generator, rounds: int = 20
) -> Any:
    """The bootstrap's standard error of statistic(*rows), a number or an array of them.

    The statistic is computed `rounds` times, with each of `rows` (n, …) replaced by n rows of its
    own, drawn with replacement by `rng`, a seed or a Generator; the error is the deviation of what
    comes out, like it a number or an array. Each argument is drawn from on its own: what belongs
    together goes into one array, such as `labels == predicted`.

    With 20 rounds it is itself off by a sixth. Repeated rows shift a Fréchet distance upwards and a
    coverage downwards, so take the figure itself from all rows. Between equal distributions, as at
    the floor, a squared distance's error comes out too large, up to √3 times: each draw adds an
    accident of its own to that of the rows.

    Raises TypeError or ValueError without rows, for rows that are no arrays of 1 or more, or for
    fewer than 2 rounds. Source: Efron, "Bootstrap methods" (1979).
    """
    if not callable(statistic):
        raise TypeError(f"statistic: given {type(statistic).__name__}, wanted a function of rows")
    if not rows:
        raise TypeError("rows: given none, wanted one array or more")
    for i, array in enumerate(rows):
        if not isinstance(array, np.ndarray) or not array.ndim or not len(array):
            given = np.shape(array) if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(f"rows[{i}]: given {given}, wanted an array (n, …), n ≥ 1")
    rng = checks.generator("rng", rng)
    checks.whole("rounds", rounds, 2, MOST_REPEATS)
    values = [
        statistic(*(array[rng.integers(len(array), size=len(array))] for array in rows))
        for _ in range(rounds)
    ]
    return np.std(values, axis=0, ddof=1)
