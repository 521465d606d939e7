"""Uses of a denoiser on given images: filling in what is masked, going between two, starting from one."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..kernels import Array, from_host, namespace
from .denoise import Denoise
from .process import Rng, blend, check_same, dot, draw_noise, posterior, q_sample
from .samplers import SAMPLERS, ddim, invert
from .sampling import final
from .schedule import Schedule, times
from .walk import Between, Step, Walk, sampler


@sampler(jump=Between(1, math.inf), rounds=Between(1, math.inf))
def inpaint(
    walk: Walk, x: Array, *, known: Array, mask: Array, jump: int = 10, rounds: int = 10
) -> Iterator[Step]:
    """RePaint: DDPM, where after each step the known part is put in, noised to that time; called
    like a sampler.

    known (batch, ...) like x; mask, broadcastable to it, is 1 where `known` holds and 0 where it is
    to be filled in. To let the two agree, the walk goes `jump` times back up to more noise,
    `rounds` times in all from each place: `repaint_walk`. So its steps are more than len(times) -
    1. Source: Lugmayr et al. 2022, arXiv 2201.09865, alg. 1.
    """
    check_same(known, x, "known", "x")
    xp = namespace(x)
    mask = (
        from_host(np.asarray(mask, x.dtype), x)
        if not hasattr(mask, "dtype")
        else mask.astype(x.dtype)
    )
    if np.broadcast_shapes(mask.shape, x.shape) != x.shape or not bool(
        xp.all((mask == 0) | (mask == 1))
    ):
        raise ValueError(
            f"mask: given shape {mask.shape}, wanted zeros and ones that broadcast to {x.shape}"
        )
    path = [walk.times[-1 - i] for i in repaint_walk(len(walk.times) - 1, jump, rounds)]
    x0 = known
    for t, s in pairwise(path):
        if s < t:
            x0 = walk.predict(x, t).x0
            mean, variance = posterior(walk.schedule, x0, x, t, s)
            guess = mean if s == 0 else mean + variance**0.5 * walk.noise(x)
            given = known if s == 0 else q_sample(walk.schedule, known, s, walk.noise(x))
            x = mask * given + (1 - mask) * guess
        else:
            a = float(walk.schedule.alpha_bar_at(s) / walk.schedule.alpha_bar_at(t))
            x = blend(math.sqrt(a), x, math.sqrt(1 - a), walk.noise(x))
        yield Step(s, x, x0)


def repaint_walk(steps: int, jump: int, rounds: int) -> list[int]:
    """How many steps are left after each move: down from `steps` to 0, and from 1, 1 + jump, … rounds - 1 times up."""
    marks, path = range(1, steps - jump + 1, jump), [steps]
    for left in reversed(range(steps)):
        detour = [*range(left + 1, left + jump + 1), *reversed(range(left, left + jump))]
        path += [left, *detour * (rounds - 1 if left in marks else 0)]
    return path


def image_to_image(
    denoise: Denoise,
    schedule: Schedule,
    x0: Array,
    start: float,
    rng: Rng,
    sampler: str = "ddim",
    steps: int = 25,
    **options: Any,
) -> Iterator[Step]:
    """The steps of a sampler from x0 (batch, ...) noised to the time `start`: the later, the less
    of x0 is left.

    The options are condition, clip and the sampler's own.

    Source: Meng et al. 2022 (SDEdit), arXiv 2108.01073, algorithm 1. Raises ValueError as `times`
    and the sampler do.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler: given {sampler!r}, wanted one of {sorted(SAMPLERS)}")
    grid = times(schedule, steps, start=start)
    x = q_sample(schedule, x0, start, draw_noise(rng, x0))
    return SAMPLERS[sampler](denoise, schedule, x, times=grid, rng=rng, **options)


def interpolate(
    denoise: Denoise,
    schedule: Schedule,
    a: Array,
    b: Array,
    shares: Sequence[float],
    **options: Any,
) -> Array:
    """Images between a and b (batch, ...): both inverted to noise, mixed there by `slerp`, and
    brought back by DDIM.

    Gives (len(shares), batch, ...), a for share 0 and b for share 1, up to the error of inversion;
    the options are condition, times and clip, as for the samplers. Between labels one goes by
    `guidance.composed(denoise, [label_a, label_b], [1 - share, share])`. Source: Song et al. 2021
    (DDIM), arXiv 2010.02502, section 5.3.
    """
    start, end = (final(invert(denoise, schedule, x, **options)) for x in (a, b))
    return namespace(a).stack(
        [final(ddim(denoise, schedule, slerp(start, end, w), **options)) for w in shares]
    )


def slerp(a: Array, b: Array, share: float) -> Array:
    """Between a and b on the great circle, sample by sample: (sin((1-w) θ) a + sin(w θ) b) / sin θ, θ their angle."""
    check_same(b, a, "b", "a")
    xp = namespace(a)
    angle = xp.arccos(xp.clip(dot(a, b) / xp.sqrt(dot(a, a) * dot(b, b)), -1 + 1e-6, 1 - 1e-6))
    return (xp.sin((1 - share) * angle) * a + xp.sin(share * angle) * b) / xp.sin(angle)
