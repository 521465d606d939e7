"""What other tools compute with exported networks: ONNX Runtime and PyTorch (the dev extra)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import minidiff as md
from minidiff import diffusion, export
from minidiff.export import torch_networks

ALPHA_BAR = diffusion.cosine_schedule(100).alpha_bar
STRAIGHT = diffusion.straight_schedule(100)
NETWORKS = {
    "unet": lambda: md.models.UNet(),
    "unet add": lambda: md.models.UNet(combine="add", multipliers=(1, 2, 4), channels=3),
    "unet multiply": lambda: md.models.UNet(combine="multiply", timesteps=4000),
    "unet without classes": lambda: md.models.UNet(classes=None, attention=False, width=8),
    "unet of vectors": lambda: md.models.UNet(condition_dim=7),
    "two times": lambda: md.models.MeanFlowUNet(width=8, multipliers=(1, 2)),
    "two times without classes": lambda: md.models.MeanFlowUNet(classes=None, timesteps=1000),
    "two times of vectors": lambda: md.models.MeanFlowUNet(condition_dim=7, combine="add"),
    "adm": lambda: md.models.ADMUNet(ALPHA_BAR),
    "adm in colour": lambda: md.models.ADMUNet(ALPHA_BAR, 3, (8, 24), mean=0.1, std=0.4),
    "adm with more attention": lambda: md.models.ADMUNet(ALPHA_BAR, 1, (8, 16), attention=(0, 1)),
    "adm without attention": lambda: md.models.ADMUNet(ALPHA_BAR, 1, (8, 16, 16), attention=()),
    "adm without classes": lambda: md.models.ADMUNet(ALPHA_BAR, classes=None),
    "adm of the velocity": lambda: md.models.ADMUNet(
        STRAIGHT.alpha_bar, 1, (8, 16), mean=0.1, std=0.4, predicts="velocity"
    ),
    "mlp": lambda: md.models.ConditionalMLP(),
    "mlp without classes": lambda: md.models.ConditionalMLP(64, None, 1000),
    "lenet 5": lambda: md.models.LeNet5(),
    "lenet": lambda: md.models.LeNet((13, 18, 3), 4),
    "mnist_adm": lambda: md.pretrained("mnist_adm"),
}


@pytest.fixture(params=NETWORKS)
def model(request):
    """With weights of which none is left at its start, a 0 or a 1."""
    model = NETWORKS[request.param]()
    rng = np.random.default_rng(1)
    if model.parameterization is None:
        for parameter in model.parameters():
            parameter.data += (0.02 * rng.standard_normal(parameter.shape)).astype(np.float32)
    return model.eval()


def inputs_of(model, times, batch=5, size=(28, 28)):
    rng = np.random.default_rng(2)
    config = model.config
    if isinstance(model, md.models.LeNet | md.models.LeNet5):
        shape = config.get("shape", (28, 28, 1))
        return {"x": rng.standard_normal((batch, *shape), np.float32)}
    inputs = {"x": rng.standard_normal((batch, *size, config.get("channels", 1)), np.float32)}
    if isinstance(model, md.models.ConditionalMLP):
        inputs["x"] = rng.standard_normal((batch, 2), np.float32)
    inputs["t"] = np.linspace(0, model.timesteps, batch)
    if times == "whole":
        inputs["t"] = inputs["t"].astype(int)
    else:  # numbers that float32 has
        inputs["t"] = inputs["t"].astype(np.float32).astype(float)
    if config.get("condition_dim"):
        inputs["condition"] = rng.standard_normal((batch, config["condition_dim"]), np.float32)
    elif config["classes"]:
        inputs["condition"] = np.arange(batch) % (config["classes"] + 1)
    if isinstance(model, md.models.MeanFlowUNet):
        inputs.setdefault("condition", None)
        inputs["r"] = inputs["t"][::-1].clip(max=inputs["t"])
    return inputs


def channels_first(array):
    return np.moveaxis(array, -1, 1).copy() if array.ndim == 4 else array


def close(got, want):
    """Equal to 1e-5 of the largest number."""
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * max(1, np.abs(want).max()))


def ours(model, inputs):
    with md.no_grad():
        return channels_first(model(*inputs.values()).numpy())


def onnx_runtimes(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {name: channels_first(x) for name, x in inputs.items() if x is not None}
    for time in feed.keys() & {"t", "r"}:
        feed[time] = feed[time].astype(np.float32)
    return session.run(["output"], feed)[0]


@pytest.mark.parametrize("times", ["whole", "real"])
def test_onnx_runtime_gives_the_same(tmp_path, model, times):
    path = export.save(tmp_path / "network.onnx", model)
    for batch, size in ((5, (28, 28)), (2, (13, 18))):  # a graph is for any batch and any size
        inputs = inputs_of(model, times, batch, size)
        close(onnx_runtimes(path, inputs), ours(model, inputs))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("times", ["whole", "real"])
def test_pytorch_gives_the_same(tmp_path, model, times, suffix):
    path = export.save(tmp_path / f"network{suffix}", model)
    peer = torch_networks.load(path)
    assert {p.dtype for p in peer.parameters()} == {torch.float32}
    inputs = inputs_of(model, times, size=(15, 22))
    with torch.inference_mode():
        tensors = {
            name: torch.from_numpy(channels_first(array))
            for name, array in inputs.items()
            if array is not None
        }
        got = peer(**tensors).numpy()
    close(got, ours(model, inputs))


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".safetensors"])
def test_back_again_nothing_has_changed(tmp_path, model, suffix):
    again = export.load(export.save(tmp_path / f"network{suffix}", model))
    assert type(again) is type(model) and not again.training
    assert json.dumps(again.config) == json.dumps(model.config)
    assert again.parameterization == model.parameterization
    state = again.state_dict()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(state[name], array, strict=True)


def test_what_pytorch_trained_comes_back(tmp_path):
    model = md.models.UNet(width=8, multipliers=(1, 2), attention=False)
    peer = torch_networks.load(export.save(tmp_path / "network.pt", model))
    x = torch.randn(2, 1, 28, 28)
    t = torch.tensor([3, 99])
    labels = torch.tensor([0, 4])
    peer(x, t, labels).square().mean().backward()
    torch.optim.SGD(peer.parameters(), lr=0.1).step()
    torch.save(peer.state_dict(), tmp_path / "trained.pt")
    with pytest.raises(ValueError, match="a bare state, wanted the `model`"):
        export.load(tmp_path / "trained.pt")
    trained = export.load(tmp_path / "trained.pt", model)
    with md.no_grad():
        got = trained(x.numpy().transpose(0, 2, 3, 1).copy(), t.numpy(), labels.numpy())
    close(channels_first(got.numpy()), peer(x, t, labels).detach().numpy())


def test_the_file_beside_the_weights_is_all_that_pytorch_needs(tmp_path):
    """In a process that cannot import minidiff."""
    export.save(tmp_path / "lenet.safetensors", md.pretrained("lenet"))
    code = """
