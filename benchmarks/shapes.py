"""How single convolutions of many shapes compare with PyTorch's, the slowest first.

    python -m benchmarks.shapes [--rounds 5] [--seconds 0.015]

Forward and all gradients at batch 32, on one thread. All contestants run in one process, in turns
of a few hundredths of a second: so short that what slows the machine slows both. The whole run
takes twenty minutes. `run.py` has the hardest of these shapes as rows, there with each contestant
in a process of its own.
"""

import argparse
import statistics
import time
from itertools import product

from .contest import fastest, ratios
from .contestants import Ours, Torch


def shapes():
    """(size, kernel, in, out, stride, padding, dilation, groups), as the contestants take them."""
    for (channels, size), kernel, stride in product(
        [(8, 28), (24, 28), (40, 32), (48, 16), (64, 32), (96, 16), (64, 8)], (2, 3, 5, 7), (1, 2)
    ):
        padding = (kernel - 1) // 2 if kernel > 2 else 2 - stride
        yield size, kernel, channels, channels, stride, padding, 1, channels
    grouped = [
        (16, 16, 2),
        (16, 16, 8),
        (24, 24, 3),
        (40, 40, 5),
        (40, 40, 10),
        (64, 16, 2),
        (16, 64, 4),
        (64, 64, 4),
        (80, 96, 4),
        (96, 96, 3),
        (48, 48, 6),
        (8, 64, 8),
        (64, 64, 16),
    ]
    for kernel, (inputs, outputs, groups), stride in product((1, 2, 3, 5, 7), grouped, (1, 2)):
        size = 14 if kernel > 3 else 28
        yield size, kernel, inputs, outputs, stride, (kernel - 1) // 2, 1, groups
    plain = [
        (8, 8),
        (16, 16),
        (24, 24),
        (32, 32),
        (40, 40),
        (64, 64),
        (96, 96),
        (8, 64),
        (64, 8),
        (48, 16),
    ]
    for kernel, (inputs, outputs), stride in product((1, 2, 3, 4, 5, 7), plain, (1, 2)):
        size = 14 if inputs >= 64 and kernel > 3 else 28
        yield size, kernel, inputs, outputs, stride, (kernel - 1) // 2, 1, 1
    for kernel, channels, dilation in product((2, 3, 5), (8, 16, 24, 32, 64), (2, 3)):
        yield 28, kernel, channels, channels, 1, dilation * (kernel - 1) // 2, dilation, 1
    for inputs, outputs, groups in (32, 32, 4), (40, 40, 5), (24, 24, 24), (64, 64, 2):
        yield 28, 3, inputs, outputs, 1, 2, 2, groups


def compare(contestants, shape, rounds, seconds):
    """How many times as fast ours is as the faster layout of PyTorch: median, least, most."""
    layers = {name: contestant.layer(32, *shape)[0] for name, contestant in contestants.items()}
    counts = {}
    for name, layer in layers.items():
        layer()
        begun = time.perf_counter()
        layer()
        counts[name] = max(1, round(seconds / (time.perf_counter() - begun)))
    times: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(rounds):
        for name, layer in layers.items():
            layer()
            begun = time.perf_counter()
            for _ in range(counts[name]):
                layer()
            times[name].append((time.perf_counter() - begun) / counts[name])
    ours = times.pop("ours")
    speedups = ratios(times[fastest(times)], ours)
    return statistics.median(speedups), min(speedups), max(speedups)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.015, help="of a turn")
    options = parser.parse_args()
    contestants = {
        "ours": Ours(1, ""),
        "nchw": Torch(1, "nchw"),
        "channels_last": Torch(1, "channels_last"),
    }
    rows = sorted(
        (compare(contestants, shape, options.rounds, options.seconds), shape) for shape in shapes()
    )
    medians = [middle for (middle, _, _), _ in rows]
    counts = ", ".join(
        f"{sum(middle < bar for middle in medians)} below {bar}" for bar in (0.95, 1, 1.1, 1.5)
    )
    print(f"{len(rows)} shapes: {counts}; median {statistics.median(medians):.2f}")
    for (middle, low, high), shape in rows[:25]:
        size, kernel, inputs, outputs, stride, padding, dilation, groups = shape
        print(
            f"{middle:.2f}, {low:.2f} … {high:.2f}  "
            f"{kernel}×{kernel} {inputs}→{outputs} at {size}, "
            f"stride {stride}, padding {padding}, dilation {dilation}, {groups} groups"
        )


if __name__ == "__main__":
    main()
