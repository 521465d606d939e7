"""What is drawn: networks, the settings to draw by, and the images, cut into chunks.

A chunk is a file of at most CHUNK images, drawn by one call with a seed of its own.
"""

import hashlib
import io
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import diffusion, distributed
from ..diffusion import guidance
from ..disk import write_whole
from ..kernels import to_host
from ..nn import Module
from .cells import Cell

CHUNK = 500
MEAN_FLOW = "mean_flow"  # a sampler that asks the network itself: its guidance was learned
SEEDS_APART = 1_000_000  # between the chunks of one seed and those of the next


@dataclass(frozen=True)
class Network:
    """A network and what it is called; the fingerprint tells it from others of that name."""

    name: str
    model: Module

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.model)


def fingerprint(model: Module) -> str:
    """Eight letters that change with any weight, and with what the network predicts."""
    digest = hashlib.sha256(repr((type(model).__name__, model.config)).encode())
    own = model.parameterization
    if own is not None:
        digest.update(repr((own.predicts, own.learned_variance)).encode())
        digest.update(own.schedule.alpha_bar.tobytes())
        if isinstance(own.schedule, diffusion.Path):
            digest.update(own.schedule.norm(range(own.schedule.timesteps + 1)).tobytes())
    for name, array in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:8]


@dataclass(frozen=True)
class Setting:
    """How images are drawn: the guidance scale, None for the null label; its rule; the sampler.

    At scale 1 all rules are the plain network.
    """

    guidance: float | None
    sampler: str
    steps: int
    spacing: str = "trailing"  # of the times
    interval: tuple[float, float] | None = None  # times at which to guide
    rescale: float | None = None  # the phi of `guidance.rescaled`

    @property
    def rule(self) -> str:
        if self.interval is not None:
            low, high = self.interval
            return f"interval {low:g}–{high:g}"
        return "plain" if self.rescale is None else f"rescaled {self.rescale:g}"

    @property
    def scale(self) -> str:
        return "null" if self.guidance is None else f"{self.guidance:g}"

    @property
    def folder(self) -> str:
        """A name for files, which no other setting has."""
        guidance = "null" if self.guidance is None else repr(self.guidance)
        low_high = () if self.interval is None else self.interval
        rescale = () if self.rescale is None else (self.rescale,)
        rule = ["interval", *map(repr, low_high)] if low_high else ["rescaled", *map(repr, rescale)]
        spacing = () if self.spacing == "trailing" else (self.spacing,)
        parts = [self.sampler, str(self.steps), *spacing, guidance]
        return "-".join(parts + rule if low_high or rescale else parts)

    def denoiser(self, model: Module) -> diffusion.Denoise:
        denoise = diffusion.denoiser(model)
        if self.guidance is None:
            return denoise
        if self.rescale is not None:
            rule = guidance.rescaled(self.rescale)
            return guidance.guided(denoise, self.guidance, combine=rule)
        if self.interval is not None:
            return guidance.classifier_free(
                denoise, guidance.interval(self.guidance, *self.interval)
            )
        return guidance.classifier_free(denoise, self.guidance)

    def draw(self, model: Module, start: int, stop: int, seed: int) -> np.ndarray:
        """The images start … stop − 1, (n, height, width, channels)."""
        labels = wanted(start, stop, model.config["classes"]) + 1
        condition = None if self.guidance is None else labels
        options: dict[str, Any] = {"n": stop - start, "spacing": self.spacing, "rng": seed}
        if self.sampler == MEAN_FLOW:
            return to_host(diffusion.mean_flow.sample(model, condition, self.steps, **options))
        options |= {"sampler": self.sampler, "steps": self.steps}
        return to_host(diffusion.sample(self.denoiser(model), condition, **options))


def wanted(start: int, stop: int, classes: int) -> np.ndarray:
    """The classes of the images start … stop − 1: from 0 to the last, again and again."""
    return np.arange(start, stop) % classes


class Drawn(NamedTuple):
    pixels: np.ndarray  # (n, height, width, channels), uint8
    seconds: float


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Images in [−1, 1] in 256 levels, as real ones are, of the same shape."""
    return np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8)


def kept(path: Path, draw: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `draw` gives; it is drawn once, and then read, also by a run after this one.

    Ranks that are in step draw together, and the first one reads and writes.
    """
    before = distributed.on_first(lambda: _read(path))
    if before is not None:
        return before
    drawn = draw()
    content = io.BytesIO()
    np.savez(content, **drawn)  # type: ignore[arg-type]
    distributed.on_first(lambda: write_whole(path, content.getvalue()))
    return drawn


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file, None where there are none."""
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        return None
    except Exception as error:  # as in `_parsed`
        print(f"{path}: damaged: {error!r}; it is drawn again")
        return None


def chunks(folder: Path, model: Module, setting: Setting, count: int, seed: int) -> list[Cell]:
    """The cells that hold the first `count` images of this seed."""
    shape = model.parameterization.sample_shape

    def chunk(start: int) -> Cell:
        stop = min(start + CHUNK, count)

        def make() -> bytes:
            begin = time.perf_counter()
            images = setting.draw(model, start, stop, seed * SEEDS_APART + start // CHUNK)
            seconds = time.perf_counter() - begin
            content = io.BytesIO()
            np.savez_compressed(content, pixels=as_pixels(images), seconds=seconds)
            return content.getvalue()

        path = folder / f"{start:06d}-{stop:06d}.npz"
        return Cell(path, make, lambda content: _parsed(content, (stop - start, *shape)))

    return [chunk(start) for start in range(0, count, CHUNK)]


def first_pixels(chunks: Sequence[Cell], count: int) -> np.ndarray:
    """The pixels of the first `count` digits, or of all where there are fewer."""
    needed = chunks[: math.ceil(count / CHUNK)]
    return np.concatenate([chunk.read().pixels for chunk in needed])[:count]


def _parsed(content: bytes, shape: tuple[int, ...]) -> Drawn:
    """What a chunk holds. ValueError where it is damaged."""
    try:
        with np.load(io.BytesIO(content)) as arrays:
            drawn = Drawn(arrays["pixels"], float(arrays["seconds"]))
    except Exception as error:  # zip, zlib and the reader of headers meet what nobody foresees
        raise ValueError(f"damaged: {error!r}") from None
    if drawn.pixels.shape != shape:
        raise ValueError(f"given {drawn.pixels.shape} pixels, wanted {shape}")
    return drawn
