"""What a step asks of a device, counted on the one that the CPU plays.

build/gpu/run tests/gpu/counts.py
"""

import gpu_emulator
import numpy as np

import minidiff as md
from minidiff import diffusion, models, optim
from minidiff.diffusion import guidance
from minidiff.training import Trainer

MODELS = ["mlp", "unet", "adm"]
SAMPLERS = ["ddim", "ddpm", "heun", "unipc"]
CLASSES = {"mlp": 3, "unet": 10, "adm": 10}
SHAPES = {"mlp": (2,), "unet": (28, 28, 1), "adm": (28, 28, 1)}
SCHEDULE = diffusion.cosine_schedule(100)


class Count:
    """What was counted: launches, copies on the device and memsets; copies to it; waits for it."""

    def __init__(self, counted):
        self.operations = counted["launches"] + counted["device_to_device"] + counted["memsets"]
        self.from_host = counted["host_to_device"]
        self.waits = counted["syncs"]


def make(name):
    """A model on the device."""
    md.devices()
    if name == "mlp":
        return models.ConditionalMLP(timesteps=100, rng=0).to("cuda")
    if name == "unet":
        return models.UNet(rng=0).to("cuda")
    return models.ADMUNet(SCHEDULE.alpha_bar, rng=0).to("cuda")


def batches(name, count, size=32):
    """Points or images, and labels, on the host."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        x0 = rng.uniform(-1, 1, (size, *SHAPES[name])).astype(np.float32)
        yield x0, rng.integers(0, CLASSES[name] + 1, size)


def loss_of(name, model):
    """The loss that a `Trainer` takes."""
    predicts = "v" if name == "adm" else "noise"

    def loss(x0, labels, rng):
        return diffusion.loss(model, SCHEDULE, x0, labels, rng, predicts)

    return loss


def training_step(name, clips=False):
    """The second step of training, with Adam and EMA; the first has more to look at.

    The optimiser was made before the model was moved, as it may be.
    """
    model = make(name)
    loss = loss_of(name, model)
    optimizer = optim.Adam(model.to("cpu").parameters())
    model.to("cuda")
    average = optim.EMA(model, 0.99)
    for step, (x0, labels) in enumerate(batches(name, 2)):
        with gpu_emulator.counted() as counted:
            value = loss(x0, labels, np.random.default_rng(step))
            optimizer.zero_grad()
            value.backward()
            if clips:
                optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            average.update()
    return Count(counted)


def sampling_step(name, sampler):
    """The third step of drawing four samples with classifier-free guidance."""
    model = make(name)
    denoise = diffusion.denoiser(model, SCHEDULE, "v" if name == "adm" else "noise")
    guided = guidance.classifier_free(denoise, 2.0)
    steps = diffusion.sample_steps(
        guided, [1, 2, 3, 1], shape=SHAPES[name], sampler=sampler, steps=5, device="cuda"
    )
    for _ in range(3):
        with gpu_emulator.counted() as counted:
            next(steps)
    return Count(counted)


def trainer_steps(steps):
    """So many steps of a `Trainer` of the MLP, after two that are not counted."""
    model = make("mlp")
    optimizer = optim.Adam(model.parameters())
    trainer = Trainer(model, loss_of("mlp", model), optimizer, optim.EMA(model))
    first, second, *rest = batches("mlp", steps + 2)
    trainer._take_in(first)
    trainer._take_in(second)
    with gpu_emulator.counted() as counted:
        for batch in rest:
            trainer._take_in(batch)
    return Count(counted)


def main():
    print("| | operations | copies from the host | waits |\n|---|---|---|---|")

    def show(what, count):
        print(f"| {what} | {count.operations} | {count.from_host} | {count.waits} |", flush=True)

    for name in MODELS:
        for clips in (False, True):
            what = f"{name}: training step, batch 32, Adam and EMA"
            show(what + (", clip_grad_norm" if clips else ""), training_step(name, clips))
    for name in MODELS:
        for sampler in SAMPLERS:
            what = f"{name}: guided sampling step, 4 samples, {sampler}"
            show(what, sampling_step(name, sampler))
    show("mlp: 100 steps of a Trainer", trainer_steps(100))


if __name__ == "__main__":
    main()
