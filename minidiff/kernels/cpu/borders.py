"""Where a convolution reads an image, and which of its taps meet one: vector bodies.

An image that needs zeros around it is copied into a small scratch that stays in the cache:

    0 0 0 0 0 0 0 0 0        high × wide pixels; the image begins at row `top` and column `left`.
    0 x x x x x x x 0        Only weight gradients need rows of zeros above and below: elsewhere
    0 x x x x x x x 0        taps that lie outside of the image are left out.
    0 0 0 0 0 0 0 0 0
"""

from typing import Any, NamedTuple

from . import sweeps
from .views import View, ceil_divide


class Frame(NamedTuple):
    """An image, and the room of its copy; `top` and `left` may be negative, and cut it off."""

    height: Any
    width: Any
    channels: Any
    top: Any
    left: Any
    high: Any  # rows of the copy
    wide: Any  # columns of the copy


def bordered(e, image, to, frame):
    """Copy an image into the middle of a scratch, which has zeros around it."""
    source = View.of(image, frame.height, frame.width, frame.channels)
    target = View.of(to, frame.high, frame.wide, frame.channels)
    i = e.max(frame.top * -1, 0)
    j = e.max(frame.left * -1, 0)
    rows = e.min(frame.height, frame.high - frame.top) - i
    columns = e.min(frame.width, frame.wide - frame.left) - j

    @e.loop(rows)
    def row(k):
        first = target.at(i + k + frame.top, j + frame.left)
        sweeps.copy(e, source.at(i + k, j), first, columns * frame.channels)


def readable(e, image, after, reach, to, frame, copy=bordered):
    """A view (row, column, channel) of an image, or of its copy at `to` if it is near the end.

    It is near if fewer than `reach` numbers come `after` it. Tiles may read so far beyond it, or
    the image may need its border, for which `reach` is larger than any number.
    """
    copied = e.lt(after, reach)
    e.when(copied, lambda: e.call(copy, image, to, frame))
    width = e.select(copied, frame.wide, frame.width)
    return View(e.select(copied, to, image), width * frame.channels, frame.channels, 1)


def meeting(e, first, step, count, size):
    """(the first k, how many) of those k of 0 … count − 1 for which 0 ≤ first + k · step < size.

    The number is negative if there are none.
    """
    start = e.min(ceil_divide(e.max(first * -1, 0), step), count)
    end = e.min(ceil_divide(size - first, step), count)
    return start, end - start
