"""One contestant, a process of its own that `contest.py` starts.

    python -m benchmarks.contestants NAME THREADS

It reads requests, one JSON list [task, arguments, warm, count] a line, and answers each with the
mean seconds of `count` calls after `warm` untimed ones, its peak memory, and a note. A task is a
method that gives a function and the note; float32 everywhere. What is drawn at random in a training
step (dropped labels, times, noise) is drawn inside the timed call.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TIMESTEPS = {"unet": 100, "mlp": 40}
DROPPED = 0.2  # the share of labels


class Ours:
    def __init__(self, threads, variant):
        import minidiff as md

        self.md = md
        self.threads = threads
        md.set_num_threads(threads)

    def describe(self):
        import numba
        from threadpoolctl import threadpool_info

        md = self.md
        md.ops.matmul(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32))
        blas = [
            f"{p['internal_api']} {p['version']} ({p.get('architecture')})"
            for p in threadpool_info()
        ]
        numpy = f"NumPy {np.__version__} with {', '.join(blas)}"
        return f"minidiff: {self.threads} threads; {numpy}; Numba {numba.__version__}"

    def train(self, batch, width=16, size=28):
        x0 = np.random.default_rng(0).uniform(-1, 1, (batch, size, size, 1)).astype(np.float32)
        model = self.md.models.UNet(width=width, timesteps=TIMESTEPS["unet"])
        schedule = self.md.diffusion.cosine_schedule(TIMESTEPS["unet"])
        return self._step(model, schedule, x0, classes=10), "Adam"

    def mlp(self, batch):
        x0 = np.random.default_rng(0).uniform(-1, 1, (batch, 2)).astype(np.float32)
        model = self.md.models.ConditionalMLP(timesteps=TIMESTEPS["mlp"])
        schedule = self.md.diffusion.linear_schedule(TIMESTEPS["mlp"])
        return self._step(model, schedule, x0, classes=3), "Adam"

    def _step(self, model, schedule, x0, classes):
        md = self.md
        rng = np.random.default_rng(0)
        labels = rng.integers(1, classes + 1, len(x0))
        optimizer = md.optim.Adam(model.parameters(), lr=1e-3)

        def step():
            dropped = md.diffusion.label_dropout(labels, DROPPED, rng)
            loss = md.diffusion.loss(model, schedule, x0, dropped, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return step

    def forward(self, batch):
        md = self.md
        x = np.random.default_rng(0).standard_normal((batch, 28, 28, 1), np.float32)
        t = np.full(batch, 50)
        labels = np.arange(batch) % 11
        model = md.sharded(md.models.UNet(timesteps=TIMESTEPS["unet"]).eval())

        def forward():
            with md.no_grad():
                model(x, t, labels)

        return forward, "sharded, no_grad"

    def layer(self, batch, size, kernel, inputs, outputs, stride, padding, dilation, groups):
        from threadpoolctl import threadpool_limits

        threadpool_limits(self.threads)  # `sharded` does that, which is not in play here
        md = self.md
        rng = np.random.default_rng(0)

        def leaf(*shape):
            return md.Tensor(rng.standard_normal(shape, np.float32), requires_grad=True)

        x = leaf(batch, size, size, inputs)
        w = leaf(kernel, kernel, inputs // groups, outputs)
        b = leaf(outputs)
        convolve = lambda: md.ops.conv2d(x, w, b, stride, padding, dilation, groups)
        g = rng.standard_normal(convolve().shape, np.float32)

        def layer():
            x.grad = w.grad = b.grad = None
            convolve().backward(g)

        return layer, "conv2d"


class Torch:
    """PyTorch: `variant` is "nchw", "channels_last" or "compiled".

    Compiled means NCHW, static shapes, and the loss or the network as a whole.
    """

    def __init__(self, threads, variant):
        import torch

        self.torch = torch
        self.threads = threads
        self.compiled = variant == "compiled"
        torch.set_num_threads(threads)
        self.layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format

    def describe(self):
        capability = self.torch.backends.cpu.get_cpu_capability()
        threads = self.torch.get_num_threads()
        return f"PyTorch {self.torch.__version__} ({capability}), {threads} threads"

    def train(self, batch, width=16, size=28):
        from benchmarks.peer import UNet

        x0 = self.torch.empty(batch, 1, size, size).uniform_(-1, 1).to(memory_format=self.layout)
        model = UNet(width=width, timesteps=TIMESTEPS["unet"]).to(memory_format=self.layout)
        phase = self.torch.linspace(0, 1, TIMESTEPS["unet"] + 1) * np.pi / 2
        return self._step(model, self.torch.cos(phase) ** 2, x0, classes=10)

    def mlp(self, batch):
        from benchmarks.peer import ConditionalMLP

        x0 = self.torch.empty(batch, 2).uniform_(-1, 1)
        model = ConditionalMLP(timesteps=TIMESTEPS["mlp"])
        alpha_bar = self.torch.linspace(1, 0.01, TIMESTEPS["mlp"] + 1)
        return self._step(model, alpha_bar, x0, classes=3)

    def _step(self, model, alpha_bar, x0, classes):
        torch = self.torch
        batch = len(x0)
        labels = torch.randint(1, classes + 1, (batch,))
        one_a_sample = (batch, *(1,) * (x0.ndim - 1))
        alpha = alpha_bar.sqrt()
        sigma = (1 - alpha_bar).sqrt()

        def loss(t, labels, noise):
            x = alpha[t].view(one_a_sample) * x0 + sigma[t].view(one_a_sample) * noise
            return torch.nn.functional.mse_loss(model(x, t, labels), noise)

        loss = torch.compile(loss, dynamic=False) if self.compiled else loss

        def backward():
            dropped = torch.where(torch.rand(batch) < DROPPED, 0, labels)
            t = torch.randint(1, len(alpha_bar), (batch,))
            loss(t, dropped, torch.randn_like(x0)).backward()

        backward()
        optimizer, name = self._fastest_adam(model)

        def step():
            optimizer.zero_grad()
            backward()
            optimizer.step()

        return step, name

    def _fastest_adam(self, model):
        """Of PyTorch's three Adams the one with the quickest step; each takes ten."""
        variants = {
            "fused": {"fused": True},
            "foreach": {"foreach": True},
            "for loop": {"foreach": False},
        }
        optimizers = {}
        quickest = {}
        for name, options in variants.items():
            optimizers[name] = self.torch.optim.Adam(model.parameters(), lr=1e-3, **options)
            optimizers[name].step()  # makes its state
            seconds = []
            for _ in range(10):
                start = time.perf_counter()
                optimizers[name].step()
                seconds.append(time.perf_counter() - start)
            quickest[name] = min(seconds)
        best = min(quickest, key=quickest.get)
        return optimizers[best], f"Adam {best}"

    def forward(self, batch):
        from benchmarks.peer import UNet

        torch = self.torch
        model = UNet(timesteps=TIMESTEPS["unet"]).eval().to(memory_format=self.layout)
        model = torch.compile(model, dynamic=False) if self.compiled else model
        x = torch.randn(batch, 1, 28, 28).to(memory_format=self.layout)
        t = torch.full((batch,), 50)
        labels = torch.arange(batch) % 11

        def forward():
            with torch.inference_mode():
                model(x, t, labels)

        return forward, "inference_mode"

    def layer(self, batch, size, kernel, inputs, outputs, stride, padding, dilation, groups):
        torch = self.torch

        def leaf(*shape):
            return torch.randn(shape).to(memory_format=self.layout).requires_grad_()

        x = leaf(batch, inputs, size, size)
        w = leaf(outputs, inputs // groups, kernel, kernel)
        b = torch.randn(outputs, requires_grad=True)
        convolve = lambda: torch.nn.functional.conv2d(x, w, b, stride, padding, dilation, groups)
        g = torch.randn_like(convolve())
        return lambda: torch.autograd.grad(convolve(), (x, w, b), g), "conv2d"


class Exported:
    """The network as ONNX, exported from PyTorch for one batch size by another process."""

    def __init__(self, threads, variant):
        self.threads = threads

    def forward(self, batch):
        inputs = {
            "x": np.random.default_rng(0).standard_normal((batch, 1, 28, 28), np.float32),
            "t": np.full(batch, 50),
            "labels": np.arange(batch) % 11,
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "unet.onnx"
            subprocess.run([sys.executable, "-m", "benchmarks.peer", str(batch), path], check=True)
            return self.load(path, inputs), "float32"


class OnnxRuntime(Exported):
    def describe(self):
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}, {self.threads} threads"

    def load(self, path, inputs):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, inputs)


class OpenVino(Exported):
    def __init__(self, threads, variant):
        super().__init__(threads, variant)
        sys.modules["openvino_telemetry"] = None  # it would fork a process, which sends a report

    def describe(self):
        import openvino

        return f"OpenVINO {openvino.__version__.partition('-')[0]}, {self.threads} threads"

    def load(self, path, inputs):
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
        }
        request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
        return lambda: request.infer(inputs)


KINDS = {"ours": Ours, "torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def main():
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    kind, _, variant = sys.argv[1].partition("-")
    contestant = KINDS[kind](int(sys.argv[2]), variant)
    tasks = {}
    for line in sys.stdin:
        name, arguments, warm, count = json.loads(line)
        if name == "describe":
            answer = {"note": contestant.describe()}
        else:
            key = name, *arguments
            if key not in tasks:
                tasks[key] = getattr(contestant, name)(*arguments)
            function, note = tasks[key]
            seconds = mean_seconds(function, warm, count)
            answer = {"seconds": seconds, "peak": peak_memory(), "note": note}
        print(json.dumps(answer), file=answers, flush=True)


def mean_seconds(function, warm, count):
    for _ in range(warm):
        function()
    start = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - start) / max(count, 1)


def peak_memory():
    """The peak resident memory of this process, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
