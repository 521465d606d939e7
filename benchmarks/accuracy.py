"""What Winograd's rounding costs: the errors of single layers, and the loss of whole trainings.

    python benchmarks/accuracy.py [--seeds 3] [--steps 600] [--batch 64] [--validation 5000]

First the layers: those of the UNet that Winograd takes, and some harder ones (short sums, small
images). For each, the root-mean-square error of both kernels against float64, divided by the root
mean square of the result. Then the trainings: for each seed the UNet is trained on MNIST twice,
from the same weights with the same random draws: once as it is, once with all convolutions on the
direct kernels. The loss is measured on held-out images, with the same times and noise for all
trainings. Compare its difference with the standard deviation between seeds.
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

# Harder shapes than the UNet's: size of the input, kernel, in, out, stride.
HARDER = [
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
    options = {
        "stride": (stride, stride),
        "padding": ((len(w) - 1) // 2,) * 2,
        "dilation": (1, 1),
        "groups": 1,
    }
    return [
        forward(x, w, **options),
        dx(g, w, x.shape[1:3], **options),
        dw(g, x, w.shape[:2], **options),
    ]


def rms(values):
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def layers(batch):
    """Print the relative errors of every shape that Winograd takes."""
    heads = "".join(f"{name:>10}{'direct':>9}{'ratio':>8}" for name in PASSES)
    print(f"{'error / 1e-7, batch ' + str(batch):26}{heads}")
    worst = 0.0
    distinct = dict.fromkeys(layer[1:] for layer in LAYERS)
    for size, kernel, c_in, c_out, stride in [*distinct, *HARDER]:
        rng = np.random.default_rng(0)
        out = size // stride
        shapes = (batch, size, size, c_in), (kernel, kernel, c_in, c_out), (batch, out, out, c_out)
        arrays = [rng.standard_normal(shape, "f") for shape in shapes]
        by_default, ways = counted(passes, *arrays, stride)
        if not by_winograd(ways):
            continue
        with direct_only():
            by_direct, ways = counted(passes, *arrays, stride)
        assert not by_winograd(ways)
        exact = passes(*(array.astype(np.float64) for array in arrays), stride)
        line = f"{f'{size}×{size}  {kernel}×{kernel}  {c_in}→{c_out}':26}"
        for default, direct, reference in zip(by_default, by_direct, exact):
            scale = rms(reference)
            error = rms(default - reference) / scale
            direct_error = rms(direct - reference) / scale
            ratio = error / direct_error
            line += f"{error * 1e7:10.2f}{direct_error * 1e7:9.2f}{ratio:8.2f}"
            worst = max(worst, ratio)
        print(line)
    print(f"largest ratio {worst:.2f}\n", flush=True)


def train(seed, steps, batch, training, validation):
    """The validation loss after one training."""
    schedule = diffusion.cosine_schedule(100)
    model = md.models.UNet(rng=seed)
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
        f"{options.steps} steps at batch {options.batch}; "
        f"loss on {len(validation[0])} held-out images"
    )
    print(f"{'seed':>4}{'Winograd':>12}{'direct':>12}{'difference':>12}{'seconds':>16}")
    losses = []
    direct_losses = []
    for seed in range(options.seeds):
        arguments = (seed, options.steps, options.batch, training, validation)
        start = time.perf_counter()
        loss, counts = counted(train, *arguments)
        middle = time.perf_counter()
        with direct_only():
            direct_loss, direct_counts = counted(train, *arguments)
        seconds = f"{middle - start:.0f} and {time.perf_counter() - middle:.0f}"
        losses.append(loss)
        direct_losses.append(direct_loss)
        difference = loss - direct_loss
        print(
            f"{seed:4d}{loss:12.6f}{direct_loss:12.6f}{difference:+12.1e}{seconds:>16}", flush=True
        )
    mean = statistics.fmean(losses)
    direct_mean = statistics.fmean(direct_losses)
    print(f"{'mean':>4}{mean:12.6f}{direct_mean:12.6f}{mean - direct_mean:+12.1e}")
    print(
        f"standard deviation between seeds: {statistics.stdev(losses):.6f} with Winograd, "
        f"{statistics.stdev(direct_losses):.6f} without"
    )
    for name, calls in ("Winograd", counts), ("direct", direct_counts):
        listed = ", ".join(f"{kernel} {count}" for kernel, count in calls.items() if count)
        print(f"convolutions of the last training, {name}:\n    {listed}")


if __name__ == "__main__":
    main()
