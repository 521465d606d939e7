"""MNIST from public mirrors, over HTTPS, within a fixed time.

pooch checks the SHA-256 and moves a file into the cache only when it is right. The transfer runs in a thread of its
own: the time-outs of `requests` bound each wait for the network, not their sum, and neither the look-up of a host's
name nor a server that sends one byte a second is bounded by them at all.
"""

import io
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from minidiff.data import files

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SECONDS_TO_CONNECT = 5.0
SECONDS_IN_ALL = 15.0


def fetch(cache: Path, names: Iterable[str]) -> list[str]:
    """Put the files `names` into `cache`; the list says for each mirror that failed which it was and why.

    Gives up SECONDS_IN_ALL after it began, with whatever files it has by then.
    """
    import pooch

    missing = list(names)
    deadline = time.monotonic() + SECONDS_IN_ALL
    failures = []
    for mirror in MIRRORS:
        try:
            while missing:
                pooch.retrieve(
                    f"{mirror}{missing[0]}.gz",
                    known_hash=f"sha256:{files.FILES[missing[0]].sha256}",
                    fname=missing[0],
                    path=cache,
                    downloader=_unzipping_downloader(missing[0], deadline),
                )
                missing.pop(0)
        except (OSError, ValueError) as error:
            failures.append(f"{mirror}: {error}")
    return failures


def _unzipping_downloader(name: str, deadline: float) -> Callable:
    """A pooch downloader that writes the uncompressed file, so that pooch checks the hash of what is inside."""

    def download(url: str, output_file: str, _pooch: object) -> None:
        body = io.BytesIO()
        failure: list[Exception] = []

        def transfer() -> None:
            try:
                _transfer(url, body, name, deadline)
            except Exception as error:
                failure.append(error)

        thread = threading.Thread(target=transfer, daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive() or time.monotonic() > deadline:
            raise TimeoutError(f"{name}.gz was not there {SECONDS_IN_ALL:g} s after the first mirror was asked")
        if failure:
            raise failure[0]
        Path(output_file).write_bytes(files.decompress(name, body.getvalue(), url))

    return download


def _transfer(url: str, body: io.BytesIO, name: str, deadline: float) -> None:
    import requests
    from tqdm import tqdm

    timeouts = (SECONDS_TO_CONNECT, SECONDS_IN_ALL)
    headers = {"Accept-Encoding": "identity"}  # else some servers send the file already unzipped
    with requests.get(url, stream=True, timeout=timeouts, headers=headers) as response:
        response.raise_for_status()
        length = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(total=length, desc=name, unit="B", unit_scale=True, leave=False) as bar:
            for chunk in response.iter_content(2**14):
                if time.monotonic() > deadline:  # nobody waits for it any longer
                    return
                body.write(chunk)
                bar.update(len(chunk))
