"""The mirrors, played by servers on this machine: only right files get into the cache."""

import gzip
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from minidiff.data import files, idx_format, mirrors, mnist

NAME = "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def raw():
    return idx_format.encode((mnist("test")[1] - 1).astype(np.uint8))


@pytest.fixture
def mirror(monkeypatch):
    """Starts a server whose answer to GET is `answer(handler)`, and returns its address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def sends(body, length=None):
    """An answer of `body`, said to be `length` bytes long."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_file_arrives_whole(mirror, monkeypatch, tmp_path, raw):
    paths = []
    answer = sends(gzip.compress(raw))
    monkeypatch.setattr(
        mirrors, "MIRRORS", [mirror(lambda handler: (paths.append(handler.path), answer(handler)))]
    )
    assert mirrors.fetch(tmp_path, [NAME], mirrors.MIRRORS) == []
    assert (tmp_path / NAME).read_bytes() == raw
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert paths == [f"/{NAME}.gz"]


def test_next_mirror_is_asked_when_one_fails(mirror, monkeypatch, tmp_path, raw):
    bad = mirror(lambda handler: handler.send_error(404))
    good = mirror(sends(gzip.compress(raw)))
    monkeypatch.setattr(mirrors, "MIRRORS", [bad, good])
    (failure,) = mirrors.fetch(tmp_path, [NAME], mirrors.MIRRORS)
    assert bad in failure and "404" in failure
    assert (tmp_path / NAME).read_bytes() == raw


@pytest.mark.parametrize(
    "body, length, found",
    [
        pytest.param(
            lambda gz: gzip.compress(b"other contents"),
            None,
            "given 14 bytes with SHA-256",
            id="other contents",
        ),
        pytest.param(
            lambda gz: b"<html>log in first</html>", None, "not a whole gzip file", id="a page"
        ),
        pytest.param(lambda gz: gz[:-9], None, "not a whole gzip file", id="truncated"),
        pytest.param(lambda gz: gz[:1000], 4000, "", id="cut off on the way"),
        pytest.param(lambda gz: b"", None, "", id="empty"),
    ],
)
def test_wrong_bytes_never_reach_the_cache(mirror, monkeypatch, tmp_path, raw, body, length, found):
    monkeypatch.setattr(mirrors, "MIRRORS", [mirror(sends(body(gzip.compress(raw)), length))])
    (failure,) = mirrors.fetch(tmp_path, [NAME], mirrors.MIRRORS)
    assert found in failure
    assert not list(tmp_path.iterdir())


def test_nobody_listens(monkeypatch, tmp_path):
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(mirrors, "MIRRORS", [f"http://127.0.0.1:{taken.getsockname()[1]}/"])
        assert len(mirrors.fetch(tmp_path, [NAME], mirrors.MIRRORS)) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["before the answer", "within the body"])
def test_slow_mirror_is_left_in_time(mirror, monkeypatch, tmp_path, where):
    """The server sends a byte now and then, each in time for one read, until fetch gives up."""
    given_up = threading.Event()

    def drip(handler):
        if where == "within the body":
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
        while not given_up.wait(0.05):
            handler.wfile.write(b"HTTP/1.1 200 OK"[:1])
        handler.close_connection = True

    monkeypatch.setattr(mirrors, "SECONDS_IN_ALL", 0.4)
    monkeypatch.setattr(mirrors, "MIRRORS", [mirror(drip), mirror(drip)])
    failures = mirrors.fetch(tmp_path, [NAME], mirrors.MIRRORS)
    given_up.set()
    assert len(failures) == 2 and all(
        "was not there 0.4 s after" in failure for failure in failures
    )
    assert not list(tmp_path.iterdir())


def test_limits_are_the_documented_ones():
    assert mirrors.SECONDS_TO_CONNECT == 5 and mirrors.SECONDS_IN_ALL == 15
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in mirrors.MIRRORS)


def test_corrupt_cache_is_fetched_again(mirror, monkeypatch, tmp_path, raw):
    images = mnist("test")[0]
    monkeypatch.delenv("MINIDIFF_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path)
    monkeypatch.setattr(mirrors, "MIRRORS", [mirror(sends(gzip.compress(raw)))])
    files.store(
        tmp_path,
        "t10k-images-idx3-ubyte",
        idx_format.encode(np.rint((images[..., 0] + 1) * 127.5).astype(np.uint8)),
    )
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(raw)[:-1])
    assert len(mnist("test")[1]) == 10_000
    assert (tmp_path / NAME).read_bytes() == raw
    assert not (tmp_path / f"{NAME}.gz").exists()
