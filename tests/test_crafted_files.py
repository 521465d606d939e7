"""Files that a stranger made: they are refused, by a documented error, before they take memory.

`benchmarks/reliability/parsers.py` makes a million such files; here are those that found faults.
"""

import gzip
import hashlib
import io
import json
import pickle
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load, save

import minidiff as md
from minidiff import checks, diffusion
from minidiff.data import files, idx_format, mirrors
from minidiff.data.registry import ArrayUnpickler
from minidiff.storage.file_format import _BEFORE_HASHING

MEGABYTE = 1 << 20


def peak_of(function):
    """The most bytes that it had at a time."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def crafted(tmp_path):
    """A checkpoint of a small model with something else in its metadata, sealed as if it were so.

    Its weights, and what it predicts, stay.
    """

    def make(**changes):
        model = md.models.ConditionalMLP(hidden=4, classes=2, timesteps=5)
        points = np.zeros((4, 2), np.float32)
        schedule = diffusion.cosine_schedule(5)
        diffusion.loss(model, schedule, points, None, np.random.default_rng(0))
        path = md.save(tmp_path / "m.safetensors", model)
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"]["minidiff"]) | changes
        del about["sha256"]
        text = json.dumps(about | {"sha256": _BEFORE_HASHING})
        content = save(load(content), {"minidiff": text})
        sha256 = hashlib.sha256(content).hexdigest().encode()
        path.write_bytes(content.replace(_BEFORE_HASHING.encode(), sha256))
        return path

    return make


SMALL = {"hidden": 4, "classes": 2, "timesteps": 5}
HUGE = {
    "times": {"config": SMALL | {"timesteps": 20_000_000}},
    "times without a schedule": {
        "config": SMALL | {"timesteps": 20_000_000, "classes": 3},
        "parameterization": None,
    },
    "a layer": {"config": SMALL | {"hidden": 10_000}},
    "labels": {"config": SMALL | {"classes": 10_000_000}},
    "a network": {"model": "UNet", "config": {"width": 512}},
    "levels": {"model": "UNet", "config": {"width": 8, "multipliers": [1] * 5000}},
    "a number of many digits": {"config": SMALL | {"hidden": 10**4000}},
    "floats": {"config": SMALL | {"hidden": 1e300}},
}


@pytest.mark.parametrize("huge", HUGE)
def test_a_model_much_larger_than_its_weights_is_not_built(crafted, huge):
    path = crafted(**HUGE[huge])

    def refused():
        with pytest.raises(ValueError, match=r"wanted a checkpoint|state: given another one"):
            md.load(path)

    assert peak_of(refused) < 4 * MEGABYTE


@pytest.mark.parametrize("name", ["unet", "inputs", "__all__", "Module", "__class__", "", "os"])
def test_only_networks_are_built(crafted, name):
    with pytest.raises(ValueError, match=f"which holds a {name}, not in minidiff.models"):
        md.load(crafted(model=name, config={}))


def test_the_networks_that_ship_are_built(crafted):
    md.load(crafted())
    for name in "mnist", "lenet", "judge", "patterns":
        md.pretrained(name)


def test_what_is_built_may_have_so_many_numbers_in_all():
    with checks.at_most(100):
        checks.sizes(a=6, b=10)
        with pytest.raises(ValueError, match="a, b: given 5 × 10, wanted at most 40 numbers"):
            checks.sizes(a=5, b=10)
        checks.sizes(a=40)
    checks.sizes(a=5000, b=10)


def test_times_beyond_a_table_are_computed():
    few = md.nn.SinusoidalEmbedding(8, timesteps=1000)
    many = md.nn.SinusoidalEmbedding(8, timesteps=10_000_000)
    t = np.array([0, 1, 7, 1000])
    like = np.zeros(1, np.float32)
    np.testing.assert_array_equal(few(t, like), many(t, like))


def test_a_gzip_bomb_is_unpacked_to_the_size_that_is_wanted():
    name = "t10k-labels-idx1-ubyte"
    bomb = gzip.compress(bytes(300 * MEGABYTE), 1)

    def refused():
        with pytest.raises(ValueError, match=r"bomb: given more than 10,008 bytes in .*, wanted"):
            files.decompress(name, bomb, "bomb")

    assert peak_of(refused) < len(bomb) + MEGABYTE


def test_a_mirror_that_sends_without_end_is_left(monkeypatch):
    import requests

    class Endless:
        headers = {}
        sent = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def raise_for_status(self):
            pass

        def iter_content(self, size):
            while True:
                self.sent += size
                yield bytes(size)

    endless = Endless()
    monkeypatch.setattr(requests, "get", lambda *arguments, **options: endless)
    with pytest.raises(ValueError, match=r"there: given over .* bytes, wanted t10k-labels"):
        mirrors._transfer("there", "t10k-labels-idx1-ubyte", float("inf"))
    assert endless.sent < MEGABYTE


IDX = {
    "no bytes": b"",
    "a header alone": bytes([0, 0, 8]),
    "axes that are not there": bytes([0, 0, 8, 255]),
    "lengths that overflow": bytes([0, 0, 8, 3]) + b"\xff" * 12,
    "no images, very large": bytes([0, 0, 8, 3]) + bytes(4) + b"\xff" * 8,
    "more axes than arrays have": bytes([0, 0, 8, 70]) + bytes(280),
    "other numbers": bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
    "a byte too many": idx_format.encode(np.zeros(3, np.uint8)) + b"\0",
}


@pytest.mark.parametrize("what", IDX)
def test_idx_files_that_are_none(what):
    with pytest.raises(ValueError):
        idx_format.parse(IDX[what])


def test_a_pickled_array_takes_no_memory_before_its_bytes():
    class Huge:
        def __reduce__(self):
            from numpy._core.multiarray import _reconstruct

            return _reconstruct, (np.ndarray, (1 << 26,), "d")

    raw = pickle.dumps(Huge(), protocol=2).replace(b"numpy._core", b"numpy.core")
    read = lambda: ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    assert peak_of(read) < MEGABYTE


GREEDY = {  # what a few bytes ask for
    "an array that is made by its class": b"cnumpy\nndarray\n(J\0\0\0\x08tR.",
    "a string": b"T\0\0\0\x40abc.",
    "a text": b"X\0\0\0\x40abc.",
    "a place in the list of what was read": b"Nr\0\0\0\x08.",
    "a buffer": b"\x96\0\0\0\x40\0\0\0\0abc.",
    "a frame": b"\x95\0\0\0\x40\0\0\0\0abc.",
}


@pytest.mark.parametrize("what", GREEDY)
def test_a_pickle_takes_no_more_memory_than_it_has_bytes(what):
    def read():
        with suppress(Exception):  # which one is nobody's matter: the file's checksum is known
            ArrayUnpickler(io.BytesIO(GREEDY[what]), encoding="latin1").load()

    assert peak_of(read) < MEGABYTE
