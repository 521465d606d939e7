"""Learning rates that change: functions of the step, counted from 1."""

import math
from collections.abc import Callable
from functools import partial

from .. import checks

LearningRate = float | Callable[[int], float]


def warmup_cosine(peak: float, warmup: int, total: int, end: float = 0.0) -> Callable[[int], float]:
    """A learning rate that rises linearly and then falls along half a cosine wave.

    It is a function of the step, counted from 1; give it to an optimiser as `lr`. It reaches `peak`
    at step `warmup` and `end` at step `total`, and stays there.

    Raises ValueError unless 0 ≤ warmup < total. Source: Loshchilov & Hutter 2017 (arXiv 1608.03983,
    eq. 5) for the cosine, Goyal et al. 2017 (arXiv 1706.02677, section 2.2) for the rise.
    """
    checks.among("peak", peak, checks.Between(0))
    checks.among("end", end, checks.Between(0))
    checks.among("total", total, checks.Between(0))
    checks.among("warmup", warmup, checks.Between(0, total, "[)"))
    return partial(_warmup_cosine, peak=peak, warmup=warmup, total=total, end=end)


def _warmup_cosine(step: int, peak: float, warmup: int, total: int, end: float) -> float:
    try:
        is_rising = step < warmup
    except TypeError as error:
        raise TypeError(
            f"step: given {step!r}, wanted the number of a step, counted from 1"
        ) from error
    if is_rising:
        return peak * step / warmup
    progress = min((step - warmup) / (total - warmup), 1.0)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * progress))
