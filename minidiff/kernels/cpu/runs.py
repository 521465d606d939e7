"""Winograd's tiles (see `winograd`): how an image is cut into them, and where each has its place in V and M.

    14 columns        ┌───┬───┬──┬──┐      a tile is `wide` if it has all columns of outputs (4 for 3 taps, 2 for 5),
    of outputs:       │ 4 │ 4 │3 │3 │      else one less; `tall` likewise
                      └───┴───┴──┴──┘

Tiles beside each other in one row are a *run*; 32 tiles, running on across rows and images, are a *block*. A tile has
positions (i, j), 0 … 5 each way, but without outputs in a fourth column nothing wants what is at j = 5, the point ∞. So
each position has slots for those tiles of the block that take part in it, and one more, for what is not wanted.
"""

from typing import Any

from .compiled import helper

BLOCK = 32  # tiles
NUMBERS = 10  # of a run: see `Run`


@helper
def cut(size, outputs):
    """(tiles along a side, how many have all outputs). Where shorter ones do not fit either, the last overlaps."""
    count = (size + outputs - 1) // outputs
    return count, max(0, size - count * (outputs - 1))


@helper
def find_runs(first, count, height, width, outputs, runs, shares):
    """The runs of a block of tiles, as `Run` reads them. Gives how many, and in `shares` how many tiles take part: in
    all positions but those at ∞; at j = 5; at i = 5; at both.
    """
    (down, tall), (across, wide) = cut(height, outputs), cut(width, outputs)
    shares[:] = 0
    r = 0
    while shares[0] < count:
        strip, j = divmod(first + shares[0], across)
        n, i = divmod(strip, down)
        run, length, is_tall = runs[r], min(across - j, count - shares[0]), 1 if i < tall else 0
        wides = max(0, min(wide - j, length))
        run[0], run[1] = n, min(i * (outputs - 1) + min(i, tall), height - outputs + 1 - is_tall)
        run[2] = min(j * (outputs - 1) + min(j, wide), width - outputs + (0 if wides else 1))
        run[3], run[4], run[5] = length, wides, min(length * (outputs - 1) + wides, width - run[2])
        run[6], run[7], run[8], run[9] = shares[0], shares[1], BLOCK, BLOCK
        if is_tall:
            run[8], run[9] = shares[2], shares[3]
        shares[0] += length
        shares[1] += wides
        shares[2] += length * is_tall
        shares[3] += wides * is_tall
        r += 1
    return r


def pitch(e: Any) -> int:
    """From one position to the next: a power of two it must not be, or they would share a few places of the cache."""
    return (BLOCK + 1) * e.lanes


class Run:
    """A run in a vector body.

    Its numbers are the image, row and column of its first output; how many tiles it has, how many of them, the first,
    are wide, and how many columns of outputs; and its first slots, at the positions that `shares` counts.
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
