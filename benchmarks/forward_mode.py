"""What a derivative along a direction costs: `jvp`, beside two walks back and a forward pass.

    python -m benchmarks.forward_mode

Each is done by every network, at batch 32, in turns. Times are of the processor, on one thread, and
a ratio is taken within a round. The last two rows are training steps without their optimiser: a
plain one, and one whose loss has a derivative along a direction as a constant in it (MeanFlow, Geng
et al. 2025, arXiv 2505.13447).
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import thread_time

import numpy as np

import minidiff as md
from minidiff import ops
from minidiff.autograd.blas import one_thread

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import two_walks

BATCH = 32


def networks() -> dict[str, tuple[md.nn.Module, tuple[int, ...]]]:
    """By name: a network with the shape of its samples."""
    alpha_bar = md.diffusion.cosine_schedule(100).alpha_bar
    image = (28, 28, 1)
    return {
        "UNet": (md.models.UNet(), image),
        "ADMUNet": (md.models.ADMUNet(alpha_bar), image),
        "ConditionalMLP": (md.models.ConditionalMLP(classes=10), (2,)),
    }


def tasks(model: md.nn.Module, shape: tuple[int, ...]) -> dict[str, Callable]:
    """What is compared, each a function without arguments; the first is what all are held to."""
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((2, BATCH, *shape)).astype(np.float32)
    labels = np.arange(BATCH) % 10 + 1
    f = lambda x: model(x, 5, labels)

    def forward() -> None:
        with md.no_grad():
            f(x)

    def jvp() -> None:
        with md.no_grad():
            md.jvp(f, x, v)

    def two_walks_back() -> None:
        two_walks.jvp(f, (x,), (v,))

    def step() -> None:
        ops.mse_loss(f(x), v).backward()

    def step_with_derivative() -> None:
        u, du = md.jvp(f, x, v)
        ops.mse_loss(u, md.stop_gradient(v - 0.5 * du)).backward()

    return {
        "forward pass": forward,
        "jvp": jvp,
        "two walks back": two_walks_back,
        "training step": step,
        "training step with a jvp": step_with_derivative,
    }


def seconds(task: Callable, count: int) -> float:
    gc.collect()
    start = thread_time()
    for _ in range(count):
        task()
    return (thread_time() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print("| network | task | ms | forward passes, quartiles |")
    print("|---|---|---|---|")
    for name, (model, shape) in networks().items():
        todo = tasks(model, shape)
        with one_thread:
            counts = {task: max(1, int(0.05 / seconds(run, 2))) for task, run in todo.items()}
            turns = [
                [seconds(run, counts[task]) for task, run in todo.items()] for _ in range(rounds)
            ]
        for k, task in enumerate(todo):
            low, middle, high = statistics.quantiles((turn[k] / turn[0] for turn in turns), n=4)
            milliseconds = 1e3 * statistics.median(turn[k] for turn in turns)
            ratio = f"{middle:.2f}, {low:.2f} … {high:.2f}"
            print(f"| {name} | {task} | {milliseconds:.2f} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
