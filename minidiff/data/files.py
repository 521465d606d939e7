"""The files of MNIST and Fashion-MNIST: what each must hold, and how one is read and stored.

Both data sets have files of the same names. Here those of Fashion-MNIST have a folder in front.

The SHA-256 is that of the uncompressed bytes. Mirrors hold different gzip files of the same bytes,
so a hash of the compressed file would refuse good ones.
"""

import gzip
import hashlib
import zlib
from io import BytesIO
from pathlib import Path

from ..disk import write_whole

MNIST = {  # name: size, SHA-256
    "train-images-idx3-ubyte": (
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        60_008,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        10_008,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
FASHION_MNIST = {
    "fashion-mnist/train-images-idx3-ubyte": (
        47_040_016,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "fashion-mnist/train-labels-idx1-ubyte": (
        60_008,
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "fashion-mnist/t10k-images-idx3-ubyte": (
        7_840_016,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "fashion-mnist/t10k-labels-idx1-ubyte": (
        10_008,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
FILES = MNIST | FASHION_MNIST


def base(name: str) -> str:
    """The name of the file in its folder."""
    return name.rpartition("/")[2]


def check(name: str, raw: bytes, source: str | Path) -> bytes:
    """`raw` unchanged where it is what the file `name` must hold.

    Else ValueError says what `source` held.
    """
    size, right = FILES[name]
    sha256 = hashlib.sha256(raw).hexdigest()
    if sha256 != right:
        raise ValueError(
            f"{source}: given {len(raw):,} bytes with SHA-256 {sha256}, "
            f"wanted {name} of {size:,} bytes with SHA-256 {right} (both uncompressed)"
        )
    return raw


def decompress(name: str, compressed: bytes, source: str | Path) -> bytes:
    """The checked bytes inside the gzip file `compressed`.

    ValueError where it is cut short, broken or another file, of which no more is unpacked than one
    byte beyond the size that is wanted: a thousand times as much may be in it.
    """
    size, _ = FILES[name]
    try:
        with gzip.GzipFile(fileobj=BytesIO(compressed)) as file:
            raw = file.read(size + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{source}: given {len(compressed):,} bytes that are not a whole gzip file ({error}), "
            f"wanted {name}.gz"
        ) from error
    if len(raw) > size:
        raise ValueError(
            f"{source}: given more than {size:,} bytes in {len(compressed):,}, "
            f"wanted {name} of {size:,} bytes"
        )
    return check(name, raw, source)


def candidates(folder: Path, name: str) -> list[Path]:
    """The paths in `folder` that may hold the file `name`: compressed and plain."""
    return [folder / f"{base(name)}.gz", folder / base(name)]


def read(folder: Path, name: str) -> bytes:
    """The checked bytes of the file `name` in `folder`, compressed or not; one good one will do.

    FileNotFoundError where there is none, ValueError where there is one and it is truncated,
    corrupt or something else.
    """
    wrong: list[ValueError] = []
    for path in candidates(folder, name):
        if path.is_file():
            content = path.read_bytes()
            take = decompress if path.suffix == ".gz" else check
            try:
                return take(name, content, path)
            except ValueError as error:
                wrong.append(error)
    if wrong:
        raise wrong[0]
    reason = (
        f"holds neither {base(name)}.gz nor {base(name)}" if folder.is_dir() else "is not a folder"
    )
    raise FileNotFoundError(f"{name}: the folder given, {folder}, {reason}")


def store(folder: Path, name: str, raw: bytes) -> None:
    """Write `raw` as the file `name` in `folder`, after a check."""
    write_whole(folder / base(name), check(name, raw, f"{name} to be stored"))
