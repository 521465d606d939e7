"""What the tape itself costs, against MyGrad and HIPS autograd: small operations, both ways.

    pip install mygrad autograd && python -m benchmarks.overhead

Each operation runs forward and backward. All engines run in one process, in turns, so that what
slows the machine for a while slows all of them. A ratio is taken within a round, and the median
of the rounds is shown. Arrays have only a few numbers: NumPy's own work is the same for all
engines, and the rest is overhead.
"""

import argparse
import gc
import statistics
from collections.abc import Callable
from time import perf_counter

import autograd
import autograd.numpy as anp
import mygrad
import numpy as np

import minidiff as md

rng = np.random.default_rng(0)
x = rng.standard_normal((4, 8))
w = rng.standard_normal((8, 8)) / 3
v = rng.standard_normal(8)

# Programs, written once for each library's namespace: (namespace, variables) -> a scalar.
PROGRAMS: dict[str, tuple[Callable, list[np.ndarray]]] = {
    "x * y, summed": (lambda xp, a, b: xp.sum(a * b), [v, v + 1]),
    "exp, sin, tanh": (lambda xp, a: xp.sum(xp.exp(xp.sin(xp.tanh(a)))), [v]),
    "a chain of 100 sums": (lambda xp, a, b: xp.sum(_chain(a, b)), [v, v]),
    "two dense layers": (
        lambda xp, a, w: xp.sum(xp.tanh(xp.matmul(xp.tanh(xp.matmul(a, w)), w))),
        [x, w],
    ),
    "broadcast and reduce": (lambda xp, a, b: xp.sum((a - b) * (a - b) / 2.0), [x, v]),
    "log of a sum of exps": (lambda xp, a: xp.sum(xp.log(xp.sum(xp.exp(a), axis=1))), [x]),
    "indexing and reshaping": (lambda xp, a: xp.sum(xp.reshape(a[1:3], (-1,))[::2] * 3.0), [x]),
}


def _chain(a, b):
    for _ in range(100):
        a = a + b
    return a


def with_minidiff(program: Callable, arrays: list) -> list:
    leaves = [md.Tensor(array, requires_grad=True) for array in arrays]
    program(md.ops, *leaves).backward()
    return [leaf.grad for leaf in leaves]


def with_mygrad(program: Callable, arrays: list) -> list:
    leaves = [mygrad.tensor(array) for array in arrays]
    program(mygrad, *leaves).backward()
    return [leaf.grad for leaf in leaves]


def with_hips(program: Callable, arrays: list) -> list:
    return list(autograd.grad(lambda leaves: program(anp, *leaves))(arrays))


ENGINES = {"minidiff": with_minidiff, "MyGrad": with_mygrad, "HIPS autograd": with_hips}


def seconds(run: Callable, program: Callable, arrays: list, count: int) -> float:
    """Seconds of a call, on average over `count` of them."""
    # The call after a collection takes some 160 µs more, whichever engine makes it: so every
    # engine's turn starts with one.
    gc.collect()
    start = perf_counter()
    for _ in range(count):
        run(program, arrays)
    return (perf_counter() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument(
        "--count", type=int, default=400, help="calls in a turn, so many that its caches are warm"
    )
    args = parser.parse_args()
    print(
        f"{'forward and backward':<24}"
        + "".join(f"{name + ' µs':>18}" for name in ENGINES)
        + "".join(f"{'minidiff / ' + name:>28}" for name in list(ENGINES)[1:])
    )
    for name, (program, arrays) in PROGRAMS.items():
        gradients = with_minidiff(program, arrays)
        for run in ENGINES.values():
            for gradient, reference in zip(run(program, arrays), gradients):
                np.testing.assert_allclose(gradient, reference)
        count = max(1, args.count // 10) if "chain" in name else args.count
        gc.disable()
        rounds = []
        for _ in range(args.rounds):
            rounds.append([seconds(run, program, arrays, count) for run in ENGINES.values()])
        gc.enable()
        times = [statistics.median(column) * 1e6 for column in zip(*rounds)]
        ratios = [
            statistics.median(row[0] / row[k] for row in rounds) for k in range(1, len(ENGINES))
        ]
        print(
            f"{name:<24}"
            + "".join(f"{time:>18.1f}" for time in times)
            + "".join(f"{ratio:>28.2f}" for ratio in ratios)
        )


if __name__ == "__main__":
    main()
