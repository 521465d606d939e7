"""The peer: minidiff's networks in PyTorch, those of `minidiff/export/torch_networks.py`.

    python -m benchmarks.peer BATCH FILE

writes the UNet in eval mode, for batches of that size, as torch.onnx.export does it. The networks
are imported without minidiff, so that a peer's memory is its own.
"""

import importlib.util
import sys
from pathlib import Path

import torch

FILE = Path(__file__).parents[1] / "minidiff" / "export" / "torch_networks.py"


def networks():
    """The module torch_networks."""
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[FILE.stem] = module
    spec.loader.exec_module(module)
    return module


_networks = networks()
UNet = _networks.UNet
ADMUNet = _networks.ADMUNet
ConditionalMLP = _networks.ConditionalMLP


if __name__ == "__main__":
    batch = int(sys.argv[1])
    path = sys.argv[2]
    ones = torch.ones(batch, dtype=torch.int64)
    torch.onnx.export(
        UNet().eval(),
        (torch.zeros(batch, 1, 28, 28), ones, ones.clone()),
        path,
        input_names=["x", "t", "labels"],
        output_names=["y"],
        external_data=False,
    )
