"""Few passes by progressive distillation, beside those that `examples/one_pass.py` learns.

    python benchmarks/distilled.py          a student of 16 steps, then of 8, 4, 2, 1
    python examples/evaluate.py runs/distilled/steps-1.safetensors --sampler ddim --steps 1 \\
        --guidance 1                        how good one of them is

The first teacher is the UNet that ships, guided. Each student begins as a copy of its teacher.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

import minidiff as md
from minidiff import command_line, data, diffusion, optim
from minidiff.diffusion import distillation
from minidiff.diffusion.guidance import classifier_free

FOLDER = Path("runs/distilled")
STUDENTS = (16, 8, 4, 2, 1)  # steps of each
UPDATES = 1000  # of each student; twice as many of the last one
BATCH = 64
FIRST_RATE = 1e-3
LAST_RATE = 1e-5
BETAS = (0.9, 0.99)
AVERAGED = 0.1  # the width of the averaged weights' shape


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--guidance", type=command_line.real(-100, 100), default=1.3, help="of the first teacher"
    )
    parser.add_argument("--updates", type=command_line.whole(1), default=UPDATES)
    command_line.add_mnist(parser)
    command_line.add_threads(parser)
    args = parser.parse_args()
    if args.threads:
        md.set_num_threads(args.threads)
    images, labels = data.split_validation(*command_line.mnist("train", args.data))[0]
    model = md.pretrained("mnist")
    teacher = classifier_free(diffusion.denoiser(model), args.guidance)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for steps in STUDENTS:
        student = md.pretrained("mnist")
        student.load_state_dict(model.state_dict())
        updates = 2 * args.updates if steps == 1 else args.updates
        averages = teach(student, teacher, steps, updates, images, labels)
        model = md.load(md.save(FOLDER / f"steps-{steps}.safetensors", student, averages))
        teacher = diffusion.denoiser(model)


def teach(student, teacher, steps: int, updates: int, images, labels) -> optim.EMA:
    """Train the student of so many steps; gives its averaged weights."""
    rate = optim.warmup_cosine(FIRST_RATE, min(50, updates // 10), updates, LAST_RATE)
    optimizer = optim.Adam(student.parameters(), lr=rate, betas=BETAS)
    ema = optim.EMA(student, optim.PowerLaw(AVERAGED))
    rng = np.random.default_rng(steps)
    for _ in tqdm(range(updates), desc=f"{steps} steps"):
        some = rng.integers(len(images), size=BATCH)
        loss = distillation.loss(student, teacher, images[some], labels[some], rng, steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update()
    return ema


if __name__ == "__main__":
    main()
