"""Checkpoints: one safetensors file each, all that a run needs to go on, or a user to draw.

    tensors    model.<name>, ema.<name>, optimizer.<name>, schedule.beta
    metadata   {"minidiff": JSON of the model's class and configuration, of what it predicts, and of
               what else was given: step, seed, …}

A file is written beside its place, flushed and renamed: there is always either the old one or the
new one, whole. Arrays in it are host arrays; saving does not move the live model.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import checks, models
from .data.files import write_whole
from .diffusion import Parameterization, Schedule
from .nn import Module
from .optim import EMA

_FORMAT = 2


class Checkpoint(NamedTuple):
    """What a file holds."""

    model: str  # the class's name
    config: dict  # what the model is built from
    parameterization: Parameterization | None  # of a model that `diffusion.loss` trained
    arrays: dict[str, dict[str, np.ndarray]]  # by group, then by name
    notes: dict[str, Any]

    def __repr__(self) -> str:
        counts = {group: len(arrays) for group, arrays in self.arrays.items()}
        return f"Checkpoint({_described(self.model, self.config)}, arrays: {counts})"


def save(
    path: str | os.PathLike,
    model: Module,
    ema: EMA | None = None,
    optimizer: Any = None,
    **notes: Any,
) -> Path:
    """Write a checkpoint; gives its path.

    It holds the model's weights, its configuration and its parameterisation, averaged weights, the
    optimiser's state, and notes: anything that JSON can hold (seed, step, history, the data's
    scaling, …). Raises TypeError for notes that JSON cannot hold; then, and if the disk fails, an
    older file at `path` is untouched.
    """
    from safetensors.numpy import save as to_bytes

    if isinstance(path, Module):
        raise TypeError(
            f"path: given {type(path).__name__}, wanted a path: type md.save('model.safetensors', "
            "model)"
        )
    path = checks.path("path", path)
    if not isinstance(model, Module):
        raise TypeError(f"model: given {type(model).__name__}, wanted a Module")
    if not isinstance(ema, EMA | None):
        raise TypeError(
            f"ema: given {type(ema).__name__}, wanted an EMA or None: type optimizer=... for the "
            "optimiser"
        )
    arrays: dict[str, np.ndarray] = {}
    for group, source in {"model": model, "ema": ema, "optimizer": optimizer}.items():
        if source is not None:
            arrays |= {f"{group}.{name}": array for name, array in source.state_dict().items()}
    about = {
        "format": _FORMAT,
        "model": type(model).__name__,
        "config": model.config,
        "parameterization": None,
        "notes": notes,
    }
    own = model.parameterization
    if own is not None:
        arrays["schedule.beta"] = own.schedule.beta
        about["parameterization"] = {
            "predicts": own.predicts,
            "learned_variance": own.learned_variance,
            "sample_shape": own.sample_shape,
        }
    write_whole(path, to_bytes(arrays, {"minidiff": _json(about)}))
    return path


def read(path: str | os.PathLike, model: Module | None = None) -> Checkpoint:
    """The content of a checkpoint.

    Raises FileNotFoundError if there is none, ValueError if the file is truncated, damaged or
    something else, or if it was not written from a model of the class and configuration of `model`.
    """
    from safetensors import SafetensorError

    path = checks.path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"path: given {path}, wanted a checkpoint: there is no such file")
    try:
        about, arrays = _content(path)
        checkpoint = Checkpoint(
            about["model"],
            about["config"],
            _parameterization(about["parameterization"], arrays, path),
            arrays,
            about["notes"],
        )
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        size = path.stat().st_size
        raise ValueError(
            f"path: given {path} ({size} bytes), wanted a checkpoint: "
            f"it is truncated, damaged or something else: {error!r}"
        ) from None
    if model is not None:
        saved = _described(checkpoint.model, checkpoint.config)
        here = _described(type(model).__name__, model.config)
        if saved != here:
            raise ValueError(f"path: given {path}, the checkpoint of {saved}, wanted one of {here}")
    return checkpoint


def _content(path: Path) -> tuple[dict, dict[str, dict[str, np.ndarray]]]:
    """The metadata, and the arrays by group and name."""
    from safetensors import safe_open

    arrays: dict[str, dict[str, np.ndarray]] = {
        "model": {},
        "ema": {},
        "optimizer": {},
        "schedule": {},
    }
    with safe_open(path, framework="numpy") as file:
        about = json.loads((file.metadata() or {}).get("minidiff", "null"))
        if about is None:
            raise ValueError(
                f"path: given {path}, a safetensors file, wanted one that minidiff.save wrote"
            )
        if about["format"] != _FORMAT:
            raise ValueError(
                f"path: given {path} of format {about['format']}, wanted format {_FORMAT}"
            )
        for key in file.keys():  # noqa: SIM118
            group, _, name = key.partition(".")
            arrays[group][name] = file.get_tensor(key)
    return about, arrays


def _parameterization(saved: dict | None, arrays: dict, path: Path) -> Parameterization | None:
    """What the model predicts, and its schedule, where it has any."""
    if saved is None:
        return None
    try:
        return Parameterization(Schedule(arrays["schedule"]["beta"]), **saved)
    except ValueError as error:
        raise ValueError(f"path: given {path}, damaged, wanted a checkpoint: {error}") from None


def load(path: str | os.PathLike, model: Module | None = None, weights: str = "ema") -> Module:
    """The model of a checkpoint, rebuilt, in eval mode, with what it predicts and its schedule.

    A class that is not in `minidiff.models` must be given built, as `model`. `weights`: "ema" for
    the averaged weights where there are some, "raw" for those that the optimiser had. Raises as
    `read`, and ValueError for another `weights`, or if `model` is not the model that was saved.
    """
    checks.among("weights", weights, ("ema", "raw"))
    checkpoint = read(path, model)
    if model is None:
        model = _built(checkpoint, path)
    state = checkpoint.arrays["model"]
    averaged = checkpoint.arrays["ema"]
    if weights == "ema" and averaged:
        state = {
            name.removeprefix("average."): array
            for name, array in averaged.items()
            if name.startswith("average.")
        }
    model.load_state_dict(state)
    model.parameterization = checkpoint.parameterization
    return model.eval()


def _built(checkpoint: Checkpoint, path: str | os.PathLike) -> Module:
    """A new model of the class and configuration that were saved."""
    if not hasattr(models, checkpoint.model):
        raise ValueError(
            f"path: given {path}, which holds a {checkpoint.model}, not in minidiff.models; "
            "wanted a built `model` beside it"
        )
    try:
        return getattr(models, checkpoint.model)(**checkpoint.config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"path: given {path}, damaged, wanted a checkpoint: {error}") from None


def pretrained(name: str) -> Module:
    """A network that this code trained and that ships with it.

    "mnist" is the guided UNet; "lenet" its judge, "judge" a second one of another kind; "patterns"
    is the MLP of three patterns in the plane, where 1 is the spiral, 2 the s-curve, 3 the moons,
    and 0 all three. Beside its weights lies a card that says how a network was made, and what it
    can do. Raises ValueError for another name.
    """
    paths = Path(__file__).with_name("weights").glob("*.safetensors")
    known = {path.stem: path for path in sorted(paths)}
    return load(known[checks.among("name", name, known)])


def _described(name: str, config: dict) -> str:
    """ "UNet(channels=1, …)", the same for settings in any order, with tuples or with lists."""
    settings = sorted(json.loads(_json(config)).items())
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in settings)})"


def _json(value: Any) -> str:
    """As JSON text, in which NumPy's numbers and arrays are Python's."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"notes: given {type(value).__name__}, wanted what JSON can hold")
