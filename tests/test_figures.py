"""The figures of drawn digits, as evaluation keeps them in files."""

import os
from pathlib import Path

import numpy as np
import pytest

from minidiff.evaluation.cells import Cell, make_all


def test_every_damage_to_figures_is_seen(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "examples")
    from minidiff.evaluation.judging import as_json, from_json

    figures = {"judges": {"lenet": {"agreement": np.float64(0.987654321), "shares": [0.5, 1e-9]}}}
    content = as_json(figures)
    good = from_json(content)
    assert good == {"judges": {"lenet": {"agreement": 0.987654, "shares": [0.5, 1e-9]}}}
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            try:
                assert from_json(bytes(flipped)) == good
            except ValueError as error:
                assert "damaged" in str(error)
    for other in (b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"figures": {}}', content[:-9]):
        with pytest.raises(ValueError, match="damaged"):
            from_json(other)


def test_what_is_no_file_is_not_taken_for_a_cell(tmp_path):
    cell = Cell(tmp_path / "cell", make=lambda: b"made", parse=lambda content: content)
    make_all([cell])
    assert cell.read() == b"made"
    cell.path.unlink()
    cell.path.symlink_to(os.devnull)
    with pytest.raises(ValueError, match="cell, which is no file, wanted the name of a file"):
        make_all([cell])
    assert cell.path.is_symlink()
