"""Networks in other tools' files, as far as it can be seen without the other tools.

`tests/oracles/test_export_elsewhere.py` asks ONNX Runtime and PyTorch.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

import minidiff as md
from minidiff import export, nn
from minidiff.export.layouts import as_pytorch, from_pytorch


def run(*words):
    """`python -m minidiff.export`: its exit status, and what it prints."""
    command = [sys.executable, "-m", "minidiff.export", *map(str, words)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


def test_a_checkpoint_goes_to_safetensors_and_back(tmp_path):
    model = md.pretrained("patterns")
    checkpoint = md.save(tmp_path / "patterns.safetensors", model)
    status, text = run(checkpoint, "--to", "safetensors")
    exported = tmp_path / "patterns-safetensors.safetensors"
    assert (status, text) == (0, f"written: {exported}\n")
    assert (tmp_path / "torch_networks.py").is_file()
    status, text = run(exported, "--to", "minidiff", "--out", tmp_path / "again.safetensors")
    assert status == 0, text
    again = md.load(tmp_path / "again.safetensors")
    assert again.parameterization == model.parameterization
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name], strict=True)


def test_the_file_holds_float32_in_pytorchs_layout(tmp_path):
    model = md.models.UNet()
    path = export.save(tmp_path / "unet.safetensors", model)
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()["network"])["config"] == model.config
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float32)}
    assert tensors["down.0.weight"].shape == (16, 16, 4, 4)
    ours = model.down[1].weight.data
    np.testing.assert_array_equal(tensors["down.1.weight"][3, 5, 2, 1], ours[2, 1, 5, 3])
    np.testing.assert_array_equal(
        tensors["embedding.time1.weight"].T, model.embedding.time1.weight.data
    )
    table = model.embedding.condition.weight.data
    np.testing.assert_array_equal(tensors["embedding.condition.weight"], table)


def test_each_layout_and_its_way_back():
    rng = np.random.default_rng(0)
    layers = {  # and the shape of its weight in PyTorch
        "conv2d": (nn.Conv2d(4, 6, 3, rng, groups=2), (6, 2, 3, 3)),
        "conv1d": (nn.Conv1d(4, 6, 3, rng), (6, 4, 3)),
        "transposed": (nn.ConvTranspose2d(4, 6, 3, rng), (4, 6, 3, 3)),
        "dense": (nn.Dense(4, 6, rng), (6, 4)),
        "embedding": (nn.Embedding(4, 6, rng), (4, 6)),
        "norm": (nn.BatchNorm2d(4), (4,)),
    }
    model = nn.Module()
    for name, (layer, _) in layers.items():
        setattr(model, name, layer)
    state = as_pytorch(model)
    for name, (_, shape) in layers.items():
        assert state[f"{name}.weight"].shape == shape
    back = from_pytorch(model, state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(back[name], array, strict=True)


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"suffix: given '\.h5', wanted"):
        export.save(tmp_path / "network.h5", md.models.LeNet5())
    with pytest.raises(ValueError, match="model: given Dense, wanted one of UNet, "):
        export.save(tmp_path / "network.safetensors", nn.Dense(1, 1, 0))
    with pytest.raises(FileNotFoundError, match="wanted a file: there is none"):
        export.load(tmp_path / "network.safetensors")
    assert not list(tmp_path.iterdir())
    status, text = run(tmp_path / "none.safetensors", "--to", "safetensors")
    assert status == 2 and text.count("\n") == 1 and "there is no such file" in text


def test_weights_of_another_network_are_refused(tmp_path):
    path = export.save(tmp_path / "network.safetensors", md.models.UNet())
    model = md.models.UNet(width=8)
    before = model.state_dict()
    with pytest.raises(ValueError, match="wrong shape"):
        export.load(path, model)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_checkpoint_is_no_exported_file(tmp_path):
    """It holds other names, and its weights lie another way."""
    path = md.save(tmp_path / "checkpoint.safetensors", md.models.LeNet5())
    with pytest.raises(ValueError, match="a bare state, wanted"):
        export.load(path)


def test_a_missing_tool_is_named(tmp_path, monkeypatch):
    for module in ("onnx", "torch"):
        monkeypatch.setitem(sys.modules, module, None)
    for suffix, tool in ((".onnx", "onnx"), (".pt", "torch")):
        with pytest.raises(ImportError, match=f"needs {tool}: type pip install {tool}"):
            export.save(tmp_path / f"network{suffix}", md.models.LeNet5())
