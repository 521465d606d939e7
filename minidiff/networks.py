"""What a checkpoint draws, and what it calls that."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import storage
from .models import ADMUNet, MeanFlowUNet, UNet
from .storage import Checkpoint

SHIPPED = "mnist_adm"
DIGITS = tuple("0123456789")
# The network "patterns" of points in the plane, and its labels 1, 2, 3.
SHIPPED_PLANE = "patterns"
PATTERNS = ("spiral", "s-curve", "moons")


class Painter(NamedTuple):
    model: Any
    names: list[str]  # of the classes: the first one has the label 1
    draws_digits: bool
    notes: dict[str, Any]

    @property
    def draws_in_one_pass(self) -> bool:
        """Whether it is a network of two times, whose guidance is learned."""
        return isinstance(self.model, MeanFlowUNet)

    def refuse_guidance(self, scale: float | None) -> None:
        """ValueError for a scale where the network has learned its own; None is no scale."""
        if self.draws_in_one_pass and scale is not None:
            raise ValueError(
                f"guidance: given {scale:g}, wanted none: a network that draws in one pass has "
                "learned to draw guided"
            )


def painter(path: str | None) -> Painter:
    """The network of a checkpoint, or the one that ships; ValueError where it knows no classes."""
    if path is None:
        return Painter(storage.pretrained(SHIPPED), list(DIGITS), True, {})
    checkpoint = storage.read(path)
    model = storage.load(path)
    draws = isinstance(model, UNet | ADMUNet) and model.parameterization is not None
    if not draws or model.config["classes"] is None:
        raise ValueError(
            f"checkpoint: given {path}, which holds a {checkpoint.model}, wanted a network that "
            "learned to draw images by their classes, as `minidiff train` makes it"
        )
    return _painter(checkpoint, model)


def painter_of_points() -> Painter:
    """The network of patterns in the plane that ships."""
    return Painter(storage.pretrained(SHIPPED_PLANE), list(PATTERNS), False, {})


def any_painter(path: str) -> Painter:
    """The network of a checkpoint, which draws images or points in the plane.

    It may know no classes: then it has no names. ValueError where it draws neither.
    """
    checkpoint = storage.read(path)
    own = checkpoint.parameterization
    shape = None if own is None else own.sample_shape
    is_image = shape is not None and len(shape) == 3 and shape[-1] in (1, 3)
    if shape != (2,) and not is_image:
        raise ValueError(
            f"checkpoint: given {path}, which holds a {checkpoint.model}, wanted a network that "
            "learned to draw images, grey or in colour, or points in the plane"
        )
    return _painter(checkpoint, storage.load(path))


def _painter(checkpoint: Checkpoint, model: Any) -> Painter:
    names = names_in(checkpoint)
    return Painter(model, names, names == list(DIGITS), dict(checkpoint.notes))


def names_in(checkpoint: Checkpoint) -> list[str]:
    """The names of the classes, if they were noted; else numbers, from 0 for the ten digits."""
    names = checkpoint.notes.get("names")
    classes = checkpoint.config.get("classes") or 0
    if isinstance(names, list) and len(names) == classes:
        return [str(name) for name in names]
    first = 0 if (checkpoint.config.get("channels"), classes) == (1, 10) else 1
    return [str(number) for number in range(first, first + classes)]


def labels_of(painter: Painter, asked: Sequence[str], most: int) -> np.ndarray:
    """The labels of the classes that are asked for; ValueError names those that there are."""
    unknown = [word for word in asked if word not in painter.names]
    if unknown or len(asked) > most:
        given = repr(unknown[0]) if unknown else f"{len(asked):,} pictures"
        known = ", ".join(map(repr, painter.names))
        raise ValueError(f"what: given {given}, wanted up to {most:,} of {known}")
    return np.array([painter.names.index(word) + 1 for word in asked])
