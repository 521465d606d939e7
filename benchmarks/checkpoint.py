"""Memory against time: a chain of layers, each checkpointed or not. `python -m
benchmarks.checkpoint`

Without, the tape holds what every operation keeps; with, only the results of layers, and one
layer's inside at a time.
"""

import gc
import tracemalloc
from collections.abc import Callable
from time import perf_counter

import numpy as np

import minidiff as md
from minidiff import Tensor, nn, ops


def network(depth: int, wrap: Callable) -> tuple[Callable, list[Tensor]]:
    rng = np.random.default_rng(0)
    convs = [nn.Conv2d(16, 16, 3, rng, padding=1) for _ in range(2 * depth)]
    norms = [nn.GroupNorm(8, 16) for _ in range(2 * depth)]

    def block(i: int) -> Callable:
        def run(h: Tensor) -> Tensor:
            for k in (2 * i, 2 * i + 1):
                h = ops.silu(norms[k](convs[k](h)))
            return h

        return run

    def forward(x: Tensor) -> Tensor:
        for i in range(depth):
            x = x + wrap(block(i))(x)
        return ops.mean(x * x)

    return forward, [parameter for layer in convs + norms for parameter in layer.parameters()]


def measure(depth: int, wrap: Callable) -> tuple[float, float, list[np.ndarray]]:
    """(seconds, peak megabytes beyond parameters and input, gradients) of forward and backward."""
    forward, parameters = network(depth, wrap)
    x = Tensor(np.random.default_rng(1).standard_normal((16, 28, 28, 16)).astype(np.float32))
    forward(x).backward()
    times = []
    for _ in range(3):
        start = perf_counter()
        forward(x).backward()
        times.append(perf_counter() - start)
    for parameter in parameters:
        parameter.grad = None
    gc.collect()
    tracemalloc.start()
    forward(x).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), peak / 1e6, [parameter.grad for parameter in parameters]


def main() -> None:
    print(f"{'blocks':>6} {'MB kept':>10} {'checkpointed':>14} {'ms':>8} {'checkpointed':>14}")
    for depth in (2, 4, 8, 16):
        plain, saving = measure(depth, lambda f: f), measure(depth, md.checkpoint)
        assert all(np.array_equal(a, b) for a, b in zip(plain[2], saving[2])), (
            "checkpoint changed a gradient"
        )
        print(
            f"{depth:>6} {plain[1]:>10.1f} {saving[1]:>14.1f} {plain[0] * 1e3:>8.1f} {saving[0] * 1e3:>14.1f}"
        )


if __name__ == "__main__":
    main()
