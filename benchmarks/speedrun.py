"""How many seconds of training until the digits are good? From nothing, and then judged.

    python -m benchmarks.speedrun           minidiff, and the same recipe in PyTorch, in turns
    python -m benchmarks.speedrun --alone   minidiff alone

Good are 10,000 digits, plain samples (guidance 1), of which both judges read 97 % as wanted, and
whose distance to the test images is at most 4 times that of as many training images. Only the
training is timed; one step of another network goes before, so that all kernels are compiled. The
exit status is 0 only if minidiff's digits are good.
"""

import argparse
import itertools
import math
import multiprocessing
import time
from itertools import islice

import numpy as np
from tqdm.auto import tqdm

import minidiff as md
from minidiff import command_line, data, diffusion, metrics, optim
from minidiff.data.batches import batch_count, epoch_order
from minidiff.export.layouts import from_pytorch

EPOCHS = 4
BATCH = 64
TIMESTEPS = 100
NOISE_LEVELS = (0.7, 1.3)  # mean and standard deviation of log(σ/α)
FIRST_RATE = 4e-3
LAST_RATE = 4e-5
BETAS = (0.9, 0.99)
WARMUP = 200
LABEL_DROPOUT = 0.1
AVERAGED = 0.1
TURN = 100  # steps
COUNT = 10_000  # digits
AGREEMENT = 0.97
DISTANCE = 4.0
# More noise on the way than the process itself has undoes a young network's errors, and so do few,
# large steps: benchmarks/quality.md.
SAMPLER = {"sampler": "dpmpp_2m_sde", "steps": 10, "spacing": "log_snr", "eta": 1.5}


def training_images(seed):
    training, _ = data.split_validation(*data.mnist("train"), seed=seed)
    return training


