"""Memory against time: a chain of residual blocks, each checkpointed or not.

    python -m benchmarks.checkpoint

Without, the tape holds what every operation keeps; with, only the results of the blocks, and the
inside of one block at a time.
"""

import gc
import tracemalloc
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np

import minidiff as md
from minidiff import Tensor, nn, ops


class Chain(nn.Module):
    """Residual blocks of two convolutions with their norms; `wrap` is applied to each block."""

    def __init__(self, depth: int, wrap: Callable):
        rng = np.random.default_rng(0)
        self.convs = [nn.Conv2d(16, 16, 3, rng, padding=1) for _ in range(2 * depth)]
        self.norms = [nn.GroupNorm(8, 16) for _ in range(2 * depth)]
        self.depth = depth
        self.wrap = wrap

    def block(self, i: int) -> Callable:
        def run(h: Tensor) -> Tensor:
            for k in (2 * i, 2 * i + 1):
                h = ops.silu(self.norms[k](self.convs[k](h)))
            return h

        return run

    def __call__(self, x: Tensor) -> Tensor:
        for i in range(self.depth):
            x = x + self.wrap(self.block(i))(x)
        return ops.mean(x * x)


class Cost(NamedTuple):
    """Of forward and backward: the least time of three, and the peak beyond weights and input."""

    milliseconds: float
    megabytes: float
    gradients: list[np.ndarray]


def measure(depth: int, wrap: Callable) -> Cost:
    chain = Chain(depth, wrap)
    x = Tensor(np.random.default_rng(1).standard_normal((16, 28, 28, 16)).astype(np.float32))
    chain(x).backward()
    seconds = []
    for _ in range(3):
        start = perf_counter()
        chain(x).backward()
        seconds.append(perf_counter() - start)
    for parameter in chain.parameters():
        parameter.grad = None
    gc.collect()
    tracemalloc.start()
    chain(x).backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Cost(min(seconds) * 1e3, peak / 1e6, [p.grad for p in chain.parameters()])


def main() -> None:
    print(f"{'blocks':>6} {'MB kept':>10} {'checkpointed':>14} {'ms':>8} {'checkpointed':>14}")
    for depth in (2, 4, 8, 16):
        plain = measure(depth, lambda f: f)
        saving = measure(depth, md.checkpoint)
        for a, b in zip(plain.gradients, saving.gradients):
            assert np.array_equal(a, b), "checkpoint changed a gradient"
        print(
            f"{depth:>6} {plain.megabytes:>10.1f} {saving.megabytes:>14.1f} "
            f"{plain.milliseconds:>8.1f} {saving.milliseconds:>14.1f}"
        )


if __name__ == "__main__":
    main()
