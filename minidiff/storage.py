"""Checkpoints: one safetensors file each, with everything that a run needs to go on, or a user to draw with it.

    tensors    model.<name>, ema.<name>, optimizer.<name>
    metadata   {"minidiff": JSON of the model's class and configuration, and of what else was given: step, seed, …}

A file is written beside its place, flushed and renamed: there is always either the old one or the new one, whole.
Arrays in it are host arrays; saving does not move the live model.
"""

import json
import os
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from . import models
from .nn import Module
from .optim import EMA

_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: the model's class name and configuration, its arrays by group, and the notes kept with it."""

    model: str
    config: dict
    arrays: dict[str, dict[str, np.ndarray]]
    notes: dict[str, Any] = field(default_factory=dict)


def save(path: str | os.PathLike, model: Module, ema: EMA | None = None, optimizer: Any = None, **notes: Any) -> Path:
    """Write a checkpoint: the model's weights and configuration, averaged weights, the optimiser's state, and notes.

    `notes` are anything that JSON can hold (seed, step, history, the data's scaling, …). Gives the path.
    Raises TypeError for notes that JSON cannot hold; then, and if the disk fails, an older file at `path` is untouched.
    """
    from safetensors.numpy import save as to_bytes

    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    for group, source in (("ema", ema), ("optimizer", optimizer)):
        if source is not None:
            arrays |= {f"{group}.{name}": np.asarray(array) for name, array in source.state_dict().items()}
    about = {"format": _FORMAT, "model": type(model).__name__, "config": model.config, "notes": notes}
    content = to_bytes({k: np.asarray(v, order="C") for k, v in arrays.items()}, {"minidiff": json.dumps(about)})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read(path: str | os.PathLike) -> Checkpoint:
    """The content of a checkpoint.

    Raises FileNotFoundError if there is none, ValueError if the file is truncated, damaged or something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: no checkpoint at {path}")
    content = path.read_bytes()
    try:
        flat = from_bytes(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"path: {path} ({len(content)} bytes) is truncated or no checkpoint: {error}") from None
    try:
        about = json.loads(header["__metadata__"]["minidiff"])
        if about["format"] != _FORMAT:
            raise ValueError(f"path: {path} has format {about['format']}; this version reads {_FORMAT}")
    except KeyError:
        raise ValueError(f"path: {path} is a safetensors file, but not one that minidiff.save wrote") from None
    arrays: dict[str, dict[str, np.ndarray]] = {"model": {}, "ema": {}, "optimizer": {}}
    for key, array in flat.items():
        group, _, name = key.partition(".")
        arrays[group][name] = array
    return Checkpoint(about["model"], about["config"], arrays, about["notes"])


def load(path: str | os.PathLike, model: Module | None = None, weights: str = "ema") -> Module:
    """The model of a checkpoint, rebuilt, in eval mode; a class that is not in `minidiff.models` must be given built.

    `weights`: "ema" for the averaged weights where there are some, "raw" for those that the optimiser had.
    Raises as `read`, and ValueError for another `weights`, or if `model` is not the model that was saved.
    """
    if weights not in ("ema", "raw"):
        raise ValueError(f'weights must be "ema" or "raw"; got {weights!r}')
    checkpoint = read(path)
    if model is None:
        kind = getattr(models, checkpoint.model, None)
        if kind is None:
            raise ValueError(
                f"path: {path} holds a {checkpoint.model}, which is not in minidiff.models: give a built one"
            )
        model = kind(**checkpoint.config)
    check_model(checkpoint, model, path)
    averages = {name: array for name, array in checkpoint.arrays["ema"].items() if name.startswith("average.")}
    if averages and weights == "ema":
        model.load_state_dict({name.removeprefix("average."): array for name, array in averages.items()})
    else:
        model.load_state_dict(checkpoint.arrays["model"])
    return model.eval()


def check_model(checkpoint: Checkpoint, model: Module, path: str | os.PathLike) -> None:
    """Raise ValueError unless the checkpoint was written from a model of this class and configuration."""
    given, wanted = (type(model).__name__, _plain(model.config)), (checkpoint.model, checkpoint.config)
    if given != wanted:
        raise ValueError(f"path: {path} is the checkpoint of {wanted[0]}({_arguments(wanted[1])}), and the model here is "
                         f"{given[0]}({_arguments(given[1])})")  # fmt: skip


def pretrained(name: str) -> Module:
    """A network that this code trained and that ships with it: "mnist" (the guided UNet) or "lenet" (its judge).

    Raises ValueError for another name.
    """
    folder = files("minidiff") / "weights"
    known = sorted(
        file.name.removesuffix(".safetensors") for file in folder.iterdir() if file.name.endswith(".safetensors")
    )
    if name not in known:
        raise ValueError(f"name must be one of {known}; got {name!r}")
    return load(str(folder / f"{name}.safetensors"))


def _plain(config: dict) -> dict:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(config))


def _arguments(config: dict) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in config.items())
