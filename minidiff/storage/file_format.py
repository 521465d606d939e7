"""A checkpoint as the bytes of a safetensors file, and back.

    tensors    model.<name>, ema.<name>, optimizer.<name>, parts.<part>.<name>, schedule.beta,
               or, of a path, schedule.alpha and schedule.sigma
    metadata   {"minidiff": JSON of the model's class and configuration, of what it predicts, of
               what else was given (step, seed, …), and of the file's checksum}

The checksum is the SHA-256 of the whole file, in which 64 zeros stand for the checksum itself: a
single bit that is another one, anywhere, is found.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..diffusion import Parameterization
from ..diffusion.paths import schedule_of

_FORMAT = 3
_BEFORE_HASHING = "0" * 64


class DamagedError(ValueError):
    """A file that is cut short, that has a wrong bit, or that is no checkpoint at all."""


class Checkpoint(NamedTuple):
    """What a file holds."""

    model: str  # the class's name
    config: dict  # what the model is built from
    parameterization: Parameterization | None  # of a model that `diffusion.loss` trained
    arrays: dict[str, dict[str, np.ndarray]]  # by group, then by name
    notes: dict[str, Any]

    def __repr__(self) -> str:
        counts = {group: len(arrays) for group, arrays in self.arrays.items()}
        return f"Checkpoint({described(self.model, self.config)}, arrays: {counts})"


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The content of a file. TypeError for notes that JSON cannot hold."""
    from safetensors.numpy import save as safetensors

    about = {
        "format": _FORMAT,
        "model": checkpoint.model,
        "config": checkpoint.config,
        "parameterization": None,
        "notes": checkpoint.notes,
        "sha256": _BEFORE_HASHING,
    }
    own = checkpoint.parameterization
    if own is not None:
        about["parameterization"] = {
            "predicts": own.predicts,
            "learned_variance": own.learned_variance,
            "sample_shape": own.sample_shape,
        }
    arrays = {
        f"{group}.{name}": array
        for group, of_group in checkpoint.arrays.items()
        for name, array in of_group.items()
    }
    content = safetensors(arrays, {"minidiff": _json(about)})
    start = _checksum_in(content, _BEFORE_HASHING)
    sha256 = hashlib.sha256(content).hexdigest().encode()
    return content[:start] + sha256 + content[start + len(sha256) :]


def _checksum_in(content: bytes, sha256: str) -> int:
    """Where the checksum stands: last in the header's JSON, in which quotes are escaped."""
    stop = 8 + int.from_bytes(content[:8], "little")
    key = b'\\"sha256\\": \\"'
    return content.rindex(key + sha256.encode(), 0, stop) + len(key)


def parsed(content: bytes, path: Path) -> Checkpoint:
    """The checkpoint in the bytes of a file, after its checksum was found to be right.

    DamagedError names `path`; ValueError for a file of another format.
    """
    about = _about(content, path)
    if "sha256" in about or about["format"] == _FORMAT:  # the wrong bit may be the format's
        _check_sum(content, about, path)
    if about["format"] != _FORMAT:
        raise ValueError(f"path: given {path} of format {about['format']}, wanted format {_FORMAT}")
    return _contents(content, about, path)


def _about(content: bytes, path: Path) -> dict:
    """The metadata of a safetensors file that `save` wrote."""
    stop = 8 + int.from_bytes(content[:8], "little")
    try:
        if not 8 < stop <= len(content):
            raise ValueError("its header is longer than the file, or empty")
        header = json.loads(content[8:stop])
        about = json.loads(header.get("__metadata__", {}).get("minidiff", "null"))
        is_ours = isinstance(about, dict) and "format" in about
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise _damaged(path, content, error) from None
    if not is_ours:
        raise DamagedError(
            f"path: given {path}, a safetensors file, wanted one that minidiff.save wrote"
        )
    return about


def _check_sum(content: bytes, about: dict, path: Path) -> None:
    """Refuse a file that has another checksum than it says, or none."""
    sha256 = about.get("sha256")
    try:
        if not isinstance(sha256, str) or len(sha256) != len(_BEFORE_HASHING):
            raise ValueError("it has no checksum")
        start = _checksum_in(content, sha256)
        found = hashlib.sha256(content[:start])
        found.update(_BEFORE_HASHING.encode())
        found.update(memoryview(content)[start + len(sha256) :])
        if found.hexdigest() != sha256:
            raise ValueError("its checksum is another one")
    except ValueError as error:
        raise _damaged(path, content, error) from None


def _contents(content: bytes, about: dict, path: Path) -> Checkpoint:
    """The checkpoint in a file whose checksum is right."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as safetensors

    arrays: dict[str, dict[str, np.ndarray]] = {
        group: {} for group in ("model", "ema", "optimizer", "parts", "schedule")
    }
    try:
        for key, array in safetensors(content).items():
            group, _, name = key.partition(".")
            arrays[group][name] = array
        parameterization = _parameterization(about["parameterization"], arrays)
        for key, kind in {"model": str, "config": dict, "notes": dict}.items():
            if not isinstance(about[key], kind):
                raise ValueError(f"its {key} is no {kind.__name__}")
        return Checkpoint(about["model"], about["config"], parameterization, arrays, about["notes"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, content, error) from None


def _damaged(path: Path, content: bytes, error: Exception) -> DamagedError:
    return DamagedError(
        f"path: given {path} ({len(content)} bytes), wanted a checkpoint: "
        f"it is truncated, damaged or something else: {error}"
    )


def _parameterization(saved: dict | None, arrays: dict) -> Parameterization | None:
    """What the model predicts, and its schedule, where it has any."""
    if saved is None:
        return None
    return Parameterization(schedule_of(arrays["schedule"]), **saved)


def described(name: str, config: dict) -> str:
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