def learning_rate(steps):
    return optim.warmup_cosine(FIRST_RATE, min(WARMUP, steps // 10), steps, LAST_RATE)


class Ours:
    """The recipe as examples/mnist_guided.py has it."""

    def __init__(self, steps, threads, seed):
        md.set_num_threads(threads)
        self.seed = seed
        self.images, self.labels = training_images(seed)
        self.schedule = diffusion.cosine_schedule(TIMESTEPS)
        self.draw = diffusion.losses.log_normal(self.schedule, *NOISE_LEVELS)
        self.model = md.models.ADMUNet(self.schedule.alpha_bar, rng=seed)
        self.optimizer = optim.Adam(self.model.parameters(), lr=learning_rate(steps), betas=BETAS)
        self.ema = optim.EMA(self.model, optim.PowerLaw(AVERAGED))

    def step(self, rows, number):
        rng = np.random.default_rng([self.seed, number])
        labels = diffusion.label_dropout(self.labels[rows], LABEL_DROPOUT, rng)
        loss = diffusion.loss(
            self.model, self.schedule, self.images[rows], labels, rng, "v", draw=self.draw
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.ema.update()

    def weights(self):
        with self.ema.applied():
            return self.model.state_dict()


class Torchs:
    """The same in PyTorch."""

    def __init__(self, steps, threads, seed):
        import torch

        from benchmarks.peer import ADMUNet

        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self.torch = torch
        self.seed = seed
        images, labels = training_images(seed)
        self.images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        self.labels = torch.from_numpy(labels.astype(np.int64))
        schedule = diffusion.cosine_schedule(TIMESTEPS)
        self.draw = diffusion.losses.log_normal(schedule, *NOISE_LEVELS)
        alpha_bar = torch.from_numpy(schedule.alpha_bar.copy())
        self.alpha = alpha_bar.sqrt().float()
        self.sigma = (1 - alpha_bar).sqrt().float()
        self.model = ADMUNet(alpha_bar)
        self.rate = learning_rate(steps)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=FIRST_RATE, betas=BETAS, fused=True
        )
        self.parameters = list(self.model.parameters())
        self.averages = [p.detach().clone() for p in self.parameters]
        self.decay = optim.PowerLaw(AVERAGED)

    def step(self, rows, number):
        torch = self.torch
        batch = len(rows)
        x0 = self.images[rows]
        labels = torch.where(torch.rand(batch) < LABEL_DROPOUT, 0, self.labels[rows])
        t = torch.from_numpy(self.draw(np.random.default_rng([self.seed, number]), batch)[0])
        alpha, sigma = (table[t].view(-1, 1, 1, 1) for table in (self.alpha, self.sigma))
        noise = torch.randn_like(x0)
        v = self.model(alpha * x0 + sigma * noise, t, labels)
        loss = torch.nn.functional.mse_loss(v, alpha * noise - sigma * x0)

        self.optimizer.param_groups[0]["lr"] = self.rate(number)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            kept = self.decay(number + 1)
            torch._foreach_lerp_(self.averages, self.parameters, 1 - kept)

    def weights(self):
        """As minidiff has them: in its layout."""
        names = [name for name, _ in self.model.named_parameters()]
        arrays = {name: average.numpy() for name, average in zip(names, self.averages)}
        like = md.models.ADMUNet(diffusion.cosine_schedule(TIMESTEPS).alpha_bar)
        return from_pytorch(like, arrays)


def contestant(kind, steps, threads, seed, connection):
    """A process: trains as many steps as it is told and says how long it took, until told 0."""
    kind(steps, threads, seed).step(np.arange(BATCH), 0)  # compiles what there is to compile
    trained = kind(steps, threads, seed)
    batches = enumerate(all_batches(len(trained.labels), seed))
    connection.send("ready")
    while count := connection.recv():
        start = time.perf_counter()
        for number, rows in islice(batches, count):
            trained.step(rows, number)
        connection.send(time.perf_counter() - start)
    connection.send(trained.weights())


def all_batches(images, seed):
    """The rows of each step's batch, epoch after epoch, each in an order of its own."""
    for epoch in itertools.count():
        order = epoch_order(images, seed, epoch)
        yield from (order[start : start + BATCH] for start in range(0, images, BATCH))


def train(kinds, steps, threads, seed):
    """The weights and the seconds of each, which train in turns."""
    spawn = multiprocessing.get_context("spawn")
    connections = []
    for kind in kinds:
        here, there = spawn.Pipe()
        arguments = kind, steps, threads, seed, there
        spawn.Process(target=contestant, args=arguments, daemon=True).start()
        there.close()  # so that a process that dies is noticed here
        here.recv()
        connections.append(here)
    seconds = np.zeros(len(kinds))
    for done in tqdm(range(0, steps, TURN), unit=f" turns of {TURN} steps"):
        for i, connection in enumerate(connections):
            connection.send(min(TURN, steps - done))
            seconds[i] += connection.recv()
    for connection in connections:
        connection.send(0)
    return [connection.recv() for connection in connections], seconds


def judged(weights):
    """The agreement and the distance, by each judge, of the digits that this network draws."""
    model = md.models.ADMUNet(diffusion.cosine_schedule(TIMESTEPS).alpha_bar)
    model.load_state_dict(weights)
    denoise = diffusion.denoiser(model, diffusion.cosine_schedule(TIMESTEPS), "v")
    classes = np.arange(COUNT) % 10
    digits = np.concatenate(
        [
            diffusion.sample(denoise, some + 1, rng=seed, **SAMPLER)
            for seed, some in enumerate(np.split(classes, COUNT // 250))
        ]
    )
    test, _ = data.mnist("test")
    training, _ = data.mnist("train")
    found = {}
    for name in ("lenet", "judge"):
        judge = md.pretrained(name)
        of_test, of_training, of_digits = (
            metrics.features(judge.features, images) for images in (test, training[:COUNT], digits)
        )
        floor = metrics.frechet_distance(of_test, of_training)
        distance = metrics.frechet_distance(of_test, of_digits) / floor
        found[name] = metrics.accuracy(classes, metrics.predict(judge, digits)), distance
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alone", action="store_true", help="without PyTorch")
    parser.add_argument("--threads", type=command_line.whole(1), default=2)
    parser.add_argument("--seed", type=command_line.whole(), default=0, help="of the training")
    parser.add_argument(
        "--epochs",
        type=command_line.real(0.01, 1000),
        default=EPOCHS,
        help="how long to train (default: %(default)s)",
    )
    options = parser.parse_args()
    kinds = {"minidiff": Ours} if options.alone else {"minidiff": Ours, "PyTorch": Torchs}
    training, _ = training_images(options.seed)
    steps = math.ceil(options.epochs * batch_count(len(training), BATCH))
    weights, seconds = train(list(kinds.values()), steps, options.threads, options.seed)
    print(f"{steps:,} steps of {BATCH} images, {options.threads} threads, {COUNT:,} digits")
    good = []
    for name, of_one, trained in zip(kinds, weights, seconds):
        found = judged(of_one)
        said = ", ".join(
            f"{share:.2%} at {distance:.2f} × by {who}" for who, (share, distance) in found.items()
        )
        good.append(
            all(share >= AGREEMENT and distance <= DISTANCE for share, distance in found.values())
        )
        print(
            f"{name}: {trained:.0f} s of training, {said}: {'good' if good[-1] else 'not yet good'}"
        )
    raise SystemExit(not good[0])


if __name__ == "__main__":
    main()
