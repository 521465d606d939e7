"""Two trees of minidiff in turns: does a change make a step, or a layer, slower?

    git worktree add ../before REVISION
    python benchmarks/against.py ../before [--only step depthwise] [--rounds 21] [--threads N]

Every line is a task of `contestants.py`: the time of this tree over that of the other tree (below 1
is faster), the median of the rounds with their quartiles, and the median milliseconds of both. Both
have a turn in every round, and who goes first changes from round to round.
"""

import argparse
import os
import statistics
from contextlib import closing
from pathlib import Path

from contest import Contestant
from rows import LAYERS

TASKS = {
    "training step, batch 32": ("train", 32),
    "training step, batch 128": ("train", 128),
    "forward, batch 20": ("forward", 20),
    "training the MLP, batch 32": ("mlp", 32),
} | {f"layer {name}": ("layer", 32, *layer) for name, layer in LAYERS.items()}


def compare(this, other, task, rounds, turn):
    """The seconds of each round, of this tree and of the other."""
    for contestant in (this, other):
        contestant.run(*task, warm=3, count=1)
    first = this.run(*task, count=3)["seconds"]
    count = max(1, round(turn / first))
    seconds = {this: [], other: []}
    order = [this, other]
    for _ in range(rounds):
        for contestant in order:
            seconds[contestant].append(contestant.run(*task, warm=1, count=count)["seconds"])
        order.reverse()
    return seconds[this], seconds[other]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the root of the other tree")
    parser.add_argument(
        "--only", nargs="+", metavar="TEXT", default=[""], help="lines that contain one of these"
    )
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="of a step; a layer has one"
    )
    options = parser.parse_args()

    print("| what | this / other, quartiles | ms, this; other |")
    print("|---|---|---|")
    for name, task in TASKS.items():
        if not any(text in name for text in options.only):
            continue
        is_layer = task[0] == "layer"
        threads = 1 if is_layer else options.threads
        turn = 0.1 if is_layer else 0.3
        with (
            closing(Contestant("ours", threads)) as this,
            closing(Contestant("ours", threads, root=options.other.resolve())) as other,
        ):
            mine, theirs = compare(this, other, task, options.rounds, turn)
        ratios = [a / b for a, b in zip(mine, theirs)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        milliseconds = [1e3 * statistics.median(times) for times in (mine, theirs)]
        print(
            f"| {name} | {middle:.3f}, {low:.3f} … {high:.3f} "
            f"| {milliseconds[0]:.3g}; {milliseconds[1]:.3g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
