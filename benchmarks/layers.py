"""Every convolution of the UNet, forward and both gradients, beside the peak and PyTorch.

    python benchmarks/layers.py [--batch 16] [--rounds 30] [--no-torch]

One thread. Times are medians in microseconds. GFLOP/s are nominal, two operations for each product
of the plain algorithm, though Winograd makes fewer; their share of the register peak stands beside
them. PyTorch, where it is installed, runs in a process of its own, in both memory layouts.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import time

import numpy as np

PASSES = "forward", "dx", "dw"
# times in the network, size of the input, kernel, in, out, stride
LAYERS = [
    (1, 28, 3, 1, 16, 1),
    (3, 28, 3, 16, 16, 1),
    (1, 28, 4, 16, 16, 2),
    (2, 14, 3, 16, 16, 1),
    (1, 14, 4, 16, 32, 2),
    (2, 7, 3, 32, 32, 1),
    (1, 7, 3, 32, 48, 1),
    (5, 7, 3, 48, 48, 1),
    (1, 7, 3, 48, 144, 1),
    (2, 7, 3, 80, 48, 1),
    (3, 14, 3, 48, 32, 1),
    (1, 14, 3, 32, 32, 1),
    (3, 28, 3, 32, 16, 1),
    (1, 28, 3, 16, 16, 1),
    (1, 28, 3, 16, 1, 1),
]


def median(function, rounds):
    """Microseconds of CPU time of this thread."""
    times = []
    for _ in range(rounds + 2):
        start = time.thread_time_ns()
        function()
        times.append(time.thread_time_ns() - start)
    return statistics.median(times[2:]) / 1e3


def products(batch, layer):
    _, size, k, c_in, c_out, stride = layer
    out = size // stride
    return batch * out * out * k * k * c_in * c_out


def ours(batch, rounds, layer):
    """Microseconds of the three passes."""
    from minidiff.kernels import find

    _, size, k, c_in, c_out, stride = layer
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, size, size, c_in), "f")
    w = rng.standard_normal((k, k, c_in, c_out), "f")
    b = np.zeros(c_out, np.float32)
    names = "conv2d_bias", "conv2d_dx", "conv2d_dw_db"
    options = {"stride": (stride, stride), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    forward, dx, dw = (find(name, np.ndarray) for name in names)
    g = rng.standard_normal(forward(x, w, b, **options).shape, "f")
    calls = (
        lambda: forward(x, w, b, **options),
        lambda: dx(g, w, (size, size), **options),
        lambda: dw(g, x, (k, k), **options),
    )
    return [median(call, rounds) for call in calls]


def torchs(batch, rounds, layer, channels_last):
    """The same from PyTorch."""
    import torch
    from torch.nn import functional

    _, size, k, c_in, c_out, stride = layer
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, c_in, size, size).to(memory_format=layout)
    w = torch.randn(c_out, c_in, k, k).to(memory_format=layout)
    b = torch.zeros(c_out)

    def forward(x, w):
        return functional.conv2d(x, w, b, stride, 1)

    def backward(x, w, leaf):
        y = forward(x, w)
        g = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, leaf, g, retain_graph=True)

    with torch.no_grad():
        first = median(lambda: forward(x, w), rounds)
    x_leaf = x.clone().requires_grad_()
    w_leaf = w.clone().requires_grad_()
    return [
        first,
        median(backward(x_leaf, w, x_leaf), rounds),
        median(backward(x, w_leaf, w_leaf), rounds),
    ]


def peer(batch, rounds, layout):
    """PyTorch's table of times, from a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--batch",
        str(batch),
        "--rounds",
        str(rounds),
        "--peer",
        layout,
    ]
    return json.loads(
        subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    )


def register_peak():
    """GFLOP/s of fused multiply-adds that touch no memory, one thread."""
    import numba

    from minidiff.kernels.cpu.vector import lanes, vector

    def body(e, out, steps):
        sums = [e.variable(e.constant(0.1 * k)) for k in range(12)]
        a = e.load(out)
        b = e.constant(0.5)

        @e.loop(steps)
        def _(_):
            for total in sums:
                total.set(e.fma(total.get(), a, b))

        for k, total in enumerate(sums):
            e.store(total.get(), out + k * e.lanes)

    run = vector(body, lanes())

    @numba.njit(nogil=True)
    def spin(out, steps):
        run((out, steps))

    out = np.full(12 * lanes(), 0.5, np.float32)
    steps = 200_000
    operations = 2 * 12 * lanes() * steps
    return max(operations / median(lambda: spin(out, steps), 9) / 1e3 for _ in range(3))


def row(name, times, work, peak, others):
    """One line of the table: for each pass our time, speed and share of the peak, then PyTorch.

    Of PyTorch, in each of its layouts (`others`), it says how many times as long it takes.
    """
    line = f"{name:22s}"
    for j, (microseconds, count) in enumerate(zip(times, work, strict=True)):
        speed = 2 * count / microseconds / 1e3
        line += f"{microseconds:10.0f}{speed:9.0f}{speed / peak:6.0%}"
        line += "".join(f"{other[j] / microseconds:8.1f}×" for other in others)
    return line


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    batch = options.batch
    rounds = options.rounds
    if options.peer:
        import torch

        torch.set_num_threads(1)
        print(
            json.dumps([torchs(batch, rounds, layer, options.peer == "last") for layer in LAYERS])
        )
        return
    layouts = [] if options.no_torch or not importlib.util.find_spec("torch") else ["nchw", "last"]
    others = [peer(batch, rounds, layout) for layout in layouts]
    peak = register_peak()
    mine = [ours(batch, rounds, layer) for layer in LAYERS]
    print(
        f"batch {batch}, one thread, register peak {peak:.0f} GFLOP/s; "
        f"PyTorch: {', '.join(layouts) or 'not measured'}"
    )
    heads = "".join(
        f"{name + ' µs':>10s}{'GFLOP/s':>9s}{'peak':>6s}" + "".join(f"{p:>9s}" for p in layouts)
        for name in PASSES
    )
    print(f"{'':22s}{heads}")
    for k, layer in enumerate(LAYERS):
        times, size, kernel, c_in, c_out, stride = layer
        name = f"{times} × {size:2d} {kernel}×{kernel} {c_in:2d}→{c_out:3d} "
        if stride > 1:
            name += str(stride)
        print(
            row(name, mine[k], [products(batch, layer)] * 3, peak, [other[k] for other in others])
        )
    counts = np.array([layer[0] for layer in LAYERS])
    work = [sum(layer[0] * products(batch, layer) for layer in LAYERS)] * 3
    print(row("all", counts @ mine, work, peak, [counts @ other for other in others]))


if __name__ == "__main__":
    main()
