"""Files that other tools read: what is in each, and how it is read again.

All three kinds hold the weights under minidiff's names, as PyTorch lays them out (`layouts`), and
say beside them what is needed to build the network:

    {"network": its class, "config": what it is built from,
     "parameterization": {"predicts", "learned_variance", "sample_shape", "beta"}, or null}

A path has "alpha" and "sigma" in place of "beta".

    .onnx          initializers; the graph; the rest in its metadata, as JSON under "minidiff"
    .pt            a dict of the above and "state_dict", by torch.save
    .safetensors   tensors; the rest in the metadata, as JSON under "network"
"""

import io
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..diffusion import Parameterization
from ..diffusion.paths import schedule_of
from ..nn import Module
from ..storage import Checkpoint
from .layouts import as_pytorch

SUFFIXES = {"onnx": ".onnx", "torch": ".pt", "safetensors": ".safetensors"}


class Exported(NamedTuple):
    """What a file holds: the weights as PyTorch lays them out, and what it says of the network.

    `about` is None where it says nothing, as a bare state dict does.
    """

    about: dict[str, Any] | None
    state: Mapping[str, np.ndarray]


def exported(model: Module) -> Exported:
    """What a file is to hold of a model."""
    about = {
        "network": type(model).__name__,
        "config": model.config,
        "parameterization": None,
    }
    own = model.parameterization
    if own is not None:
        shape = own.sample_shape
        about["parameterization"] = {
            "predicts": own.predicts,
            "learned_variance": own.learned_variance,
            "sample_shape": None if shape is None else list(shape),
            **{name: table.tolist() for name, table in own.schedule.tables().items()},
        }
    return Exported(json.loads(json.dumps(about)), as_pytorch(model))


def as_safetensors(content: Exported) -> bytes:
    from safetensors.numpy import save

    return save(dict(content.state), {"network": json.dumps(content.about)})


def as_torch(content: Exported) -> bytes:
    torch = needed("torch", "a .pt file")
    state = {name: torch.from_numpy(array.copy()) for name, array in content.state.items()}
    file = io.BytesIO()
    torch.save({**(content.about or {}), "state_dict": state}, file)
    return file.getvalue()


def needed(module: str, what: str) -> Any:
    """A module of another tool; ImportError that says what to install."""
    try:
        return import_module(module)
    except ImportError:
        raise ImportError(f"{what} needs {module}: type pip install {module}") from None


def read(path: Path) -> Exported:
    """What is in a file that another tool may have written.

    Raises FileNotFoundError, and ValueError for a file that is damaged or something else.
    """
    readers = {".onnx": _of_onnx, ".pt": _of_torch, ".safetensors": _of_safetensors}
    if path.suffix not in readers:
        raise ValueError(f"path: given {path}, wanted one of {', '.join(readers)}")
    if not path.is_file():
        raise FileNotFoundError(f"path: given {path}, wanted a file: there is none")
    try:
        return readers[path.suffix](path)
    except ImportError:
        raise
    except Exception as error:  # each tool has errors of its own for what it cannot read
        raise ValueError(f"path: given {path}, damaged or something else: {error!r}") from None


def _of_safetensors(path: Path) -> Exported:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        about = json.loads((file.metadata() or {}).get("network", "null"))
        return Exported(about, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def _of_torch(path: Path) -> Exported:
    torch = needed("torch", "a .pt file")
    content = torch.load(path, map_location="cpu", weights_only=True)
    about = None
    state = content
    if "state_dict" in content:
        state = content["state_dict"]
        about = {key: value for key, value in content.items() if key != "state_dict"}
    return Exported(about, {name: tensor.numpy() for name, tensor in state.items()})


def _of_onnx(path: Path) -> Exported:
    onnx = needed("onnx", "an .onnx file")
    model = onnx.load(path)
    about = {entry.key: entry.value for entry in model.metadata_props}
    state = {
        entry.name: onnx.numpy_helper.to_array(entry)
        for entry in model.graph.initializer
        if not entry.name.startswith("constant_")
    }
    return Exported(json.loads(about.get("minidiff", "null")), state)


def as_checkpoint(content: Exported, path: Path) -> Checkpoint:
    """What a file says of a network, as a checkpoint without weights.

    ValueError where it says nothing, or what cannot be.
    """
    about = content.about
    if about is None:
        raise ValueError(
            f"path: given {path}, a bare state, wanted the `model` that it is of beside it"
        )
    try:
        own = about["parameterization"]
        if own is not None:
            names = own.keys() & {"beta", "alpha", "sigma"}
            tables = {name: np.array(own[name]) for name in names}
            settings = {name: value for name, value in own.items() if name not in names}
            own = Parameterization(schedule_of(tables), **settings)
        return Checkpoint(about["network"], about["config"], own, {"model": {**content.state}}, {})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"path: given {path}, damaged: {error!r}") from None
