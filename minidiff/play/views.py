"""What a page shows for the values of its controls, as HTML; a wrong value is told in a sentence.

One object serves all visitors: it holds a network, and the walks that were seen last.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache, wraps
from typing import Any

import numpy as np

from .. import checks, diffusion
from ..diffusion.samplers import SAMPLERS
from ..evaluation import MEAN_FLOW
from ..networks import Painter, labels_of
from . import drawing, plane, shown
from .drawing import Settings, Walked
from .strokes import strokes_of

MOST = 30  # images at a time
COUNT = 10  # where nobody says how many
POINTS = 600
LONGEST_TEXT = 1000
FINISHED = 5  # from the same strokes, each with other noise
ANY = "any"  # the null label
INVITATION = "Draw on the canvas, with a mouse or a finger: the network goes on from there."
WALKS = 8  # that are kept: the views of a step need them again


def told(view: Callable[..., str]) -> Callable[..., str]:
    """The view; or, where it is refused, why."""

    @wraps(view)
    def sentence(*values: Any) -> str:
        try:
            return view(*values)
        except (ValueError, TypeError, RuntimeError) as error:
            return shown.fault(error)

    return sentence


class View:
    """The views of one network."""

    def __init__(self, painter: Painter):
        self.painter = painter
        self.names = painter.names
        self.denoise = diffusion.denoiser(painter.model)
        self.shape = drawing.shape_of(self.denoise)
        self.timesteps = self.denoise.schedule.timesteps
        self._walked = lru_cache(WALKS)(self._walk)

    def walked(self, labels: np.ndarray, settings: Settings) -> Walked:
        return self._walked(tuple(labels.tolist()), settings)

    def _walk(self, labels: tuple[int, ...], settings: Settings) -> Walked:
        return drawing.draw_step_by_step(self.denoise, np.array(labels), settings)

    def label(self, name: str) -> int:
        """The label of a class, 0 for any."""
        return 0 if name == ANY else labels_of(self.painter, [name], 1).item()

    @property
    def choices(self) -> list[str]:
        """The names of the classes, and that of the null label."""
        return [*self.names, ANY]

    def captions(self, labels: np.ndarray) -> list[str]:
        return [self.names[label - 1] if label else "" for label in labels]


class Images(View):
    """The views of a network that draws images."""

    @cached_property
    def example(self) -> str:
        """A text that asks for ten images; empty where there are no classes to ask for."""
        if self.painter.draws_digits or not self.names:
            return "".join(self.names)
        return ", ".join(self.names[i % len(self.names)] for i in range(COUNT))

    @property
    def beginning(self) -> Settings:
        """What the controls begin with: one pass, unguided, of a network that can draw so."""
        if self.painter.draws_in_one_pass:
            return Settings(guidance=1.0, steps=1, sampler=MEAN_FLOW)
        return Settings()

    @property
    def samplers(self) -> list[str]:
        """The names of those that draw from noise."""
        names = list(SAMPLERS)
        if self.painter.draws_in_one_pass:
            names.append(MEAN_FLOW)
        return names

    def asked(self, text: str) -> np.ndarray:
        """The labels that a text asks for: digits, or names with commas between them."""
        if not self.names:
            return np.zeros(COUNT, int)
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"what: given {len(text):,} signs, wanted at most {LONGEST_TEXT:,}")
        parts = text if self.painter.draws_digits else text.split(",")
        words = [part.strip() for part in parts if part.strip()]
        if not words:
            raise ValueError(f"what: given nothing, wanted a text such as {self.example}")
        return labels_of(self.painter, words, MOST)

    def result(self, text: str, settings: Settings) -> str:
        labels = self.asked(text)
        images = drawing.draw(self.denoise, labels, settings)
        return shown.tiles([images], self.captions(labels))

    def step(self, text: str, settings: Settings, step: int) -> str:
        """x_t above, the predicted x_0 below."""
        labels = self.asked(text)
        t, x, x0 = self.walked(labels, settings)
        k = min(checks.whole("step", step), len(t) - 1)
        title = f"Step {k} of {len(t) - 1}. Above x_t at t = {t[k]:.4g}, below the x̂₀ made of it."
        return shown.title(title) + shown.tiles([x[k], x0[k]], self.captions(labels))

    def side_by_side(self, text: str, one: Settings, other: Settings) -> str:
        """The images of two settings, from the same noise, below each other."""
        labels = self.asked(text)
        images = [drawing.draw(self.denoise, labels, settings) for settings in (one, other)]
        title = "From the same noise: above by these settings, below by the others."
        return shown.title(title) + shown.tiles(images, self.captions(labels))

    def between(self, first: str, last: str, settings: Settings, last_seed: int) -> str:
        """A walk from one class to another."""
        ends = self.label(first), self.label(last)
        images = drawing.between(self.denoise, *ends, settings, last_seed, COUNT)
        shares = [f"{share:.0%}" for share in np.linspace(0, 1, COUNT)]
        return shown.tiles([images], [first, *shares[1:-1], last])

    def finished(self, canvas: str, name: str, settings: Settings) -> str:
        """What the network makes of strokes that stay."""
        if not canvas:
            return shown.title(INVITATION)
        image, mask = strokes_of(canvas, self.shape)
        labels = np.full(FINISHED, self.label(name))
        images = drawing.finish(self.denoise, image, mask, labels, settings)
        return shown.tiles([images], [""] * FINISHED)

    def restyled(self, canvas: str, name: str, settings: Settings, noise: float) -> str:
        """What the network makes of strokes that it may change."""
        if not canvas:
            return shown.title(INVITATION)
        image, _ = strokes_of(canvas, self.shape)
        labels = np.full(FINISHED, self.label(name))
        images = drawing.restyle(self.denoise, image, labels, settings, noise)
        return shown.tiles([images], [""] * FINISHED)


class Plane(View):
    """The views of a network that draws points in the plane."""

    def step(self, name: str, settings: Settings, step: int) -> str:
        """The points at a step, and the arrows there, from x_t to the predicted x_0."""
        label = self.label(name)
        t, x, _ = self.walked(np.full(POINTS, label), settings)
        k = min(checks.whole("step", step), len(t) - 1)
        seen = max(t[k], t[-2])  # at t = 0 there is nothing to predict
        places, arrows = plane.arrows(self.denoise, label, settings, seen)
        title = f"Step {k} of {len(t) - 1}: points at t = {t[k]:.4g}, arrows at t = {seen:.4g}."
        drawn = plane.picture(x[k], places, arrows)
        return shown.title(title) + shown.picture(drawn, title)
