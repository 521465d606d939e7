"""MNIST and Fashion-MNIST from public mirrors, over HTTPS, within a fixed time.

pooch checks the SHA-256 and moves a file into the cache only when it is right. The transfer runs in
a thread of its own: the time-outs of `requests` bound each wait for the network, not their sum, and
neither the look-up of a host's name nor a server that sends one byte a second is bounded by them at
all.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from . import files

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
SECONDS_TO_CONNECT = 5.0
SECONDS_IN_ALL = 15.0


def fetch(cache: Path, names: list[str], addresses: Sequence[str]) -> list[str]:
    """Put the files `names` into `cache`; gives for each address that failed which it was and why.

    Gives up SECONDS_IN_ALL after it began, with whatever files it has by then.
    """
    import pooch

    missing = list(names)
    failures = []
    deadline = time.monotonic() + SECONDS_IN_ALL
    for mirror in addresses:
        try:
            for name in list(missing):
                downloader = partial(_download, name=name, deadline=deadline)
                sha256 = f"sha256:{files.FILES[name][1]}"
                file = files.base(name)
                pooch.retrieve(f"{mirror}{file}.gz", sha256, file, cache, downloader=downloader)
                missing.remove(name)
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {error}")
    return failures


def _download(url: str, output_file: str, _pooch: object, name: str, deadline: float) -> None:
    """A downloader for pooch that writes the uncompressed file: pooch checks the hash of that."""
    answer: Future[bytes] = Future()

    def transfer() -> None:
        try:
            answer.set_result(_transfer(url, name, deadline))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=transfer, daemon=True).start()
    try:
        compressed = answer.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise TimeoutError(
            f"{name}.gz was not there {SECONDS_IN_ALL:g} s after the first mirror was asked"
        ) from None
    Path(output_file).write_bytes(files.decompress(name, compressed, url))


def _transfer(url: str, name: str, deadline: float) -> bytes:
    import requests
    from tqdm.auto import tqdm

    chunks = []
    received = 0
    headers = {"Accept-Encoding": "identity"}  # else some servers send the file already unzipped
    with requests.get(
        url, stream=True, timeout=(SECONDS_TO_CONNECT, SECONDS_IN_ALL), headers=headers
    ) as response:
        response.raise_for_status()
        length = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=length, desc=name, unit="B", unit_scale=True, leave=False) as bar:
            for chunk in response.iter_content(2**16):
                if time.monotonic() > deadline:
                    raise TimeoutError  # nobody waits for it any longer
                chunks.append(chunk)
                bar.update(len(chunk))
                received += len(chunk)
                if received > files.FILES[name][0]:
                    raise ValueError(f"{url}: given over {received:,} bytes, wanted {name}.gz")
    return b"".join(chunks)
