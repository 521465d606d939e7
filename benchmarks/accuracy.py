"""What Winograd's rounding costs: errors of single layers, and the loss of whole trainings with it
and without.

    python benchmarks/accuracy.py [--seeds 3] [--steps 600] [--batch 64] [--validation 5000]

First, for every layer of the UNet that Winograd takes, and some harder ones (short sums, small
images), the root-mean-square error of both kernels against float64, over the root mean square of
the result. Then, for each seed, the UNet is trained on MNIST twice, from the same weights on the
same draws: as it is, and with all convolutions on the direct kernels. The loss is that on held-out
images, with the same times and noise for all trainings. How far seeds lie apart is the measure of
what a difference means.
"""

import argparse
import statistics
import time
from contextlib import contextmanager
from unittest import mock

import numpy as np
from layers import LAYERS, PASSES

import minidiff as md
from minidiff import data, diffusion, optim
from minidiff.kernels import find
from minidiff.kernels.cpu import convolution
from minidiff.kernels.cpu.counters import run_counts
from minidiff.training import Trainer, evaluate

MORE = [
    (28, 3, 8, 16, 1),
    (6, 3, 16, 16, 1),
    (9, 3, 16, 16, 1),
    (5, 3, 32, 32, 1),
    (28, 5, 16, 16, 1),
    (8, 5, 16, 16, 1),
]


@contextmanager
def direct_only():
    """Within it no convolution goes by Winograd."""
    others = {
        kernel: tuple(way for way in ways if way.name not in ("winograd", "dilated"))
        for kernel, ways in convolution.WAYS.items()
    }
    with mock.patch.object(convolution, "WAYS", others):
        convolution._first_that_fits.cache_clear()
        yield
    convolution._first_that_fits.cache_clear()


def counted(function, *arguments):
    """The result, and how many convolutions went each way: "kernel: way" -> number."""
    before = run_counts.copy()
    result = function(*arguments)
    counts = run_counts - before
    return result, {key: n for key, n in counts.items() if key.startswith("conv2d")}


def by_winograd(counts):
    return sum(n for key, n in counts.items() if key.endswith((": winograd", ": dilated")))


def passes(x, w, g, stride):
    """Forward and both gradients of a convolution."""
    forward, dx, dw = (find(name, np.ndarray) for name in ("conv2d", "conv2d_dx", "conv2d_dw"))
    how = {
        "stride": (stride, stride),
        "padding": ((len(w) - 1) // 2,) * 2,
        "dilation": (1, 1),
        "groups": 1,
    }
    return [forward(x, w, **how), dx(g, w, x.shape[1:3], **how), dw(g, x, w.shape[:2], **how)]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def layers(batch):
    """Relative errors of every shape that Winograd takes."""
    heads = "".join(f"{name:>10}{'direct':>9}{'ratio':>8}" for name in PASSES)
    print(f"{'error / 1e-7, batch ' + str(batch):26}{heads}")
    worst = 0.0
    for size, kernel, c_in, c_out, stride in [*dict.fromkeys(layer[1:] for layer in LAYERS), *MORE]:
        rng, out = np.random.default_rng(0), size // stride
        shapes = (batch, size, size, c_in), (kernel, kernel, c_in, c_out), (batch, out, out, c_out)
        arrays = [rng.standard_normal(shape, "f") for shape in shapes]
        ours, ways = counted(passes, *arrays, stride)
        if not by_winograd(ways):
            continue
        with direct_only():
            plain, ways = counted(passes, *arrays, stride)
        assert not by_winograd(ways)
        wanted = passes(*(array.astype(np.float64) for array in arrays), stride)
        line = f"{f'{size}×{size}  {kernel}×{kernel}  {c_in}→{c_out}':26}"
        for results in zip(ours, plain, wanted):
            error, direct = (rms(result - results[2]) / rms(results[2]) for result in results[:2])
            line += f"{error * 1e7:10.2f}{direct * 1e7:9.2f}{error / direct:8.2f}"
            worst = max(worst, error / direct)
        print(line)
    print(f"largest ratio {worst:.2f}\n", flush=True)


def train(seed, steps, batch, training, validation):
    """The validation loss after one training."""
    schedule, model = diffusion.cosine_schedule(100), md.models.UNet(rng=seed)
    optimizer = optim.Adam(
        model.parameters(), lr=optim.warmup_cosine(2e-3, warmup=steps // 10, total=steps)
    )
    ema = optim.EMA(model, 0.995)

    def loss(x, labels, rng):
        return diffusion.loss(model, schedule, x, diffusion.label_dropout(labels, 0.2, rng), rng)

    trainer = Trainer(model, loss, optimizer, ema, batch_size=batch, seed=seed)
    trainer.fit([part[: steps * batch] for part in training], epochs=1, progress=False)
    with ema.applied():
        return evaluate(model, loss, validation)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="at least 2 (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=600, help="of each training (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--validation", type=int, default=5000, help="held-out images (default: %(default)s)"
    )
    options = parser.parse_args()
    layers(16)

    training, held_out = data.split_validation(*data.mnist("train"))
    validation = [part[: options.validation] for part in held_out]
    print(
        f"{options.steps} steps at batch {options.batch}; loss on {len(validation[0])} held-out images"
    )
    print(f"{'seed':>4}{'Winograd':>12}{'direct':>12}{'difference':>12}{'seconds':>16}")
    rows = []
    for seed in range(options.seeds):
        how, start = (seed, options.steps, options.batch, training, validation), time.perf_counter()
        ours, with_it = counted(train, *how)
        middle = time.perf_counter()
        with direct_only():
            plain, without = counted(train, *how)
        seconds = f"{middle - start:.0f} and {time.perf_counter() - middle:.0f}"
        rows.append((ours, plain))
        print(f"{seed:4d}{ours:12.6f}{plain:12.6f}{ours - plain:+12.1e}{seconds:>16}", flush=True)
    means, spreads = (
        [function(column) for column in zip(*rows)]
        for function in (statistics.fmean, statistics.stdev)
    )
    print(f"{'mean':>4}{means[0]:12.6f}{means[1]:12.6f}{means[0] - means[1]:+12.1e}")
    print(
        f"standard deviation between seeds: {spreads[0]:.6f} with Winograd, {spreads[1]:.6f} without"
    )
    for name, ways in ("Winograd", with_it), ("direct", without):
        print(
            f"convolutions of the last training, {name}:\n    {', '.join(f'{k} {n}' for k, n in ways.items() if n)}"
        )


if __name__ == "__main__":
    main()
