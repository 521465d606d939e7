"""One contestant, a process of its own that `contest.py` starts: python -m benchmarks.contestants
NAME THREADS

It reads requests, one JSON list [task, arguments, warm, count] a line, and answers each with the
mean seconds of `count` calls after `warm` untimed ones, its peak memory, and a note. A task is a
method that builds a function; float32 everywhere. What is drawn at random in a training step
(dropped labels, times, noise) is drawn inside the timed call.
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

TIMESTEPS, DROPPED = {"unet": 100, "mlp": 40}, 0.2


class Ours:
    def __init__(self, threads, variant):
        import minidiff as md

        self.md, self.threads = md, threads
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
        return self._step(
            model, self.md.diffusion.cosine_schedule(TIMESTEPS["unet"]), x0, 10
        ), "Adam"

    def mlp(self, batch):
        x0 = np.random.default_rng(0).uniform(-1, 1, (batch, 2)).astype(np.float32)
        model = self.md.models.ConditionalMLP(timesteps=TIMESTEPS["mlp"])
        return self._step(model, self.md.diffusion.linear_schedule(TIMESTEPS["mlp"]), x0, 3), "Adam"

    def _step(self, model, schedule, x0, classes):
        md, rng = self.md, np.random.default_rng(0)
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
        md, rng = self.md, np.random.default_rng(0)
        x, t, labels = (
            rng.standard_normal((batch, 28, 28, 1), np.float32),
            np.full(batch, 50),
            np.arange(batch) % 11,
        )
        model = md.sharded(md.models.UNet(timesteps=TIMESTEPS["unet"]).eval())

        def forward():
            with md.no_grad():
                model(x, t, labels)

        return forward, "sharded, no_grad"

    def layer(self, batch, size, kernel, inputs, outputs, stride, padding, dilation, groups):
        from threadpoolctl import threadpool_limits

        threadpool_limits(self.threads)  # `sharded` does that, which is not in play here
        md, rng = self.md, np.random.default_rng(0)
        x, w, b = (
            md.Tensor(rng.standard_normal(shape, np.float32), requires_grad=True)
            for shape in (
                (batch, size, size, inputs),
                (kernel, kernel, inputs // groups, outputs),
                (outputs,),
            )
        )
        convolve = lambda: md.ops.conv2d(x, w, b, stride, padding, dilation, groups)
        g = rng.standard_normal(convolve().shape, np.float32)

        def layer():
            x.grad = w.grad = b.grad = None
            convolve().backward(g)

        return layer, "conv2d"


class Torch:
    """`variant` is "nchw", "channels_last" or "compiled": NCHW, static shapes, the loss or the network as a whole."""

    def __init__(self, threads, variant):
        import torch

        self.torch, self.threads, self.compiled = torch, threads, variant == "compiled"
        torch.set_num_threads(threads)
        self.layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format

    def describe(self):
        capability = self.torch.backends.cpu.get_cpu_capability()
        return f"PyTorch {self.torch.__version__} ({capability}), {self.torch.get_num_threads()} threads"

    def train(self, batch, width=16, size=28):
        from benchmarks.peer import UNet

        x0 = self.torch.empty(batch, 1, size, size).uniform_(-1, 1).to(memory_format=self.layout)
        model = UNet(width, timesteps=TIMESTEPS["unet"]).to(memory_format=self.layout)
        phase = self.torch.linspace(0, 1, TIMESTEPS["unet"] + 1) * np.pi / 2
        return self._step(model, self.torch.cos(phase) ** 2, x0, 10)

    def mlp(self, batch):
        from benchmarks.peer import ConditionalMLP

        model, x0 = (
            ConditionalMLP(timesteps=TIMESTEPS["mlp"]),
            self.torch.empty(batch, 2).uniform_(-1, 1),
        )
        return self._step(model, self.torch.linspace(1, 0.01, TIMESTEPS["mlp"] + 1), x0, 3)

    def _step(self, model, alpha_bar, x0, classes):
        torch, batch = self.torch, len(x0)
        labels = torch.randint(1, classes + 1, (batch,))
        each = (batch, *(1,) * (x0.ndim - 1))
        signal, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

        def loss(t, labels, noise):
            x = signal[t].view(each) * x0 + sigma[t].view(each) * noise
            return torch.nn.functional.mse_loss(model(x, t, labels), noise)

        loss = torch.compile(loss, dynamic=False) if self.compiled else loss

        def backward():
            dropped = torch.where(torch.rand(batch) < DROPPED, 0, labels)
            loss(
                torch.randint(1, len(alpha_bar), (batch,)), dropped, torch.randn_like(x0)
            ).backward()

        backward()
        optimizer, name = self._fastest_adam(model)

        def step():
            optimizer.zero_grad()
            backward()
            optimizer.step()

        return step, name

    def _fastest_adam(self, model):
        """PyTorch has three Adams; each takes ten steps, and the one with the quickest step stays."""
        variants = {
            "fused": {"fused": True},
            "foreach": {"foreach": True},
            "for loop": {"foreach": False},
        }
        optimizers, quickest = {}, {}
        for name, how in variants.items():
            optimizers[name] = self.torch.optim.Adam(model.parameters(), lr=1e-3, **how)
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
        t, labels = torch.full((batch,), 50), torch.arange(batch) % 11

        def forward():
            with torch.inference_mode():
                model(x, t, labels)

        return forward, "inference_mode"

    def layer(self, batch, size, kernel, inputs, outputs, stride, padding, dilation, groups):
        torch = self.torch
        x = torch.randn(batch, inputs, size, size).to(memory_format=self.layout).requires_grad_()
        w = (
            torch.randn(outputs, inputs // groups, kernel, kernel)
            .to(memory_format=self.layout)
            .requires_grad_()
        )
        b = torch.randn(outputs, requires_grad=True)
        convolve = lambda: torch.nn.functional.conv2d(x, w, b, stride, padding, dilation, groups)
        g = torch.randn_like(convolve())
        return lambda: torch.autograd.grad(convolve(), (x, w, b), g), "conv2d"


class Exported:
    """The network as ONNX, exported from PyTorch for one batch size by another process."""

    def __init__(self, threads, variant):
        self.threads = threads

    def forward(self, batch):
        rng = np.random.default_rng(0)
        x, t, labels = (
            rng.standard_normal((batch, 1, 28, 28), np.float32),
            np.full(batch, 50),
            np.arange(batch) % 11,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "unet.onnx"
            subprocess.run([sys.executable, "-m", "benchmarks.peer", str(batch), path], check=True)
            return self.load(path, {"x": x, "t": t, "labels": labels}), "float32"


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

        how = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
        }
        request = openvino.Core().compile_model(path, "CPU", how).create_infer_request()
        return lambda: request.infer(inputs)


KINDS = {"ours": Ours, "torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    kind, _, variant = sys.argv[1].partition("-")
    contestant, built = KINDS[kind](int(sys.argv[2]), variant), {}
    for line in sys.stdin:
        task, arguments, warm, count = json.loads(line)
        if task == "describe":
            answer = {"note": contestant.describe()}
        else:
            key = task, *arguments
            if key not in built:
                built[key] = getattr(contestant, task)(*arguments)
            function, note = built[key]
            for _ in range(warm):
                function()
            start = time.perf_counter()
            for _ in range(count):
                function()
            seconds = (time.perf_counter() - start) / max(count, 1)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
                1 if sys.platform == "darwin" else 1024
            )
            answer = {"seconds": seconds, "peak": peak, "note": note}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
