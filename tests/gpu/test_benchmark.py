"""The benchmark of a device: what can be said of it without a clock."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from minidiff.kernels import to_host

FILE = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("gpu_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.gpu
@pytest.mark.long
@pytest.mark.parametrize("network", ["unet", "adm"])
def test_the_steps_that_are_timed_run(network):
    gpu = benchmark()
    contestant = gpu.contestant("minidiff", network, 2)
    train = contestant.training()
    weights = [p.data for p in contestant.model.parameters()]
    before = [to_host(w).copy() for w in weights]
    assert contestant.milliseconds(train, 2) >= 0
    moved = [np.abs(to_host(w) - b).max() for w, b in zip(weights, before)]
    assert max(moved) > 0
    assert contestant.milliseconds(contestant.sampling(), 2) >= 0
    assert contestant.memory() >= 0
    assert "CuPy" in contestant.describe()


@pytest.mark.gpu
def test_a_row_has_a_cell_for_each_column_whoever_failed():
    gpu = benchmark()
    columns = gpu.heading().splitlines()[0].count("|")
    ours = {"ms": 2.0, "bytes": 1 << 20, "note": ""}
    theirs = {"ms": 3.0, "bytes": 2 << 20, "note": ""}
    for results in ([ours, theirs, None], [None, theirs, theirs], [None, None, None]):
        assert gpu.row("unet", "training", 32, results).count("|") == columns
    line = gpu.row("unet", "training", 32, [ours, theirs, None])
    assert line == "| unet, training | 32 | 2.00 | 3.00 | – | 1.50 | – | 1 | 2 | – |"
