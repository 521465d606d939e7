"""Winograd's tiles: what blocks of them cover, and which slots they get."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.kernels.cpu.runs import BLOCK, cut, find_runs


def tiles_of(images, height, width, outputs):
    """For each block: (image, top, left, rows, columns, slots) of each tile, and the shares."""
    runs, blocks = find_runs(images, height, width, outputs)
    for first, found, *shares in blocks.tolist():
        block = []
        for image, top, left, length, wides, span, *slots in runs[first : first + found].tolist():
            for k in range(length):
                wide, tall = k < wides, slots[2] < BLOCK
                start = min(k * (outputs - 1) + min(k, wides), span - (outputs - 1))
                members = zip(slots, (True, wide, tall, wide and tall), strict=True)
                own = [slot + k if member else BLOCK for slot, member in members]
                block.append(
                    (image, top, left + start, outputs - (not tall), outputs - (not wide), own)
                )
        yield block, shares


@given(st.integers(1, 5), st.integers(4, 40), st.integers(4, 40), st.sampled_from([2, 4]))
def test_tiles_cover_every_output_and_no_other(images, height, width, outputs):
    covered = np.zeros((images, height, width), int)
    for block, _ in tiles_of(images, height, width, outputs):
        for image, top, left, rows, columns, _ in block:
            assert 0 <= top <= height - rows
            assert 0 <= left <= width - columns
            covered[image, top : top + rows, left : left + columns] += 1
    assert covered.min() == 1
    if 5 not in (height, width):  # there two tiles of three overlap
        assert covered.max() == 1


@given(st.integers(1, 5), st.integers(4, 40), st.integers(4, 40))
def test_each_position_has_a_slot_for_each_tile_that_takes_part(images, height, width):
    for block, shares in tiles_of(images, height, width, 4):
        for slots, share in zip(
            zip(*(slots for *_, slots in block), strict=True), shares, strict=True
        ):
            assert sorted(slot for slot in slots if slot < BLOCK) == list(range(share))
        assert shares[0] == len(block)


@pytest.mark.parametrize(
    ("size", "count", "whole"), [(28, 7, 7), (14, 4, 2), (7, 2, 1), (6, 2, 0), (5, 2, 0), (4, 1, 1)]
)
def test_cut(size, count, whole):
    assert cut(size, 4) == (count, whole)
