"""minidiff on a CUDA device against PyTorch on the same one: steps of training and of sampling.

    python -m benchmarks.gpu [--batches 32 128 512 2048] [--rounds 5]

A training step is one of diffusion.loss, backward, Adam and an average of the weights; a sampling
step one of DDIM with classifier-free guidance. Batches come from the host in both. Times are by
CUDA events around some steps in a row: medians of rounds, in milliseconds for a step. Memory is
what the library took from the device at most, in MiB. Every contestant is a process of its own.
Where there is no device the exit status is not 0.
"""

import argparse
import json
import subprocess
import sys
from statistics import median

import numpy as np

import minidiff as md
from minidiff import diffusion, optim
from minidiff.diffusion import guidance

TIMESTEPS = 100
NETWORKS = ["unet", "adm"]
TASKS = ["training", "sampling"]
CONTESTANTS = ["minidiff", "PyTorch", "PyTorch compiled"]
PREDICTS = {"unet": "noise", "adm": "v"}
SCALE = 2.0  # of guidance
RATE = 1e-3
DECAY = 0.999
IN_A_ROW = 20  # steps that are timed together
WARM = 10  # steps before


class Minidiff:
    """This tree, on CuPy's arrays."""

    def __init__(self, network, batch):
        md.devices()
        import cupy

        self.cupy = cupy
        self.schedule = diffusion.cosine_schedule(TIMESTEPS)
        if network == "adm":
            self.model = md.models.ADMUNet(self.schedule.alpha_bar).to("cuda")
        else:
            self.model = md.models.UNet(timesteps=TIMESTEPS).to("cuda")
        self.predicts = PREDICTS[network]
        self.rng = np.random.default_rng(0)
        self.images = self.rng.uniform(-1, 1, (batch, 28, 28, 1)).astype(np.float32)
        self.labels = np.arange(batch) % 11

    def describe(self):
        device = self.cupy.cuda.runtime.getDeviceProperties(0)
        runtime = self.cupy.cuda.runtime
        return (
            f"{device['name'].decode()}, driver {runtime.driverGetVersion()}, "
            f"runtime {runtime.runtimeGetVersion()}, CuPy {self.cupy.__version__}"
        )

    def training(self):
        optimizer = optim.Adam(self.model.parameters(), lr=RATE)
        average = optim.EMA(self.model, DECAY)

        def step():
            loss = diffusion.loss(
                self.model, self.schedule, self.images, self.labels, self.rng, self.predicts
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update()

        return step

    def sampling(self):
        denoise = diffusion.denoiser(self.model, self.schedule, self.predicts)
        guided = guidance.classifier_free(denoise, SCALE)
        steps = self._steps(guided)
        return lambda: next(steps)

    def _steps(self, guided):
        while True:
            yield from diffusion.sample_steps(
                guided, self.labels, shape=(28, 28, 1), steps=TIMESTEPS, device="cuda"
            )

    def milliseconds(self, step, count):
        """By CUDA events, for each of so many steps in a row."""
        begin = self.cupy.cuda.Event()
        end = self.cupy.cuda.Event()
        begin.record()
        for _ in range(count):
            step()
        end.record()
        end.synchronize()
        return self.cupy.cuda.get_elapsed_time(begin, end) / count

    def memory(self):
        return self.cupy.get_default_memory_pool().total_bytes()


class PyTorch:
    """The peers of `peer.py`, eager or compiled; the same arithmetic, in channels_last."""

    def __init__(self, network, batch, compiled, device="cuda"):
        import torch

        from benchmarks import peer

        self.torch = torch
        if device == "cuda" and not torch.cuda.is_available():
            raise SystemExit("PyTorch finds no CUDA device; wanted its build for CUDA")
        self.device = device
        alpha_bar = torch.tensor(diffusion.cosine_schedule(TIMESTEPS).alpha_bar)
        self.alpha = alpha_bar.sqrt().float()[:, None, None, None].to(device)
        self.sigma = (1 - alpha_bar).sqrt().float()[:, None, None, None].to(device)
        model = peer.ADMUNet(alpha_bar) if network == "adm" else peer.UNet(timesteps=TIMESTEPS)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.predicts = PREDICTS[network]
        self.compiled = compiled
        self.images = torch.rand(batch, 1, 28, 28) * 2 - 1  # on the host
        self.labels = torch.arange(batch, device=device) % 11

    def describe(self):
        torch = self.torch
        return f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"

    def _compiled(self, function):
        return self.torch.compile(function, dynamic=False) if self.compiled else function

    def training(self):
        torch = self.torch
        average = [p.detach().clone() for p in self.model.parameters()]
        optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE, fused=True)

        def loss_of(x0, noise, t):
            x = self.alpha[t] * x0 + self.sigma[t] * noise
            target = noise
            if self.predicts == "v":
                target = self.alpha[t] * noise - self.sigma[t] * x0
            return torch.nn.functional.mse_loss(self.model(x, t, self.labels), target)

        loss = self._compiled(loss_of)

        def step():
            x0 = self.images.to(self.device, memory_format=torch.channels_last)
            t = torch.randint(1, TIMESTEPS + 1, (len(x0),), device=self.device)
            optimizer.zero_grad()
            loss(x0, torch.randn_like(x0), t).backward()
            optimizer.step()
            weights = [p.detach() for p in self.model.parameters()]
            torch._foreach_lerp_(average, weights, 1 - DECAY)

        return step

    def sampling(self):
        torch = self.torch
        both = torch.cat([self.labels, torch.zeros_like(self.labels)])

        def ddim(x, t):
            times = t.expand(2 * len(x))
            output = self.model(torch.cat([x, x]), times, both)
            positive, negative = output.chunk(2)
            output = negative + SCALE * (positive - negative)
            x0 = (x - self.sigma[t] * output) / self.alpha[t]
            if self.predicts == "v":
                x0 = self.alpha[t] * x - self.sigma[t] * output
            x0 = x0.clamp(-1, 1)
            noise = (x - self.alpha[t] * x0) / self.sigma[t]
            return self.alpha[t - 1] * x0 + self.sigma[t - 1] * noise

        ddim = self._compiled(ddim)
        x = torch.randn(self.images.shape).to(self.device, memory_format=torch.channels_last)
        t = torch.tensor([TIMESTEPS // 2], device=self.device)
        self.model.eval()

        def step():
            with torch.no_grad():
                return ddim(x, t)

        return step

    def milliseconds(self, step, count):
        begin = self.torch.cuda.Event(enable_timing=True)
        end = self.torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            step()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / count

    def memory(self):
        return self.torch.cuda.max_memory_reserved()


def contestant(name, network, batch):
    if name == "minidiff":
        return Minidiff(network, batch)
    return PyTorch(network, batch, compiled=name.endswith("compiled"))


def measured(name, network, task, batch, rounds):
    """A dict of what one contestant does in one task."""
    one = contestant(name, network, batch)
    step = getattr(one, task)()
    one.milliseconds(step, WARM)
    times = [one.milliseconds(step, IN_A_ROW) for _ in range(rounds)]
    return {"ms": median(times), "bytes": one.memory(), "note": one.describe()}


def in_a_process(*request):
    """`measured` there; None where it failed, which is said."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--measure", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        print(f"{' '.join(map(str, request))}: {last}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def row(network, task, batch, results):
    """A line of the table: times of a step, how many times as fast as each other, memory."""
    ours = results[0]
    cells = [f"{network}, {task}", str(batch)]
    cells += [f"{found['ms']:.2f}" if found else "–" for found in results]
    for found in results[1:]:
        cells.append(f"{found['ms'] / ours['ms']:.2f}" if found and ours else "–")
    cells += [f"{found['bytes'] / 2**20:.0f}" if found else "–" for found in results]
    return f"| {' | '.join(cells)} |"


def heading():
    peers = CONTESTANTS[1:]
    cells = ["step", "batch", *(f"{name}, ms" for name in CONTESTANTS)]
    cells += [f"as fast as {name}" for name in peers]
    cells += [f"{name}, MiB" for name in CONTESTANTS]
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 512, 2048])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(*json.loads(args.measure))))
        return
    if "cuda" not in md.devices():
        raise SystemExit(f"gpu.py: nothing was measured: {md.devices().about_cuda}")
    notes = {}
    print(heading(), flush=True)
    for network in NETWORKS:
        for task in TASKS:
            for batch in args.batches:
                results = [
                    in_a_process(name, network, task, batch, args.rounds) for name in CONTESTANTS
                ]
                print(row(network, task, batch, results), flush=True)
                notes |= {found["note"]: None for found in results if found}
    print("\n" + "\n".join(f"- {note}" for note in notes))


if __name__ == "__main__":
    main()
