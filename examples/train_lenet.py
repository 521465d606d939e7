"""Train the LeNet-5 that judges drawn digits.

    python examples/train_lenet.py --out runs/lenet.safetensors

The weights that ship with the package were made by this script.
"""

import argparse

import numpy as np

import minidiff as md
from minidiff import command_line, data, metrics, ops, optim
from minidiff.training import Trainer

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=command_line.new_file,
        default="runs/lenet.safetensors",
        help="the file to write (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=command_line.whole(1),
        default=8,
        help="passes over the training images (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=command_line.whole(),
        default=0,
        help="of all that is random (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=command_line.mnist_folder,
        help="where the four MNIST files are, if you have them",
    )
    args = parser.parse_args()

    images, labels = command_line.mnist("train", args.data)
    test_images, test_labels = command_line.mnist("test", args.data)
    model = md.models.LeNet5(rng=args.seed)
    steps = args.epochs * data.batch_count(len(images), BATCH)
    optimizer = optim.Adam(
        model.parameters(), lr=optim.warmup_cosine(2e-3, warmup=100, total=steps)
    )

    def loss(x, y, rng):
        return md.sharded(lambda x, y: ops.cross_entropy(model(x), y))(x, y)

    # labels count from 1, since 0 is the null condition; a classifier's classes from 0
    classes = labels - 1
    test_classes = test_labels - 1
    Trainer(model, loss, optimizer, batch_size=BATCH, seed=args.seed).fit(
        (images, classes), args.epochs
    )
    read = metrics.predict(model, test_images)
    print(metrics.classification_report(test_classes, read))
    accuracy = metrics.accuracy(test_classes, read)
    path = md.save(args.out, model, test_accuracy=accuracy)
    training_features, test_features = (
        np.concatenate([model.features(x[i : i + 500]).numpy() for i in range(0, 10_000, 500)])
        for x in (images, test_images)
    )
    distance = metrics.frechet_distance(training_features, test_features)
    print(
        f"test accuracy {accuracy:.2%}; Fréchet distance between training and test images "
        f"{distance:.3f}; written: {path}"
    )


if __name__ == "__main__":
    main()
