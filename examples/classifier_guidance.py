"""Guidance by a classifier, in two ways: its gradient steers unconditional samples.

    python examples/classifier_guidance.py          pictures go to runs/classifier_guidance/

The classifier is trained on noisy MNIST; the network that draws is asked for the null label only.
There are two ways to use the classifier (Dhariwal & Nichol 2021): its gradient shifts DDPM's mean
(algorithm 1), or the predicted noise, which any sampler can use (algorithm 2).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, diffusion, metrics, nn, ops, optim, plot
from minidiff.diffusion import guidance
from minidiff.kernels import to_device, to_host
from minidiff.training import Trainer

SCALES = (0, 1, 2, 5, 10)
TIMESTEPS = 100


class NoisyClassifier(nn.Module):
    """Noisy digits (batch, 28, 28, 1) and their times to logits (batch, 10), counted from 0.

    The time is a channel.
    """

    def __init__(self, rng: np.random.Generator):
        self.config: dict = {}
        self.conv1 = nn.Conv2d(2, 16, 3, rng, stride=2)
        self.conv2 = nn.Conv2d(16, 32, 3, rng, stride=2)
        self.conv3 = nn.Conv2d(32, 64, 3, rng, stride=2)
        self.dense = nn.Dense(4 * 4 * 64, 10, rng)

    def __call__(self, x, t):
        times = np.broadcast_to(np.reshape(t, (-1, 1, 1, 1)) / TIMESTEPS, x.shape).astype(x.dtype)
        h = ops.concatenate([x, to_device(times, self.dense.weight.device)], axis=-1)
        for layer in (self.conv1, self.conv2, self.conv3):
            h = ops.silu(layer(h))
        return self.dense(ops.reshape(h, (x.shape[0], 4 * 4 * 64)))

    def log_prob(self, x, t, labels):
        """log p(label given x_t), (batch,): what guidance takes the gradient of.

        Labels count from 1.
        """
        return ops.log_softmax(self(x, t), axis=-1)[np.arange(len(labels)), labels - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        type=command_line.digits_network,
        help="a network for MNIST (default: the one that ships)",
    )
    command_line.add_mnist(parser)
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        default=2,
        help="to train the classifier (default: %(default)s)",
    )
    parser.add_argument(
        "--count",
        type=command_line.whole(1),
        default=100,
        help="digits for each scale (default: %(default)s)",
    )
    command_line.add_seed(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    model = (args.checkpoint or md.pretrained("mnist")).to(args.device)
    denoise = diffusion.denoiser(model)
    classifier = train(args, denoise.schedule)
    draw(args, denoise, classifier, Path("runs/classifier_guidance/digits.png"))


def train(args: argparse.Namespace, schedule: diffusion.Schedule) -> NoisyClassifier:
    training = command_line.mnist("train", args.data)
    classifier = NoisyClassifier(np.random.default_rng(args.seed)).to(args.device)

    def loss(x0, labels, rng):
        t = rng.integers(1, TIMESTEPS + 1, size=len(x0))
        x_t = to_device(diffusion.q_sample(schedule, x0, t, rng=rng), args.device)
        return md.sharded(lambda x, t, y: ops.cross_entropy(classifier(x, t), y - 1))(
            x_t, t, labels
        )

    optimizer = optim.Adam(classifier.parameters(), lr=1e-3)
    Trainer(classifier, loss, optimizer, batch_size=64, seed=args.seed).fit(training, args.epochs)
    images, labels = command_line.mnist("test", args.data)
    for t in (1, 25, 50, 75):
        noisy = diffusion.q_sample(schedule, images[:1000], t, rng=np.random.default_rng(t))
        read = metrics.predict(lambda x, t=t: classifier(to_device(x, args.device), t), noisy)
        print(
            f"the classifier's accuracy at t = {t}: {metrics.accuracy(labels[:1000] - 1, read):.1%}"
        )
    return classifier


def draw(
    args: argparse.Namespace,
    denoise: diffusion.Denoise,
    classifier: NoisyClassifier,
    path: Path,
) -> None:
    lenet = md.pretrained("lenet")
    classes = np.arange(args.count) % 10
    unconditional = replace(denoise, function=lambda x, t, labels: denoise(x, t, None))
    ways = {
        "mean shift, DDPM": lambda s: diffusion.sample(
            unconditional,
            classes + 1,
            sampler="ddpm",
            steps=TIMESTEPS,
            rng=args.seed,
            mean_shift=guidance.gradient(classifier.log_prob, s),
        ),
        "noise shift, DDIM": lambda s: diffusion.sample(
            guidance.classifier(denoise, classifier.log_prob, s),
            classes + 1,
            steps=25,
            rng=args.seed,
        ),
    }
    cells = []
    captions = []
    for name, sample in ways.items():
        cells.append([to_host(sample(scale)) for scale in SCALES])
        agreement = [metrics.accuracy(classes, metrics.predict(lenet, x)) for x in cells[-1]]
        captions.append([f"{share:.1%}" for share in agreement])
        print(
            f"{name:>20}: a LeNet reads as wanted, by scale: " + ", ".join(captions[-1]), flush=True
        )
    plot.table(cells, path, list(ways), [f"scale {scale}" for scale in SCALES], captions)
    print(f"drawn: {path}")


if __name__ == "__main__":
    main()
