"""A job of one or more ranks, which `scaling.py` starts: it takes steps when it is told to.

It reads lines of JSON from its input, [network, batch, steps], or ["meet", numbers, times], and
answers each with seconds: by the clock, of the first rank's processor, and of the latter those in
pieces (of the thread that asks). First it says the processes' numbers, so that the job can be
stopped between its turns.
"""

import json
import os
import sys
import time

import numpy as np

import minidiff as md
from minidiff import diffusion, distributed, optim
from minidiff.autograd import pieces, threads
from minidiff.distributed import on_first

SCHEDULE = diffusion.cosine_schedule(100)
NETWORKS = {
    "adm": lambda: md.models.ADMUNet(SCHEDULE.alpha_bar),
    "unet": lambda: md.models.UNet(timesteps=100),
    "wide": lambda: md.models.UNet(width=32, timesteps=100),
}
spent = {"pieces": 0.0}


class Steps:
    """Training steps of a network at a batch size, as examples/mnist_guided.py takes them."""

    def __init__(self, network, batch):
        self.model = NETWORKS[network]()
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-3)
        self.ema = optim.EMA(self.model)
        rng = np.random.default_rng(0)
        self.images = rng.uniform(-1, 1, (batch, 28, 28, 1)).astype(np.float32)
        self.labels = rng.integers(1, 11, batch)
        self.number = 0

    def step(self):
        rng = np.random.default_rng([0, self.number])
        labels = diffusion.label_dropout(self.labels, 0.1, rng)
        loss = diffusion.loss(self.model, SCHEDULE, self.images, labels, rng, "v")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.ema.update()
        self.number += 1


def watch_pieces():
    """Count the seconds in which pieces are computed."""
    plain = threads._on_threads

    def on_threads(*arguments):
        start = time.thread_time()
        try:
            return plain(*arguments)
        finally:
            spent["pieces"] += time.thread_time() - start

    threads._on_threads = on_threads


def meet(numbers, times):
    """The exchange alone: gradients of so many numbers, of two pieces for each rank."""
    ranks = pieces.group.get()
    count = 2 * distributed.size()
    flat = [np.ones(numbers, np.float32)]
    for _ in range(times):
        ranks._meet(flat, numbers, np.float32, count)


def main():
    watch_pieces()
    world = distributed._world()
    pids = [os.getpid()] if world is None else world.allgather(os.getpid())
    answer = lambda value: print(json.dumps(value), flush=True)
    answer(pids)
    known = {}
    while request := on_first(lambda: json.loads(sys.stdin.readline() or "null")):
        what, size, count = request
        spent["pieces"] = 0.0
        start = time.perf_counter()
        processor = time.process_time()
        if what == "meet":
            meet(size, count)
        else:
            if (what, size) not in known:
                known[what, size] = Steps(what, size)
            steps = known[what, size]
            start = time.perf_counter()
            processor = time.process_time()
            for _ in range(count):
                steps.step()
        wall = time.perf_counter() - start
        answer([wall, time.process_time() - processor, spent["pieces"]])


if __name__ == "__main__":
    with distributed.ranks():
        md.set_num_threads(int(sys.argv[1]))
        main()
