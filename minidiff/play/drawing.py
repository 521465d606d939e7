"""What follows a few settings: samples, their way from noise, strokes finished or restyled, a walk.

Samples are images (n, height, width, channels) in [-1, 1] or points (n, 2); labels are (n,)
integers, 0 for any class. All is a function of its arguments, and runs in several threads at once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import checks, diffusion
from ..diffusion import Denoise, guidance
from ..diffusion.samplers import SAMPLERS, Step
from ..evaluation import MEAN_FLOW

# How two predictions are combined, by the rule's name.
RULES = {
    "extrapolate": guidance.extrapolate,
    "interval": guidance.extrapolate,
    "rescaled": guidance.rescaled(),
    "projected": guidance.projected(),
    "cfg_pp": guidance.cfg_pp,
}
# The rule "interval" guides at these times, as shares of all. They were best on digits:
# benchmarks/quality.md.
INTERVAL = (0.45, 0.8)
# RePaint's way back up: longer ones took more time than they gave.
JUMP = 2
ROUNDS = 2


class Settings(NamedTuple):
    guidance: float = 2.0
    seed: int = 0
    steps: int = 10
    sampler: str = "dpmpp_2m"
    rule: str = "extrapolate"


class Walked(NamedTuple):
    """What a sampler went through, from noise to the end at t = 0.

    t: (steps + 1,) times; x: (steps + 1, n, ...), there; x0: the same shape, what was predicted
    from it. At the end both are the result.
    """

    t: np.ndarray
    x: np.ndarray
    x0: np.ndarray


class PlaceNoise:
    """Noise for a batch in which each place has a seed of its own.

    So what is drawn in one place does not change with the number of places; and where all have one
    seed, all have the same noise.
    """

    def __init__(self, seeds: Any):
        self.generators = [np.random.default_rng(seed) for seed in seeds]

    def standard_normal(self, size: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.stack([rng.standard_normal(size[1:], dtype) for rng in self.generators])


def guide(denoise: Denoise, settings: Settings, against: Denoise | None = None) -> Denoise:
    """The Denoise that is guided as the settings say."""
    rule = RULES[checks.among("rule", settings.rule, RULES)]
    scale: Any = settings.guidance
    if settings.rule == "interval":
        low, high = (share * denoise.schedule.timesteps for share in INTERVAL)
        scale = guidance.interval(scale, low, high)
    return guidance.guided(denoise, scale, against, rule)


def walk(denoise: Denoise, labels: np.ndarray, settings: Settings) -> Iterator[Step]:
    """The steps from noise to a sample for each label.

    By "mean_flow" each step is one pass of a network of two times. It has learned to draw guided:
    ValueError for another guidance scale than 1 on top.
    """
    condition = labels if np.any(labels) else None
    options: dict[str, Any] = {
        "n": len(labels),
        "rng": PlaceNoise(seeds(settings.seed, len(labels))),
    }
    if settings.sampler == MEAN_FLOW:
        if settings.guidance != 1:
            raise ValueError(
                f"guidance: given {settings.guidance:g}, wanted 1: {MEAN_FLOW} asks a network that "
                "has learned to draw guided"
            )
        passes = settings.steps
        return diffusion.mean_flow.sample_steps(denoise.network, condition, passes, **options)
    options |= {"sampler": settings.sampler, "steps": settings.steps}
    return diffusion.sample_steps(guide(denoise, settings), condition, **options)


def draw(denoise: Denoise, labels: np.ndarray, settings: Settings) -> np.ndarray:
    """A sample for each label."""
    return diffusion.final(walk(denoise, labels, settings))


def draw_step_by_step(denoise: Denoise, labels: np.ndarray, settings: Settings) -> Walked:
    """The same samples on their way."""
    t, x, x0 = diffusion.all_steps(walk(denoise, labels, settings))
    noise = PlaceNoise(seeds(settings.seed, len(labels))).standard_normal(x.shape[1:], x.dtype)
    start = denoise.schedule.timesteps
    return Walked(np.append(start, t), np.stack([noise, *x]), np.stack([*x0, x[-1]]))


def finish(
    denoise: Denoise, strokes: np.ndarray, mask: np.ndarray, labels: np.ndarray, settings: Settings
) -> np.ndarray:
    """An image for each label that has the strokes where the mask is 1; the rest is the network's.

    strokes: (height, width, channels); mask: (height, width, 1). It goes by RePaint, whose own
    sampler is DDPM.
    """
    known = np.repeat(strokes[None], len(labels), axis=0)
    rng = PlaceNoise(seeds(settings.seed, len(labels)))
    steps = diffusion.inpaint(
        guide(denoise, settings),
        rng.standard_normal(known.shape, known.dtype),
        labels if np.any(labels) else None,
        diffusion.times(denoise.schedule, settings.steps),
        rng,
        known=known,
        mask=mask,
        jump=JUMP,
        rounds=ROUNDS,
    )
    return diffusion.final(steps)


def restyle(
    denoise: Denoise, strokes: np.ndarray, labels: np.ndarray, settings: Settings, noise: float
) -> np.ndarray:
    """An image for each label, from the strokes with the noise of a share of all times.

    strokes: (height, width, channels). By SDEdit.
    """
    checks.among("noise", noise, checks.Between(0, 1, "(]"))
    steps = diffusion.image_to_image(
        guide(denoise, settings),
        np.repeat(strokes[None], len(labels), axis=0),
        max(2, noise * denoise.schedule.timesteps),  # from 1 there is but one step
        PlaceNoise(seeds(settings.seed, len(labels))),
        settings.sampler,
        settings.steps,
        condition=labels if np.any(labels) else None,
    )
    return diffusion.final(steps)


def between(
    denoise: Denoise, first: int, last: int, settings: Settings, last_seed: int, count: int
) -> np.ndarray:
    """`count` images on the way from one label and seed to another label and seed.

    The noise goes along a great circle, and the two labels are weighed. All see the same noise on
    the way, if their sampler draws some: only so are neighbours alike.
    """
    shares = np.linspace(0, 1, count)
    shape = (1, *shape_of(denoise))
    start = PlaceNoise(seeds(settings.seed, 1)).standard_normal(shape, np.float32)
    end = PlaceNoise(seeds(last_seed, 1)).standard_normal(shape, np.float32)
    noise = np.concatenate([diffusion.slerp(start, end, share) for share in shares])
    mixed = guidance.composed(denoise, [first or None, last or None], [1 - shares, shares])
    sampler = SAMPLERS[checks.among("sampler", settings.sampler, SAMPLERS)]
    steps = sampler(
        guide(mixed, settings, against=denoise),
        noise,
        times=diffusion.times(denoise.schedule, settings.steps),
        rng=PlaceNoise(seeds(settings.seed, 1) * count),
    )
    return diffusion.final(steps)


def shape_of(denoise: Denoise) -> tuple[int, ...]:
    """The shape of a sample. ValueError where the denoiser does not know it."""
    if denoise.sample_shape is None:
        raise ValueError("denoise: given one without sample_shape, wanted one that knows it")
    return denoise.sample_shape


def seeds(seed: int, places: int) -> list[list[int]]:
    """A seed for each place. ValueError for one below 0."""
    return [[checks.whole("seed", seed), place] for place in range(places)]
