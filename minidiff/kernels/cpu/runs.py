"""Winograd's tiles: how images are cut into them, and where each has its place in V and M.

    14 columns        ┌───┬───┬──┬──┐      a tile is *wide* if it has all columns of outputs
    of outputs:       │ 4 │ 4 │3 │3 │      (4 for 3 taps, 2 for 5), else it has one less;
                      └───┴───┴──┴──┘      *tall* likewise for rows

Tiles beside each other in one row are a *run*; 32 tiles, running on across rows and images, are a
*block*. A tile has positions (i, j), 0 … 5 each way. Position j = 5 is the point ∞, and only a
fourth column of outputs uses it; likewise i = 5. So not all tiles take part in all positions: each
position has slots for the tiles of the block that do, and one more slot for what nobody wants.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .plans import unpacked
from .views import View, ceil_divide

BLOCK = 32  # tiles


class ImageSize(NamedTuple):
    """Of one image."""

    height: Any
    width: Any
    channels: Any


class RunPlan(NamedTuple):
    """A run: where its outputs are, and the first of its slots."""

    image: Any
    top: Any  # row and column of its first output
    left: Any
    length: Any  # tiles
    wide: Any  # how many of them, the first, are wide
    span: Any  # columns of outputs
    # first slot at the positions i, j < 5; j = 5; i = 5; both; BLOCK if no tile takes part
    slot: Any
    wide_slot: Any
    tall_slot: Any
    both_slot: Any


class BlockPlan(NamedTuple):
    """A block: its runs, and how many of its tiles take part in which positions."""

    first: Any  # run
    runs: Any  # how many
    tiles: Any  # at the positions i, j < 5: all of them
    wide: Any  # at j = 5
    tall: Any  # at i = 5
    both: Any


def cut(size, outputs):
    """(tiles along a side, how many of them are whole).

    Where shorter ones do not fit either, the last one overlaps the one before it.
    """
    count = ceil_divide(size, outputs)
    return count, max(0, size - count * (outputs - 1))


@lru_cache(maxsize=64)
def find_runs(images, height, width, outputs):
    """All runs and all blocks of so many images, each as a row of numbers (RunPlan, BlockPlan)."""
    down, tall = cut(height, outputs)
    across, wide = cut(width, outputs)
    total = images * down * across
    narrow = outputs - 1
    runs: list[RunPlan] = []
    blocks: list[BlockPlan] = []
    for first in range(0, total, BLOCK):
        block = BlockPlan(len(runs), 0, 0, 0, 0, 0)
        count = min(BLOCK, total - first)
        while block.tiles < count:
            strip, j = divmod(first + block.tiles, across)
            image, i = divmod(strip, down)
            length = min(across - j, count - block.tiles)
            is_tall = i < tall
            wides = max(0, min(wide - j, length))
            left = min(j * narrow + min(j, wide), width - outputs + (not wides))
            run = RunPlan(
                image,
                top=min(i * narrow + min(i, tall), height - outputs + (not is_tall)),
                left=left,
                length=length,
                wide=wides,
                span=min(length * narrow + wides, width - left),
                slot=block.tiles,
                wide_slot=block.wide,
                tall_slot=block.tall if is_tall else BLOCK,
                both_slot=block.both if is_tall else BLOCK,
            )
            runs.append(run)
            block = block._replace(
                runs=block.runs + 1,
                tiles=block.tiles + length,
                wide=block.wide + wides,
                tall=block.tall + length * is_tall,
                both=block.both + wides * is_tall,
            )
        blocks.append(block)
    return np.array(runs), np.array(blocks)


# --- in vector bodies ---


def transformed(e: Any, place: Any) -> View:
    """V or M: a view (position, vector of channels, tile, lane).

    A position's tiles are followed by one more. Else positions would be a power of two apart, and
    would share a few places of the cache.
    """
    slots = (BLOCK + 1) * e.lanes
    return View(place, slots, 36 * slots, e.lanes, 1)


class Run:
    """A run in a vector body: which outputs its tiles have, and which places in V and M."""

    def __init__(self, e: Any, place: Any, outputs: int):
        self.e = e
        self.outputs = outputs
        self.plan = unpacked(e, RunPlan, place)
        self.is_tall = e.lt(self.plan.tall_slot, BLOCK)

    def from_corner(self, images: Any, size: ImageSize) -> View:
        """A view (row, column, channel) of the run's image, from the run's first output on."""
        row = size.width * size.channels
        of_images = View(images, size.height * row, row, size.channels, 1)
        return of_images[self.plan.image, self.plan.top :, self.plan.left :]

    def is_wide(self, k: Any) -> Any:
        """Whether tile k is wide."""
        return self.e.lt(k, self.plan.wide)

    def start(self, k: Any) -> Any:
        """Tile k's first column, counted from the run's first."""
        e = self.e
        narrow = self.outputs - 1
        return e.min(k * narrow + e.min(k, self.plan.wide), self.plan.span - narrow)

    def positions(self, v: Any, c: Any, k: Any) -> Any:
        """The function (i, j) -> place in V or M of tile k's vector c of channels."""
        e = self.e
        plan = self.plan
        if_wide = lambda slot: e.select(self.is_wide(k), slot, BLOCK)
        if_tall = lambda slot: e.select(self.is_tall, slot, BLOCK)
        slots = {
            (False, False): plan.slot + k,
            (False, True): if_wide(plan.wide_slot + k),
            (True, False): if_tall(plan.tall_slot + k),
            (True, True): if_wide(if_tall(plan.both_slot + k)),
        }
        view = transformed(e, v)
        of_tile = {ends: view[:, c, slot] for ends, slot in slots.items()}
        return lambda i, j: of_tile[i == 5, j == 5].at(6 * i + j)
