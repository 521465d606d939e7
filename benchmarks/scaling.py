"""What several processes give: measured on this machine, then on paper for a thousand.

python -m benchmarks.scaling           measures in turns, and prints
python -m benchmarks.scaling --paper   the figures below, and docs/scaling.png
"""

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from minidiff.pictures import Picture

ROOT = Path(__file__).parents[1]
JOBS = {  # ranks, threads of each
    "1 process, 1 thread": (1, 1),
    "1 process, 2 threads": (1, 2),
    "2 ranks, 1 thread": (2, 1),
}
ROUNDS = 5
BATCHES = (64, 256)
# Per network: its numbers, the milliseconds of one core for an image and for the rest of a step,
# per image of the whole batch (draws, mixing) and in all (the optimiser, averages). As measured.
PAPER = {
    "ADMUNet, width 16": {"numbers": 328_305, "image": 1.62, "whole": 0.015, "rest": 1.3},
    "UNet, width 32": {"numbers": 1_675_553, "image": 4.65, "whole": 0.015, "rest": 4.3},
}
# Of networks between machines, as their makers state them: seconds and bytes a second.
LINKS = {"10 Gb/s Ethernet": (30e-6, 1.25e9), "100 Gb/s fabric": (2e-6, 12.5e9)}
PIECE = 32
SMALL = 4  # exchanges of a few hundred bytes in a step: losses, to stop, to save, and a spare
BYTES = 300


class Job:
    """Processes that take steps when they are told to, and stand still otherwise."""

    def __init__(self, ranks, threads):
        command = [sys.executable, "-m", "benchmarks.ranks", str(threads)]
        if ranks > 1:
            command = [Path(sys.executable).with_name("mpiexec"), "-n", str(ranks), *command]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        self.pids = json.loads(self.process.stdout.readline())
        self.send(signal.SIGSTOP)

    def send(self, number):
        for pid in self.pids:
            os.kill(pid, number)

    def ask(self, *request):
        """What `ranks.py` answers."""
        self.send(signal.SIGCONT)
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        self.send(signal.SIGSTOP)
        return answer


@contextmanager
def jobs():
    running = {name: Job(*shape) for name, shape in JOBS.items()}
    try:
        yield running
    finally:
        for job in running.values():
            job.send(signal.SIGCONT)
            job.process.stdin.close()
            job.process.wait()


def measure(running, network, batch):
    """Milliseconds of a step: medians of rounds in turns, and how many times those of two ranks."""
    count = max(1, 256 // batch)
    rounds = {name: [] for name in running}
    for number in range(ROUNDS + 1):
        for name, job in running.items():
            answer = job.ask(network, batch, count)
            if number:  # the first one compiles
                rounds[name].append([1000 * seconds / count for seconds in answer])
    shared = rounds["2 ranks, 1 thread"]
    for name, of_job in rounds.items():
        wall, cpu, pieces = (statistics.median(column) for column in zip(*of_job))
        ratio = statistics.median(ours[0] / theirs[0] for ours, theirs in zip(of_job, shared))
        print(
            f"{network}, batch {batch}, {name}: {wall:.1f} ms, × {ratio:.2f}; "
            f"of one processor {cpu:.1f} ms, {pieces:.1f} ms of it in pieces",
            flush=True,
        )


def exchange(job):
    """Milliseconds in which two ranks add their gradients."""
    for numbers in (1, *(network["numbers"] for network in PAPER.values())):
        seconds = [job.ask("meet", numbers, 20)[0] for _ in range(ROUNDS)]
        print(f"{numbers:,} numbers meet in {50 * statistics.median(seconds):.2f} ms", flush=True)


# --- on paper ---


def step(network, batch, ranks, link):
    """Seconds of a step of so many ranks, each with one core."""
    pieces = 2 * math.ceil(batch / (2 * PIECE))
    alone = network["image"] * batch * math.ceil(pieces / ranks) / pieces
    everyone = network["whole"] * batch + network["rest"]
    if ranks == 1:
        return (alone + everyone) / 1000
    latency, bandwidth = link
    # each rank sends every other a slice; all slices then go round by doubling
    messages = (ranks - 1) * latency / 10 + (1 + SMALL) * math.log2(ranks) * latency
    sent = 2 * 4 * network["numbers"] + SMALL * BYTES * ranks
    return (alone + everyone) / 1000 + messages + sent / bandwidth


def draw_paper(path):
    picture = Picture(9, 3.6)
    left, right = picture.subplots(1, 2, sharey=True)
    ranks = [2**k for k in range(11)]
    for name, network in PAPER.items():
        for link, speed in LINKS.items():
            grown = [step(network, 64, 1, speed) / step(network, 64 * r, r, speed) for r in ranks]
            left.plot(ranks, grown, marker=".", label=f"{name}, {link}")
    for batch in (256, 1024, 4096, 16384):
        network = PAPER["ADMUNet, width 16"]
        link = LINKS["10 Gb/s Ethernet"]
        some = [r for r in ranks if r <= batch // PIECE]
        fixed = [step(network, batch, 1, link) / (r * step(network, batch, r, link)) for r in some]
        right.plot(some, fixed, marker=".", label=f"batch {batch}")
    left.set(title="batch of 64 for each rank", xlabel="ranks", ylabel="efficiency", ylim=(0, 1.05))
    right.set(title="one batch, ADMUNet, 10 Gb/s", xlabel="ranks")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    picture.written(path)


def paper():
    for name, network in PAPER.items():
        for link, speed in LINKS.items():
            for ranks in (1, 2, 8, 32, 128, 1000):
                seconds = step(network, 64 * ranks, ranks, speed)
                efficiency = step(network, 64, 1, speed) / seconds
                print(f"{name}, {link}, {ranks} ranks: {1000 * seconds:.0f} ms, {efficiency:.0%}")
    draw_paper(ROOT / "docs" / "scaling.png")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--paper", action="store_true")
    if parser.parse_args().paper:
        paper()
        return
    with jobs() as running:
        for network in ("adm", "wide"):
            for batch in BATCHES:
                measure(running, network, batch)
        exchange(running["2 ranks, 1 thread"])


if __name__ == "__main__":
    main()
