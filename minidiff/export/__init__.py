"""Networks for other tools, and back: ONNX, PyTorch, safetensors.

    md.export.save("digits.onnx", model)            # runs in ONNX Runtime and its like
    md.export.save("digits.pt", model)              # PyTorch's, with the network beside it
    md.export.save("digits.safetensors", model)     # the same weights, written without PyTorch
    model = md.export.load("digits.pt")             # any of these, back

`files` says what is in a file, `layouts` how its weights lie. `onnx_networks` writes networks as
ONNX graphs, out of `onnx_layers`, on an `onnx_graph`. `torch_networks` is the networks in PyTorch:
it imports nothing of this package, and is written beside the weights. docs/other-tools.md has the
table of layers, and programs that draw with each.
"""

import os
from pathlib import Path

from .. import checks
from ..disk import write_whole
from ..nn import Module
from ..storage.checkpoints import built
from . import files
from .layouts import from_pytorch
from .onnx_networks import as_onnx

__all__ = ["load", "save"]

NETWORK_FILE = "torch_networks.py"
NETWORKS = ("UNet", "MeanFlowUNet", "ADMUNet", "ConditionalMLP", "LeNet", "LeNet5")


def save(path: str | os.PathLike, model: Module) -> Path:
    """Write a network for another tool, which its suffix tells; gives the path.

    ".onnx" needs the package onnx, ".pt" torch. Beside ".pt" and ".safetensors" the file
    torch_networks.py is written: the networks in PyTorch, and `load` for what was written here.
    Weights stay float32. Raises ValueError for a network that is none of minidiff's own, or for
    another suffix, ImportError where the other tool's package is missing.
    """
    path = checks.path("path", path)
    checks.among("path's suffix", path.suffix, list(files.SUFFIXES.values()))
    name = type(model).__name__
    if name not in NETWORKS:
        raise ValueError(f"model: given {name}, wanted one of {', '.join(NETWORKS)}")
    content = files.exported(model)
    if path.suffix == ".onnx":
        write_whole(path, as_onnx(model, content))
        return path
    write_whole(path, (files.as_torch if path.suffix == ".pt" else files.as_safetensors)(content))
    network = Path(__file__).with_name(NETWORK_FILE)
    write_whole(path.with_name(NETWORK_FILE), network.read_bytes())
    return path


def load(path: str | os.PathLike, model: Module | None = None) -> Module:
    """The network of a file that `save` wrote, also where PyTorch has trained it on, in eval mode.

    A bare state dict of PyTorch says nothing of its network: give the `model` that it is of, built;
    the weights are put into it. Raises FileNotFoundError, ValueError for a file that is damaged or
    whose weights are not the network's, ImportError where the other tool's package is missing.
    """
    path = checks.path("path", path)
    content = files.read(path)
    if model is None:
        checkpoint = files.as_checkpoint(content, path)
        model = built(checkpoint, path)
        model.parameterization = checkpoint.parameterization
    model.load_state_dict(from_pytorch(model, content.state))
    return model.eval()
