"""What a checkpoint draws, and what it calls that."""

from typing import Any, NamedTuple

from .. import storage
from ..models import ADMUNet, UNet
from ..storage import Checkpoint

SHIPPED = "mnist_adm"


class Painter(NamedTuple):
    model: Any
    names: list[str]  # of the classes: the first one has the label 1
    draws_digits: bool
    notes: dict[str, Any]


def painter(path: str | None) -> Painter:
    """The network of a checkpoint, or the one that ships; ValueError where it knows no classes."""
    if path is None:
        model = storage.pretrained(SHIPPED)
        return Painter(model, [str(digit) for digit in range(10)], True, {})
    checkpoint = storage.read(path)
    model = storage.load(path)
    draws = isinstance(model, UNet | ADMUNet) and model.parameterization is not None
    if not draws or model.config["classes"] is None:
        raise ValueError(
            f"checkpoint: given {path}, which holds a {checkpoint.model}, wanted a network that "
            "learned to draw images by their classes, as `minidiff train` makes it"
        )
    names = names_in(checkpoint)
    return Painter(model, names, names == list("0123456789"), dict(checkpoint.notes))


def names_in(checkpoint: Checkpoint) -> list[str]:
    """The names of the classes, if they were noted; else numbers, from 0 for the ten digits."""
    names = checkpoint.notes.get("names")
    classes = checkpoint.config["classes"]
    if isinstance(names, list) and len(names) == classes:
        return [str(name) for name in names]
    first = 0 if (checkpoint.config["channels"], classes) == (1, 10) else 1
    return [str(number) for number in range(first, first + classes)]
