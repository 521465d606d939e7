"""Train a small UNet on MNIST, then draw the digits that you ask for, by guided diffusion.

python examples/mnist_guided.py                       train, then draw everything into runs/mnist/
python examples/mnist_guided.py --resume              go on with a run that was stopped
mpiexec -n 4 python examples/mnist_guided.py          … or begin one, by four processes
python examples/mnist_guided.py --pretrained --digits 31415
                                                      draw these digits with the network that ships
python examples/mnist_guided.py --digits 31415 --checkpoint runs/mnist/checkpoint.safetensors
                                                      … with one of your own
"""

import argparse
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np

import minidiff as md
from minidiff import command_line, data, diffusion, distributed, metrics, optim, plot
from minidiff.diffusion.guidance import classifier_free
from minidiff.distributed import on_first
from minidiff.evaluation import fingerprint, kept
from minidiff.training import Trainer, newest_checkpoint

TIMESTEPS = 100
# How each is built for a schedule and a seed: the published one, and a better one that is smaller.
NETWORKS = {
    "unet": lambda schedule, seed: md.models.UNet(timesteps=schedule.timesteps, rng=seed),
    "adm": lambda schedule, seed: md.models.ADMUNet(schedule.alpha_bar, rng=seed),
}
SHIPPED = {"unet": "mnist", "adm": "mnist_adm"}
# At which noise levels they learn: None is at all times evenly.
TIMES = {"unet": None, "adm": (0.7, 1.3)}
EPOCHS = 6
BATCH = 64
# The recipe; benchmarks/quality.md says what it gives.
PREDICTS = "v"
FIRST_RATE = 2e-3
LAST_RATE = 4e-5
LABEL_DROPOUT = 0.1
AVERAGED = 0.1  # the width of the averaged weights' shape
CHECKPOINT = "checkpoint.safetensors"
SCALES = (1, 1.5, 2, 3, 5, 10)
COUNT = 100  # of each digit, for the judgement
# Noise that is drawn anew at each step undoes the network's errors; times are even in log-SNR.
SAMPLER = {"sampler": "dpmpp_2m_sde", "steps": 20, "spacing": "log_snr"}
# A network of few epochs makes more of them: more noise, and fewer steps.
AFTER_TRAINING = SAMPLER | {"steps": 10, "eta": 1.5}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--name", default="mnist", help="results go to runs/NAME (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        help=f"passes over the training images, in all (default: {EPOCHS}, or as many as the run "
        "that is resumed was to have; more than these are made at its last learning rate)",
    )
    parser.add_argument(
        "--seed",
        type=command_line.whole(),
        help="of all that is random (default: 0, or that of the run that is resumed)",
    )
    command_line.add_mnist(parser)
    parser.add_argument(
        "--network",
        choices=NETWORKS,
        help="unet, the published one, or adm, the better one (default: adm, or that of the run "
        "that is resumed)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run of that name")
    parser.add_argument(
        "--shuffle-labels", action="store_true", help="an experiment: labels that mean nothing"
    )
    parser.add_argument(
        "--digits",
        help="draw these, such as 31415, and do nothing else; with --pretrained or --checkpoint",
    )
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="draw with the network that ships with minidiff: 0123456789, or --digits",
    )
    command_line.add_tensorboard(parser)
    parser.add_argument("--checkpoint", metavar="FILE", help="the network that --digits draws with")
    parser.add_argument(
        "--guidance",
        type=command_line.real(-100, 100),
        default=2.0,
        help="the scale for --digits (default: %(default)s)",
    )
    command_line.add_threads(parser)
    command_line.add_device(parser)
    args = parser.parse_args()
    args.folder = Path("runs") / args.name
    if args.resume and args.digits is not None:
        parser.error("--digits and --resume do not go together: draw, or go on with training")
    if args.pretrained and (args.resume or args.checkpoint is not None):
        parser.error("--pretrained goes with neither --resume nor --checkpoint")
    if args.pretrained and args.digits is None:
        args.digits = "0123456789"
    if (args.digits is None) == (args.pretrained or args.checkpoint is not None):
        parser.error(
            "--digits and --checkpoint go together: what to draw, and the network to draw it with; "
            "--pretrained draws with the one that ships"
        )
    if args.digits is not None and not (args.digits.isdecimal() and len(args.digits) <= 100):
        parser.error(f"--digits must be digits, such as 31415, at most 100; got {args.digits!r}")
    try:
        command_line.new_file(str(args.folder / CHECKPOINT))
        complete(args)
    except (argparse.ArgumentTypeError, FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    return args


def complete(args: argparse.Namespace) -> None:
    """Load the network that draws; see what a resumed run keeps, and what a new one begins with.

    The seed says which images are for validation, and whether labels were shuffled cannot be seen.
    The learning rate falls over `schedule_epochs`: it would jump up again if more epochs that are
    asked for later stretched it.
    """
    if not args.resume:
        args.seed = args.seed or 0
        args.epochs = args.epochs or EPOCHS
        args.schedule_epochs = args.epochs
        args.network = args.network or "adm"
        if args.pretrained:
            args.checkpoint = md.pretrained(SHIPPED[args.network])
        elif args.digits:
            args.checkpoint = command_line.digits_network(args.checkpoint)
        return
    path = args.folder / CHECKPOINT
    notes = on_first(lambda: newest_checkpoint(path).notes)
    if "schedule_epochs" not in notes:
        raise ValueError(f"--resume: given {path}, wanted a checkpoint of this script")
    if args.seed not in (None, notes["seed"]):
        raise ValueError(f"--seed: given {args.seed}, wanted {notes['seed']}, that of {path}")
    if args.network not in (None, notes["network"]):
        raise ValueError(
            f"--network: given {args.network}, wanted {notes['network']}, that of {path}"
        )
    if args.shuffle_labels and not notes["shuffle_labels"]:
        raise ValueError(f"--shuffle-labels: wanted none: {path} learned from labels in order")
    args.seed = notes["seed"]
    args.network = notes["network"]
    args.shuffle_labels = notes["shuffle_labels"]
    args.schedule_epochs = notes["schedule_epochs"]
    args.epochs = args.epochs or notes["epochs"]
    if args.epochs < notes["epoch"]:
        raise ValueError(
            f"--epochs: given {args.epochs}, wanted {notes['epoch']} or more: so many are done"
        )


def main() -> None:
    args = arguments()
    folder = args.folder
    if args.threads:
        md.set_num_threads(args.threads)
    if args.digits:
        model = args.checkpoint.to(args.device)
        path = folder / f"digits_{args.digits}.png"
        draw_digits(model, args.digits, args.guidance, args.seed, path)
        return

    trainer = train(args)
    if distributed.rank() == 0:
        plot.loss_curve(trainer.history, folder / "loss.png")
    model = md.load(trainer.path)  # with the averaged weights
    # what is drawn stays until all is done: --resume goes on with the rest
    drawn = folder / f"drawn-{fingerprint(model)}"
    model = model.to(args.device)
    with command_line.training(trainer.path):
        draw_scales(model, args.seed, folder / "guidance.png", drawn)
        draw_video(model, args.seed, folder / "denoising.gif", drawn)
        judge(model, args, folder / "counts.png", drawn)
    if distributed.rank() == 0:
        shutil.rmtree(drawn, ignore_errors=True)


def train(args: argparse.Namespace) -> Trainer:
    """The whole training: 90 % of the images, every tenth label dropped, averaged weights."""
    images, labels = command_line.mnist("train", args.data)
    if args.shuffle_labels:
        labels = np.random.default_rng(args.seed).permutation(labels)
    training, validation = data.split_validation(images, labels, seed=args.seed)

    schedule = diffusion.cosine_schedule(TIMESTEPS)
    model = NETWORKS[args.network](schedule, args.seed).to(args.device)
    steps = args.schedule_epochs * data.batch_count(len(training[0]), BATCH)
    optimizer = optim.Adam(
        model.parameters(),
        lr=optim.warmup_cosine(FIRST_RATE, min(200, steps // 10), steps, LAST_RATE),
    )
    ema = optim.EMA(model, optim.PowerLaw(AVERAGED))
    print(
        f"{model.num_parameters:,} parameters, {len(training[0]):,} images, "
        f"{distributed.size()} processes of {md.get_num_threads()} threads"
    )

    normal = TIMES[args.network]
    draw = None if normal is None else diffusion.losses.log_normal(schedule, *normal)

    def loss(x, labels, rng):
        dropped = diffusion.label_dropout(labels, LABEL_DROPOUT, rng)
        return diffusion.loss(model, schedule, x, dropped, rng, PREDICTS, draw=draw)

    path = args.folder / CHECKPOINT
    kept = ("network", "epochs", "schedule_epochs", "shuffle_labels")
    notes = {name: vars(args)[name] for name in kept}
    trainer = Trainer(
        model,
        loss,
        optimizer,
        ema,
        batch_size=BATCH,
        seed=args.seed,
        path=path,
        tensorboard=args.tensorboard,
        **notes,
    )
    if args.resume:
        trainer.resume()
    with command_line.training(path):
        trainer.fit(training, args.epochs, validation)
    return trainer


def draw_digits(model, digits: str, scale: float, seed: int, path: Path) -> None:
    denoise = classifier_free(diffusion.denoiser(model), scale)
    labels = np.array([int(digit) + 1 for digit in digits])  # label 0 is the null label
    images = diffusion.sample(denoise, labels, rng=seed, **SAMPLER)
    if distributed.rank() == 0:
        plot.grid(md.kernels.to_host(images)[None], path, titles=digits)
    print(f"drawn: {path}")


def draw_scales(model, seed: int, path: Path, drawn: Path) -> None:
    """Digits 0 to 9, each from the same noise, at growing guidance."""

    def draw(scale: float) -> dict[str, np.ndarray]:
        denoise = classifier_free(diffusion.denoiser(model), scale)
        images = diffusion.sample(denoise, np.arange(1, 11), rng=seed, **AFTER_TRAINING)
        return {"images": md.kernels.to_host(images)}

    rows = [kept(drawn / f"scale-{scale}.npz", partial(draw, scale))["images"] for scale in SCALES]
    labels = {"row_labels": SCALES, "titles": range(10), "ylabel": "guidance"}
    if distributed.rank() == 0:
        plot.grid(np.stack(rows), path, **labels)
    print(f"drawn: {path}")


def draw_video(model, seed: int, path: Path, drawn: Path) -> None:
    """Ten digits becoming visible: x_t above, what the network makes of it below."""

    def draw() -> dict[str, np.ndarray]:
        steps = diffusion.sample_steps(
            classifier_free(diffusion.denoiser(model), 2.0),
            np.arange(1, 11),
            sampler="ddpm",
            steps=TIMESTEPS,
            rng=seed,
        )
        return dict(zip(("t", "x", "x0"), diffusion.all_steps(steps)))

    t, x, x0 = kept(drawn / "video.npz", draw).values()
    keep = [*range(0, len(x) - 1, 4), len(x) - 1]
    if distributed.rank() == 0:
        plot.denoising_video(x[keep], x0[keep], path, times=t[keep])
    print(f"drawn: {path}")


def judge(model, args: argparse.Namespace, path: Path, drawn: Path) -> None:
    """What a LeNet reads in 1,000 drawn digits, and how far they are from all test images.

    The distance is given in multiples of that of as many training images. 1,000 are few: see
    `examples/evaluate.py` for figures that can be compared.
    """
    lenet = md.pretrained("lenet")
    features = lambda images: metrics.features(lenet.features, images)
    classes = np.repeat(np.arange(10), COUNT)
    denoise = diffusion.denoiser(model)
    real = metrics.Moments(features(command_line.mnist("test", args.data)[0]))
    training = command_line.mnist("train", args.data)[0][: len(classes)]
    floor = metrics.frechet_distance(real, features(training))

    def draw(scale: float, condition: np.ndarray | None) -> dict[str, np.ndarray]:
        start = time.perf_counter()
        images = diffusion.sample(
            classifier_free(denoise, scale),
            condition,
            n=len(classes),
            rng=args.seed,
            **AFTER_TRAINING,
        )
        seconds = time.perf_counter() - start
        return {"images": md.kernels.to_host(images), "seconds": np.array(seconds)}

    def judged(scale: float, condition: np.ndarray | None) -> tuple[np.ndarray, str]:
        """What the LeNet reads in the digits drawn, and their figures."""
        file = drawn / ("judged-null.npz" if condition is None else f"judged-{scale:g}.npz")
        images, seconds = kept(file, lambda: draw(scale, condition)).values()
        distance = metrics.frechet_distance(real, features(images)) / floor
        figures = f"Fréchet distance {distance:.1f} × that of real ones, {seconds:.1f} s"
        return metrics.predict(lenet, images), figures

    for scale in (1.0, 2.0):
        read, figures = judged(scale, classes + 1)
        agreement = metrics.accuracy(classes, read)
        print(
            f"guidance {scale:g}: a LeNet reads {agreement:.1%} of {len(classes):,} digits "
            f"as wanted ({figures})"
        )
    read, figures = judged(1.0, None)
    if distributed.rank() == 0:
        plot.label_counts(read + 1, path, names=range(10))
    counts = np.bincount(read, minlength=10)
    print(f"null label: {counts} of the digits 0 to 9 ({figures}); drawn: {path}")


if __name__ == "__main__":
    with distributed.ranks():
        main()
