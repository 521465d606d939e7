"""Winograd's tiles (see `winograd`): how an image is cut into them, and where each has its place in
V and M.

    14 columns        ┌───┬───┬──┬──┐      a tile is `wide` if it has all columns of outputs (4 for 3 taps, 2 for 5),
    of outputs:       │ 4 │ 4 │3 │3 │      else one less; `tall` likewise
                      └───┴───┴──┴──┘

Tiles beside each other in one row are a *run*; 32 tiles, running on across rows and images, are a
*block*. A tile has positions (i, j), 0 … 5 each way, but without outputs in a fourth column nothing
wants what is at j = 5, the point ∞. So each position has slots for those tiles of the block that
take part in it, and one more, for what is not wanted.
"""

from functools import lru_cache
from typing import Any

import numpy as np

BLOCK = 32  # tiles
NUMBERS, OF_BLOCK = 10, 6  # of a run: see `Run`; of a block: see `find_runs`


def cut(size, outputs):
    """(tiles along a side, how many have all outputs).

    Where shorter ones do not fit either, the last overlaps.
    """
    count = (size + outputs - 1) // outputs
    return count, max(0, size - count * (outputs - 1))


@lru_cache(maxsize=64)
def find_runs(images, height, width, outputs):
    """All runs, as `Run` reads them, and for each block: its first run, how many there are, and how
    many tiles take part: in all positions but those at ∞; at j = 5; at i = 5; at both.
    """
    (down, tall), (across, wide) = cut(height, outputs), cut(width, outputs)
    total, runs, blocks = images * down * across, list[tuple](), list[tuple]()
    for first in range(0, total, BLOCK):
        start, count, shares = len(runs), min(BLOCK, total - first), [0] * 4
        while shares[0] < count:
            strip, j = divmod(first + shares[0], across)
            n, i = divmod(strip, down)
            length, is_tall = min(across - j, count - shares[0]), i < tall
            wides = max(0, min(wide - j, length))
            top = min(i * (outputs - 1) + min(i, tall), height - outputs + 1 - is_tall)
            left = min(j * (outputs - 1) + min(j, wide), width - outputs + (not wides))
            span = min(length * (outputs - 1) + wides, width - left)
            runs.append(
                (
                    n,
                    top,
                    left,
                    length,
                    wides,
                    span,
                    *shares[:2],
                    *(shares[2:] if is_tall else (BLOCK, BLOCK)),
                )
            )
            more = length, wides, length * is_tall, wides * is_tall
            shares = [share + some for share, some in zip(shares, more, strict=True)]
        blocks.append((start, len(runs) - start, *shares))
    return np.array(runs), np.array(blocks)


def pitch(e: Any) -> int:
    """From one position to the next: a power of two it must not be, or they would share a few places of the cache."""
    return (BLOCK + 1) * e.lanes


class Run:
    """A run in a vector body.

    Its numbers are the image, row and column of its first output; how many tiles it has, how many
    of them, the first, are wide, and how many columns of outputs; and its first slots, at the
    positions that `shares` counts.
    """

    def __init__(self, e: Any, place: Any, outputs: int):
        self.e, self.outputs = e, outputs
        self.image, self.top, self.left, self.length, self.wides, self.span, *self.slots = (
            e.integer(place + k) for k in range(NUMBERS)
        )
        self.is_tall = e.fewer(self.slots[2], BLOCK)

    def corner(self, array: Any, height: Any, width: Any, channels: Any) -> Any:
        """The first output's place in an array of images."""
        return array + ((self.image * height + self.top) * width + self.left) * channels

    def is_wide(self, k: Any) -> Any:
        return self.e.fewer(k, self.wides)

    def start(self, k: Any) -> Any:
        """The k-th tile's first column, from the run's first."""
        e, narrow = self.e, self.outputs - 1
        return e.smaller(k * narrow + e.smaller(k, self.wides), self.span - narrow)

    def positions(self, v: Any, c: Any, k: Any) -> Any:
        """The function (i, j) → place in V or M of the k-th tile's c-th vector of channels."""
        e, (t, wide, tall, both) = self.e, self.slots
        if_wide = lambda slot: e.choose(self.is_wide(k), slot, BLOCK)
        if_tall = lambda slot: e.choose(self.is_tall, slot, BLOCK)
        slots = t + k, if_wide(wide + k), if_tall(tall + k), if_wide(if_tall(both + k))
        places = [v + (c * (36 * pitch(e)) + slot * e.lanes) for slot in slots]
        return lambda i, j: places[i // 5 * 2 + j // 5] + (6 * i + j) * pitch(e)
