"""How many digits a second: in one pass, in a few, in forty; minidiff and PyTorch in turns.

    python -m benchmarks.one_pass

A pass is the network of 420,497 parameters in eval mode, without gradients; what a sampler does
beside it is not counted. Forty are 20 steps with guidance. PyTorch has the faster of its two
layouts. How good the digits of so many passes are stands in benchmarks/quality.md.
"""

import argparse
import statistics

from benchmarks.contest import alternate, contestants
from minidiff import command_line

PEERS = ("torch-nchw", "torch-channels_last")
BATCHES = (10, 250)
PASSES = (1, 2, 4, 40)
ROUNDS = 9
SECONDS = 0.3  # of a turn, about


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=command_line.whole(1), default=2)
    options = parser.parse_args()
    with contestants(["ours", *PEERS], options.threads) as running:
        for batch in BATCHES:
            turns = {who: (contestant, "forward", batch) for who, contestant in running.items()}
            times, _ = alternate(turns, ROUNDS, SECONDS)
            medians = {who: statistics.median(seconds) for who, seconds in times.items()}
            report(batch, "minidiff", medians["ours"])
            report(batch, "PyTorch", min(medians[peer] for peer in PEERS))


def report(batch: int, who: str, seconds: float) -> None:
    """The seconds of one pass of a batch, and how many digits a second that makes."""
    a_second = [f"{batch / (passes * seconds):,.0f} in {passes}" for passes in PASSES]
    print(
        f"{who}, {batch} digits at a time: a pass {1000 * seconds:.1f} ms; "
        f"a second, {', '.join(a_second)}"
    )


if __name__ == "__main__":
    main()
