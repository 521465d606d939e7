"""A short training, then drawing and judging, which `test_ranks.py` starts on several ranks.

    python ranked.py CHECKPOINT EPOCHS [--resume] [--threads N] [--die RANK STEP] …

It prints, as JSON, checksums of all that it made.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import diffusion, distributed, optim
from minidiff.training import Trainer, evaluate

SIZE = 8
BATCH = 640  # 10 pieces: so small images are cut into pieces of 64


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("epochs", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--die", type=int, nargs=2, default=(-1, -1))
    parser.add_argument("--fail", type=int, nargs=2, default=(-1, -1))
    parser.add_argument("--stop", type=int, nargs=2, default=(-1, -1))
    args = parser.parse_args()
    if args.threads:
        md.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (3 * BATCH, SIZE, SIZE, 1)).astype(np.float32)
    labels = rng.integers(1, 11, len(images))
    model = md.models.UNet(width=8, multipliers=(1, 2), attention=False)
    model.dropout = md.nn.Dropout(0.1, 5)  # each step begins with a draw of its own
    schedule = diffusion.cosine_schedule(100)
    sampler = diffusion.losses.ImportanceSampler(100, 1)

    def loss(x, labels, rng):
        here = [distributed.rank(), trainer.step]
        if here == list(args.die):
            os.kill(os.getpid(), signal.SIGKILL)
        if here == list(args.fail):
            raise ArithmeticError("this rank alone")
        if here == list(args.stop):
            os.kill(os.getpid(), signal.SIGTERM)
        labels = diffusion.label_dropout(labels, 0.1, rng)
        dropped = lambda x, t, condition: model(model.dropout(x), t, condition)
        return diffusion.loss(
            dropped, schedule, x, labels, rng, "v", draw=sampler.draw, callback=sampler.update
        )

    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    ema = optim.EMA(model)
    trainer = Trainer(model, loss, optimizer, ema, BATCH, path=args.path, save_every=0.0)
    if args.resume:
        trainer.resume()
    trainer.fit((images, labels), args.epochs, (images[:70], labels[:70]))
    mean = evaluate(model, loss, (images[:700], labels[:700]), chunk=BATCH)
    denoise = diffusion.denoiser(model, schedule, "v")
    drawn = diffusion.sample(
        denoise, np.arange(BATCH) % 10 + 1, shape=(SIZE, SIZE, 1), steps=2, sampler="ddpm"
    )
    made = {
        "state": checksum(model.state_dict()),
        "optimizer": checksum(optimizer.state_dict()),
        "ema": checksum(ema.state_dict()),
        "sampler": checksum(sampler.state_dict()),
        "history": trainer.history,
        "evaluated": mean,
        "drawn": checksum({"x": drawn}),
        "log": [
            {name: value for name, value in json.loads(line).items() if name != "time"}
            for line in args.path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
        ],
        "file": hashlib.sha256(args.path.read_bytes()).hexdigest(),
    }
    print(json.dumps(made))
    sys.__stderr__.write(f"\nrank {distributed.rank()}: {json.dumps(made)}\n")


def checksum(arrays):
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    with distributed.ranks():
        main()
