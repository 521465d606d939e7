"""Given images, changed by a denoiser: masked parts filled in, two mixed, one started from."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import checks
from ..kernels import Array, namespace
from ..nn import Module
from .forward_process import posterior, q_sample
from .grids import times
from .network import as_denoise
from .per_sample import (
    Rng,
    as_rng,
    check_array,
    check_clean,
    check_samples,
    dot,
    draw_noise,
    on_device_of,
    weighted_sum,
)
from .prediction import Denoise
from .samplers import Step, Walk, ddim, invert, sampler
from .sampling import as_sampler, final
from .schedule import MOST_TIMES

# More rounds than that are a slip: each goes through the network `jump` times, everywhere.
MOST_ROUNDS = 1000


@sampler(jump=checks.Between(1), rounds=checks.Between(1, MOST_ROUNDS))
def inpaint(
    walk: Walk, x: Array, *, known: Array, mask: Array, jump: int = 10, rounds: int = 10
) -> Iterator[Step]:
    """RePaint: DDPM, where after each step the known part is put in, noised to that time.

    It is called like a sampler: inpaint(denoise, x, ..., known=images, mask=mask). known (batch,
    ...) is like x; mask, broadcastable to it, is 1 where `known` holds and 0 where it is to be
    filled in, whatever `known` has there. To let the two agree, the times go `jump` steps back up
    to more noise, `rounds` times in all from each place: `repaint_path`. So there are more than
    len(times) - 1 steps. Source: Lugmayr et al. 2022, arXiv 2201.09865, algorithm 1.
    """
    check_array("known", known)
    known = on_device_of(x, known)
    checks.same_shape_and_dtype("known", known, "x", x)
    mask = _as_mask(mask, x)
    xp = namespace(x)
    _check_known(xp.where(mask == 1, known, xp.ones_like(known)))
    known = xp.where(mask == 1, known, xp.zeros_like(known))
    steps = len(walk.times) - 1
    path = [walk.times[-1 - left] for left in repaint_path(steps, jump, rounds)]
    x0 = known
    for t, s in pairwise(path):
        if s < t:
            # DDPM's step for the unknown part, the noised image for the known one.
            x0 = walk.predict(x, t).x0
            mean, variance = posterior(walk.schedule, x0, x, t, s)
            if s == 0:
                unknown_part = mean
                known_part = known
            else:
                unknown_part = mean + variance**0.5 * walk.noise(x)
                known_part = q_sample(walk.schedule, known, s, walk.noise(x))
            x = mask * known_part + (1 - mask) * unknown_part
        else:
            # One step up: a little more noise on all of it.
            a = float(walk.schedule.alpha_bar_at(s) / walk.schedule.alpha_bar_at(t))
            norm_t = walk.schedule.norm(t)
            norm_s = walk.schedule.norm(s)
            kept = norm_s / norm_t * math.sqrt(a)
            x = weighted_sum(kept, x, norm_s * math.sqrt(1 - a), walk.noise(x))
        yield Step(s, x, x0)


def _check_known(known: Array) -> None:
    """Raise as `check_clean` for what is known, where holes are white.

    All images are looked at as one: there may well be nothing dark beside the holes.
    """
    is_images = known.ndim == 4
    check_clean("known", namespace(known).reshape(known, (1, -1, 1, 1)) if is_images else known)


def _as_mask(mask: Any, x: Array) -> Array:
    """The mask with x's dtype, on x's device."""
    if hasattr(mask, "dtype"):
        check_array("mask", mask)
    if not hasattr(mask, "dtype"):
        mask = np.asarray(mask)
    mask = on_device_of(x, mask.astype(x.dtype))
    fits = np.broadcast_shapes(mask.shape, x.shape) == x.shape
    if not fits or not bool(namespace(x).all((mask == 0) | (mask == 1))):
        raise ValueError(
            f"mask: given shape {mask.shape}, wanted zeros and ones that broadcast to {x.shape}"
        )
    return mask


def repaint_path(steps: int, jump: int, rounds: int) -> list[int]:
    """How many steps are left, before RePaint begins and after each of its moves.

    It goes down from `steps` to 0, and at 1, 1 + jump, 1 + 2 jump, … it goes `rounds` - 1 times
    `jump` steps up and down again.
    """
    checks.whole("steps", steps, 1, MOST_TIMES)
    checks.whole("jump", jump, 1)
    checks.whole("rounds", rounds, 1, MOST_ROUNDS)
    turns = range(1, steps - jump + 1, jump)
    path = [steps]
    for left in reversed(range(steps)):
        path.append(left)
        if left in turns:
            up = range(left + 1, left + jump + 1)
            down = reversed(range(left, left + jump))
            path += [*up, *down] * (rounds - 1)
    return path


def image_to_image(
    denoise: Denoise | Module,
    x0: Array,
    start: float,
    rng: Rng | int | Sequence[int],
    sampler: str | Callable = "ddim",
    steps: int = 25,
    **options: Any,
) -> Iterator[Step]:
    """The steps of a sampler from x0 (batch, ...) noised to the time `start`.

    The later the start, the less of x0 is left. There may be more steps than `start`, as `times`
    says. The options are condition, clip and the sampler's own. Source: Meng et al. 2022 (SDEdit),
    arXiv 2108.01073, algorithm 1. Raises ValueError and TypeError as `times`, `sample` and the
    sampler do.
    """
    denoise = as_denoise(denoise)
    own = {name: value for name, value in options.items() if name not in ("condition", "clip")}
    function = as_sampler(sampler, own)
    check_clean("x0", x0)
    if isinstance(start, int | float) and 0 < start < 1:
        raise ValueError(
            f"start: given {start}, wanted a time in 1 … {denoise.schedule.timesteps}; where other "
            f"libraries take strength={start}, type start={start} * schedule.timesteps"
        )
    grid = times(denoise.schedule, steps, start=start)
    rng = as_rng(rng, len(x0))
    x = q_sample(denoise.schedule, x0, start, draw_noise(rng, x0))
    return function(denoise, x, times=grid, rng=rng, **options)


def interpolate(
    denoise: Denoise | Module, a: Array, b: Array, shares: Sequence[float], **options: Any
) -> Array:
    """Images between a and b (batch, ...), as (len(shares), batch, ...): a for 0 and b for 1.

    Both are inverted to noise, mixed there by `slerp`, and brought back by DDIM, up to the error of
    inversion. The options are condition, times and clip, as for the samplers. Between labels one
    goes by `guidance.composed(denoise, [label_a, label_b], [1 - share, share])`. Source: Song et
    al. 2021 (DDIM), arXiv 2010.02502, section 5.3.
    """
    check_clean("a", a)
    check_clean("b", b)
    noise_a = final(invert(denoise, a, **options))
    noise_b = final(invert(denoise, b, **options))
    mixed = [slerp(noise_a, noise_b, share) for share in shares]
    return namespace(a).stack([final(ddim(denoise, noise, **options)) for noise in mixed])


def slerp(a: Array, b: Array, share: float) -> Array:
    """Between a and b on the great circle, sample by sample.

    It is (sin((1 - share) θ) a + sin(share θ) b) / sin θ, where θ is the angle between the two; on
    the straight line where they have one direction, or one of them is 0.
    """
    check_samples("a", a)
    check_samples("b", b)
    checks.same_shape_and_dtype("b", b, "a", a)
    # NumPy's own floats would turn float32 into float64
    share = float(checks.among("share", share, checks.Between(-math.inf, math.inf, "()")))
    xp = namespace(a)
    lengths = xp.sqrt(dot(a, a)) * xp.sqrt(dot(b, b))
    cosine = xp.where(lengths > 0, dot(a, b), 1.0) / xp.where(lengths > 0, lengths, 1.0)
    angle = xp.arccos(xp.clip(cosine, -1 + 1e-6, 1 - 1e-6))
    return (xp.sin((1 - share) * angle) * a + xp.sin(share * angle) * b) / xp.sin(angle)
