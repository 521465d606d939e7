"""Saving and loading: what a file takes of a model, and the model that it gives."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks, models
from ..disk import write_whole
from ..nn import Module
from ..optim import EMA
from .file_format import Checkpoint, described, parsed, to_bytes


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
    scaling, …). Raises TypeError for notes that JSON cannot hold, FloatingPointError where a
    weight, an average or a number of the optimiser is not finite, OSError if the disk fails; an
    older file at `path` is untouched then.
    """
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
    write_whole(path, to_bytes(taken(model, ema, optimizer, {}, notes)))
    return path


def taken(
    model: Module,
    ema: EMA | None,
    optimizer: Any,
    parts: Mapping[str, Any],
    notes: Mapping[str, Any],
) -> Checkpoint:
    """What a file is to hold, copied: the live model may go on.

    `parts` are things by name that have a `state_dict`. FloatingPointError names the first array
    of weights, averages or the optimiser that is not finite. Buffers may hold infinities.
    """
    arrays: dict[str, dict[str, np.ndarray]] = {
        group: {} if source is None else source.state_dict()
        for group, source in {"model": model, "ema": ema, "optimizer": optimizer}.items()
    }
    buffers = {name for name, _ in model.named_buffers()}
    buffers |= {f"{owner}.{name}" for owner in ("average", "second.average") for name in buffers}
    for group, of_group in arrays.items():
        for name, array in of_group.items():
            if name not in buffers:
                _check_finite(f"{group}.{name}", array)
    arrays["parts"] = {
        f"{part}.{name}": np.asarray(array)
        for part, source in parts.items()
        for name, array in source.state_dict().items()
    }
    own = model.parameterization
    arrays["schedule"] = {} if own is None else own.schedule.tables()
    return Checkpoint(type(model).__name__, model.config, own, arrays, dict(notes))


def _check_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    count = np.count_nonzero(~np.isfinite(array))
    raise FloatingPointError(
        f"{name}: given {count} of {array.size} numbers that are not finite, wanted none"
    )


def read(path: str | os.PathLike, model: Module | None = None) -> Checkpoint:
    """The content of a checkpoint, after its checksum was found to be right.

    Raises FileNotFoundError if there is none, ValueError if the file is truncated, damaged (then a
    `DamagedError`) or something else, or if it was not written from a model of the class and
    configuration of `model`.
    """
    path = checks.path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"path: given {path}, wanted a checkpoint: there is no such file")
    checkpoint = parsed(path.read_bytes(), path)
    if model is not None:
        saved = described(checkpoint.model, checkpoint.config)
        here = described(type(model).__name__, model.config)
        if saved != here:
            raise ValueError(f"path: given {path}, the checkpoint of {saved}, wanted one of {here}")
    return checkpoint


def load(path: str | os.PathLike, model: Module | None = None, weights: str = "ema") -> Module:
    """The model of a checkpoint, rebuilt, in eval mode, with what it predicts and its schedule.

    A class that is not in `minidiff.models` must be given built, as `model`. `weights`: "ema" for
    the averaged weights where there are some, "raw" for those that the optimiser had. Raises as
    `read`, and ValueError for another `weights`, or if `model` is not the model that was saved.
    """
    checks.among("weights", weights, ("ema", "raw"))
    checkpoint = read(path, model)
    if model is None:
        model = built(checkpoint, path)
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


def built(checkpoint: Checkpoint, path: str | os.PathLike) -> Module:
    """A new model of the class and configuration that were saved.

    The file may be a stranger's: a model that is much larger than its weights is not built.
    """
    if checkpoint.model not in models.__all__:
        raise ValueError(
            f"path: given {path}, which holds a {checkpoint.model}, not in minidiff.models; "
            "wanted a built `model` beside it"
        )
    numbers = sum(array.size for array in checkpoint.arrays["model"].values())
    own = checkpoint.parameterization
    try:
        with checks.at_most(2 * numbers + 1000):
            model = getattr(models, checkpoint.model)(**checkpoint.config)
        if own is not None and model.timesteps != own.schedule.timesteps:
            raise ValueError(
                f"a model of {model.timesteps} times has a schedule of {own.schedule.timesteps}"
            )
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"path: given {path}, damaged, wanted a checkpoint: {error}") from None
    return model


def pretrained(name: str) -> Module:
    """A network that this code trained and that ships with it.

    "mnist_adm" is the demo's network, trained for longer, "mnist" the published one, and
    "mnist_one_pass" draws by `diffusion.mean_flow`; "lenet" judges what they draw, and so does
    "judge", of another kind; "patterns" is the MLP of three patterns in the plane, where 1 is the
    spiral, 2 the s-curve, 3 the moons, and 0 all three. Beside its weights lies a card that says
    how a network was made, and what it can do. Raises ValueError for another name.
    """
    paths = (Path(__file__).parents[1] / "weights").glob("*.safetensors")
    known = {path.stem: path for path in sorted(paths)}
    return load(known[checks.among("name", name, known)])
