"""Checkpoints: one safetensors file each, with everything that a run needs to go on, or a user to
draw with it.

    tensors    model.<name>, ema.<name>, optimizer.<name>
    metadata   {"minidiff": JSON of the model's class and configuration, and of what else was given: step, seed, …}

A file is written beside its place, flushed and renamed: there is always either the old one or the
new one, whole. Arrays in it are host arrays; saving does not move the live model.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import models
from .data.files import write_whole
from .nn import Module
from .optim import EMA

_FORMAT = 1


class Checkpoint(NamedTuple):
    """What a file holds: the model's class name and configuration, its arrays by group, and the notes kept with it."""

    model: str
    config: dict
    arrays: dict[str, dict[str, np.ndarray]]
    notes: dict[str, Any]


def save(
    path: str | os.PathLike,
    model: Module,
    ema: EMA | None = None,
    optimizer: Any = None,
    **notes: Any,
) -> Path:
    """Write a checkpoint: the model's weights and configuration, averaged weights, the optimiser's
    state, and notes.

    `notes` are anything that JSON can hold (seed, step, history, the data's scaling, …). Gives the
    path. Raises TypeError for notes that JSON cannot hold; then, and if the disk fails, an older
    file at `path` is untouched.
    """
    from safetensors.numpy import save as to_bytes

    arrays: dict[str, np.ndarray] = {}
    for group, source in {"model": model, "ema": ema, "optimizer": optimizer}.items():
        if source is not None:
            arrays |= {f"{group}.{name}": array for name, array in source.state_dict().items()}
    about = {
        "format": _FORMAT,
        "model": type(model).__name__,
        "config": model.config,
        "notes": notes,
    }
    write_whole(path := Path(path), to_bytes(arrays, {"minidiff": _json(about)}))
    return path


def read(path: str | os.PathLike, model: Module | None = None) -> Checkpoint:
    """The content of a checkpoint.

    Raises FileNotFoundError if there is none, ValueError if the file is truncated, damaged or
    something else, or if it was not written from a model of the class and configuration of `model`.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: no checkpoint at {path}")
    arrays: dict[str, dict[str, np.ndarray]] = {"model": {}, "ema": {}, "optimizer": {}}
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("minidiff", "null"))
            if about is None:
                raise ValueError(
                    f"path: {path} is a safetensors file, but not one that minidiff.save wrote"
                )
            if about["format"] != _FORMAT:
                raise ValueError(
                    f"path: {path} has format {about['format']}; this version reads {_FORMAT}"
                )
            for key in file.keys():  # noqa: SIM118
                group, _, name = key.partition(".")
                arrays[group][name] = file.get_tensor(key)
            checkpoint = Checkpoint(about["model"], about["config"], arrays, about["notes"])
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"path: {path} ({path.stat().st_size} bytes) is truncated, damaged or no checkpoint: "
            f"{error!r}"
        ) from None
    if model is not None:
        saved, here = (
            _described(checkpoint.model, checkpoint.config),
            _described(type(model).__name__, model.config),
        )
        if saved != here:
            raise ValueError(
                f"path: {path} is the checkpoint of {saved}, and the model here is {here}"
            )
    return checkpoint


def load(path: str | os.PathLike, model: Module | None = None, weights: str = "ema") -> Module:
    """The model of a checkpoint, rebuilt, in eval mode; a class that is not in `minidiff.models`
    must be given built.

    `weights`: "ema" for the averaged weights where there are some, "raw" for those that the
    optimiser had. Raises as `read`, and ValueError for another `weights`, or if `model` is not the
    model that was saved.
    """
    if weights not in ("ema", "raw"):
        raise ValueError(f'weights must be "ema" or "raw"; got {weights!r}')
    checkpoint = read(path, model)
    if model is None:
        if not hasattr(models, checkpoint.model):
            raise ValueError(
                f"path: {path} holds a {checkpoint.model}, not in minidiff.models: give a built `model`"
            )
        try:
            model = getattr(models, checkpoint.model)(**checkpoint.config)
        except (TypeError, ValueError) as error:
            raise ValueError(f"path: {path} is damaged, or of another version: {error}") from None
    state, ema = checkpoint.arrays["model"], checkpoint.arrays["ema"]
    if weights == "ema" and ema:
        state = {
            name.removeprefix("average."): array for name, array in ema.items() if name != "updates"
        }
    model.load_state_dict(state)
    return model.eval()


def pretrained(name: str) -> Module:
    """A network that this code trained and that ships with it: "mnist" (the guided UNet) or "lenet"
    (its judge).

    Raises ValueError for another name.
    """
    known = {path.stem: path for path in Path(__file__).with_name("weights").glob("*.safetensors")}
    if name not in known:
        raise ValueError(f"name must be one of {sorted(known)}; got {name!r}")
    return load(known[name])


def _described(name: str, config: dict) -> str:
    """ "UNet(channels=1, …)", the same for settings in any order, with tuples or with the lists that JSON has."""
    settings = sorted(json.loads(_json(config)).items())
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in settings)})"


def _json(value: Any) -> str:
    """As JSON text, in which NumPy's numbers and arrays are Python's."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"notes: given {type(value).__name__}, wanted what JSON can hold")