import sys
from pathlib import Path
sys.modules["minidiff"] = None
import torch
from torch_networks import load
print(load("lenet.safetensors")(torch.ones(1, 1, 28, 28)).argmax().item())
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    want = ours(md.pretrained("lenet"), {"x": np.ones((1, 28, 28, 1), np.float32)}).argmax()
    assert int(done.stdout) == want


def test_a_graph_asks_for_float32_and_int64_alone(tmp_path):
    path = export.save(tmp_path / "network.onnx", md.pretrained("mnist_adm"))
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    kinds = {value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input]}
    assert kinds == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".safetensors"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = export.save(tmp_path / f"network{suffix}", md.models.LeNet5())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="damaged or something else"):
        export.load(path)


def test_the_programs_on_the_page_run(tmp_path, monkeypatch):
    """docs/other-tools.md; a LeNet reads the digits that ONNX Runtime drew."""
    page = Path(md.__file__).parents[1] / "docs" / "other-tools.md"
    drawing, in_one_pass, training = re.findall(
        r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    model = md.pretrained("mnist_adm")
    for suffix in (".onnx", ".pt"):
        export.save(f"digits{suffix}", model)
    export.save("one_pass.onnx", md.pretrained("mnist_one_pass"))
    names = {}
    exec(drawing, names)
    exec(in_one_pass, names)
    for drawn in (names["x"], names["digits"]):
        digits = np.ascontiguousarray(drawn.transpose(0, 2, 3, 1))
        assert (md.metrics.predict(md.pretrained("lenet"), digits) == [3, 1, 4, 1, 5]).all()
    exec(training, {})
    trained = export.load("trained.pt")
    assert trained.parameterization == model.parameterization
    assert (trained.enter.weight.data != model.enter.weight.data).any()
